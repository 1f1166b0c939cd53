"""The order of deliveries of one webhook: what shares a lane goes one after the other, lanes go side by side. PURE.

Driven by `add`, `take` (what is to be attempted now), and `done` or `again` for each that was taken. Times are of a
monotonic clock.
"""

from __future__ import annotations

import heapq
from bisect import insort
from dataclasses import dataclass


@dataclass(slots=True, kw_only=True, eq=False)
class Item:
    """A delivery that waits or is being attempted."""

    place: int
    id: str
    type: str
    seq: int | None
    lane: str
    due_at: float
    attempts: int = 0
    step: int = 0


class Lanes:
    """See the module's docstring. ``abreast`` bounds what is attempted at one time."""

    def __init__(self, abreast: int) -> None:
        self._abreast = abreast
        self._lanes: dict[str, list[Item]] = {}
        self._heads: list[tuple[float, int, Item]] = []
        """A heap; an entry counts while its item is the head of its lane and due at that time."""
        self._busy: set[str] = set()
        """Lanes of which one is being attempted."""
        self._count = 0

    def __len__(self) -> int:
        """All that are not done."""
        return self._count

    @property
    def under_way(self) -> int:
        """How many are being attempted."""
        return len(self._busy)

    def add(self, item: Item) -> None:
        """Behind those of its lane with a lower place."""
        lane = self._lanes.setdefault(item.lane, [])
        insort(lane, item, key=lambda other: other.place)
        self._count += 1
        if lane[0] is item:
            self._offer(item)

    def find(self, id_: str) -> Item | None:
        """The item of a delivery, attempted or not."""
        return next((item for lane in self._lanes.values() for item in lane if item.id == id_), None)

    def take(self, now: float) -> list[Item]:
        """What is to be attempted now, in order, as far as there is room."""
        taken: list[Item] = []
        while self._heads and self._heads[0][0] <= now and len(self._busy) < self._abreast:
            due_at, _, item = heapq.heappop(self._heads)
            if self._counts(item, due_at):
                self._busy.add(item.lane)
                taken.append(item)
        return taken

    def next_at(self) -> float | None:
        """When there will be something to take; None while everything waits for what is under way."""
        while self._heads and not self._counts(self._heads[0][2], self._heads[0][0]):
            heapq.heappop(self._heads)
        return self._heads[0][0] if self._heads and len(self._busy) < self._abreast else None

    def again(self, item: Item, due_at: float) -> None:
        """It was taken and is to be attempted once more; its lane waits for it."""
        self._busy.discard(item.lane)
        item.due_at = due_at
        self._offer(self._lanes[item.lane][0])

    def done(self, item: Item) -> None:
        """It was taken and is over, one way or the other: the next of its lane may go."""
        self._busy.discard(item.lane)
        lane = self._lanes[item.lane]
        lane.remove(item)
        self._count -= 1
        if lane:
            self._offer(lane[0])
        else:
            del self._lanes[item.lane]

    def hasten(self, item: Item, now: float) -> None:
        """It is due, as far as its lane lets it; one that is being attempted stays as it is."""
        item.due_at = min(item.due_at, now)
        self._offer(self._lanes[item.lane][0])

    def hurry(self, now: float) -> None:
        """Whatever was put off is due."""
        for name, lane in self._lanes.items():
            for item in lane:
                item.due_at = min(item.due_at, now)
            if name not in self._busy:
                self._offer(lane[0])

    def _offer(self, item: Item) -> None:
        heapq.heappush(self._heads, (item.due_at, item.place, item))

    def _counts(self, item: Item, due_at: float) -> bool:
        lane = self._lanes.get(item.lane)
        return item.lane not in self._busy and lane is not None and lane[0] is item and item.due_at == due_at
