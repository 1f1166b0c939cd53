"""The bot's way to the phone: verbs are carried out on the phone's own loop, their outcome comes back to the bot's."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from typing import TypeVar

from phoned.errors import AtCapacity, Draining
from phoned.service import PhoneControl
from phoned.tasks import Tasks

T = TypeVar("T")

AT_ONCE = 32
"""Verbs of one bot that may be under way."""


class Door:
    """Made on the phone's loop, used on the bot's."""

    def __init__(self, phone: PhoneControl, tasks: Tasks) -> None:
        self._phone = phone
        self._tasks = tasks
        self._loop = asyncio.get_running_loop()
        self._under_way = 0

    async def ask(self, verb: Callable[[PhoneControl], Awaitable[T]], *, waits: bool = False) -> T:
        """What ``verb`` returns or raises. Raises `AtCapacity` for too many at once, `Draining` when the phone is no
        more. Who is cancelled meanwhile leaves it to be carried out, unless it is one that ``waits`` for something."""
        if self._under_way >= AT_ONCE:
            raise AtCapacity(f"{AT_ONCE} verbs of this bot are under way")
        outcome: Future[T] = Future()
        tasks: list[asyncio.Task[None]] = []
        try:
            self._loop.call_soon_threadsafe(self._spawn, verb, outcome, tasks)
        except RuntimeError:
            raise Draining("the phone has stopped") from None
        self._under_way += 1
        try:
            return await asyncio.wrap_future(outcome)
        except asyncio.CancelledError:
            if waits:
                self.tell(lambda: [task.cancel() for task in tasks])
            raise
        finally:
            self._under_way -= 1

    def tell(self, function: Callable[[], object]) -> None:
        """Call this on the phone's loop, some time."""
        try:
            self._loop.call_soon_threadsafe(function)
        except RuntimeError:
            pass  # the phone has stopped

    def _spawn(
        self, verb: Callable[[PhoneControl], Awaitable[T]], outcome: Future[T], tasks: list[asyncio.Task[None]]
    ) -> None:
        if outcome.set_running_or_notify_cancel():
            tasks.append(self._tasks.spawn("verb", self._carry_out(verb, outcome)))

    async def _carry_out(self, verb: Callable[[PhoneControl], Awaitable[T]], outcome: Future[T]) -> None:
        try:
            outcome.set_result(await verb(self._phone))
        except asyncio.CancelledError:
            outcome.set_exception(Draining("the phone is stopping"))
            raise
        except Exception as error:
            outcome.set_exception(error)
