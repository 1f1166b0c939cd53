"""ids, clock, tasks, events, errors: the ground that everything stands on."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest

from phoned.clock import in_ms, rfc3339, wall_clock
from phoned.errors import Denied, InvalidValue, PhonedError, Refused, WrongState
from phoned.events import EventBus, MemoryEventLog
from phoned.ids import new_id, uuid7
from phoned.tasks import Tasks
from tests.support.loop import Deadlock, run_virtual


def test_ids_sort_by_time_and_carry_version_and_variant() -> None:
    early, late = uuid7(now_ms=1), uuid7(now_ms=2)
    assert early < late
    assert (early.version, early.variant) == (7, "specified in RFC 4122")
    assert new_id("call").startswith("call_")
    assert len(new_id("call")) == len("call_") + 32


def test_ids_of_one_millisecond_sort_as_they_were_made_and_so_do_those_of_a_clock_that_is_set_back_a_little() -> None:
    made = [uuid7(now_ms=5_000 - number % 3) for number in range(10_000)]
    assert made == sorted(set(made))
    assert all((one.version, one.variant) == (7, "specified in RFC 4122") for one in made)
    assert uuid7(now_ms=1_000) < made[0], "a clock that was wrong for long is believed when it is put right"


def test_wall_time_is_written_in_utc_with_milliseconds() -> None:
    assert rfc3339(datetime(2026, 11, 20, 1, 2, 3, 456789, UTC)) == "2026-11-20T01:02:03.456Z"
    moment = in_ms(datetime(2026, 11, 20, 1, 2, 3, 456789, UTC))
    assert datetime.fromisoformat(rfc3339(moment)) == moment
    assert wall_clock().tzinfo is UTC


def test_errors_keep_what_the_outside_needs() -> None:
    assert WrongState("no", state="ended", allowed_in=("active",)).allowed_in == ("active",)
    assert InvalidValue("bad", pointer="/to").pointer == "/to"
    assert Refused(486, "Busy Here").detail == "486 Busy Here"
    denied = Denied("no", code="destination_denied")
    assert (denied.code, Denied.code, PhonedError("x", a=1).facts) == ("destination_denied", "denied", {"a": 1})


def test_a_task_that_crashes_is_reported_to_its_owner_once() -> None:
    crashes: list[tuple[str, BaseException]] = []

    async def fail() -> None:
        raise ValueError("boom")

    async def main() -> None:
        tasks = Tasks("owner", lambda task, error: crashes.append((task, error)))
        tasks.spawn("bad", fail())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert len(tasks) == 0

    run_virtual(main())
    assert [(task, str(error)) for task, error in crashes] == [("owner/bad", "boom")]


def test_closing_an_owner_cancels_its_tasks_but_never_the_caller() -> None:
    async def main() -> list[str]:
        log: list[str] = []
        tasks = Tasks("owner", lambda task, error: log.append("crash"))

        async def wait() -> None:
            try:
                await asyncio.sleep(3600)
            finally:
                log.append("ended")

        async def closer() -> None:
            await tasks.close()
            log.append("closed")

        tasks.spawn("wait", wait())
        await tasks.spawn("close", closer())
        return log

    assert run_virtual(main()) == ["ended", "closed"]


def test_a_virtual_day_passes_at_once() -> None:
    async def main() -> float:
        start = asyncio.get_running_loop().time()
        await asyncio.sleep(86_400)
        return asyncio.get_running_loop().time() - start

    assert run_virtual(main()) == pytest.approx(86_400)


def test_a_virtual_loop_with_nothing_to_wait_for_says_so() -> None:
    async def main() -> None:
        await asyncio.get_running_loop().create_future()

    with pytest.raises(Deadlock):
        run_virtual(main())


async def test_events_are_committed_in_order_before_they_are_delivered() -> None:
    log = MemoryEventLog()
    bus = EventBus(log, node="n1")
    await bus.start()
    reader = bus.subscribe()
    bus.publish("call.created", call="c1")
    bus.publish("call.ended", call="c1")
    assert bus.delivered_seq == 0
    await bus.flush()
    reader.close()
    got = [event async for event in reader]
    assert [(event.seq, event.type, event.data) for event in got] == [
        (1, "call.created", {"call": "c1"}),
        (2, "call.ended", {"call": "c1"}),
    ]
    assert await log.last_seq() == bus.delivered_seq == 2


async def test_the_bus_writer_delivers_what_is_published_while_it_runs() -> None:
    bus = EventBus(MemoryEventLog(), node="n1")
    tasks = Tasks("test", lambda task, error: None)
    tasks.spawn("bus", bus.run())
    reader = bus.subscribe()
    bus.publish("system.started")
    async for event in reader:
        assert event.type == "system.started"
        break
    await tasks.close()


async def test_numbering_continues_where_the_log_ended() -> None:
    log = MemoryEventLog()
    first = EventBus(log, node="n1")
    first.publish("a")
    await first.flush()
    second = EventBus(log, node="n1")
    await second.start()
    second.publish("b")
    await second.flush()
    replay = await log.after(0, 10)
    assert replay is not None
    assert [event.seq for event in replay] == [1, 2]


async def test_a_slow_reader_is_cut_off_and_hurts_nobody() -> None:
    bus = EventBus(MemoryEventLog(), node="n1")
    slow, quick = bus.subscribe(capacity=1), bus.subscribe(capacity=10)
    for _ in range(3):
        bus.publish("tick")
    await bus.flush()
    quick.close()
    assert slow.overflowed
    assert not quick.overflowed
    assert len([event async for event in quick]) == 3
    assert len([event async for event in slow]) == 1


async def test_replay_older_than_the_ring_is_a_gap() -> None:
    log = MemoryEventLog(capacity=2)
    bus = EventBus(log, node="n1")
    for _ in range(4):
        bus.publish("tick")
    await bus.flush()
    assert await log.after(0, 10) is None
    assert await log.after(9, 10) is None
    assert [event.seq for event in await log.after(2, 10) or []] == [3, 4]
