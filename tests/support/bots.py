"""A bot's runner over a `FakePhone`, its thread a real one."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, cast

from phoned.bots import Bot, BotCall, BotConfig
from phoned.bots.plugin import Runner
from phoned.events import EventBus, MemoryEventLog
from phoned.model import CallView
from phoned.service import Context
from phoned.tasks import Tasks
from tests.support.fake_phone import FakePhone
from tests.support.media import until


@dataclass
class _Context:
    phone: FakePhone
    bus: EventBus
    config: BotConfig


@dataclass
class BotWorld:
    """A phone and a bot that takes its calls."""

    phone: FakePhone
    bus: EventBus
    runner: Runner

    async def press(self, call: str, digits: str) -> None:
        """The far end presses keys."""
        self.phone.remote_keys(call, digits)

    async def call(self, condition: Callable[[CallView], bool], view: CallView) -> None:
        """Until the call is so."""
        await until(lambda: condition(self.phone.call(view.id)))


@asynccontextmanager
async def bot_world(
    talk: Callable[[BotCall, Any], Awaitable[None]], *, phone: FakePhone | None = None, **config: Any
) -> AsyncIterator[BotWorld]:
    """The runner is stopped at the end."""
    bus = phone.bus if phone is not None else EventBus(MemoryEventLog(), node="n")
    phone = phone or FakePhone(bus)
    tasks = Tasks("test", crashed)
    tasks.spawn("bus", bus.run())
    context = _Context(phone=phone, bus=bus, config=BotConfig(**config))
    runner = Bot("doorman", talk).create(cast(Context, context))
    await runner.start()
    await asyncio.sleep(0)
    try:
        yield BotWorld(phone=phone, bus=bus, runner=runner)
    finally:
        await runner.stop(3.0)
        await tasks.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "bot-doorman"]


def crashed(name: str, error: BaseException) -> None:
    raise AssertionError(f"{name}: {error!r}")
