"""A bot as a plug-in, and the thread that it lives in.

`Runner` stands in the phone's loop: it finds calls for its bot, tells it what happens to them, and sees to what is left
when the bot is done. `_Talks` stands in the bot's.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
from collections.abc import Awaitable, Callable
from fnmatch import fnmatchcase
from typing import Any

from pydantic import BaseModel

from phoned.bots.call import BotCall
from phoned.bots.config import BotConfig
from phoned.bots.door import Door
from phoned.bots.mailbox import Mailbox
from phoned.errors import Gone, PhonedError
from phoned.events import Event
from phoned.model import BOT_TAG, CallState, CallView
from phoned.service import Context
from phoned.tasks import Tasks

log = logging.getLogger(__name__)

SWITCH_S = 0.001
"""How long a thread that computes may keep the interpreter from the phone's loop. Python's own 5 ms are a quarter of a
frame; measured, the median lateness of a timer beside a busy thread falls from 6 ms to 2.6."""
BACKLOG = 10_000
WIND_UP_S = 1.0
"""At the end: how long the bot's coroutines may take to clean up."""

Talk = Callable[[BotCall, Any], Awaitable[None]]


class Bot:
    """What an entry point names: ``plugin = Bot("doorman", talk)``, with a coroutine ``talk(call, config)``.

    It gets incoming calls that its table admits, calls that somebody places with the tag ``bot`` and its name, and
    after a restart of the phone those it had before: `talk` begins anew with them.
    """

    def __init__(self, name: str, talk: Talk, config_model: type[BotConfig] = BotConfig) -> None:
        self.name = name
        self.config_model: type[BaseModel] = config_model
        self.default = False
        self._talk = talk

    def create(self, context: Context) -> Runner:
        """What the daemon calls."""
        return Runner(self.name, self._talk, context)


class Runner:
    """A `Service`. Driven by the bus."""

    def __init__(self, name: str, talk: Talk, context: Context) -> None:
        self._name = name
        self._talk = talk
        self._context = context
        self._config: BotConfig = context.config
        self._tasks = Tasks(f"bot {name}", self._on_crash)
        self._calls: dict[str, Mailbox] = {}
        self._thread: _Thread | None = None

    async def start(self) -> None:
        """Begin to take calls."""
        sys.setswitchinterval(min(sys.getswitchinterval(), SWITCH_S))
        self._thread = _Thread(self._name, self._talk, self._config, self._done)
        self._door = Door(self._context.phone, self._tasks)
        self._tasks.spawn("events", self._follow())
        for view in self._context.phone.calls():
            if view.state is CallState.ACTIVE and view.tags.get(BOT_TAG) == self._name:
                self._take(view)

    async def stop(self, budget_s: float) -> None:
        """Let the bot go; what it had stays as it is."""
        thread, self._thread = self._thread, None
        if thread is None:
            return
        if not await thread.stop(max(budget_s - WIND_UP_S, 0.1)):
            log.warning("bot %s blocks its thread and is left behind", self._name)
        await self._tasks.close(WIND_UP_S / 2)

    async def _follow(self) -> None:
        while True:
            async for event in self._context.bus.subscribe(BACKLOG):
                self._on_event(event)
            log.warning("bot %s: events were lost", self._name)

    def _on_event(self, event: Event) -> None:
        view = event.data.get("call")
        if isinstance(view, CallView):
            if view.id not in self._calls and self._wants(event.type, view):
                self._take(view)
            call = view.id
        else:
            call = getattr(event.data.get("playback"), "call", "")
        mailbox = self._calls.get(call)
        if mailbox is not None:
            mailbox.put(event)

    def _wants(self, type_: str, view: CallView) -> bool:
        if type_ == "call.created":
            return view.tags.get(BOT_TAG) == self._name
        if type_ != "call.incoming" or view.tags.get(BOT_TAG, self._name) != self._name:
            return False
        return fnmatchcase(view.account, self._config.account) and fnmatchcase(
            view.peer.uri.lower(), self._config.match.lower()
        )

    def _take(self, view: CallView) -> None:
        if self._thread is None:
            return
        if len(self._calls) >= self._config.at_once:
            log.warning("bot %s has %d calls: %s is left to others", self._name, len(self._calls), view.id)
            return
        mailbox = self._calls[view.id] = Mailbox(self._thread.loop)
        self._thread.begin(view, self._door, mailbox)

    def _done(self, call: str, *, taken: bool, kept: bool) -> None:
        """The bot is done with a call; ``taken``: it was the bot's, ``kept``: it is to stay. On the phone's loop."""
        self._calls.pop(call, None)
        if self._thread is None or not taken:
            return
        if kept or self._config.on_close == "keep":
            self._tasks.spawn("release", self._release(call))
        else:
            self._tasks.spawn("hangup", self._hang_up(call))

    async def _release(self, call: str) -> None:
        """It is people's from now on: the handset may have it, and no bot begins anew with it after a restart."""
        try:
            await self._context.phone.tag(call, {BOT_TAG: ""})
        except PhonedError:
            pass  # it has ended, too

    async def _hang_up(self, call: str) -> None:
        phone = self._context.phone
        try:
            await phone.hangup(call)
        except PhonedError as error:
            log.warning("bot %s: %s: %s", self._name, call, error.detail)

    def _on_crash(self, name: str, error: BaseException) -> None:
        log.error("%s crashed", name, exc_info=error)


class _Thread:
    """The bot's thread and its loop."""

    def __init__(self, name: str, talk: Talk, config: BotConfig, done: Callable[..., None]) -> None:
        self._name = name
        self._talk = talk
        self._config = config
        self._done = done
        self._talks = Tasks(f"bot {name}", self._on_crash)
        self._closing = Tasks(f"bot {name} closing", self._on_crash)
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name=f"bot-{name}", daemon=True)
        self._thread.start()

    def begin(self, view: CallView, door: Door, mailbox: Mailbox) -> None:
        """A call for the bot. Returns at once."""
        self.loop.call_soon_threadsafe(self._begin, view, door, mailbox)

    async def stop(self, budget_s: float) -> bool:
        """End it. False when it does not end in time."""
        self.loop.call_soon_threadsafe(self._wind_up)
        await asyncio.to_thread(self._thread.join, budget_s)
        return not self._thread.is_alive()

    # --- in the bot's thread

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        try:
            self.loop.run_forever()
        finally:
            self.loop.close()

    def _begin(self, view: CallView, door: Door, mailbox: Mailbox) -> None:
        call = BotCall(self._name, view, door, mailbox)
        task = self._talks.spawn(view.id, self._converse(call, door))
        call.on_ended = lambda: self.loop.call_later(self._config.finish_s, task.cancel)

    async def _converse(self, call: BotCall, door: Door) -> None:
        try:
            await self._talk(call, self._config)
        except Gone:
            if not call.ended:
                log.exception("bot %s crashed in %s", self._name, call.id)
        except Exception:
            log.exception("bot %s crashed in %s", self._name, call.id)
        finally:
            call.close()
            door.tell(lambda: self._done(call.id, taken=call.taken, kept=call.kept))

    def _wind_up(self) -> None:
        async def close() -> None:
            await self._talks.close(WIND_UP_S)
            self.loop.call_soon(self.loop.stop)

        self._closing.spawn("talks", close())

    def _on_crash(self, name: str, error: BaseException) -> None:
        log.error("%s crashed", name, exc_info=error)
