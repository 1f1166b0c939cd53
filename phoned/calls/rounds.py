"""One timer for the watch over all calls: no task and no timer of its own per call."""

from __future__ import annotations

import asyncio
import logging
from typing import Protocol

log = logging.getLogger(__name__)

TOGETHER_S = 0.02
"""Who is due within so short a time is looked at in the same round."""


class Watched(Protocol):
    """Somebody who wants to be looked at."""

    def reconsider(self) -> None:
        """The time that it named has come."""
        ...


class Rounds:
    """Driven by `at` and by its own timer; sleeps while nobody has named a time."""

    def __init__(self) -> None:
        self._due: dict[Watched, float] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._walking = False

    def __len__(self) -> int:
        return len(self._due)

    def at(self, member: Watched, when: float) -> None:
        """Look at ``member`` then, and forget the time it named before."""
        self._due[member] = when
        if not self._walking and (self._timer is None or when < self._timer.when()):
            self._arm()

    def leave(self, member: Watched) -> None:
        """Never again."""
        if self._due.pop(member, None) is not None and not self._due:
            self._arm()

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None
        if self._due:
            self._timer = asyncio.get_running_loop().call_at(min(self._due.values()), self._walk)

    def _walk(self) -> None:
        self._timer, self._walking = None, True
        horizon = asyncio.get_running_loop().time() + TOGETHER_S
        due = [member for member, when in self._due.items() if when <= horizon]
        for member in due:
            del self._due[member]
        try:
            for member in due:
                try:
                    member.reconsider()
                except Exception:
                    log.exception("a round over the calls failed for one of them")
        finally:
            self._walking = False
            self._arm()
