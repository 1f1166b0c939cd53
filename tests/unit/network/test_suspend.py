"""Time that passed without us, by two clocks."""

from __future__ import annotations

import asyncio
import logging

import pytest

from phoned.network.suspend import Gap, GapKind, Reading, SuspendWatch, gap_between, read_clocks
from tests.support.loop import run_virtual


@pytest.mark.parametrize(
    ("boottime_s", "monotonic_s", "expected"),
    [
        (1.0, 1.0, None),
        (6.0, 1.0, None),
        (64.0, 1.0, Gap(kind=GapKind.SLEPT, seconds=63.0)),
        (6.0, 6.0, None),
        (61.0, 61.0, Gap(kind=GapKind.STALLED, seconds=60.0)),
        (100.0, 61.0, Gap(kind=GapKind.SLEPT, seconds=39.0)),
        (1.0, 60.0, Gap(kind=GapKind.STALLED, seconds=59.0)),
    ],
    ids=["on time", "a short nap", "slept", "a slow machine", "stopped", "both: sleep is named", "no boot clock"],
)
def test_a_gap_is_what_the_clocks_do_not_explain(boottime_s: float, monotonic_s: float, expected: Gap | None) -> None:
    last = Reading(boottime=500.0, monotonic=200.0)
    now = Reading(boottime=500.0 + boottime_s, monotonic=200.0 + monotonic_s)
    assert gap_between(last, now) == expected


@pytest.mark.parametrize(
    ("gap", "text"),
    [
        (Gap(kind=GapKind.SLEPT, seconds=62.7), "resumed after 63 s"),
        (Gap(kind=GapKind.STALLED, seconds=60.0), "ran again after 60 s"),
    ],
)
def test_a_gap_reads_as_a_reason(gap: Gap, text: str) -> None:
    assert str(gap) == text


class Clocks:
    """The loop's time, and what the tests add to it."""

    def __init__(self) -> None:
        self.slept_s = 0.0
        self.stalled_s = 0.0

    def __call__(self) -> Reading:
        monotonic = asyncio.get_running_loop().time() + self.stalled_s
        return Reading(boottime=monotonic + self.slept_s, monotonic=monotonic)


def watch(gaps: list[tuple[float, Gap]], clocks: Clocks, *, fails: bool = False) -> SuspendWatch:
    def on_gap(gap: Gap) -> None:
        gaps.append((asyncio.get_running_loop().time(), gap))
        if fails:
            raise RuntimeError("the listener is ill")

    return SuspendWatch(on_gap, clocks=clocks)


async def run_for(seconds: float, watched: SuspendWatch) -> None:
    try:
        async with asyncio.timeout(seconds):
            await watched.run()
    except TimeoutError:
        pass  # it never ends by itself


def test_a_day_without_a_gap_is_quiet() -> None:
    gaps: list[tuple[float, Gap]] = []
    run_virtual(run_for(86_400, watch(gaps, Clocks())))
    assert gaps == []


@pytest.mark.behaviour("W27")
@pytest.mark.parametrize("fails", [False, True], ids=["", "with a listener that fails"])
def test_each_gap_is_told_once_within_a_second(fails: bool, caplog: pytest.LogCaptureFixture) -> None:
    gaps: list[tuple[float, Gap]] = []
    clocks = Clocks()

    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.call_later(10.5, lambda: setattr(clocks, "slept_s", 3600.0))
        loop.call_later(20.5, lambda: setattr(clocks, "stalled_s", 60.0))
        await run_for(60, watch(gaps, clocks, fails=fails))

    with caplog.at_level(logging.INFO):
        run_virtual(main())
    assert [(round(at - 1000), gap.kind, round(gap.seconds)) for at, gap in gaps] == [
        (11, GapKind.SLEPT, 3600),
        (21, GapKind.STALLED, 60),
    ]
    assert "this phone resumed after 3600 s" in caplog.text
    assert ("the listener for gaps failed" in caplog.text) is fails


def test_a_nudge_has_the_clocks_read_at_once_and_the_gap_told_once() -> None:
    gaps: list[tuple[float, Gap]] = []
    clocks = Clocks()
    watched = watch(gaps, clocks)

    def wake() -> None:
        clocks.slept_s = 60.0
        watched.nudge()

    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.call_later(10.25, wake)
        loop.call_later(20.0, watched.nudge)
        await run_for(30, watched)

    run_virtual(main())
    ((at, gap),) = gaps
    assert (at, gap.kind) == (1010.25, GapKind.SLEPT)


def test_a_wall_clock_that_jumps_is_no_gap() -> None:
    """Neither clock is the wall clock: setting the time is not sleeping."""
    first, second = read_clocks(), read_clocks()
    assert second.monotonic >= first.monotonic
    assert gap_between(first, second, tick_s=0.0) is None
