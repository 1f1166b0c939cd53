"""Ends that hardly ever happen: several words owed at once, an answer after the end, a challenge nobody can meet."""

from __future__ import annotations

import pytest

from phoned.sip.account import AccountParameters
from phoned.sip.events import Answered, EndCause, Ended, RequestAnswered
from phoned.sip.message import Message, Request, response_to
from phoned.sip.transaction_layer import TransactionLimits
from phoned.sip.user_agent import UserAgent
from tests.support.sip_calls import established
from tests.support.sip_network import ForkingProxy, SeededRandom, SipNetwork
from tests.support.sip_server import Challenger, Server


def test_the_byes_of_several_forks_wait_for_one_flow_and_are_given_up_together() -> None:
    network = SipNetwork()
    alice = network.phone("alice")
    parameters = AccountParameters(aor="sip:bob@example.com", contact_user="bob", allow_unregistered_incoming=True)
    callees = [network.phone(f"bob{index}", parameters=parameters) for index in range(3)]
    ForkingProxy(network, alice, callees)
    alice.call()
    network.run()
    network.drop = lambda sender, message: sender == "alice" and _is(message, "BYE")
    for callee in callees:
        callee.answer()
    network.run(0.3)
    alice.one(Answered)
    assert len(alice.requests("BYE")) == 2
    alice.hangup()
    assert len(alice.requests("BYE")) == 3
    network.cut(alice)
    network.run(600)
    assert len(alice.ua) == 0
    assert alice.ua.next_timer() is None


def test_a_callee_that_hung_up_without_a_flow_forgets_its_bye_in_time() -> None:
    network = SipNetwork()
    alice, bob = established(network)
    network.partition(bob)
    bob.hangup()
    network.cut(bob)
    assert bob.one(Ended).cause is EndCause.BYE
    alice.hangup()
    network.drain()


def _is(message: Message, method: str) -> bool:
    return isinstance(message, Request) and message.method == method


@pytest.mark.parametrize("wrong", ["realm", "password"])
def test_a_challenge_to_a_message_that_cannot_be_met_is_its_outcome(wrong: str) -> None:
    network = SipNetwork()
    secret = None if wrong == "realm" else "pw"
    alice = network.phone("alice", parameters=AccountParameters(aor="sip:alice@example.com", secret=secret))
    server = Server(network, alice, Challenger(lambda request: response_to(request, 200), password="other"))
    alice.take(alice.ua.move_account("alice", server.flow, network.now))
    token, events = alice.ua.message("alice", "sip:bob@example.com", "text/plain", b"hello", network.now)
    alice.take(events)
    network.run()
    outcome = alice.one(RequestAnswered)
    assert (outcome.token, outcome.status) == (token, 407)
    assert len(server.requests("MESSAGE")) == (1 if secret is None else 2)


def test_without_room_for_another_request_a_challenge_is_the_outcome() -> None:
    network = SipNetwork()
    alice = network.phone("alice")
    alice.ua = UserAgent(random=SeededRandom(3), transaction_limits=TransactionLimits(client=1))
    alice.ua.add_account("alice", AccountParameters(aor="sip:alice@example.com", secret="pw"))
    # over UDP an answered transaction stays for Timer K
    server = Server(network, alice, Challenger(lambda request: response_to(request, 200)), transport="UDP")
    alice.take(alice.ua.move_account("alice", server.flow, network.now))
    _, events = alice.ua.message("alice", "sip:bob@example.com", "text/plain", b"hello", network.now)
    alice.take(events)
    network.run()
    assert alice.one(RequestAnswered).status == 407
    assert len(server.requests("MESSAGE")) == 1
