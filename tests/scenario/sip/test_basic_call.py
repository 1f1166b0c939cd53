"""Calls between two user agents: set up and ended in every way."""

from __future__ import annotations

import pytest

from phoned.sip.accessors import contacts, cseq, to
from phoned.sip.account import Limits
from phoned.sip.events import (
    Answered,
    AnswerReceived,
    Confirmed,
    DescriptionExpired,
    DescriptionKind,
    DescriptionWanted,
    EndCause,
    Ended,
    IncomingCall,
    Party,
    Progress,
)
from phoned.sip.message import Message, Request, Response
from tests.support.sip_calls import established, ringing
from tests.support.sip_network import SipNetwork, Weather


@pytest.mark.behaviour("R/g")
@pytest.mark.parametrize("transport", ["WS", "UDP"])
@pytest.mark.parametrize("by_caller", [True, False])
def test_invite_200_ack_bye_from_either_side(by_caller: bool, transport: str) -> None:
    network = SipNetwork()
    alice, bob = established(network, transport=transport)
    assert bob.one(IncomingCall).has_offer
    assert alice.one(Progress).status == 180
    assert alice.one(AnswerReceived).description == b"answer 1 of bob"
    assert alice.one(Answered).call_id == bob.one(Answered).call_id
    bob.one(Confirmed)
    first, second = (alice, bob) if by_caller else (bob, alice)
    first.hangup()
    assert (first.one(Ended).cause, first.one(Ended).by) == (EndCause.BYE, Party.LOCAL)
    network.run()
    assert (second.one(Ended).cause, second.one(Ended).by) == (EndCause.BYE, Party.REMOTE)
    network.drain()


@pytest.mark.behaviour("R/h")
@pytest.mark.behaviour("R/l")
def test_every_response_names_our_end_of_the_dialog() -> None:
    network = SipNetwork()
    alice, bob = established(network)
    alice.reinvite()
    network.run()
    alice.hangup()
    network.run()
    assert {cseq(response).method for response in bob.sent if isinstance(response, Response)} == {"INVITE", "BYE"}
    tag = bob.one(Answered).local_tag
    for status in (180, 200):
        for response in bob.responses(status):
            assert to(response).tag == tag
            if cseq(response).method == "INVITE":
                assert contacts(response)
    network.drain()


def test_reason_of_a_bye_is_reported() -> None:
    network = SipNetwork()
    alice, bob = established(network)
    alice.take(alice.ua.hangup(alice.session, network.now, reason="Q.850;cause=16"))
    network.run()
    assert bob.one(Ended).reasons == ("Q.850;cause=16",)


def test_offer_may_come_with_the_call() -> None:
    network = SipNetwork()
    alice, bob = network.pair()
    alice.call(offer=b"v=0")
    assert alice.all(DescriptionWanted) == []
    network.run()
    bob.answer()
    assert bob.one(DescriptionWanted).remote == b"v=0"
    network.run()
    alice.one(Answered)


def test_offerless_invite_is_offered_in_the_200_and_answered_in_the_ack() -> None:
    network = SipNetwork()
    alice, bob = network.pair()
    alice.call(offerless=True)
    network.run()
    assert not bob.one(IncomingCall).has_offer
    bob.answer()
    assert bob.one(DescriptionWanted).kind is DescriptionKind.OFFER
    network.run()
    assert alice.one(DescriptionWanted).remote == b"offer 1 of bob"
    assert bob.one(AnswerReceived).description == b"answer 1 of alice"
    bob.one(Confirmed)
    alice.hangup()
    network.drain()


def test_offerless_invite_without_answer_in_the_ack_ends_the_call() -> None:
    network = SipNetwork()
    alice, bob = network.pair()
    alice.auto_supply = False
    alice.call(offerless=True)
    network.run()
    bob.answer()
    network.run()
    wanted = alice.one(DescriptionWanted)
    alice.take(alice.ua.refuse(wanted.token, 488, network.now))
    assert alice.one(Ended).cause is EndCause.DESCRIPTION_FAILED
    network.run()
    assert bob.one(Ended).cause is EndCause.DESCRIPTION_FAILED
    network.drain()


def test_hangup_while_the_answer_for_the_ack_is_made() -> None:
    network = SipNetwork()
    alice, bob = network.pair()
    alice.auto_supply = False
    alice.call(offerless=True)
    network.run()
    bob.answer()
    network.run()
    alice.hangup()
    assert alice.one(Ended).cause is EndCause.BYE
    alice.one(DescriptionExpired)
    network.run()
    bob.one(Ended)
    network.drain()


def test_repeated_200_is_acknowledged_with_the_same_ack() -> None:
    network = SipNetwork()
    alice, bob = ringing(network)
    lost: list[Message] = []

    def drop(sender: str, message: Message) -> bool:
        if sender == "alice" and isinstance(message, Request) and message.method == "ACK" and len(lost) < 3:
            lost.append(message)
            return True
        return False

    network.drop = drop
    bob.answer()
    network.run(10)
    acks = alice.requests("ACK")
    assert len(acks) == 4
    assert all(ack == acks[0] for ack in acks)
    bob.one(Confirmed)
    assert len(bob.responses(200)) == 4
    bob.hangup()
    network.drain()


def test_ack_that_never_comes_ends_the_call_with_bye() -> None:
    network = SipNetwork()
    alice, bob = ringing(network)
    network.drop = lambda sender, message: isinstance(message, Request) and message.method == "ACK"
    bob.answer()
    began = network.now
    sent: list[float] = []
    bob.on_event = lambda event: sent.append(network.now) if isinstance(event, Ended) else None
    network.run(40)
    assert bob.one(Ended).cause is EndCause.NO_ACK
    assert sent[0] - began == pytest.approx(32)
    moments = [at - began for at, name, what in network.trace if name == "bob" and what.startswith("200 to")]
    # T1 doubling up to T2 (RFC 3261 13.3.1.4)
    assert moments[:6] == pytest.approx([0, 0.5, 1.5, 3.5, 7.5, 11.5])
    alice.one(Ended)
    network.drain()


def test_hangup_before_the_ack_waits_for_it() -> None:
    network = SipNetwork()
    alice, bob = ringing(network)
    acks: list[Message] = []

    def drop(sender: str, message: Message) -> bool:
        if isinstance(message, Request) and message.method == "ACK" and len(acks) < 2:
            acks.append(message)
            return True
        return False

    network.drop = drop
    bob.answer()
    bob.hangup()
    assert bob.one(Ended).by is Party.LOCAL
    assert bob.requests("BYE") == []
    network.run(5)
    assert len(bob.requests("BYE")) == 1
    alice.one(Ended)
    network.drain()


def test_hangup_before_an_ack_that_never_comes_sends_bye_at_last() -> None:
    network = SipNetwork()
    alice, bob = ringing(network)
    network.drop = lambda sender, message: isinstance(message, Request) and message.method == "ACK"
    bob.answer()
    bob.hangup()
    network.run(40)
    assert len(bob.requests("BYE")) == 1
    alice.one(Ended)
    network.drain()


@pytest.mark.parametrize("status", [486, 603, 404, 503])
def test_refusal_ends_the_call_with_its_status(status: int) -> None:
    network = SipNetwork()
    alice, bob = ringing(network)
    bob.take(bob.ua.reject(bob.session, network.now, status=status, retry_after_s=7))
    network.run()
    ended = alice.one(Ended)
    assert (ended.cause, ended.by, ended.status, ended.retry_after_s) == (EndCause.REFUSED, Party.REMOTE, status, 7.0)
    assert bob.one(Ended).cause is EndCause.REFUSED
    network.drain()


def test_refusal_because_our_media_cannot() -> None:
    network = SipNetwork()
    alice, bob = ringing(network)
    bob.auto_supply = False
    bob.answer()
    bob.take(bob.ua.refuse(bob.one(DescriptionWanted).token, 488, network.now))
    network.run()
    assert bob.one(Ended).cause is EndCause.DESCRIPTION_FAILED
    assert alice.one(Ended).status == 488
    network.drain()


def test_media_that_never_answers_is_given_up() -> None:
    network = SipNetwork()
    alice, bob = ringing(network)
    bob.auto_supply = False
    bob.answer()
    network.run(11)
    bob.one(DescriptionExpired)
    assert bob.one(Ended).cause is EndCause.DESCRIPTION_FAILED
    assert alice.one(Ended).status == 500
    bob.take(bob.ua.supply(bob.one(DescriptionWanted).token, b"late", network.now))
    network.drain()


def test_media_that_never_offers_is_given_up_before_anything_is_sent() -> None:
    network = SipNetwork()
    alice, _ = network.pair()
    alice.auto_supply = False
    alice.call()
    network.run(11)
    assert alice.one(Ended).cause is EndCause.DESCRIPTION_FAILED
    assert alice.sent == []
    network.drain()


def test_nobody_answers_and_the_ring_time_runs_out() -> None:
    network = SipNetwork()
    alice, bob = ringing(network, limits=Limits(ring_s=20))
    network.run(21)
    assert bob.one(Ended).cause is EndCause.NO_ANSWER
    assert alice.one(Ended).status == 480
    network.drain()


def test_caller_gives_up_when_it_takes_too_long() -> None:
    network = SipNetwork()
    alice, bob = ringing(network, limits=Limits(setup_s=20))
    network.run(21)
    assert alice.one(Ended).cause is EndCause.CANCELED
    assert bob.one(Ended).cause is EndCause.CANCELED
    network.drain()


def test_no_response_at_all_is_a_timeout() -> None:
    network = SipNetwork()
    alice, bob = network.pair()
    network.partition(bob)
    alice.call()
    network.run(40)
    assert alice.one(Ended).cause is EndCause.TIMEOUT
    assert bob.one(IncomingCall)
    bob.hangup()
    network.drain()


# --- CANCEL


def test_cancel_while_it_rings() -> None:
    network = SipNetwork()
    alice, bob = ringing(network)
    alice.take(alice.ua.hangup(alice.session, network.now, reason="SIP;cause=200"))
    assert alice.all(Ended) == []
    network.run()
    assert (alice.one(Ended).cause, alice.one(Ended).by) == (EndCause.CANCELED, Party.LOCAL)
    ended = bob.one(Ended)
    assert (ended.cause, ended.by, ended.reasons) == (EndCause.CANCELED, Party.REMOTE, ("SIP;cause=200",))
    assert len(bob.responses(487)) == 1
    network.drain()


def test_cancel_waits_for_the_first_provisional_response() -> None:
    network = SipNetwork()
    alice, bob = network.pair()
    alice.call()
    alice.hangup()
    assert alice.requests("CANCEL") == []
    network.run()
    assert len(alice.requests("CANCEL")) == 1
    assert alice.one(Ended).cause is EndCause.CANCELED
    bob.one(Ended)
    network.drain()


def test_hangup_before_there_is_an_offer_sends_nothing() -> None:
    network = SipNetwork()
    alice, _ = network.pair()
    alice.auto_supply = False
    alice.call()
    alice.hangup()
    assert alice.one(Ended).cause is EndCause.CANCELED
    alice.one(DescriptionExpired)
    assert alice.sent == []
    network.drain()


def test_cancel_that_crosses_the_200_ends_with_ack_and_bye() -> None:
    network = SipNetwork()
    alice, bob = ringing(network)
    bob.answer()
    alice.hangup()
    network.run()
    assert [request.method for request in alice.sent if isinstance(request, Request)] == [
        "INVITE",
        "CANCEL",
        "ACK",
        "BYE",
    ]
    assert alice.one(Ended).cause is EndCause.CANCELED
    assert bob.one(Ended).cause is EndCause.BYE
    network.drain()


def test_hangup_twice_ends_once() -> None:
    network = SipNetwork()
    alice, _ = ringing(network)
    alice.hangup()
    alice.hangup()
    network.run()
    alice.hangup()
    alice.one(Ended)
    assert len(alice.requests("CANCEL")) == 1
    network.drain()


def test_cancel_that_is_never_answered_ends_all_the_same() -> None:
    network = SipNetwork()
    alice, bob = ringing(network)
    network.partition(bob)
    alice.hangup()
    network.run(40)
    assert alice.one(Ended).cause is EndCause.CANCELED
    network.partition(bob, up=True)
    bob.hangup()
    network.drain()


# --- the end


def test_bye_from_both_sides_at_once_ends_each_once() -> None:
    network = SipNetwork()
    alice, bob = established(network)
    alice.hangup()
    bob.hangup()
    network.run()
    assert alice.one(Ended).by is Party.LOCAL
    assert bob.one(Ended).by is Party.LOCAL
    assert all(
        response.status == 200
        for phone in (alice, bob)
        for response in phone.sent[-1:]
        if isinstance(response, Response)
    )
    network.drain()


def test_bye_of_a_lost_call_is_answered_481() -> None:
    network = SipNetwork()
    alice, bob = established(network)
    network.partition(bob)
    bob.take(bob.ua.remove_account("bob", network.now))
    network.partition(bob, up=True)
    network.run()
    alice.hangup()
    network.drain()


@pytest.mark.parametrize("seed", range(5))
def test_a_call_over_a_bad_datagram_network_completes(seed: int) -> None:
    network = SipNetwork(seed)
    weather = Weather(delay_s=0.05, jitter_s=0.2, loss=0.2, duplicate=0.2)
    alice, bob = network.pair(transport="UDP", weather=weather)
    bob.auto_ring = bob.auto_answer = True
    alice.call()
    network.run(40)
    alice.one(Answered)
    bob.one(Confirmed)
    alice.hangup()
    network.run(40)
    bob.one(Ended)
    network.drain()
