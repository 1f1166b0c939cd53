"""Sessions that a later process takes up, or cancels."""

from __future__ import annotations

import json
from typing import Any

import pytest

from phoned.errors import Gone, InvalidValue, WrongState
from phoned.sip.events import DialogChanged, EndCause, Ended, Progress
from tests.support.sip_calls import ringing
from tests.support.sip_network import Phone, SipNetwork


def calling() -> tuple[SipNetwork, Phone, Phone, dict[str, Any]]:
    """Alice calls, Bob rings; what her journal holds, as it comes back from the disk."""
    network = SipNetwork()
    alice, bob = ringing(network)
    alice.one(DialogChanged)
    assert alice.all(Progress)
    return network, alice, bob, json.loads(json.dumps(alice.ua.snapshot(alice.session)))


def test_a_call_that_rang_when_its_process_died_is_cancelled_with_its_branch() -> None:
    network, alice, bob, snapshot = calling()
    network.cut(alice, tell=True)
    network.phones.remove(alice)
    reborn = network.phone("alice")
    session = reborn.ua.restore("alice", snapshot, network.now)
    assert reborn.ua.left() == [f"{session} ended: [] sent, 0 received, 1 timers"]
    with pytest.raises(Gone):
        reborn.ua.snapshot(session)
    network.connect(reborn, bob)
    network.run()
    (cancel,) = reborn.requests("CANCEL")
    invite = alice.requests("INVITE")[0]
    for name in ("Via", "From", "To", "Call-ID"):
        assert cancel.headers.get(name) == invite.headers.get(name)
    assert cancel.headers.get("CSeq") == "1 CANCEL"
    assert not reborn.all(Ended)
    bob.hangup()
    network.drain()


def test_a_cancel_that_finds_no_flow_is_given_up_in_the_end() -> None:
    network, alice, bob, snapshot = calling()
    network.phones.remove(alice)
    reborn = network.phone("alice")
    reborn.ua.restore("alice", snapshot, network.now)
    with pytest.raises(InvalidValue):
        reborn.ua.restore("alice", snapshot, network.now)  # it is here already
    network.run(301)
    assert len(reborn.ua) == 0
    assert not reborn.requests("CANCEL")
    bob.hangup()


def test_what_is_kept_of_an_invite_holds_no_description_and_no_credentials() -> None:
    *_, snapshot = calling()
    names = {name for name, _ in snapshot["invite"]["headers"]}
    assert names == {"Via", "From", "To", "Call-ID", "CSeq"}


@pytest.mark.parametrize(
    "damage",
    [
        {"uri": None},
        {"uri": "nonsense"},
        {"headers": "x"},
        {"headers": [["Via"]]},
        {"headers": [["Via", 1]]},
        {"headers": []},
    ],
)
def test_a_damaged_invite_is_refused(damage: dict[str, Any]) -> None:
    network, alice, bob, snapshot = calling()
    reborn = network.phone("carol")
    with pytest.raises(InvalidValue):
        reborn.ua.restore("carol", {**snapshot, "invite": {**snapshot["invite"], **damage}}, network.now)
    assert len(reborn.ua) == 0
    alice.hangup()
    bob.hangup()


def test_nothing_is_kept_before_the_invite_and_nothing_of_an_incoming_call() -> None:
    network, alice, bob, _ = calling()
    with pytest.raises(WrongState):
        bob.ua.snapshot(bob.session)
    alice.hangup()
    network.run()
    assert alice.one(Ended).cause is EndCause.CANCELED
