"""Waiting has a deadline and leaves nothing behind."""

from __future__ import annotations

import asyncio

import pytest

from phoned.calls.waiters import Waiters
from phoned.tasks import Tasks
from tests.support.calls import virtual


@virtual
async def test_a_waiter_is_woken_when_its_condition_holds_and_not_before() -> None:
    waiters, state = Waiters(), [False]
    tasks = Tasks("t", lambda name, error: None)
    waiting = tasks.spawn("wait", waiters.until(lambda: state[0], 10))
    await asyncio.sleep(1)
    waiters.wake()
    await asyncio.sleep(1)
    assert not waiting.done()
    state[0] = True
    waiters.wake()
    waiters.wake()
    assert await waiting
    assert len(waiters) == 0


@virtual
async def test_the_deadline_is_kept() -> None:
    waiters, loop = Waiters(), asyncio.get_running_loop()
    before = loop.time()
    assert not await waiters.until(lambda: False, 3)
    assert loop.time() - before == pytest.approx(3)
    assert len(waiters) == 0


@virtual
async def test_a_cancelled_waiter_leaves_nothing() -> None:
    waiters = Waiters()
    tasks = Tasks("t", lambda name, error: None)
    waiting = tasks.spawn("wait", waiters.until(lambda: False, 10))
    await asyncio.sleep(1)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert len(waiters) == 0
