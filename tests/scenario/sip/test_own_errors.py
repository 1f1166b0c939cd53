"""Errors of our own are contained: what they hit ends, everything else goes on."""

from __future__ import annotations

import pytest

from phoned.sip.account import AccountParameters, Limits
from phoned.sip.events import (
    Answered,
    DescriptionWanted,
    Ended,
    IncomingCall,
)
from phoned.sip.user_agent import UserAgent
from tests.scenario.sip.test_corners import PARAMETERS, reply
from tests.support.sip_network import SeededRandom, SipNetwork
from tests.support.sip_server import Server


class Faulty:
    """Randomness that fails once, at the Nth request: stands for any error of our own, anywhere."""

    def __init__(self, at: int) -> None:
        self._good = SeededRandom(3)
        self._left = at

    def _count(self) -> None:
        self._left -= 1
        if self._left == 0:
            raise RuntimeError("out of randomness")

    def token(self) -> str:
        self._count()
        return self._good.token()

    def below(self, n: int) -> int:
        self._count()
        return self._good.below(n)


@pytest.mark.parametrize("at", range(8, 40))
def test_an_error_of_our_own_ends_at_most_the_call_it_hits(at: int) -> None:
    network = SipNetwork()
    bob = network.phone("bob", limits=Limits())
    parameters = AccountParameters(aor="sip:bob@example.com", contact_user="bob", allow_unregistered_incoming=True)
    bob.ua = UserAgent(random=Faulty(at))
    bob.ua.add_account("bob", parameters)
    alice = network.phone("alice")
    network.connect(alice, bob)
    bob.auto_supply = False
    for _ in range(6):
        alice.call()
        network.run(0.5)
        for event in bob.all(IncomingCall):
            try:
                bob.answer(event.session)
                bob.supply(bob.all(DescriptionWanted)[-1])
            except Exception:
                pass  # a verb that fails tells its caller; what must not fail is the network's input
        network.run(0.5)
        alice.reinvite() if alice.all(Answered) and not alice.all(Ended) else None
        network.run(0.5)
    for answered in alice.all(Answered):
        alice.hangup(answered.session)
    network.run(700)
    assert len(bob.ua.layer) == 0


@pytest.mark.parametrize("at", range(8, 60))
def test_an_error_of_our_own_while_calling_is_contained(at: int) -> None:
    network = SipNetwork()
    alice = network.phone("alice")
    alice.ua = UserAgent(random=Faulty(at))
    alice.ua.add_account("alice", PARAMETERS)
    server = Server(network, alice, lambda request: None)
    alice.take(alice.ua.move_account("alice", server.flow, network.now))
    for _ in range(3):
        try:
            alice.call()
        except RuntimeError:
            continue
        network.run()
        if not server.requests("INVITE"):
            continue
        invite = server.requests("INVITE")[-1]
        server.say(reply(invite, 183, [("Require", "100rel"), ("RSeq", "1")], b"early"))
        server.say(reply(invite, 200, body=b"answer"))
        server.answer = lambda request: reply(request, 491)
        network.run()
        try:
            alice.reinvite()
        except Exception:
            pass  # told to the caller
        network.run(5)
        server.answer = lambda request: None
    network.run(700)
    assert alice.ua.counters.internal_errors <= 1


def test_a_driver_that_hands_in_nonsense_is_told_by_a_counter() -> None:
    network = SipNetwork()
    alice, _ = network.pair()
    assert alice.ua.receive(alice.flows[0], None, network.now) == []  # type: ignore[arg-type]  # the point
    assert alice.ua.counters.internal_errors == 1


def test_a_refusal_that_cannot_be_written_is_dropped() -> None:
    network = SipNetwork()
    alice, _ = network.pair()
    broken = 'OPTIONS sip:a@b SIP/3.0\r\nVia: SIP/2.0/WS x;branch=z9hG4bKa\r\nFrom: <sip:a@b>;tag=1;x="\0"\r\n'
    broken += "To: <sip:bob@example.com>\r\nCall-ID: a\r\nCSeq: 1 OPTIONS\r\n\r\n"
    alice.ua.receive(alice.flows[0], broken.encode(), network.now)
    assert alice.ua.counters.malformed == 1
    assert alice.ua.counters.internal_errors == 0
