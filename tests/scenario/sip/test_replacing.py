"""Calls in the place of others: attended transfers and INVITEs with Replaces (RFC 3891, RFC 5589)."""

from __future__ import annotations

import pytest

from phoned.errors import WrongState
from phoned.sip.accessors import refer_to
from phoned.sip.events import Answered, IncomingCall, ModifyCause, Referred
from phoned.sip.extension_fields import Replaces
from tests.scenario.sip.test_requests import send
from tests.scenario.sip.test_transfers import a_call, altering, refer
from tests.support.sip_calls import ringing
from tests.support.sip_network import Phone, SipNetwork


def _attended(network: SipNetwork) -> tuple[Phone, Phone, str, str]:
    """Alice has a call with Bob and one with Carol, who is Bob's user agent too."""
    alice, bob = a_call(network)
    first = alice.session
    second = alice.call()
    network.run()
    bob.answer()
    network.run()
    return alice, bob, first, second


def test_an_attended_transfer_names_the_other_dialog_as_its_far_end_sees_it() -> None:
    network = SipNetwork()
    alice, bob, first, second = _attended(network)
    alice.take(alice.ua.refer(first, network.now, instead_of=second)[1])
    network.run()
    asked = bob.one(Referred)
    far = bob.all(Answered)[-1]
    assert asked.replaces is not None
    named = Replaces.parse(asked.replaces)
    assert (named.call_id, named.to_tag, named.from_tag) == (far.call_id, far.local_tag, far.remote_tag)
    assert asked.target == "sip:bob@example.com"


def test_a_far_end_with_a_gruu_is_named_by_it() -> None:
    network = SipNetwork()
    network.alter = altering(
        lambda sender, message: sender == "bob" and "Contact" in message.headers,
        lambda message: message.headers.set("Contact", "<sip:bob@example.com;gr=urn:uuid:1>"),
    )
    alice, _, first, second = _attended(network)
    alice.take(alice.ua.refer(first, network.now, instead_of=second)[1])
    field = refer_to(alice.requests("REFER")[0])
    assert field is not None
    assert str(field.uri.without_headers()) == "sip:bob@example.com;gr=urn:uuid:1"


def test_only_a_call_that_is_up_can_be_transferred_to() -> None:
    network = SipNetwork()
    alice, _ = a_call(network)
    first = alice.session
    second = alice.call()
    with pytest.raises(WrongState):
        alice.ua.refer(first, network.now, instead_of=second)


def _replaces(answered: Answered, suffix: str = "") -> str:
    return f"Replaces: {answered.call_id};to-tag={answered.local_tag};from-tag={answered.remote_tag}{suffix}\n"


def test_an_invite_takes_the_place_of_a_call() -> None:
    network = SipNetwork()
    _, bob = a_call(network)
    answered = bob.one(Answered)
    assert send(network, bob, "INVITE", extra=_replaces(answered) + "Require: replaces\n").status == 100
    newest = bob.all(IncomingCall)[-1]
    assert newest.replaces == answered.session


@pytest.mark.parametrize(
    ("line", "status"),
    [
        ("Replaces: nobody;to-tag=1;from-tag=2\n", 481),
        ("Replaces: nobody;to-tag=1\n", 400),
        ("Replaces: a;to-tag=1;from-tag=2\nReplaces: b;to-tag=1;from-tag=2\n", 400),
    ],
)
def test_an_invite_for_the_place_of_an_unknown_call_is_refused(line: str, status: int) -> None:
    network = SipNetwork()
    _, bob = a_call(network)
    assert send(network, bob, "INVITE", extra=line).status == status
    assert len(bob.all(IncomingCall)) == 1


def test_both_tags_must_be_right() -> None:
    network = SipNetwork()
    _, bob = a_call(network)
    answered = bob.one(Answered)
    line = f"Replaces: {answered.call_id};to-tag={answered.local_tag};from-tag=guessed\n"
    assert send(network, bob, "INVITE", extra=line).status == 481


def test_an_early_only_replacement_comes_too_late_once_answered() -> None:
    network = SipNetwork()
    _, bob = a_call(network)
    assert send(network, bob, "INVITE", extra=_replaces(bob.one(Answered), ";early-only")).status == 486


def test_a_call_that_rings_here_cannot_be_taken_and_one_that_rings_there_can() -> None:
    network = SipNetwork()
    alice, bob = ringing(network)
    invite = alice.requests("INVITE")[0]
    tag = (invite.headers.get("From") or "").partition(";tag=")[2]
    theirs = (bob.responses(180)[0].headers.get("To") or "").partition(";tag=")[2]
    call_id = invite.headers.get("Call-ID")
    at_bob = f"Replaces: {call_id};to-tag={theirs};from-tag={tag}\n"
    at_alice = f"Replaces: {call_id};to-tag={tag};from-tag={theirs};early-only\n"
    assert send(network, bob, "INVITE", extra=at_bob).status == 481
    assert send(network, alice, "INVITE", uri="sip:alice@example.com", extra=at_alice).status == 100
    assert alice.one(IncomingCall).replaces == alice.all(IncomingCall)[0].replaces is not None


def test_a_call_that_has_just_ended_is_declined() -> None:
    network = SipNetwork()
    _, bob = a_call(network)
    answered = bob.one(Answered)
    bob.hangup()
    assert send(network, bob, "INVITE", extra=_replaces(answered)).status == 603


def test_a_refer_for_a_call_that_ended_is_refused() -> None:
    network = SipNetwork()
    alice, bob = a_call(network)
    network.drop = lambda sender, message: sender == "bob"
    bob.hangup()
    alice.reinvite(ModifyCause.HOLD)
    refer(alice)
    network.run(0.2)
    assert bob.responses(481) != []
    assert bob.all(Referred) == []
