"""Whose move it is in offer and answer."""

from __future__ import annotations

import pytest

from phoned.sip.events import DescriptionKind, ModifyCause
from phoned.sip.offer_answer import Carrier, Conflict, OfferAnswer, OfferAnswerState


def _wanted(exchange: OfferAnswer) -> DescriptionKind | None:
    return exchange.wanted


def test_our_offer_from_the_wish_to_the_answer() -> None:
    exchange = OfferAnswer()
    assert exchange.idle
    assert _wanted(exchange) is None
    assert exchange.deadline is None
    exchange.want_offer("t", Carrier.INVITE, 5.0, (ModifyCause.HOLD,))
    assert exchange.deadline == 5.0
    assert _wanted(exchange) is DescriptionKind.OFFER
    assert exchange.holds("t")
    assert not exchange.holds("other")
    exchange.offered("t", Carrier.INVITE)
    assert not exchange.holds("t")
    exchange.answered()
    assert exchange.idle
    assert exchange.established


def test_their_offer_until_our_answer() -> None:
    exchange = OfferAnswer()
    exchange.remote_offered("t", Carrier.UPDATE, 5.0)
    assert exchange.wanted is DescriptionKind.ANSWER
    assert exchange.conflict() is Conflict.BUSY
    exchange.answered()
    assert exchange.conflict() is None


def test_glare_is_an_offer_of_ours_on_the_wire_or_the_first_one_in_the_making() -> None:
    exchange = OfferAnswer()
    exchange.want_offer("t", Carrier.INVITE, 5.0)
    assert exchange.conflict() is Conflict.GLARE
    exchange.offered("t", Carrier.INVITE)
    assert exchange.conflict() is Conflict.GLARE
    exchange.answered()
    exchange.want_offer("u", Carrier.REINVITE, 6.0)
    assert exchange.conflict() is None


def test_withdrawing_leaves_what_was_agreed() -> None:
    exchange = OfferAnswer()
    assert exchange.withdraw() is None
    exchange.offered("t", Carrier.INVITE)
    exchange.answered()
    exchange.offered("u", Carrier.REINVITE)
    withdrawn = exchange.withdraw()
    assert withdrawn is not None
    assert withdrawn.token == "u"
    assert exchange.established
    assert exchange.state is OfferAnswerState.IDLE


def test_an_illegal_move_is_an_error_of_ours() -> None:
    with pytest.raises(AssertionError):
        OfferAnswer().answered()
