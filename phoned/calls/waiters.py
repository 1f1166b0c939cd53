"""Waiting until something about a call holds, with a deadline. A waiter that is cancelled leaves nothing behind."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Waiters:
    """Those who wait. Woken by their owner whenever a condition may have come true."""

    def __init__(self) -> None:
        self._waiting: set[asyncio.Future[None]] = set()

    def __len__(self) -> int:
        return len(self._waiting)

    async def until(self, condition: Callable[[], bool], timeout_s: float) -> bool:
        """True once ``condition`` holds, False when it does not within ``timeout_s`` seconds."""
        try:
            async with asyncio.timeout(timeout_s):
                while not condition():
                    waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
                    self._waiting.add(waiter)
                    try:
                        await waiter
                    finally:
                        self._waiting.discard(waiter)
        except TimeoutError:
            return condition()
        return True

    def wake(self) -> None:
        """Let everybody look again."""
        for waiter in tuple(self._waiting):
            if not waiter.done():
                waiter.set_result(None)
