"""The one timer of an account."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable


class Alarm:
    """Armed for one moment at most, on the loop's clock. Driven by its owner."""

    def __init__(self) -> None:
        self._timer: asyncio.TimerHandle | None = None

    def set(self, times: Iterable[float | None], action: Callable[[], None]) -> None:
        """Act at the first of these times that is still to come, instead of when it was to before."""
        self.stop()
        loop = asyncio.get_running_loop()
        ahead = [time for time in times if time is not None and time > loop.time()]
        if ahead:
            self._timer = loop.call_at(min(ahead), action)

    def stop(self) -> None:
        """No more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
