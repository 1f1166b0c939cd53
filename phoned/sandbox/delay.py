"""A delay that keeps the order, as a socket does: nothing overtakes what was said before it."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable


class Delay:
    """One direction of a slow line. Driven by the loop's timers."""

    def __init__(self) -> None:
        self._waiting: deque[Callable[[], object]] = deque()
        self._last_due = 0.0

    def later(self, seconds: float, action: Callable[[], object]) -> None:
        """Do it after so many seconds, and after everything that was asked for before."""
        loop = asyncio.get_running_loop()
        self._last_due = max(loop.time() + seconds, self._last_due)
        self._waiting.append(action)
        loop.call_at(self._last_due, self._next)

    def _next(self) -> None:
        self._waiting.popleft()()
