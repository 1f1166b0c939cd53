"""Stall detection of both directions."""

from __future__ import annotations

import pytest

from phoned.media.stall import InboundStall, OutboundStall, inbound_threshold_s


def test_the_threshold_formula() -> None:
    assert inbound_threshold_s(ptime_s=0.02, jitter_s=0.01, rtt_s=0.05) == 0.6
    assert inbound_threshold_s(ptime_s=0.06, jitter_s=0.2, rtt_s=0.3) == pytest.approx(0.94)
    assert inbound_threshold_s(ptime_s=0.02, jitter_s=0.0, rtt_s=None, dtx=True) == 2.5
    assert inbound_threshold_s(ptime_s=0.02, jitter_s=0.0, rtt_s=3.0, dtx=True) == pytest.approx(3.08)


def test_an_inbound_stall_is_told_once_and_ended_by_a_packet() -> None:
    stall = InboundStall()
    stall.expect(1.0)
    stall.packet(1.1)
    assert stall.next_check() == pytest.approx(1.7)
    assert not stall.check(1.69)
    assert stall.check(1.71)
    assert not stall.check(1.9)
    assert stall.next_check() is None
    assert stall.quiet_s(2.1) == pytest.approx(1.0)
    assert stall.packet(2.2)
    assert not stall.packet(2.22)


def test_nothing_is_watched_before_it_is_expected_or_while_paused() -> None:
    stall = InboundStall(0.6)
    assert not stall.packet(0.0)
    assert not stall.check(100.0)
    assert stall.quiet_s(100.0) == 0.0
    stall.expect(100.0)
    stall.pause()
    assert not stall.check(200.0)
    assert stall.next_check() is None


def test_three_samples_without_a_byte_are_an_outbound_stall() -> None:
    stall = OutboundStall()
    results = [stall.sample(1000, n * 0.1) for n in range(30)]
    assert results.index(True) == 15
    assert results.count(True) == 1
    assert stall.stalled
    assert not stall.sample(1001, 3.1)
    assert not stall.stalled


def test_an_outbound_pause_on_purpose_is_no_stall() -> None:
    stall = OutboundStall()
    assert not any(stall.sample(1000, n * 0.5, expected=n < 2) for n in range(20))
