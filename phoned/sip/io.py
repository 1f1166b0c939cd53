"""What the SIP core may have of the outside world: an outbox, deadlines, randomness and the timer values.

*Up is returned, down is queued, time is passed in.* `Outbox` is where every machine puts the bytes that are to be sent;
`TimerSet` holds named deadlines in seconds of the caller's monotonic clock; `Random` is handed in. Nothing here may
know sockets, clocks or SIP messages. Timer values: RFC 3261 table 4, RFC 6026.
"""

from __future__ import annotations

import heapq
from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

FlowId = int
"""One live connection, named by the driver; never used again after it was lost."""


class Random(Protocol):
    """Where unguessable values come from. The daemon's is the operating system's; tests hand in a seeded one."""

    def token(self) -> str:
        """128 random bits as characters that RFC 3261's ``token`` and a host name allow (hexadecimal)."""
        ...

    def below(self, n: int) -> int:
        """A uniform integer in ``0 <= x < n``."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class TimerValues:
    """T1, T2 and T4 of RFC 3261 17.1 in seconds; the lettered timers follow from them."""

    t1_s: float = 0.5
    """Estimate of the round trip."""
    t2_s: float = 4.0
    """The longest interval between retransmissions of a non-INVITE request or an INVITE response."""
    t4_s: float = 5.0
    """The longest time that a message stays in the network."""
    silence_s: float = 600.0
    """Ours: how long an INVITE may stay without a further response, before it is given up as forgotten."""

    @property
    def transaction_s(self) -> float:
        """64*T1: Timers B, F, H, J (unreliable), L and M."""
        return 64 * self.t1_s

    @property
    def timer_d_s(self) -> float:
        """Timer D on an unreliable flow: at least 32 s (RFC 3261 17.1.1.2), whatever T1 is."""
        return max(32.0, self.transaction_s)


class Outbox:
    """Bytes to send, in order, at most ``limit`` messages between two drains. Driven by the machines that send."""

    def __init__(self, limit: int = 4096) -> None:
        self._limit = limit
        self._queue: list[tuple[FlowId, bytes]] = []
        self.refused = 0
        """Messages that were refused since the start, because nobody drained."""

    def __len__(self) -> int:
        return len(self._queue)

    def send(self, flow: FlowId, data: bytes) -> bool:
        """Queue ``data``. False when the box is full: the message is lost, as on a broken flow."""
        if len(self._queue) >= self._limit:
            self.refused += 1
            return False
        self._queue.append((flow, data))
        return True

    def discard(self, flow: FlowId) -> None:
        """Forget what was queued for a flow that is gone."""
        self._queue = [item for item in self._queue if item[0] != flow]

    def drain(self) -> list[tuple[FlowId, bytes]]:
        """Everything queued, oldest first; the box is empty afterwards."""
        queue, self._queue = self._queue, []
        return queue


NameT = TypeVar("NameT", bound=Hashable)


class TimerSet(Generic[NameT]):
    """Named deadlines. Setting a name again moves it. Driven by its owner's `tick`.

    A heap with lazy removal: `set` and `due` cost O(log n), `clear` O(1). Dead entries never outnumber live ones by
    more than a constant, so that a timer which is moved at each packet costs no memory.
    """

    def __init__(self) -> None:
        self._live: dict[NameT, tuple[float, int]] = {}
        self._heap: list[tuple[float, int, NameT]] = []
        self._count = 0

    def __len__(self) -> int:
        return len(self._live)

    def __contains__(self, name: NameT) -> bool:
        return name in self._live

    def set(self, name: NameT, at: float) -> None:
        """Arm, or move, the deadline ``name``."""
        self._count += 1
        self._live[name] = (at, self._count)
        if len(self._heap) > 2 * len(self._live) + 8:
            self._heap = [(when, count, key) for key, (when, count) in self._live.items()]
            heapq.heapify(self._heap)
        else:
            heapq.heappush(self._heap, (at, self._count, name))

    def clear(self, name: NameT) -> None:
        """Disarm ``name``; nothing happens when it is not armed."""
        self._live.pop(name, None)

    def clear_all(self) -> None:
        """Disarm everything."""
        self._live.clear()

    def at(self, name: NameT) -> float | None:
        """When ``name`` is due, None when it is not armed."""
        entry = self._live.get(name)
        return None if entry is None else entry[0]

    def next(self) -> float | None:
        """The earliest deadline, None when nothing is armed."""
        self._drop_dead()
        return self._heap[0][0] if self._heap else None

    def due(self, now: float) -> Iterator[NameT]:
        """Disarm and yield each deadline ``<= now``: the earliest first, equal ones in the order they were set.

        Lazy on purpose: a handler that clears a later name is obeyed. A handler that re-arms must choose a moment
        after ``now``, or it is yielded again.
        """
        while True:
            self._drop_dead()
            if not self._heap or self._heap[0][0] > now:
                return
            name = heapq.heappop(self._heap)[2]
            del self._live[name]
            yield name

    def _drop_dead(self) -> None:
        heap, live = self._heap, self._live
        while heap and live.get(heap[0][2], (0.0, 0))[1] != heap[0][1]:
            heapq.heappop(heap)
