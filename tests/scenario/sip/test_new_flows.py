"""Flows break: what is said again, what is cancelled, what is repaired on the next one."""

from __future__ import annotations

import pytest

from phoned.errors import Gone
from phoned.sip.accessors import cseq
from phoned.sip.events import (
    Answered,
    Confirmed,
    DescriptionExpired,
    DescriptionWanted,
    EndCause,
    Ended,
    Modified,
    ModifyCause,
    ModifyRefused,
    Party,
)
from phoned.sip.headers import Headers
from phoned.sip.message import Message, Request, Response, response_to, serialise
from tests.support.sip_calls import established
from tests.support.sip_network import Phone, SipNetwork, Weather


def _method(message: Message, method: str) -> bool:
    return isinstance(message, Request) and message.method == method


@pytest.mark.behaviour("F10")
def test_new_flow_carries_exactly_one_reinvite_and_the_later_bye() -> None:
    network = SipNetwork()
    alice, bob = established(network)
    old = alice.flows[-1]
    network.cut(alice, old)
    alice.reinvite(ModifyCause.RECOVERY)
    assert len(alice.requests("INVITE")) == 1
    network.connect(alice, bob)
    network.run()
    alice.one(Modified)
    assert len(alice.requests("INVITE")) == 2
    bob.hangup()
    network.run()
    alice.one(Ended)
    network.drain()


@pytest.mark.behaviour("R/e")
def test_reinvite_under_way_when_the_flow_breaks_is_said_again_on_the_next() -> None:
    network = SipNetwork()
    alice, bob = established(network)
    alice.reinvite(ModifyCause.HOLD)
    network.cut(alice)
    alice.one(DescriptionExpired)
    network.connect(alice, bob)
    network.run(10)
    assert alice.one(Modified).causes == (ModifyCause.HOLD,)
    alice.hangup()
    network.drain()


def test_reinvite_under_way_moves_with_the_account_while_the_old_flow_is_up() -> None:
    network = SipNetwork()
    alice, bob = established(network)
    network.partition(alice)
    alice.reinvite(ModifyCause.RECOVERY)
    network.run(0.5)
    network.connect(alice, bob)
    network.run(2)
    alice.one(Modified)
    alice.hangup()
    network.run()
    network.cut(alice, alice.flows[0])
    network.drain()


@pytest.mark.behaviour("W34")
@pytest.mark.behaviour("R/i")
@pytest.mark.behaviour("O6")
def test_a_bye_that_was_missed_during_the_outage_ends_the_call_on_the_next_flow() -> None:
    network = SipNetwork()
    alice, bob = established(network)
    network.cut(alice)
    bob.hangup()
    network.run()
    assert alice.all(Ended) == []
    alice.reinvite(ModifyCause.RECOVERY)
    network.connect(alice, bob)
    network.run()
    assert (alice.one(Ended).cause, alice.one(Ended).by) == (EndCause.DIALOG_GONE, Party.REMOTE)
    network.drain()


def test_hangup_without_a_flow_says_bye_on_the_next() -> None:
    network = SipNetwork()
    alice, bob = established(network)
    network.cut(alice)
    alice.hangup()
    assert alice.one(Ended).cause is EndCause.BYE
    network.connect(alice, bob)
    network.run()
    assert len(alice.requests("BYE")) == 1
    assert bob.one(Ended).cause is EndCause.BYE
    network.drain()


def test_bye_under_way_when_the_flow_breaks_is_said_again() -> None:
    network = SipNetwork()
    alice, bob = established(network)
    network.partition(alice)
    alice.hangup()
    network.cut(alice)
    network.connect(alice, bob)
    network.run()
    bob.one(Ended)
    assert len(alice.requests("BYE")) == 2
    network.drain()


def test_bye_that_finds_no_flow_is_given_up_in_the_end() -> None:
    network = SipNetwork()
    alice, bob = established(network)
    network.cut(alice)
    alice.hangup()
    bob.hangup()
    network.drain()


def test_outgoing_call_whose_flow_breaks_is_cancelled_on_the_next_with_its_branch() -> None:
    network = SipNetwork()
    alice, bob = network.pair()
    alice.call()
    network.run()
    network.cut(alice)
    assert alice.one(Ended).cause is EndCause.UNREACHABLE
    network.connect(alice, bob)
    network.run()
    (cancel,) = alice.requests("CANCEL")
    assert cancel.headers.get("Via") == alice.requests("INVITE")[0].headers.get("Via")
    bob.hangup()
    network.drain()


def test_incoming_call_whose_flow_breaks_ends() -> None:
    network = SipNetwork()
    alice, bob = network.pair()
    alice.call()
    network.run()
    network.cut(bob)
    assert bob.one(Ended).cause is EndCause.UNREACHABLE
    alice.hangup()
    network.drain()


def test_a_refusal_because_its_forerunner_on_the_old_flow_is_not_settled_is_no_refusal() -> None:
    network = SipNetwork()
    alice, bob = established(network)
    bob.auto_supply = False
    alice.reinvite(ModifyCause.MEDIA)
    network.run(0.1)  # bob's media works on the answer
    network.connect(alice, bob)
    statuses: list[int] = []

    def refuse(sender: str, message: Message) -> bool:
        if sender == "bob" and isinstance(message, Response) and message.status == 500:
            message.status = 403
            statuses.append(message.status)
        return False

    network.alter = refuse
    network.run(0.3)
    assert statuses == [403]
    bob.auto_supply = True
    bob.supply(bob.all(DescriptionWanted)[-1])
    network.run(5)
    assert ModifyCause.MEDIA in alice.one(Modified).causes
    assert alice.all(ModifyRefused) == []
    assert len(alice.requests("INVITE")) == 4
    alice.hangup()
    network.run()
    bob.one(Ended)


def test_an_unheard_answer_to_our_reinvite_is_acknowledged_by_the_next() -> None:
    network = SipNetwork()
    alice, bob = established(network)
    network.drop = lambda sender, message: sender == "bob"
    alice.reinvite(ModifyCause.MEDIA)
    network.run(0.2)
    (unheard,) = alice.requests("INVITE")[1:]
    network.drop = None
    network.cut(alice)
    network.connect(alice, bob)
    network.run(0.2)
    assert cseq(alice.requests("ACK")[1]).number == cseq(unheard).number
    assert alice.one(Modified).causes == (ModifyCause.MEDIA,)
    answers = len(bob.responses(200))
    network.run(40)
    assert len(bob.responses(200)) == answers, "each has its ACK"
    assert [ack for ack in alice.requests("ACK")[2:] if cseq(ack).number == cseq(unheard).number] == []
    alice.hangup()
    network.run()
    bob.one(Ended)


@pytest.mark.behaviour("W38")
def test_a_call_that_came_over_a_doubted_flow_is_answered_there() -> None:
    network = SipNetwork()
    alice, bob = network.pair()
    alice.call()
    network.run()
    _, candidate = network.connect(alice, bob, adopt=False)
    network.cut(bob, candidate, tell=False)  # whatever is said there is lost
    bob.answer()
    network.run()
    alice.one(Answered)
    bob.one(Confirmed)
    alice.hangup()
    network.run()
    bob.one(Ended)


@pytest.mark.behaviour("W35")
def test_flow_that_breaks_between_200_and_ack_is_repaired_by_the_reinvite() -> None:
    network = SipNetwork()
    alice, bob = network.pair()
    alice.call()
    network.run()
    network.drop = lambda sender, message: _method(message, "ACK")
    bob.answer()
    network.run(0.1)
    network.drop = None
    network.cut(bob)
    network.cut(alice, tell=True)
    network.connect(alice, bob)
    bob.reinvite(ModifyCause.RECOVERY)
    network.run()
    assert bob.all(Modified) == [], "the ACK comes first, if it comes"
    network.run()
    bob.one(Modified)
    answers = len(bob.responses(200))
    network.run(60)
    assert len(bob.responses(200)) == answers, "the re-INVITE has shown that the far end has the call"
    assert bob.all(Ended) == []
    alice.hangup()
    network.drain()


def _ack(answer: Response) -> bytes:
    """As a proxy hands it on: whatever flow the 2xx took."""
    headers = Headers([(name, answer.headers.get(name) or "") for name in ("From", "To", "Call-ID")])
    headers.add("Via", "SIP/2.0/WS far.invalid;branch=z9hG4bKack")
    headers.add("CSeq", f"{cseq(answer).number} ACK")
    headers.add("Max-Forwards", "70")
    return serialise(Request("ACK", "sip:bob@example.com", headers, b""))


def _unheard_answer(*, offerless: bool = False) -> tuple[SipNetwork, Phone]:
    """Bob has answered, and his flow took the 200 with it; Alice's proxy still rings."""
    network = SipNetwork()
    alice, bob = network.pair()
    alice.call(offerless=offerless)
    network.run()
    network.cut(alice, tell=False)
    network.cut(bob, tell=False)
    bob.answer()
    network.run(0.1)
    network.cut(bob)
    bob.sent.clear()
    bob.reinvite(ModifyCause.RECOVERY)
    network.flow(bob, lambda data: None, transport="WS", weather=Weather())
    bob.take(bob.ua.move_account("bob", bob.flows[-1], network.now))
    return network, bob


@pytest.mark.behaviour("W35")
def test_an_answer_that_was_not_heard_is_given_again_on_the_new_flow() -> None:
    network, bob = _unheard_answer()
    assert len(bob.responses(200)) == 1
    network.run(0.9)
    assert len(bob.responses(200)) == 2, "after T1"
    assert bob.requests("INVITE") == []
    bob.take(bob.ua.receive(bob.flows[-1], _ack(bob.responses(200)[0]), network.now))
    bob.one(Confirmed)
    assert len(bob.requests("INVITE")) == 1, "what was to be repaired goes out at once"
    network.run(5)
    assert len(bob.responses(200)) == 2


@pytest.mark.behaviour("W35")
def test_an_answer_that_nobody_acknowledges_on_the_new_flow_either_ends_with_bye() -> None:
    network, bob = _unheard_answer()
    network.run(31)
    assert bob.all(Ended) == []
    network.run(2)
    assert bob.one(Ended).cause is EndCause.NO_ACK
    assert len(bob.requests("BYE")) == 1


@pytest.mark.behaviour("W35")
def test_an_offer_in_an_answer_that_was_not_heard_waits_for_its_ack() -> None:
    network, bob = _unheard_answer(offerless=True)
    network.run(5)
    assert bob.all(Confirmed) == []
    assert bob.requests("INVITE") == []
    bob.take(bob.ua.receive(bob.flows[-1], _ack(bob.responses(200)[0]), network.now))
    assert bob.one(Ended).cause is EndCause.DESCRIPTION_FAILED


def test_a_hangup_right_after_an_unheard_answer_waits_for_its_ack_on_the_new_flow() -> None:
    network, bob = _unheard_answer()
    bob.hangup()
    network.run(2)
    assert bob.requests("BYE") == []
    bob.take(bob.ua.receive(bob.flows[-1], _ack(bob.responses(200)[0]), network.now))
    assert len(bob.requests("BYE")) == 1


@pytest.mark.parametrize("status", [200, 491])
def test_an_unheard_answer_to_their_reinvite_holds_ours_back_for_a_second(status: int) -> None:
    network = SipNetwork()
    alice, bob = established(network)
    network.drop = lambda sender, message: _method(message, "ACK")
    alice.reinvite(ModifyCause.HOLD)
    network.run(0.1)
    network.drop = None
    network.cut(alice, tell=False)
    network.cut(bob)
    bob.reinvite(ModifyCause.RECOVERY)
    network.flow(bob, lambda data: None, transport="WS", weather=Weather())
    bob.take(bob.ua.move_account("bob", bob.flows[-1], network.now))
    bob.sent.clear()
    network.run(0.9)
    assert bob.requests("INVITE") == []
    network.run(0.2)
    (invite,) = bob.requests("INVITE")
    bob.take(bob.ua.receive(bob.flows[-1], serialise(response_to(invite, status, "", to_tag="x")), network.now))
    said = len(bob.responses(200))
    network.run(10)
    assert (len(bob.responses(200)) > said) == (status == 491), "491: the far end is still at it"


def test_modifying_an_ended_call_is_refused() -> None:
    network = SipNetwork()
    alice, _ = established(network)
    alice.hangup()
    with pytest.raises(Gone):
        alice.reinvite()
    network.run(1)


def test_snapshot_restores_the_dialog_in_another_life() -> None:
    network = SipNetwork()
    alice, bob = established(network)
    snapshot = alice.ua.snapshot(alice.session)
    network.cut(alice, tell=True)
    network.phones.remove(alice)
    reborn = network.phone("alice")
    session = reborn.ua.restore("alice", snapshot, network.now)
    network.connect(reborn, bob)
    reborn.take(reborn.ua.reinvite(session, network.now, ModifyCause.RECOVERY))
    network.run()
    reborn.one(Modified)
    assert reborn.requests("INVITE")[0].headers.get("CSeq") == "102 INVITE"
    bob.hangup()
    network.run()
    reborn.one(Ended)
    network.drain()
