"""What happens to one call, on its way from the phone's thread to the bot's: bounded, and never waited for."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable

from phoned.events import Event

CAPACITY = 256


class Mailbox:
    """`put` in the phone's thread, `take` in the bot's. ``wake`` is called there when there is something to take; a
    bot that blocks its loop finds one wake-up waiting, and the newest events."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._lock = threading.Lock()
        self._events: deque[Event] = deque(maxlen=CAPACITY)
        self._woken = False
        self.wake: Callable[[], None] = lambda: None
        """Set by the bot's call, in its thread."""

    def put(self, event: Event) -> None:
        """An event, unless the bot's loop is gone."""
        with self._lock:
            self._events.append(event)
            woken, self._woken = self._woken, True
        if woken:
            return
        try:
            self._loop.call_soon_threadsafe(lambda: self.wake())
        except RuntimeError:
            pass  # closed: nobody reads it any more

    def take(self) -> list[Event]:
        """All that waits."""
        with self._lock:
            events = list(self._events)
            self._events.clear()
            self._woken = False
        return events
