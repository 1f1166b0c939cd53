from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from api.feed import Feed, page
from phoned.errors import InternalError
from phoned.events import Event, EventBus, MemoryEventLog, nobody
from tests.support.fake_phone import FakePhone


class ForgetfulLog(MemoryEventLog):
    """Loses the events of some numbers, as a log whose disk was full."""

    def __init__(self, *lost: int) -> None:
        super().__init__()
        self._lost = lost

    async def append(self, events: list[Event], committed: Callable[[], None] = nobody) -> None:
        await super().append([event for event in events if event.seq not in self._lost], committed)


def make(log: MemoryEventLog | None = None) -> tuple[EventBus, FakePhone]:
    bus = EventBus(log or MemoryEventLog(), node="n")
    return bus, FakePhone(bus)


class UnreadableLog(MemoryEventLog):
    async def after(self, seq: int, limit: int) -> list[Event] | None:
        raise InternalError("the disk is gone")


async def publish(bus: EventBus, count: int) -> None:
    for _ in range(count):
        bus.publish("call.quality")
    await bus.flush()


async def take(items: AsyncIterator[dict[str, Any]], count: int) -> list[object]:
    async with asyncio.timeout(5):
        found = [await anext(items) for _ in range(count)]
    return [item.get("seq", item["type"]) for item in found]


async def test_replay_and_live_meet_without_hole_or_double() -> None:
    bus, phone = make()
    await publish(bus, 3)
    items = aiter(Feed(phone, bus, 1))
    assert await take(items, 1) == [2]
    await publish(bus, 2)  # between two pages, before the reader has subscribed
    assert await take(items, 3) == [3, 4, 5]
    waiting = asyncio.gather(take(items, 2))
    await asyncio.sleep(0)
    await publish(bus, 2)
    [found] = await waiting
    assert found == [6, 7]


async def test_long_replays_do_not_count_as_slow() -> None:
    bus, phone = make()
    await publish(bus, 50)
    feed = Feed(phone, bus, 0, backlog=3, stretch=4)
    items = aiter(feed)
    assert await take(items, 50) == list(range(1, 51))
    assert not feed.cut_off


async def test_committed_but_undelivered_events_come_once() -> None:
    bus, phone = make()
    await publish(bus, 1)
    await bus.log.append([Event(id="e", seq=2, type="x", time=phone._now, node="n", data={})])  # not delivered yet
    items = aiter(Feed(phone, bus, 0))
    assert await take(items, 2) == [1, 2]
    bus.publish("call.quality")  # number 2 is delivered now
    bus.publish("call.quality")
    waiting = asyncio.gather(take(items, 1))
    await asyncio.sleep(0)
    await bus.flush()
    [found] = await waiting
    assert found == [3]


@pytest.mark.parametrize("after", [99, 10**15])
async def test_a_place_nobody_knows_is_a_gap(after: int) -> None:
    bus, phone = make()
    await publish(bus, 2)
    items = aiter(Feed(phone, bus, after))
    assert await take(items, 2) == ["events.gap", "events.snapshot"]


async def test_a_hole_at_the_end_of_the_log_is_a_gap() -> None:
    bus, phone = make(ForgetfulLog(3))
    await publish(bus, 2)
    await publish(bus, 1)
    items = aiter(Feed(phone, bus, 1))
    assert await take(items, 3) == [2, "events.gap", "events.snapshot"]


async def test_a_hole_before_the_next_live_event_is_a_gap() -> None:
    bus, phone = make()
    feed = Feed(phone, bus, None)
    items = aiter(feed)
    assert await take(items, 1) == ["events.snapshot"]
    feed._last = -1  # a number was skipped
    waiting = asyncio.gather(take(items, 2))
    await asyncio.sleep(0)
    await publish(bus, 1)
    [found] = await waiting
    assert found == ["events.gap", "events.snapshot"]


async def test_a_slow_reader_is_cut_off_after_what_was_queued() -> None:
    bus, phone = make()
    feed = Feed(phone, bus, None, backlog=3)
    items = aiter(feed)
    await take(items, 1)
    await publish(bus, 5)
    assert feed.cut_off
    assert await take(items, 3) == [1, 2, 3]
    with pytest.raises(StopAsyncIteration):
        await take(items, 1)


async def test_closing_ends_the_iteration_at_any_point() -> None:
    bus, phone = make()
    await publish(bus, 2)
    early = Feed(phone, bus, 0)
    early.close()
    assert [item async for item in early] == []
    assert not early.cut_off
    late = Feed(phone, bus, None)
    items = aiter(late)
    await take(items, 1)
    late.close()
    with pytest.raises(StopAsyncIteration):
        await take(items, 1)


async def test_pages() -> None:
    bus, phone = make()
    assert await page(phone, bus, None, 10) == ([], 0)
    await publish(bus, 5)
    items, place = await page(phone, bus, None, 2)
    assert ([item["seq"] for item in items], place) == ([4, 5], 5)
    items, place = await page(phone, bus, 77, 2)
    assert ([item["type"] for item in items], place) == (["events.gap", "events.snapshot"], 5)


async def test_a_log_that_cannot_be_read_costs_its_reader_the_past_only() -> None:
    bus, phone = make(UnreadableLog())
    await publish(bus, 3)
    items = aiter(Feed(phone, bus, 1))
    assert await take(items, 2) == ["events.gap", "events.snapshot"]
    waiting = asyncio.gather(take(items, 1))
    await asyncio.sleep(0)
    await publish(bus, 1)
    [found] = await waiting
    assert found == [4]
    lost, following = await page(phone, bus, 1, 10)
    assert ([item["type"] for item in lost], following) == (["events.gap", "events.snapshot"], 4)
