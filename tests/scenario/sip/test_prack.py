"""Reliable provisional responses (RFC 3262), both roles."""

from __future__ import annotations

import dataclasses

import pytest

from phoned.sip.account import AccountParameters
from phoned.sip.events import (
    Answered,
    AnswerReceived,
    DescriptionKind,
    DescriptionWanted,
    EndCause,
    Ended,
    Progress,
)
from phoned.sip.message import Message, Request, Response, serialise
from tests.support.sip_network import Phone, SipNetwork

PARAMETERS = AccountParameters(aor="sip:any@example.com", contact_user="bob", allow_unregistered_incoming=True)


def _called(network: SipNetwork, *, required: bool = False, offerless: bool = False) -> tuple[Phone, Phone]:
    parameters = dataclasses.replace(PARAMETERS, reliable_provisionals="required") if required else PARAMETERS
    alice, bob = network.pair(parameters=parameters)
    alice.call(offerless=offerless)
    network.run()
    return alice, bob


def test_early_media_goes_reliably_and_is_acknowledged() -> None:
    network = SipNetwork()
    alice, bob = _called(network)
    bob.ring(status=183, early_media=True)
    network.run()
    assert alice.one(Progress).reliable
    assert len(alice.requests("PRACK")) == 1
    assert alice.one(AnswerReceived).early
    bob.answer()
    network.run()
    final = alice.all(AnswerReceived)[-1]
    assert (final.early, final.description) == (False, b"answer 1 of bob")
    (ok,) = [response for response in bob.responses(200) if response.headers.get("CSeq") == "1 INVITE"]
    assert ok.body == b""
    alice.hangup()
    network.drain()


def test_without_100rel_early_media_is_repeated_in_the_200() -> None:
    network = SipNetwork()
    alice, bob = network.pair(parameters=dataclasses.replace(PARAMETERS, reliable_provisionals="never"))
    alice.call()
    network.run()
    bob.ring(status=183, early_media=True)
    network.run()
    assert not alice.one(Progress).reliable
    assert alice.requests("PRACK") == []
    bob.answer()
    network.run()
    assert [event.description for event in alice.all(AnswerReceived)] == [b"answer 1 of bob"] * 2
    alice.hangup()
    network.drain()


def test_required_100rel_makes_each_provisional_response_reliable_and_in_order() -> None:
    network = SipNetwork()
    alice, bob = _called(network, required=True)
    bob.ring()
    bob.ring(status=181)
    bob.ring(status=182)
    network.run()
    assert [event.status for event in alice.all(Progress)] == [180, 181, 182]
    numbers = [int(str(prack.headers.get("RAck")).split()[0]) for prack in alice.requests("PRACK")]
    assert numbers == list(range(numbers[0], numbers[0] + 3))
    bob.answer()
    network.run()
    alice.one(Answered)
    bob.hangup()
    network.drain()


def test_lost_prack_makes_the_response_come_again_but_be_told_once() -> None:
    network = SipNetwork()
    alice, bob = _called(network)
    lost: list[Message] = []

    def drop(sender: str, message: Message) -> bool:
        if isinstance(message, Request) and message.method == "PRACK" and len(lost) < 1:
            lost.append(message)
            return True
        return False

    network.drop = drop
    bob.ring(status=183, early_media=True)
    network.run(4)
    assert len(alice.all(Progress)) == 1
    assert len(bob.responses(183)) > 1
    alice.hangup()
    network.drain()


def test_prack_that_never_comes_refuses_the_call() -> None:
    network = SipNetwork()
    alice, bob = _called(network)
    network.drop = lambda sender, message: isinstance(message, Request) and message.method == "PRACK"
    bob.ring(status=183, early_media=True)
    network.run(40)
    assert bob.one(Ended).cause is EndCause.TIMEOUT
    assert alice.one(Ended).status == 504
    network.drain()


def test_answer_waits_for_the_prack_of_a_description() -> None:
    network = SipNetwork()
    alice, bob = _called(network)
    bob.ring(status=183, early_media=True)
    bob.answer()
    assert bob.responses(200) == []
    network.run()
    alice.one(Answered)
    alice.hangup()
    network.drain()


def test_answer_overtakes_ringing_that_waits() -> None:
    network = SipNetwork()
    alice, bob = _called(network, required=True)
    bob.ring()
    bob.ring(status=181)
    bob.answer()
    network.run()
    alice.one(Answered)
    alice.hangup()
    network.drain()


def test_offerless_call_with_required_100rel_offers_in_the_180_and_answers_in_the_prack() -> None:
    network = SipNetwork()
    alice, bob = _called(network, required=True, offerless=True)
    bob.ring()
    assert bob.one(DescriptionWanted).kind is DescriptionKind.OFFER
    network.run()
    assert alice.one(DescriptionWanted).remote == b"offer 1 of bob"
    assert bob.one(AnswerReceived).description == b"answer 1 of alice"
    bob.answer()
    network.run()
    alice.one(Answered)
    alice.hangup()
    network.drain()


def test_offer_in_a_180_that_our_media_cannot_answer_gives_the_call_up() -> None:
    network = SipNetwork()
    alice, bob = _called(network, required=True, offerless=True)
    alice.auto_supply = False
    bob.ring()
    network.run()
    alice.take(alice.ua.refuse(alice.one(DescriptionWanted).token, 488, network.now))
    network.run()
    alice.one(Ended)
    bob.one(Ended)
    network.drain()


@pytest.mark.parametrize("answered", [True, False])
def test_offer_in_a_prack_is_answered_in_its_200(answered: bool) -> None:
    network = SipNetwork()
    alice, bob = _called(network)

    def extend(sender: str, message: Message) -> bool:
        if isinstance(message, Request) and message.method == "PRACK" and not message.body:
            changed = Request("PRACK", message.uri, message.headers.copy(), b"new offer")
            changed.headers.set("Content-Type", "application/sdp")
            bob.auto_supply = False
            bob.take(bob.ua.receive(bob.flows[0], serialise(changed), network.now))
            return True
        return False

    network.drop = extend
    bob.ring(status=183, early_media=True)
    network.run(0.5)
    wanted = bob.all(DescriptionWanted)[-1]
    assert wanted.remote == b"new offer"
    if answered:
        bob.supply(wanted)
    else:
        bob.take(bob.ua.refuse(wanted.token, 488, network.now))
    bob.auto_supply = True
    responses = [message for message in bob.sent if isinstance(message, Response)]
    assert responses[-1].status == (200 if answered else 488)
    bob.answer()
    network.run()
    alice.one(Answered)
    alice.hangup()
    network.drain()


def test_prack_for_nothing_is_answered_481_and_without_rack_400() -> None:
    network = SipNetwork()
    alice, bob = _called(network)
    bob.ring()
    network.run()
    invite = alice.requests("INVITE")[0]
    prack = Request("PRACK", invite.uri, invite.headers.copy())
    prack.headers.set("To", bob.responses(180)[0].headers.get("To") or "")
    prack.headers.remove("Content-Type")
    for number, rack, status in ((2, "1 1 INVITE", 481), (3, None, 400)):
        prack.headers.set("CSeq", f"{number} PRACK")
        prack.headers.set("Via", f"SIP/2.0/WS x.invalid;branch=z9hG4bK{number}")
        prack.headers.remove("RAck")
        if rack is not None:
            prack.headers.add("RAck", rack)
        bob.take(bob.ua.receive(bob.flows[0], serialise(prack), network.now))
        assert len(bob.responses(status)) == 1
    alice.hangup()
    network.drain()


def test_update_in_an_early_dialog_once_the_first_exchange_is_done() -> None:
    network = SipNetwork()
    alice, bob = _called(network)
    bob.ring(status=183, early_media=True)
    network.run()
    invite = alice.requests("PRACK")[0]
    update = Request("UPDATE", invite.uri, invite.headers.copy(), b"early update")
    update.headers.set("CSeq", "7 UPDATE")
    update.headers.set("Via", "SIP/2.0/WS x.invalid;branch=z9hG4bKupdate")
    update.headers.remove("RAck")
    update.headers.set("Content-Type", "application/sdp")
    bob.take(bob.ua.receive(bob.flows[0], serialise(update), network.now))
    assert bob.all(DescriptionWanted)[-1].remote == b"early update"
    bob.answer()
    network.run()
    alice.one(Answered)
    bob.hangup()
    network.drain()


def test_update_with_an_offer_before_the_first_answer_gets_500() -> None:
    network = SipNetwork()
    alice, bob = _called(network)
    bob.ring()
    network.run()
    invite = alice.requests("INVITE")[0]
    update = Request("UPDATE", invite.uri, invite.headers.copy(), b"too early")
    update.headers.set("To", bob.responses(180)[0].headers.get("To") or "")
    update.headers.set("CSeq", "7 UPDATE")
    update.headers.set("Via", "SIP/2.0/WS x.invalid;branch=z9hG4bKupdate")
    bob.take(bob.ua.receive(bob.flows[0], serialise(update), network.now))
    (refusal,) = bob.responses(500)
    assert refusal.headers.get("Retry-After") is not None
    alice.hangup()
    network.drain()


def test_prack_that_comes_after_the_end_is_answered_481_and_wakes_nothing_up() -> None:
    network = SipNetwork()
    alice, bob = _called(network, required=True)
    bob.ring()
    bob.ring(status=181)
    network.run(0.02)  # the 180 arrives, its PRACK is under way
    bob.reject()
    network.run()
    assert len(alice.requests("PRACK")) == 1
    assert len(bob.responses(481)) == 1
    alice.one(Ended)
    network.drain()
