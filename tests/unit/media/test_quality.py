"""The E-model estimate: its ends, its order and some published values."""

from __future__ import annotations

import pytest

from phoned.media.quality import mos, one_way_delay_s, score


def test_a_perfect_call_is_rated_like_a_good_land_line() -> None:
    assert mos(codec="PCMU", loss=0.0, delay_s=0.05) == pytest.approx(4.38, abs=0.03)


def test_five_percent_loss_costs_g711_about_half_a_point_to_a_point() -> None:
    assert 3.4 < mos(codec="pcmu", loss=0.05, delay_s=0.05) < 4.0


def test_more_loss_more_delay_and_bursts_are_worse() -> None:
    values = [mos(codec="opus", loss=loss / 100, delay_s=0.1) for loss in (0, 1, 3, 10, 30, 100)]
    assert values == sorted(values, reverse=True)
    assert mos(codec="opus", loss=0.0, delay_s=0.4) < mos(codec="opus", loss=0.0, delay_s=0.15)
    assert mos(codec="opus", loss=0.05, delay_s=0.1, burst_ratio=2) < mos(codec="opus", loss=0.05, delay_s=0.1)
    assert mos(codec="strange", loss=0.0, delay_s=0.1) < mos(codec="opus", loss=0.0, delay_s=0.1)


def test_the_scale_ends_at_one_and_four_and_a_half() -> None:
    assert score(-20) == 1.0
    assert score(100) == 4.5
    assert score(1) == 1.0
    assert mos(codec="opus", loss=1.0, delay_s=5.0) == 1.0
    assert mos(codec="opus", loss=-1.0, delay_s=-5.0) == pytest.approx(4.41, abs=0.02)


def test_delay_is_half_the_round_trip_and_what_we_add() -> None:
    assert one_way_delay_s(rtt_s=0.1, jitter_buffer_s=0.04) == pytest.approx(0.1165)
    assert one_way_delay_s(rtt_s=None, jitter_buffer_s=0.04) == pytest.approx(0.0665)
