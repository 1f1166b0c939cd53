"""Whether the process is well enough to say so: the decision, and the task that takes it again and again.

The service manager's watchdog is fed only while the loop runs and everything that is due runs on it: a process that is
merely alive is not a phone. Owns nothing but its own due time. What else is watched is given as functions that tell
when something is due (`Due`); how to feed is given, too.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping

log = logging.getLogger(__name__)

MAX_LAG_S = 5.0
"""Whoever runs later than this is not well."""
BEATS = 4
"""How often the watchdog is looked at within its period: one late beat does not end the phone."""

Due = Callable[[], float | None]
"""When something should run next, in seconds of the loop's clock; None while it has nothing to do. A time in the past
that stays there is a thing that stands still."""


def laggard(now: float, due: Mapping[str, float | None], max_lag_s: float = MAX_LAG_S) -> str | None:
    """The name of what lags most, when its lag reaches ``max_lag_s``; None when all is well."""
    lags = {name: now - moment for name, moment in due.items() if moment is not None}
    worst = max(lags, key=lags.__getitem__, default=None)
    return worst if worst is not None and lags[worst] >= max_lag_s else None


class Watchdog:
    """Calls ``feed`` some times per ``period_s`` while all is well. Driven by a task that runs `run`."""

    LOOP = "the event loop"

    def __init__(self, period_s: float, feed: Callable[[], None], watched: Mapping[str, Due]) -> None:
        self._beat_s = period_s / BEATS
        self._max_lag_s = min(MAX_LAG_S, period_s / 2)
        self._feed = feed
        self._watched = watched
        self._hungry = False

    async def run(self) -> None:
        """Beat for ever, once at once."""
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            self.beat(due, loop.time())
            due = loop.time() + self._beat_s
            await asyncio.sleep(self._beat_s)

    def beat(self, due: float, now: float) -> bool:
        """Feed, or say once why not. ``due`` is when this should have run. Returns whether it fed."""
        late = laggard(now, {self.LOOP: due} | {name: when() for name, when in self._watched.items()}, self._max_lag_s)
        if late is None:
            if self._hungry:
                log.info("the watchdog is fed again")
            self._hungry = False
            self._feed()
            return True
        if not self._hungry:
            log.error("%s is more than %g s late: the watchdog is not fed", late, self._max_lag_s)
        self._hungry = True
        return False
