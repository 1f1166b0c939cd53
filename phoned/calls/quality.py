"""``call.quality`` for every call that is up, each five seconds: one timer for all, none while no call is up.

What is told is how the call sounded since it was told last; in five seconds in which nothing was heard, nothing is.
Calls that are due together have their turns one after the other: fifty reports at once would stop the sound. What was
told is kept for a while, as a series.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable
from typing import Protocol

from phoned.clock import WallClock, wall_clock
from phoned.model import QualitySample, StatsView

PERIOD_S = 5.0
APART_S = 0.01
"""Between the reports of two calls."""
KEPT_SAMPLES, KEPT_CALLS = 720, 200
"""An hour of a call, and of so many calls: the oldest go first."""


class Measured(Protocol):
    """A call that is up."""

    @property
    def id(self) -> str: ...

    def stats(self, *, sample: bool = False) -> StatsView: ...

    def publish(self, type_: str, **facts: object) -> None: ...


class QualityReports:
    """Driven by its own timer. `wake` when a call was answered; it goes back to sleep when none is up."""

    def __init__(self, calls_up: Callable[[], Iterable[Measured]], *, clock: WallClock = wall_clock) -> None:
        self._calls_up = calls_up
        self._clock = clock
        self._series: OrderedDict[str, deque[QualitySample]] = OrderedDict()
        self._due: dict[str, float] = {}
        self._timer: asyncio.TimerHandle | None = None

    def series(self, call: str) -> tuple[QualitySample, ...]:
        """What is kept of a call, oldest first; also after its end."""
        return tuple(self._series.get(call, ()))

    def wake(self) -> None:
        """A call was answered."""
        self._up()
        self._arm()

    def close(self) -> None:
        """No more reports."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _up(self) -> dict[str, Measured]:
        """The calls that are up; each has its time."""
        now = asyncio.get_running_loop().time()
        calls = {call.id: call for call in self._calls_up()}
        self._due = {name: self._due.get(name, now + PERIOD_S) for name in calls}
        return calls

    def _arm(self, *, after_s: float = 0.0) -> None:
        if self._timer is None and self._due:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_at(max(min(self._due.values()), loop.time() + after_s), self._report)

    def _report(self) -> None:
        self._timer = None
        now = asyncio.get_running_loop().time()
        calls = self._up()
        name = min(self._due, key=self._due.__getitem__, default=None)
        if name is not None and self._due[name] <= now:
            self._due[name] = now + PERIOD_S
            self._tell(calls[name])
        self._arm(after_s=APART_S)

    def _tell(self, call: Measured) -> None:
        stats = call.stats(sample=True)
        if stats.mos is not None:
            self._keep(call.id, stats, stats.mos)
            call.publish(
                "call.quality",
                mos=stats.mos,
                jitter_ms=stats.jitter_ms,
                loss_pct=stats.loss_pct,
                rtt_ms=stats.rtt_ms,
            )

    def _keep(self, call: str, stats: StatsView, mos: float) -> None:
        samples = self._series.setdefault(call, deque(maxlen=KEPT_SAMPLES))
        self._series.move_to_end(call)
        samples.append(
            QualitySample(
                time=self._clock(),
                mos=mos,
                jitter_ms=stats.jitter_ms,
                loss_pct=stats.loss_pct,
                rtt_ms=stats.rtt_ms,
                packets_sent=stats.packets_sent,
                packets_received=stats.packets_received,
            )
        )
        while len(self._series) > KEPT_CALLS:
            self._series.popitem(last=False)
