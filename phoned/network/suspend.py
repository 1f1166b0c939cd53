"""Notices that the machine slept, or that this process stood still.

Owns a reading of two clocks each second. Knows nothing of networks; what it says is that time passed in which nobody
answered for us: address translators forgot us, servers gave up, timers of ours are late.

* The machine slept: CLOCK_BOOTTIME went on, CLOCK_MONOTONIC did not (clock_gettime(2)).
* The process stood still (SIGSTOP, a paused container, a blocked loop): both went on, the loop did not run.

A virtual machine that is paused whole, with all its clocks, looks like nothing at all: there missed pings must tell.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

logger = logging.getLogger(__name__)

TICK_S = 1.0
THRESHOLD_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """Two clocks at one moment, in seconds: one that counts sleep, one that does not."""

    boottime: float
    monotonic: float


class GapKind(StrEnum):
    """What stood still."""

    SLEPT = "slept"
    STALLED = "stalled"


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """Time that passed without us."""

    kind: GapKind
    seconds: float

    def __str__(self) -> str:
        what = "resumed after" if self.kind is GapKind.SLEPT else "ran again after"
        return f"{what} {self.seconds:.0f} s"


def read_clocks() -> Reading:
    """The machine's clocks. Where there is no CLOCK_BOOTTIME, sleep looks like nothing."""
    monotonic = time.monotonic()
    clock = getattr(time, "CLOCK_BOOTTIME", None)
    return Reading(boottime=monotonic if clock is None else time.clock_gettime(clock), monotonic=monotonic)


def gap_between(last: Reading, now: Reading, *, tick_s: float = TICK_S, threshold_s: float = THRESHOLD_S) -> Gap | None:
    """What happened between two readings that should be ``tick_s`` apart. Pure."""
    ran_s = now.monotonic - last.monotonic
    slept_s = (now.boottime - last.boottime) - ran_s
    if slept_s > threshold_s:
        return Gap(kind=GapKind.SLEPT, seconds=slept_s)
    late_s = ran_s - tick_s
    return Gap(kind=GapKind.STALLED, seconds=late_s) if late_s > threshold_s else None


class SuspendWatch:
    """Reads the clocks each second and reports gaps. Driven by the loop: its owner spawns `run` and cancels it."""

    def __init__(self, on_gap: Callable[[Gap], None], *, clocks: Callable[[], Reading] = read_clocks) -> None:
        self._on_gap = on_gap
        self._clocks = clocks
        self._nudged = asyncio.Event()

    def nudge(self) -> None:
        """Read the clocks now: somebody says that the machine is awake."""
        self._nudged.set()

    async def run(self) -> None:
        """Never returns by itself. What ``on_gap`` raises is logged and goes no further."""
        last = self._clocks()
        while True:
            try:
                async with asyncio.timeout(TICK_S):
                    await self._nudged.wait()
            except TimeoutError:
                pass  # the usual end: nobody said anything
            self._nudged.clear()
            now = self._clocks()
            gap = gap_between(last, now)
            last = now
            if gap is None:
                continue
            logger.info("this phone %s", gap)
            try:
                self._on_gap(gap)
            except Exception:
                logger.exception("the listener for gaps failed")
