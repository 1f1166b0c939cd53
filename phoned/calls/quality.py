"""``call.quality`` for every call that is up, each five seconds: one timer for all, none while no call is up. What was
told is kept for a while, as a series."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable
from typing import Protocol

from phoned.clock import WallClock, wall_clock
from phoned.model import QualitySample, StatsView

PERIOD_S = 5.0
KEPT_SAMPLES, KEPT_CALLS = 720, 200
"""An hour of a call, and of so many calls: the oldest go first."""


class Measured(Protocol):
    """A call that is up."""

    @property
    def id(self) -> str: ...

    def stats(self) -> StatsView: ...

    def publish(self, type_: str, **facts: object) -> None: ...


class QualityReports:
    """Driven by its own timer. `wake` when a call was answered; it goes back to sleep when none is up."""

    def __init__(self, calls_up: Callable[[], Iterable[Measured]], *, clock: WallClock = wall_clock) -> None:
        self._calls_up = calls_up
        self._clock = clock
        self._series: OrderedDict[str, deque[QualitySample]] = OrderedDict()
        self._timer: asyncio.TimerHandle | None = None

    def series(self, call: str) -> tuple[QualitySample, ...]:
        """What is kept of a call, oldest first; also after its end."""
        return tuple(self._series.get(call, ()))

    def wake(self) -> None:
        """A call was answered."""
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(PERIOD_S, self._report)

    def close(self) -> None:
        """No more reports."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _report(self) -> None:
        self._timer = None
        calls = tuple(self._calls_up())
        if not calls:
            return
        self.wake()
        for call in calls:
            stats = call.stats()
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
