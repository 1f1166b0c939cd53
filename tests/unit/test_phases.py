"""Stopping: in order, within budgets, whatever a part does."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from phoned.phases import Phase, Phases
from phoned.tasks import Tasks
from tests.support.calls import virtual


class Parts:
    def __init__(self) -> None:
        self.stopped: list[str] = []

    def part(self, name: str, *, takes_s: float = 0, error: Exception | None = None) -> Callable[[], Awaitable[None]]:
        async def stop() -> None:
            self.stopped.append(name)
            await asyncio.sleep(takes_s)
            if error is not None:
                raise error

        return stop


@virtual
async def test_the_order_is_that_of_the_phases_and_in_one_the_last_first() -> None:
    parts, phases = Parts(), Phases()
    for name, phase in (("db", Phase.STORE), ("id", Phase.STORE), ("media", Phase.MEDIA), ("calls", Phase.CALLS)):
        phases.add(phase, name, parts.part(name), 1)
    assert await phases.run()
    assert await phases.run()
    assert parts.stopped == ["calls", "media", "id", "db"]


@pytest.mark.parametrize("fault", ["hangs", "fails"])
@virtual
async def test_a_part_that_hangs_or_fails_does_not_keep_the_rest(fault: str) -> None:
    parts, phases = Parts(), Phases()
    error = RuntimeError("bug") if fault == "fails" else None
    phases.add(Phase.CALLS, "bad", parts.part("bad", takes_s=0 if error else 1e6, error=error), 3)
    phases.add(Phase.STORE, "good", parts.part("good"), 1)
    began = asyncio.get_running_loop().time()
    assert not await phases.run()
    assert parts.stopped == ["bad", "good"]
    assert asyncio.get_running_loop().time() - began <= 3.2


@virtual
async def test_in_a_hurry_only_the_disk_is_waited_for() -> None:
    parts, phases = Parts(), Phases()
    phases.add(Phase.CALLS, "calls", parts.part("calls", takes_s=100), 1000)
    phases.add(Phase.SERVICES, "api", parts.part("api", takes_s=100), 1000)
    phases.add(Phase.STORE, "db", parts.part("db", takes_s=0.5), 1)
    began = asyncio.get_running_loop().time()
    running = Tasks("t", lambda name, error: None).spawn("stop", phases.run())
    await asyncio.sleep(1)
    phases.hurry()
    phases.hurry()
    assert not await running
    assert parts.stopped == ["calls", "api", "db"]
    assert asyncio.get_running_loop().time() - began < 2
