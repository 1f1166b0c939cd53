"""The event bus: one envelope, one sequence, one place where wall time is stamped.

`EventBus.publish` is called by the core from the loop's thread; subscribers read bounded queues. A subscriber that is
too slow is cut off (`Subscription.overflowed`) and never slows the core. Events are handed to an `EventLog` before they
are delivered, so that replay by sequence number works for a client that comes back.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from phoned.clock import WallClock, rfc3339, wall_clock
from phoned.ids import new_id
from phoned.plain import plain


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """The envelope. ``data`` holds frozen views of `phoned.model` and plain values; ``seq`` has no gaps."""

    id: str
    seq: int
    type: str
    time: datetime
    node: str
    data: Mapping[str, Any]


def envelope(event: Event) -> dict[str, Any]:
    """The one envelope of an event, as every surface shows it."""
    return {
        "id": event.id,
        "seq": event.seq,
        "type": event.type,
        "time": rfc3339(event.time),
        "node": event.node,
        "data": plain(event.data),
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class CallsTold:
    """What the world was told of the calls of processes before this one, as far as it was committed."""

    unfinished: tuple[Mapping[str, Any], ...] = ()
    """Those without an end: the view of ``call.created`` or ``call.incoming``, in plain values."""
    ended: frozenset[str] = frozenset()
    """Ids of those that ended."""


def nobody() -> None:
    """Waits for nothing."""


class EventLog(Protocol):
    """Where events last. `append` returns once they would survive a crash of the process."""

    async def last_seq(self) -> int:
        """The newest sequence number that was ever committed, 0 for a new log."""
        ...

    async def append(self, events: list[Event], committed: Callable[[], None] = nobody) -> None:
        """Commit, in order. ``committed`` is called as soon as that is done, a turn of the loop before the return."""
        ...

    async def after(self, seq: int, limit: int) -> list[Event] | None:
        """Up to ``limit`` events that follow ``seq``; None when ``seq`` is older than the log reaches.

        Raises `InternalError` when the log cannot be read: then nothing is known to be lost.
        """
        ...

    async def calls_told(self) -> CallsTold:
        """Asked once, before this process tells anything."""
        ...


class MemoryEventLog:
    """A bounded ring, for tests and for phones without a state directory."""

    def __init__(self, capacity: int = 10_000) -> None:
        self._ring: deque[Event] = deque(maxlen=capacity)
        self._last = 0

    async def last_seq(self) -> int:
        return self._last

    async def append(self, events: list[Event], committed: Callable[[], None] = nobody) -> None:
        self._ring.extend(events)
        if events:
            self._last = events[-1].seq
        committed()

    async def after(self, seq: int, limit: int) -> list[Event] | None:
        oldest = self._ring[0].seq if self._ring else self._last + 1
        if seq < oldest - 1 or seq > self._last:
            return None
        return [event for event in self._ring if event.seq > seq][:limit]

    async def calls_told(self) -> CallsTold:
        begun: dict[str, Any] = {}
        ended: set[str] = set()
        for event in self._ring:
            if event.type in ("call.created", "call.incoming"):
                view = plain(event.data["call"])
                begun[view["id"]] = view
            elif event.type == "call.ended":
                begun.pop(event.data["call"].id, None)
                ended.add(event.data["call"].id)
        return CallsTold(unfinished=tuple(begun.values()), ended=frozenset(ended))


class Subscription:
    """One reader's bounded queue. Iterate it; iteration ends when it is closed or cut off."""

    def __init__(self, bus: EventBus, capacity: int) -> None:
        self._bus = bus
        self.capacity = capacity
        self._queue: deque[Event] = deque()
        self._wake = asyncio.Event()
        self._closed = False
        self.overflowed = False
        """True when the reader was too slow and lost its place."""

    def offer(self, event: Event) -> None:
        """Called by the bus alone."""
        if self._closed:
            return
        if len(self._queue) >= self.capacity:
            self.overflowed = True
            self.close()
            return
        self._queue.append(event)
        self._wake.set()

    def close(self) -> None:
        """End the iteration after what is queued."""
        self._closed = True
        self._bus.forget(self)
        self._wake.set()

    async def __aiter__(self) -> AsyncIterator[Event]:
        while True:
            while self._queue:
                yield self._queue.popleft()
            if self._closed:
                return
            self._wake.clear()
            await self._wake.wait()


class EventBus:
    """Numbers, stamps, commits and hands out events. Driven by `publish` and by its writer (`run`)."""

    def __init__(self, log: EventLog, *, node: str, clock: WallClock = wall_clock, backlog: int = 10_000) -> None:
        self._log = log
        self._node = node
        self._clock = clock
        self._backlog = backlog
        self._pending: list[Event] = []
        self._wake = asyncio.Event()
        self._subscriptions: set[Subscription] = set()
        self._seq = 0
        self.delivered_seq = 0
        """The newest sequence number that subscribers have been offered."""

    @property
    def log(self) -> EventLog:
        """The log behind the bus, for replay."""
        return self._log

    async def start(self) -> None:
        """Continue the log's numbering. Call before the first `publish`."""
        self._seq = self.delivered_seq = await self._log.last_seq()

    def publish(self, type_: str, **data: Any) -> None:
        """Queue an event. Never blocks and never raises on behalf of a reader."""
        self._seq += 1
        self._pending.append(
            Event(id=new_id("evt"), seq=self._seq, type=type_, time=self._clock(), node=self._node, data=data)
        )
        self._wake.set()

    def subscribe(self, capacity: int = 256) -> Subscription:
        """A reader of everything that is delivered from now on (`delivered_seq` tells where now is)."""
        subscription = Subscription(self, capacity)
        self._subscriptions.add(subscription)
        return subscription

    def forget(self, subscription: Subscription) -> None:
        """Called by `Subscription.close`."""
        self._subscriptions.discard(subscription)

    async def run(self) -> None:
        """Commit, then deliver, in order, for ever. One batch is what gathered while the last was written."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            await self.flush()

    async def flush(self) -> None:
        """Commit and deliver what is pending."""
        batch, self._pending = self._pending, []
        if not batch:
            return
        await self._log.append(batch, lambda: self._deliver(batch))

    def _deliver(self, batch: list[Event]) -> None:
        for event in batch:
            self.delivered_seq = event.seq
            for subscription in tuple(self._subscriptions):
                subscription.offer(event)
