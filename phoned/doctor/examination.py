"""One examination: parts side by side, a few at a time, told in the order of the configuration.

Nothing outlasts the whole's deadline: what is not done by then was not run. A part that crashes is told as broken, and
takes nothing down with it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Protocol

from phoned.config.load import LoadedConfig
from phoned.doctor import configuration
from phoned.doctor.chain import Chain, verdict
from phoned.doctor.clock import Evidence
from phoned.doctor.parts import Part, Patient, parts_of, parts_without
from phoned.doctor.surroundings import Surroundings
from phoned.model import CheckView, DoctorView
from phoned.tasks import Tasks

log = logging.getLogger(__name__)

DEADLINE_S = 60.0
AT_ONCE = 8


class Hear(Protocol):
    """Who watches the examination."""

    def begins(self, what: str) -> None:
        """This is waited for now."""
        ...

    def found(self, check: CheckView) -> None:
        """This came of a check."""
        ...


class Nobody:
    """Nobody watches."""

    def begins(self, what: str) -> None:
        """Nothing."""

    def found(self, check: CheckView) -> None:
        """Nothing."""


async def examine(
    load: Callable[[], LoadedConfig],
    *,
    in_force: Patient | None = None,
    around: Surroundings | None = None,
    hear: Hear | None = None,
    deadline_s: float = DEADLINE_S,
) -> DoctorView:
    """Look at everything. ``load`` reads the configuration (it blocks); ``in_force`` is what a running phone goes by:
    the file is read all the same, but the other checks look at that. What is broken is told, never raised."""
    around, hear = around or Surroundings(), hear or Nobody()
    until = asyncio.get_running_loop().time() + deadline_s
    checks: list[CheckView] = []

    def tell(chain: Chain) -> None:
        for check in chain.checks:
            checks.append(check)
            hear.found(check)

    hear.begins("configuration")
    first = Chain("configuration", "secrets")
    read = await configuration.check(first, load)
    patient = in_force or read
    tell(first)
    evidence = Evidence(clock=around.clock)
    parts = parts_without(around) if patient is None else parts_of(patient, around, evidence)
    await _run(parts, until, hear, tell)
    if patient is not None:
        clock = Chain("clock")
        evidence.judge(clock)
        tell(clock)
    return verdict(checks)


async def _run(parts: list[Part], until: float, hear: Hear, tell: Callable[[Chain], None]) -> None:
    """Every part, told in order as soon as it and those before it are done."""
    loop = asyncio.get_running_loop()
    places = asyncio.Semaphore(AT_ONCE)

    async def look(part: Part) -> None:
        async with places:
            try:
                await part.work()
            except Exception:
                log.exception("the doctor's look at %s crashed", part.title)
                if part.chain.next is not None:
                    part.chain.failed("the check itself crashed", "report this, with the log")

    def crashed(name: str, error: BaseException) -> None:
        log.critical("%s crashed", name, exc_info=error)

    tasks = Tasks("doctor", crashed)
    try:
        looking = [(part, tasks.spawn(part.title, look(part))) for part in parts]
        for part, task in looking:
            hear.begins(part.title)
            await asyncio.wait([task], timeout=max(0.0, until - loop.time()))
            if not task.done():
                task.cancel()
                await asyncio.wait([task], timeout=1.0)
            part.chain.stop("the time was up")
            tell(part.chain)
    finally:
        await tasks.close()
