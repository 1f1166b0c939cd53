"""The one place that creates asyncio tasks: each has a name and an owner that hears of its crash.

An owner makes a `TaskGroup` of its own kind (`Tasks`), spawns into it and closes it. A task that ends with an
exception other than cancellation calls ``on_crash(name, error)``; the owner decides what ends with it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any


class Tasks:
    """A set of named tasks with one owner. Driven by its owner's `spawn` and `close`."""

    def __init__(self, owner: str, on_crash: Callable[[str, BaseException], None]) -> None:
        self._owner = owner
        self._on_crash = on_crash
        self._tasks: set[asyncio.Task[Any]] = set()

    def spawn(self, name: str, coroutine: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Run ``coroutine`` as ``owner/name``. The set holds the only strong reference that it needs."""
        task = asyncio.get_running_loop().create_task(coroutine, name=f"{self._owner}/{name}")
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if task.cancelled():
            return
        error = task.exception()
        if error is not None:
            self._on_crash(task.get_name(), error)

    def __len__(self) -> int:
        return len(self._tasks)

    async def close(self, budget_s: float = 5.0) -> None:
        """Cancel all and wait, at most ``budget_s`` seconds. The calling task is never cancelled by itself."""
        current = asyncio.current_task()
        pending = [task for task in self._tasks if task is not current]
        for task in pending:
            task.cancel()
        if pending:
            await asyncio.wait(pending, timeout=budget_s)
