"""The jitter buffer against simulated networks: the figures that a listener would notice."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest

from phoned.media.jitter import Conceal, ConcealWithFec, Decode, JitterBuffer, Silence
from phoned.media.rtp import Packet

CLOCK = 8000


@dataclass(slots=True)
class Heard:
    """What a simulated call played: per tick the names of its actions, and each played packet's delay in seconds."""

    ticks: list[str] = field(default_factory=list)
    delays: list[float] = field(default_factory=list)
    played: list[int] = field(default_factory=list)

    def count(self, name: str) -> int:
        return sum(tick.count(name) for tick in self.ticks)


NAMES = {Decode: "D", Conceal: "C", ConcealWithFec: "F", Silence: "S"}


def simulate(
    arrivals: Iterator[tuple[float, int, int]],
    *,
    seconds: float,
    phase: float = 0.013,
    quiet: Callable[[float], bool] = lambda now: False,
    ptime_ms: int = 20,
    buffer: JitterBuffer | None = None,
    tick_skew: float = 0.0,
) -> tuple[JitterBuffer, Heard]:
    """``arrivals``: (arrival time, sequence, timestamp) in any order. The sending time is timestamp / CLOCK."""
    jitter = buffer or JitterBuffer(CLOCK)
    heard = Heard()
    coming = sorted(arrivals)
    at = 0
    duration = CLOCK * ptime_ms // 1000
    for number in range(int(seconds * 50)):
        now = phase + number * 0.02 * (1 + tick_skew)
        while at < len(coming) and coming[at][0] <= now:
            arrival, sequence, timestamp = coming[at]
            payload = timestamp.to_bytes(8, "big")
            jitter.put(Packet(0, sequence & 0xFFFF, timestamp & 0xFFFFFFFF, 7, payload), arrival, duration)
            at += 1
        actions = jitter.pop(now, quiet=quiet(now))
        heard.ticks.append("".join(NAMES[type(action)] for action in actions))
        for action in actions:
            if isinstance(action, Decode):
                timestamp = int.from_bytes(action.payload, "big")
                heard.played.append(timestamp)
                heard.delays.append(now - timestamp / CLOCK)
    return jitter, heard


def stream(
    count: int,
    *,
    lose: Callable[[int], bool] = lambda n: False,
    delay: Callable[[int], float] = lambda n: 0.0,
    ptime_ms: int = 20,
) -> Iterator[tuple[float, int, int]]:
    for n in range(count):
        if not lose(n):
            yield n * ptime_ms / 1000 + delay(n), n, n * CLOCK * ptime_ms // 1000


@pytest.mark.parametrize("phase", [0.0, 0.001, 0.010, 0.0199])
def test_a_clean_path_settles_at_forty_ms_or_less_and_plays_everything(phase: float) -> None:
    jitter, heard = simulate(stream(500), seconds=9.9, phase=phase)
    assert jitter.target_s == pytest.approx(0.04)
    assert max(heard.delays) <= 0.0401
    assert jitter.lost == jitter.late == jitter.dropped == jitter.inserted == jitter.underruns == 0
    assert heard.played == [n * 160 for n in range(len(heard.played))]
    assert len(heard.played) > 490


@pytest.mark.parametrize("phase", [0.0, 0.001, 0.010, 0.0199])
def test_one_lost_packet_is_concealed_once_and_leaves_the_delay_as_it_was(phase: float) -> None:
    jitter, heard = simulate(stream(200, lose=lambda n: n == 100), seconds=3.9, phase=phase)
    assert jitter.lost == 1
    assert heard.count("C") + heard.count("F") == 1
    assert max(heard.delays) - min(heard.delays) < 1e-6


def test_the_lost_packet_is_offered_its_copy_in_the_next_one() -> None:
    jitter, heard = simulate(stream(200, lose=lambda n: n == 100), seconds=3.9)
    assert heard.count("F") == 1
    assert jitter.underruns == 0


def test_two_percent_loss_conceals_two_percent_and_never_grows() -> None:
    chance = random.Random(4)
    gone = {n for n in range(20, 3000) if chance.random() < 0.02}
    jitter, heard = simulate(stream(3000, lose=gone.__contains__), seconds=59.9)
    assert jitter.lost == len(gone)
    assert heard.count("C") + heard.count("F") == pytest.approx(len(gone), abs=2)
    assert max(heard.delays) < 0.0405
    assert len(heard.played) >= 2990 - len(gone)


def test_burst_loss_of_five_is_covered_and_the_delay_stays() -> None:
    jitter, heard = simulate(stream(300, lose=lambda n: 100 <= n < 105), seconds=5.9)
    assert jitter.lost == 5
    assert heard.count("C") + heard.count("F") == 5
    assert max(heard.delays) - min(heard.delays) < 1e-6


@pytest.mark.parametrize("spread_ms", [10, 30, 60, 120])
def test_random_jitter_raises_the_target_until_hardly_a_packet_is_late(spread_ms: int) -> None:
    chance = random.Random(5)
    jitter, heard = simulate(stream(3000, delay=lambda n: chance.uniform(0, spread_ms / 1000)), seconds=59.9)
    assert jitter.target_s <= 0.2
    assert jitter.target_s >= spread_ms / 1000 * 0.9
    bad = sum("C" in tick or "F" in tick for tick in heard.ticks[200:])
    assert bad / len(heard.ticks) < 0.02
    assert heard.played == sorted(heard.played)


def test_reordering_within_the_depth_is_not_heard() -> None:
    jitter, heard = simulate(stream(500, delay=lambda n: 0.03 if n % 7 == 0 else 0.0), seconds=9.9)
    assert heard.played == sorted(heard.played)
    assert jitter.lost <= 2
    assert heard.count("C") + heard.count("F") <= 4


def test_a_stall_of_the_path_is_absorbed_and_the_delay_comes_back_down() -> None:
    def delay(n: int) -> float:  # 200 ms of packets arrive together
        return (110 - n) * 0.02 if 100 <= n < 110 else 0.0

    jitter, heard = simulate(stream(1500, delay=delay), seconds=29.9, quiet=lambda now: int(now * 10) % 4 == 0)
    assert jitter.lost == 0
    assert heard.delays[-1] <= 0.045
    assert jitter.dropped >= 1


def test_without_any_silence_the_delay_still_comes_down() -> None:
    jitter, heard = simulate(stream(3000, delay=lambda n: (110 - n) * 0.02 if 100 <= n < 110 else 0.0), seconds=59.9)
    assert heard.delays[-1] <= 0.045 + 0.06
    assert jitter.dropped >= 1


@pytest.mark.parametrize("skew", [700e-6, -700e-6])
def test_clock_drift_is_absorbed_in_silence(skew: float) -> None:
    jitter, heard = simulate(stream(12000), seconds=239, quiet=lambda now: int(now * 10) % 4 == 0, tick_skew=skew)
    assert max(heard.delays) < 0.075
    assert heard.count("C") + heard.count("F") <= 12
    if skew > 0:
        assert jitter.dropped >= 8
    assert jitter.lost == 0


def test_a_path_that_becomes_slower_costs_a_short_hole_not_the_call() -> None:
    jitter, heard = simulate(stream(1000, delay=lambda n: 0.15 if n >= 300 else 0.0), seconds=19.9)
    assert jitter.late == 0
    assert heard.count("C") + heard.count("F") + heard.ticks[300:].count("S") <= 12
    assert len(heard.played) >= 980


@pytest.mark.parametrize("ptime_ms", [10, 30, 40, 60])
def test_other_packet_lengths_play_without_a_hole(ptime_ms: int) -> None:
    jitter, heard = simulate(stream(600, ptime_ms=ptime_ms), seconds=600 * ptime_ms / 1000 - 0.1, ptime_ms=ptime_ms)
    assert heard.count("C") + heard.count("F") == 0
    assert jitter.underruns == jitter.dropped == 0
    assert len(heard.played) >= 592 - 100 // ptime_ms


@pytest.mark.parametrize("ptime_ms", [10, 30, 40, 60])
def test_a_lost_packet_of_another_length_is_covered_for_its_whole_time(ptime_ms: int) -> None:
    jitter, heard = simulate(
        stream(200, ptime_ms=ptime_ms, lose=lambda n: n == 100),
        seconds=200 * ptime_ms / 1000 - 0.1,
        ptime_ms=ptime_ms,
    )
    assert jitter.lost == 1
    covered = 20 * (heard.count("C") + heard.count("F") + sum("S" in tick for tick in heard.ticks[20:]))
    assert abs(covered - ptime_ms) <= 20
    assert heard.delays[-1] - heard.delays[50] <= 0.0201


@pytest.mark.parametrize("phase", [0.0, 0.001, 0.005, 0.010, 0.0199])
def test_on_a_lossy_path_the_next_packet_is_waited_for_while_it_carries_copies(phase: float) -> None:
    chance = random.Random(4)
    gone = {n for n in range(20, 6000) if chance.random() < 0.03}
    single = sum(n - 1 not in gone and n + 1 not in gone for n in gone)
    jittery = stream(6000, lose=gone.__contains__, delay=lambda n: chance.uniform(0, 0.008))
    buffer = JitterBuffer(CLOCK, copies=True)
    jitter, heard = simulate(
        jittery, seconds=119.9, phase=phase, quiet=lambda now: int(now * 10) % 9 == 0, buffer=buffer
    )
    assert heard.count("F") >= 0.97 * single
    assert jitter.target_s <= 0.055


def test_the_wait_for_copies_ends_some_time_after_the_last_loss() -> None:
    buffer = JitterBuffer(CLOCK, copies=True)
    jittery = stream(3000, lose=lambda n: n == 100, delay=lambda n: 0.008 * (n % 2))
    targets: list[float] = []

    def quiet(now: float) -> bool:
        targets.append(buffer.target_s)
        return True

    simulate(jittery, seconds=59.9, buffer=buffer, quiet=quiet)
    assert max(targets) == pytest.approx(0.053)
    assert buffer.target_s == pytest.approx(0.04)
