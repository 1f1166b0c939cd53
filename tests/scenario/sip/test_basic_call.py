"""Calls between two user agents over a good network."""

from __future__ import annotations

import pytest

from phoned.sip.events import AnswerReceived, Answered, Confirmed, Ended, EndCause, IncomingCall, Party, Progress
from tests.support.sip_network import Phone, SipNetwork


def established(network: SipNetwork) -> tuple[Phone, Phone]:
    alice, bob = network.pair()
    alice.call()
    network.run()
    bob.ring()
    network.run()
    bob.answer()
    network.run()
    return alice, bob


@pytest.mark.parametrize("by_caller", [True, False])
def test_invite_200_ack_bye_from_either_side(by_caller: bool) -> None:
    network = SipNetwork()
    alice, bob = established(network)
    assert bob.one(IncomingCall).has_offer
    assert alice.one(Progress).status == 180
    assert alice.one(AnswerReceived).description == b"answer 1 of bob"
    assert alice.one(Answered).call_id == bob.one(Answered).call_id
    bob.one(Confirmed)
    first, second = (alice, bob) if by_caller else (bob, alice)
    first.hangup()
    assert first.one(Ended).cause is EndCause.BYE
    assert first.one(Ended).by is Party.LOCAL
    network.run()
    assert second.one(Ended).cause is EndCause.BYE
    assert second.one(Ended).by is Party.REMOTE
    assert len(bob.responses(200)) == (2 if by_caller else 1)
    network.drain()
