"""re-INVITE and UPDATE in both directions: hold, glare, refusals, lost answers, recovery on a new flow."""

from __future__ import annotations

import pytest

from phoned.sip.account import Limits
from phoned.sip.events import (
    AnswerReceived,
    DescriptionExpired,
    DescriptionKind,
    DescriptionWanted,
    EndCause,
    Ended,
    FlowSuspect,
    Modified,
    ModifyCause,
    ModifyRefused,
    Party,
    RemoteModified,
)
from phoned.sip.message import Message, Request, response_to, serialise
from tests.support.sip_calls import established
from tests.support.sip_network import Phone, SipNetwork


def _method(message: Message, method: str) -> bool:
    return isinstance(message, Request) and message.method == method


@pytest.mark.parametrize("by_caller", [True, False])
@pytest.mark.parametrize("use_update", [True, False])
def test_hold_from_either_side(by_caller: bool, use_update: bool) -> None:
    network = SipNetwork()
    alice, bob = established(network)
    first, second = (alice, bob) if by_caller else (bob, alice)
    first.reinvite(use_update=use_update)
    network.run()
    assert first.one(Modified).causes == (ModifyCause.HOLD,)
    assert second.one(RemoteModified).with_description
    assert len(first.requests("UPDATE")) == int(use_update)
    assert second.all(DescriptionWanted)[-1].kind is DescriptionKind.ANSWER
    assert first.all(AnswerReceived)[-1].description.startswith(b"answer")
    second.reinvite()
    network.run()
    second.one(Modified)
    first.hangup()
    network.drain()


def test_wishes_during_a_reinvite_are_gathered_into_the_next() -> None:
    network = SipNetwork()
    alice, _ = established(network)
    alice.reinvite(ModifyCause.HOLD)
    alice.reinvite(ModifyCause.RECOVERY)
    alice.reinvite(ModifyCause.MEDIA)
    alice.reinvite(ModifyCause.MEDIA)
    network.run()
    assert [event.causes for event in alice.all(Modified)] == [
        (ModifyCause.HOLD,),
        (ModifyCause.RECOVERY, ModifyCause.MEDIA),
    ]
    assert len(alice.requests("INVITE")) == 3
    network.run(30)


def test_an_offer_may_come_with_the_wish() -> None:
    network = SipNetwork()
    alice, bob = established(network)
    alice.take(alice.ua.reinvite(alice.session, network.now, ModifyCause.MEDIA, offer=b"mine"))
    network.run()
    assert bob.all(DescriptionWanted)[-1].remote == b"mine"
    alice.one(Modified)


def test_wish_before_the_answer_waits_for_it() -> None:
    network = SipNetwork()
    alice, bob = network.pair()
    alice.call()
    network.run()
    bob.reinvite()
    assert bob.requests("INVITE") == []
    bob.answer()
    network.run()
    bob.one(Modified)


@pytest.mark.behaviour("W21")
@pytest.mark.behaviour("R9")
def test_glare_is_resolved_by_the_owner_of_the_call_id_waiting_longer() -> None:
    network = SipNetwork()
    alice, bob = established(network)
    alice.reinvite()
    bob.reinvite()
    began = network.now
    network.run(10)
    alice.one(Modified)
    bob.one(Modified)
    assert len(alice.responses(491)) == len(bob.responses(491)) == 1
    again = {name: at - began for at, name, what in network.trace if at > began + 0.06 and what.startswith("INVITE")}
    assert 0 <= again["bob"] - 0.06 <= 2.1
    assert 2.1 <= again["alice"] - 0.04 <= 4.1
    assert alice.one(DescriptionExpired).session == alice.session
    alice.hangup()
    network.drain()


@pytest.mark.behaviour("W21")
def test_our_offer_in_the_making_gives_way_to_theirs() -> None:
    network = SipNetwork()
    alice, bob = established(network)
    alice.auto_supply = False
    alice.reinvite()
    wanted = alice.all(DescriptionWanted)[-1]
    bob.reinvite()
    network.run(0.1)
    assert alice.one(DescriptionExpired).token == wanted.token
    theirs = alice.all(DescriptionWanted)[-1]
    assert theirs.kind is DescriptionKind.ANSWER
    alice.auto_supply = True
    alice.supply(theirs)
    network.run()
    bob.one(Modified)
    alice.one(Modified)


@pytest.mark.behaviour("W23")
@pytest.mark.behaviour("R9")
@pytest.mark.behaviour("R/d")
@pytest.mark.parametrize("status", [488, 500, 503, 606])
def test_refused_reinvite_leaves_everything_as_it_was(status: int) -> None:
    network = SipNetwork()
    alice, bob = established(network)
    bob.auto_supply = False
    alice.reinvite()
    network.run(0.1)
    wanted = bob.all(DescriptionWanted)[-1]
    bob.take(bob.ua.refuse(wanted.token, status, network.now))
    network.run()
    refused = alice.one(ModifyRefused)
    assert (refused.status, refused.causes) == (status, (ModifyCause.HOLD,))
    alice.one(DescriptionExpired)
    bob.auto_supply = True
    alice.reinvite()
    network.run()
    alice.one(Modified)


def test_media_that_makes_no_offer_is_a_refusal_without_status() -> None:
    network = SipNetwork()
    alice, _ = established(network)
    alice.auto_supply = False
    alice.reinvite()
    network.run(11)
    assert alice.one(ModifyRefused).status == 0
    assert len(alice.requests("INVITE")) == 1


@pytest.mark.behaviour("W22")
def test_second_reinvite_before_the_first_is_answered_gets_500_with_retry_after() -> None:
    network = SipNetwork()
    alice, bob = established(network)
    bob.auto_supply = False
    alice.reinvite()
    network.run(0.1)
    invite = alice.requests("INVITE")[-1]
    second = Request("INVITE", invite.uri, invite.headers.copy(), invite.body)
    second.headers.set("CSeq", "99 INVITE")
    second.headers.set("Via", "SIP/2.0/WS x.invalid;branch=z9hG4bKother")
    _inject(network, alice, bob, second)
    (refusal,) = bob.responses(500)
    assert 0 <= int(refusal.headers.get("Retry-After") or "99") <= 10


def _inject(network: SipNetwork, sender: Phone, receiver: Phone, message: Message) -> None:
    receiver.take(receiver.ua.receive(receiver.flows[-1], serialise(message), network.now))


@pytest.mark.behaviour("W25")
def test_500_with_a_short_retry_after_is_tried_again() -> None:
    network = SipNetwork()
    alice, bob = established(network)
    _answer_instead(network, bob, alice, 500, [("Retry-After", "2")])
    alice.reinvite()
    network.run(0.5)
    assert alice.all(ModifyRefused) == []
    network.run(5)
    alice.one(Modified)


def _answer_instead(
    network: SipNetwork, callee: Phone, caller: Phone, status: int, headers: list[tuple[str, str]], times: int = 1
) -> None:
    """The network answers the next re-INVITE or UPDATE in the callee's place."""
    answered: list[Message] = []

    def drop(sender: str, message: Message) -> bool:
        if sender != caller.name or not isinstance(message, Request):
            return False
        if message.method == "ACK" and answered:
            return message.headers.get("CSeq") == f"{(answered[-1].headers.get('CSeq') or '').split()[0]} ACK"
        if message.method not in ("INVITE", "UPDATE") or len(answered) >= times:
            return False
        answered.append(message)
        response = response_to(message, status)
        for name, value in headers:
            response.headers.add(name, value)
        flow = caller.flows[-1]
        network.later(0.01, lambda: caller.take(caller.ua.receive(flow, serialise(response), network.now)))
        return True

    network.drop = drop


@pytest.mark.behaviour("W19")
@pytest.mark.behaviour("R9")
def test_481_means_the_dialog_is_gone_and_no_bye_is_sent() -> None:
    network = SipNetwork()
    alice, bob = established(network)
    _answer_instead(network, bob, alice, 481, [])
    alice.reinvite(ModifyCause.RECOVERY)
    network.run()
    assert (alice.one(Ended).cause, alice.one(Ended).by) == (EndCause.DIALOG_GONE, Party.REMOTE)
    assert alice.requests("BYE") == []
    bob.hangup()
    network.drain()


@pytest.mark.behaviour("W20")
@pytest.mark.behaviour("R9")
def test_408_doubts_the_flow_first_and_the_call_second() -> None:
    network = SipNetwork()
    alice, bob = established(network)
    _answer_instead(network, bob, alice, 408, [], times=2)
    alice.reinvite(ModifyCause.RECOVERY)
    network.run()
    assert alice.one(FlowSuspect).flow == alice.flows[-1]
    assert alice.all(Ended) == []
    alice.take(alice.ua.move_account("alice", network.connect(alice, bob)[0], network.now))
    network.run()
    assert alice.one(Ended).cause is EndCause.NO_ANSWER_FROM_PEER
    assert len(alice.requests("BYE")) == 1
    network.drain()


@pytest.mark.behaviour("W20")
@pytest.mark.behaviour("R9")
def test_no_answer_at_all_doubts_the_flow_then_the_retry_succeeds() -> None:
    network = SipNetwork()
    alice, _ = established(network)
    network.partition(alice)
    alice.reinvite(ModifyCause.RECOVERY)
    network.run(33)
    alice.one(FlowSuspect)
    network.partition(alice, up=True)
    network.run(40)
    alice.one(Modified)
    invites = alice.requests("INVITE")
    assert len({request.headers.get("CSeq") for request in invites}) == len(invites)
    alice.hangup()
    network.drain()


def test_a_reinvite_that_only_gets_provisional_responses_is_cut_off() -> None:
    network = SipNetwork()
    alice, bob = established(network, limits=Limits(description_s=100))
    bob.auto_supply = False
    alice.reinvite(ModifyCause.RECOVERY)
    network.run(33)
    assert len(alice.requests("CANCEL")) == 1
    alice.one(FlowSuspect)
    bob.auto_supply = True
    network.run(40)
    assert alice.one(Modified).causes == (ModifyCause.RECOVERY,)
    bob.hangup()
    network.drain()


def test_peer_without_update_is_refreshed_by_reinvite_after_a_405() -> None:
    network = SipNetwork()
    alice, bob = established(network)
    _answer_instead(network, bob, alice, 405, [("Allow", "INVITE, ACK")])
    alice.reinvite(use_update=True)
    network.run()
    alice.one(Modified)
    assert len(alice.requests("UPDATE")) == 1
    assert len(alice.requests("INVITE")) == 2


def test_offerless_reinvite_is_offered_in_the_200_and_answered_in_the_ack() -> None:
    network = SipNetwork()
    alice, bob = established(network)
    invite = alice.requests("INVITE")[0]
    dialog_tag = bob.responses(200)[0].headers.get("To") or ""
    request = Request("INVITE", invite.uri, invite.headers.copy())
    request.headers.set("To", dialog_tag)
    request.headers.set("CSeq", "50 INVITE")
    request.headers.set("Via", "SIP/2.0/WS x.invalid;branch=z9hG4bKoffer")
    request.headers.remove("Content-Type")
    _inject(network, alice, bob, request)
    assert bob.all(DescriptionWanted)[-1].kind is DescriptionKind.OFFER
    ack = Request("ACK", invite.uri, request.headers.copy(), b"their answer")
    ack.headers.set("CSeq", "50 ACK")
    ack.headers.set("Via", "SIP/2.0/WS x.invalid;branch=z9hG4bKack")
    ack.headers.set("Content-Type", "application/sdp")
    _inject(network, alice, bob, ack)
    assert bob.all(AnswerReceived)[-1].description == b"their answer"
    bob.one(RemoteModified)


def test_bye_during_reinvite_ends_once() -> None:
    network = SipNetwork()
    alice, bob = established(network)
    bob.auto_supply = False
    alice.reinvite()
    network.run(0.1)
    bob.hangup()
    assert len(bob.responses(487)) == 1
    network.run()
    alice.one(Ended)
    bob.one(Ended)
    network.drain()


def test_bye_that_crosses_a_reinvite() -> None:
    network = SipNetwork()
    alice, bob = established(network)
    alice.reinvite()
    bob.hangup()
    network.run()
    alice.one(Ended)
    bob.one(Ended)
    network.drain()


def test_hangup_during_our_own_reinvite() -> None:
    network = SipNetwork()
    alice, bob = established(network)
    alice.reinvite()
    alice.hangup()
    network.run()
    alice.one(Ended)
    bob.one(Ended)
    network.drain()


def test_cancel_of_a_reinvite_leaves_the_call() -> None:
    network = SipNetwork()
    alice, bob = established(network)
    bob.auto_supply = False
    alice.reinvite()
    network.run(0.1)
    invite = alice.requests("INVITE")[-1]
    cancel = Request("CANCEL", invite.uri, invite.headers.copy())
    cancel.headers.set("CSeq", (invite.headers.get("CSeq") or "").replace("INVITE", "CANCEL"))
    cancel.headers.remove("Content-Type")
    _inject(network, alice, bob, cancel)
    assert len(bob.responses(487)) == 1
    bob.one(DescriptionExpired)
    network.run()
    assert bob.all(Ended) == []
    alice.one(ModifyRefused)


def test_lost_ack_of_a_reinvite_ends_the_call() -> None:
    network = SipNetwork()
    alice, bob = established(network)
    network.drop = lambda sender, message: _method(message, "ACK")
    alice.reinvite()
    network.run(40)
    assert bob.one(Ended).cause is EndCause.NO_ACK
    alice.one(Ended)
    network.drain()
