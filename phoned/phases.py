"""Stopping in phases: each part has its place in the order and its budget, and none can keep the others from stopping.

Parts are named as they come to life, so that a start that fails half-way stops exactly what was started.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import IntEnum

from phoned.tasks import Tasks

log = logging.getLogger(__name__)


class Phase(IntEnum):
    """The order of the end: nothing new, then what talks to others, then what keeps what was said."""

    NETWORK = 1
    CALLS = 2
    ACCOUNTS = 3
    FLOWS = 4
    MEDIA = 5
    EVENTS = 6
    SERVICES = 7
    TASKS = 8
    STORE = 9


_UNHURRIED = frozenset({Phase.EVENTS, Phase.STORE})
"""These wait for this machine's disk alone, and lose what was said when they are cut off."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    phase: Phase
    name: str
    stop: Callable[[], Awaitable[object]]
    budget_s: float


class Phases:
    """What is to be stopped. Filled while things start; `run` stops them, once."""

    def __init__(self) -> None:
        self._parts: list[_Part] = []
        self._tasks = Tasks("stop", self._on_crash)
        self._hurry = asyncio.Event()

    def add(self, phase: Phase, name: str, stop: Callable[[], Awaitable[object]], budget_s: float) -> None:
        """``stop`` shall end ``name``. Within a phase the last one that came goes first."""
        self._parts.append(_Part(phase=phase, name=name, stop=stop, budget_s=budget_s))

    def hurry(self) -> None:
        """Wait for nobody any more: every part gets one turn, and no budget."""
        self._hurry.set()

    async def run(self) -> bool:
        """Stop everything. True when all of it ended cleanly and in time."""
        parts, self._parts = self._parts, []
        clean = True
        for part in sorted(reversed(parts), key=lambda part: part.phase):
            clean = await self._stop(part) and clean
        return clean

    async def _stop(self, part: _Part) -> bool:
        stopping = self._tasks.spawn(part.name, _awaited(part.stop))
        waited_for: set[asyncio.Task[object]] = {stopping}
        if part.phase not in _UNHURRIED:
            waited_for.add(self._tasks.spawn("hurry", self._hurry.wait()))
        await asyncio.wait(waited_for, timeout=part.budget_s, return_when=asyncio.FIRST_COMPLETED)
        for other in waited_for - {stopping}:
            other.cancel()
        if not stopping.done():
            log.warning("%s did not stop in time", part.name)
            stopping.cancel()
            await asyncio.wait({stopping}, timeout=0.1)
            return False
        return stopping.exception() is None

    def _on_crash(self, name: str, error: BaseException) -> None:
        log.error("%s did not stop cleanly", name, exc_info=error)


async def _awaited(stop: Callable[[], Awaitable[object]]) -> None:
    await stop()
