from __future__ import annotations

from datetime import UTC, datetime

import pytest

from phoned.services.webhooks.schedule import (
    JITTER,
    RETRY_AFTER_MAX_S,
    TABLE_S,
    Schedule,
    Verdict,
    retry_after_s,
    verdict_of,
)

NOW = datetime(2026, 11, 21, 10, 0, 0, tzinfo=UTC)


def shortest(low: float, high: float) -> float:
    return low


def longest(low: float, high: float) -> float:
    return high


def test_the_table_is_that_of_the_specification() -> None:
    assert [Schedule().wait_s(step, shortest) for step in range(11)] == [*TABLE_S, None]
    assert len(TABLE_S) == 10
    assert round(sum(TABLE_S) / 3600, 1) == 75.6


def test_jitter_makes_a_wait_longer_and_never_shorter() -> None:
    assert Schedule().wait_s(1, longest) == 5.0 * (1 + JITTER)


def test_retry_after_is_heeded_up_to_a_day() -> None:
    schedule = Schedule()
    assert schedule.wait_s(1, shortest, 60.0) == 60.0
    assert schedule.wait_s(3, shortest, 60.0) == 1800.0
    assert schedule.wait_s(1, shortest, 1e9) == RETRY_AFTER_MAX_S
    assert schedule.wait_s(10, shortest, 60.0) is None


@pytest.mark.parametrize(
    ("status", "verdict"),
    [
        (200, Verdict.DELIVERED),
        (204, Verdict.DELIVERED),
        (299, Verdict.DELIVERED),
        (199, Verdict.FAILED),
        (301, Verdict.FAILED),
        (404, Verdict.FAILED),
        (410, Verdict.GONE),
        (503, Verdict.FAILED),
        (None, Verdict.FAILED),
    ],
)
def test_what_an_answer_means(status: int | None, verdict: Verdict) -> None:
    assert verdict_of(status) is verdict


@pytest.mark.parametrize(
    ("status", "value", "seconds"),
    [
        (503, "120", 120.0),
        (429, " 7 ", 7.0),
        (500, "120", None),
        (503, None, None),
        (503, "soon", None),
        (503, "-5", None),
        (503, "1" * 20, None),
        (503, "\u0663", None),
        (503, "Sat, 21 Nov 2026 10:01:00 GMT", 60.0),
        (503, "Sat, 21 Nov 2026 10:01:00 -0000", 60.0),
        (503, "Sat, 21 Nov 2026 09:00:00 GMT", 0.0),
    ],
)
def test_retry_after_in_both_forms(status: int, value: str | None, seconds: float | None) -> None:
    assert retry_after_s(status, value, NOW) == seconds
