"""``call.quality`` for every call that is up, each five seconds: one timer for all, none while no call is up."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Protocol

from phoned.model import StatsView

PERIOD_S = 5.0


class Measured(Protocol):
    """A call that is up."""

    def stats(self) -> StatsView: ...

    def publish(self, type_: str, **facts: object) -> None: ...


class QualityReports:
    """Driven by its own timer. `wake` when a call was answered; it goes back to sleep when none is up."""

    def __init__(self, calls_up: Callable[[], Iterable[Measured]]) -> None:
        self._calls_up = calls_up
        self._timer: asyncio.TimerHandle | None = None

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
                call.publish(
                    "call.quality",
                    mos=stats.mos,
                    jitter_ms=stats.jitter_ms,
                    loss_pct=stats.loss_pct,
                    rtt_ms=stats.rtt_ms,
                )
