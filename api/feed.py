"""One reader's way through the events: replay from the log, then live, without a hole and without a double.

A reader that falls behind loses its place (`Feed.cut_off`); it never slows the phone. Knows the bus and the log, not
how the reader is connected.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any, Literal

from phoned.errors import InternalError
from phoned.events import Event, EventBus, Subscription, envelope
from phoned.service import PhoneControl
from phoned.snapshot import snapshot

log = logging.getLogger(__name__)

BACKLOG = 4096
"""Events come in bursts: a reader that is quick must not be cut off when the server of some hundred accounts goes. They
are the same objects for all readers."""
PAGE = 64
"""Events that are rendered without a pause: some 4 ms."""


class Feed:
    """Iterate it. ``after`` None begins with `events.snapshot`; a place that the log has lost, with `events.gap`."""

    def __init__(
        self, phone: PhoneControl, bus: EventBus, after: int | None, *, backlog: int = BACKLOG, stretch: int = PAGE
    ) -> None:
        self._phone = phone
        self._bus = bus
        self._after = after
        self._last = after or 0
        self._backlog = backlog
        self._stretch = stretch
        self._subscription: Subscription | None = None
        self._closed = False

    @property
    def cut_off(self) -> bool:
        """True when the reader was too slow."""
        return self._subscription is not None and self._subscription.overflowed

    def close(self) -> None:
        """End the iteration."""
        self._closed = True
        if self._subscription is not None:
            self._subscription.close()

    async def __aiter__(self) -> AsyncIterator[dict[str, Any]]:
        if self._after is not None:
            # all but the newest stretch is read without a queue behind it: a long replay is no slow reader
            while not self._closed and (events := await _after(self._bus, self._last, self._stretch)):
                for event in events:
                    yield self._pass(event)
                if len(events) < self._stretch:
                    break
        if self._closed:
            return
        self._subscription = subscription = self._bus.subscribe(self._backlog)
        if self._after is None:
            yield self._snapshot("events.snapshot")
        else:
            delivered = self._bus.delivered_seq
            while events := await _after(self._bus, self._last, self._stretch):
                for event in events:
                    yield self._pass(event)
            if events is None or self._last < delivered:
                for item in self._lost():
                    yield item
        async for event in subscription:
            if event.seq > self._last + 1:
                for item in self._lost():
                    yield item
            if event.seq > self._last:
                yield self._pass(event)

    def _lost(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """The log does not have what this reader missed."""
        return self._snapshot("events.gap"), self._snapshot("events.snapshot")

    def _pass(self, event: Event) -> dict[str, Any]:
        self._last = event.seq
        return envelope(event)

    def _snapshot(self, type_: Literal["events.snapshot", "events.gap"]) -> dict[str, Any]:
        """The world now. Events up to ``last_seq`` are in it; every later one follows."""
        self._last = self._bus.delivered_seq
        return snapshot(self._phone, type_, self._last)


async def page(phone: PhoneControl, bus: EventBus, after: int | None, limit: int) -> tuple[list[dict[str, Any]], int]:
    """Up to ``limit`` events after ``after`` (None: the newest ones), and where the next page begins."""
    newest = bus.delivered_seq
    start = max(0, newest - limit) if after is None else after
    events = await _after(bus, start, limit)
    if events is None:
        return [snapshot(phone, kind, newest) for kind in ("events.gap", "events.snapshot")], newest
    found = []
    for number, event in enumerate(events):
        if number % PAGE == PAGE - 1:
            await asyncio.sleep(0)
        found.append(envelope(event))
    return found, events[-1].seq if events else start


async def _after(bus: EventBus, seq: int, limit: int) -> list[Event] | None:
    """As the log's `after`. None, too, where it cannot be read: who listens is better served with the world of now."""
    try:
        return await bus.log.after(seq, limit)
    except InternalError as error:
        log.error("events cannot be read: %s", error.detail)
        return None
