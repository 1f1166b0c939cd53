"""The 20 ms clock on virtual time."""

from __future__ import annotations

import asyncio
import collections
from itertools import pairwise

import pytest

from phoned.media.clock import CATCH_UP, Lateness, MediaClock
from phoned.media.jitter import Action, Decode, JitterBuffer
from phoned.media.rtp import Packet
from tests.support.loop import run_virtual


class Counter:
    def __init__(self, fail_at: int = -1) -> None:
        self.at: list[float] = []
        self.due: list[float] = []
        self.skipped = 0
        self.error: Exception | None = None
        self._fail_at = fail_at

    def tick(self, now: float, due: float) -> None:
        self.at.append(now)
        self.due.append(due)
        if len(self.at) == self._fail_at:
            raise RuntimeError("broken call")

    def skip(self, ticks: int) -> None:
        self.skipped += ticks

    def crashed(self, error: Exception) -> None:
        self.error = error


def test_every_ticker_ticks_fifty_times_a_second_without_drift() -> None:
    async def main() -> None:
        clock = MediaClock(4)
        tickers = [Counter() for _ in range(6)]
        for ticker in tickers:
            clock.add(ticker)
        await asyncio.sleep(100.001)
        clock.stop()
        assert {len(ticker.at) for ticker in tickers} == {5000}
        for ticker in tickers:
            assert ticker.at[-1] - ticker.at[0] == pytest.approx(4999 * 0.02, abs=1e-6)

    run_virtual(main())


@pytest.mark.parametrize(
    ("calls", "phases"), [(1, [1]), (20, [20]), (21, [20, 1]), (80, [20, 20, 20, 20]), (90, [22, 22, 23, 23])]
)
def test_a_few_calls_share_a_phase_and_many_are_spread(calls: int, phases: list[int]) -> None:
    async def main() -> None:
        clock = MediaClock(4)
        tickers = [Counter() for _ in range(calls)]
        for ticker in tickers:
            clock.add(ticker)
        await asyncio.sleep(0.1)
        clock.stop()
        together = collections.Counter(round((ticker.at[-1] % 0.02) * 1000) % 20 for ticker in tickers)
        assert sorted(together.values()) == sorted(phases)

    run_virtual(main())


def test_a_removed_ticker_is_left_alone_and_an_idle_clock_holds_no_timer() -> None:
    async def main() -> None:
        clock = MediaClock(2)
        one = Counter()
        remove = clock.add(one)
        await asyncio.sleep(0.1)
        remove()
        remove()
        seen = len(one.at)
        await asyncio.sleep(1)
        assert len(one.at) == seen
        again = Counter()
        clock.add(again)
        await asyncio.sleep(0.1)
        assert again.at
        clock.stop()

    run_virtual(main())


def test_a_ticker_may_remove_itself_and_others_while_ticking() -> None:
    async def main() -> None:
        clock = MediaClock(1)
        other = Counter()

        class Leaver(Counter):
            def tick(self, now: float, due: float) -> None:
                super().tick(now, due)
                leave()

        leaver = Leaver()
        leave = clock.add(leaver)
        clock.add(other)
        await asyncio.sleep(0.2)
        clock.stop()
        assert len(leaver.at) == 1
        assert len(other.at) >= 9

    run_virtual(main())


def test_a_broken_call_is_taken_out_and_told_and_the_others_go_on() -> None:
    async def main() -> None:
        clock = MediaClock(1)
        broken, well = Counter(fail_at=3), Counter()
        clock.add(broken)
        clock.add(well)
        await asyncio.sleep(0.2)
        assert isinstance(broken.error, RuntimeError)
        assert len(broken.at) == 3
        assert len(well.at) >= 9
        clock.stop()

    run_virtual(main())


def test_the_last_call_may_break_too() -> None:
    async def main() -> None:
        clock = MediaClock(2)
        broken = Counter(fail_at=1)
        clock.add(broken)
        await asyncio.sleep(0.2)
        assert broken.error is not None
        assert len(broken.at) == 1

    run_virtual(main())


class StallingLoop:
    """Lets virtual time pass as if the loop had been stopped."""

    @staticmethod
    def sleep(seconds: float) -> None:
        loop = asyncio.get_running_loop()
        loop._jumping.now += seconds  # type: ignore[attr-defined]  # the virtual loop of tests/support


@pytest.mark.parametrize("stop_s", [0.07, 0.19])
def test_a_short_stop_of_the_loop_is_made_up_for(stop_s: float) -> None:
    async def main() -> None:
        clock = MediaClock(2)
        ticker = Counter()
        clock.add(ticker)
        await asyncio.sleep(0.1)
        StallingLoop.sleep(stop_s)
        await asyncio.sleep(0.1)
        clock.stop()
        assert len(ticker.at) == pytest.approx((0.2 + stop_s) / 0.02, abs=1)
        assert ticker.skipped == 0
        assert clock.lateness.quantile_ms(1.0) > 50
        assert [after - before for before, after in pairwise(ticker.due)] == pytest.approx(
            [0.02] * (len(ticker.at) - 1)
        )

    run_virtual(main())


def test_a_long_stop_is_skipped_and_told() -> None:
    async def main() -> None:
        clock = MediaClock(2)
        ticker = Counter()
        clock.add(ticker)
        await asyncio.sleep(0.1)
        StallingLoop.sleep(10.0)
        await asyncio.sleep(0.2)
        clock.stop()
        assert ticker.skipped == clock.skipped
        assert ticker.skipped == pytest.approx(500 - CATCH_UP, abs=1)
        assert len(ticker.at) + ticker.skipped == pytest.approx(10.3 / 0.02, abs=2)

    run_virtual(main())


def test_lateness_gives_quantiles_and_forgets() -> None:
    lateness = Lateness()
    assert lateness.quantile_ms(0.5) == 0
    for _ in range(99):
        lateness.add(0.001)
    lateness.add(5.0)
    assert lateness.quantile_ms(0.5) == 1.25
    assert lateness.quantile_ms(1.0) == 100.25
    for _ in range(Lateness.FORGET_AT * 3):
        lateness.add(-0.1)
    assert lateness.quantile_ms(0.9999) == 0.25


class Ear(Counter):
    """Plays what came, by the time that the tick was due."""

    def __init__(self) -> None:
        super().__init__()
        self.jitter = JitterBuffer(8000)
        self.heard: list[Action] = []

    def tick(self, now: float, due: float) -> None:
        self.heard += self.jitter.pop(due, quiet=True)


def test_sound_that_came_while_the_process_stood_still_is_all_played() -> None:
    async def main() -> None:
        loop, clock, ear = asyncio.get_running_loop(), MediaClock(1), Ear()

        def arrives(n: int) -> None:
            ear.jitter.put(Packet(0, n, n * 160, 1, b"sound"), loop.time(), 160)

        for n in range(1_000):
            loop.call_later(0.005 + n * 0.02, arrives, n)  # what comes during a stop is read after it
        clock.add(ear)
        for _ in range(19):
            await asyncio.sleep(0.8)
            StallingLoop.sleep(0.19)
        await asyncio.sleep(0.5)
        clock.stop()
        assert (ear.jitter.dropped, ear.jitter.late, ear.jitter.lost) == (0, 0, 0)
        assert sum(isinstance(action, Decode) for action in ear.heard) > len(ear.heard) - 20

    run_virtual(main())
