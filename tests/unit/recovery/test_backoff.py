"""The delays of each profile, as the recovery page lists them."""

from __future__ import annotations

import random

import pytest

from phoned.assembly import schedule_of
from phoned.config.accounts import AccountConfig
from phoned.recovery.backoff import Backoff, Schedule


def upper(low: float, high: float) -> float:
    return high


def delays(schedule: Schedule, count: int, *, call_up: bool = False) -> list[float]:
    backoff = Backoff(schedule, upper)
    return [backoff.next_delay_s(call_up=call_up) for _ in range(count)]


def test_the_default_retries_at_once_then_doubles_from_one_second_to_the_cap() -> None:
    assert delays(Schedule(), 9) == [0, 1, 2, 4, 8, 16, 32, 60, 60]


def test_each_delay_is_drawn_from_the_upper_half_of_its_window() -> None:
    backoff = Backoff(Schedule(), random.Random(1).uniform)
    drawn = [backoff.next_delay_s() for _ in range(50)]
    assert all(30 <= delay <= 60 for delay in drawn[8:])
    assert len(set(drawn[8:])) > 30


def test_ringcentral_doubles_from_two_without_jitter() -> None:
    schedule = Schedule(first_s=2, base_s=2, cap_s=60, jitter=0.0, hurry_with_call=False)
    assert delays(schedule, 7, call_up=True) == [2, 4, 8, 16, 32, 60, 60]


@pytest.mark.behaviour("L8")
def test_millicast_doubles_from_two_to_thirty_two_without_jitter() -> None:
    profile = {"id": "a", "aor": "sip:a@x", "outbound_proxy": "wss://x/", "profile": "millicast"}
    schedule = schedule_of(AccountConfig.model_validate(profile).recovery)
    for uniform in (min, upper):
        backoff = Backoff(schedule, uniform)
        assert [backoff.next_delay_s(call_up=True) for _ in range(7)] == [0, 2, 4, 8, 16, 32, 32]


@pytest.mark.behaviour("O2")
def test_a_fixed_schedule_keeps_its_interval_after_the_first_retry() -> None:
    assert delays(Schedule(kind="fixed", first_s=0, base_s=3), 4) == [0, 3, 3, 3]


def test_pipe_waits_half_a_second_to_five_and_stops_after_thirty_attempts() -> None:
    backoff = Backoff(Schedule(kind="uniform", base_s=0.5, cap_s=5, max_attempts=30), random.Random(7).uniform)
    drawn = []
    while not backoff.exhausted:
        drawn.append(backoff.next_delay_s())
    assert len(drawn) == 30
    assert all(0.5 <= delay <= 5 for delay in drawn)


def test_a_call_that_is_up_hurries_the_retries() -> None:
    assert delays(Schedule(), 6, call_up=True) == [0, 0.25, 0.5, 1, 1, 1]


@pytest.mark.parametrize("failures", [1, 5])
def test_reset_begins_the_schedule_again(failures: int) -> None:
    backoff = Backoff(Schedule(), upper)
    for _ in range(failures):
        backoff.next_delay_s()
    backoff.reset()
    assert (backoff.failures, backoff.exhausted) == (0, False)
    assert [backoff.next_delay_s() for _ in range(3)] == [0, 1, 2]
