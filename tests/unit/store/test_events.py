from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from phoned.errors import InternalError
from phoned.events import CallsTold, Event, EventBus, EventLog, MemoryEventLog
from phoned.ids import new_id
from phoned.model import Peer
from phoned.store.database import Database
from phoned.store.events import SqliteEventLog


def event(seq: int) -> Event:
    moment = datetime(2026, 11, 20, 12, 0, 0, 123000, tzinfo=UTC)
    return Event(
        id=new_id("evt"), seq=seq, type="call.ringing", time=moment, node="n", data={"peer": Peer(uri="sip:a")}
    )


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    database = Database(tmp_path / "phoned.db")
    await database.open()
    try:
        yield database
    finally:
        await database.close()


@pytest.fixture(params=["memory", "sqlite"])
def log(request: pytest.FixtureRequest, database: Database) -> EventLog:
    """The same contract for both."""
    return MemoryEventLog(capacity=5) if request.param == "memory" else SqliteEventLog(database, capacity=5)


async def seqs(log: EventLog, after: int, limit: int = 100) -> list[int] | None:
    found = await log.after(after, limit)
    return None if found is None else [item.seq for item in found]


async def test_a_new_log_is_empty(log: EventLog) -> None:
    assert await log.last_seq() == 0
    assert await seqs(log, 0) == []
    assert await seqs(log, 1) is None


async def test_events_follow_in_order_and_in_pages(log: EventLog) -> None:
    await log.append([event(1), event(2)])
    await log.append([])
    await log.append([event(3)])
    assert await log.last_seq() == 3
    assert await seqs(log, 0) == [1, 2, 3]
    assert await seqs(log, 1, limit=1) == [2]
    assert await seqs(log, 3) == []


async def test_a_place_in_the_future_is_unknown(log: EventLog) -> None:
    await log.append([event(1)])
    assert await seqs(log, 2) is None


async def test_the_oldest_events_are_forgotten_and_their_place_is_unknown(log: EventLog) -> None:
    for seq in range(1, 11):
        await log.append([event(seq)])
    assert await log.last_seq() == 10
    assert await seqs(log, 4) is None
    assert await seqs(log, 5) == [6, 7, 8, 9, 10]


async def test_numbers_go_on_after_a_restart_and_data_is_plain(tmp_path: Path) -> None:
    first = Database(tmp_path / "events.db")
    await first.open()
    stored = event(1)
    await SqliteEventLog(first).append([stored])
    await first.close()
    second = Database(tmp_path / "events.db")
    await second.open()
    log = SqliteEventLog(second)
    bus = EventBus(log, node="n")
    await bus.start()
    bus.publish("call.ended")
    await bus.flush()
    found = await log.after(0, 10)
    await second.close()
    assert found is not None
    assert [item.seq for item in found] == [1, 2]
    assert found[0].id == stored.id
    assert found[0].time == stored.time
    assert found[0].data == {"peer": {"uri": "sip:a", "number": None, "display_name": None}}


async def break_disk(database: Database) -> None:
    """Every insert fails from now on, as on a full disk."""
    await database.write(
        lambda connection: connection.execute(
            "CREATE TRIGGER broken BEFORE INSERT ON event BEGIN SELECT RAISE(ABORT, 'disk full'); END"
        )
    )


async def mend_disk(database: Database) -> None:
    await database.write(lambda connection: connection.execute("DROP TRIGGER broken"))


async def test_what_was_told_of_calls_is_known_to_the_next_process(database: Database) -> None:
    def told(seq: int, type_: str, call: str) -> Event:
        data = {"call": {"id": call, "account": "a"}}
        return Event(id=new_id("evt"), seq=seq, type=type_, time=datetime(2026, 1, 1, tzinfo=UTC), node="n", data=data)

    log = SqliteEventLog(database)
    assert await log.calls_told() == CallsTold()
    types = (
        ("call.created", "c1"),
        ("call.created", "c2"),
        ("call.ringing", "c1"),
        ("call.ended", "c1"),
        ("call.incoming", "c3"),
    )
    await log.append([told(seq, type_, call) for seq, (type_, call) in enumerate(types, 1)])
    unfinished = ({"id": "c2", "account": "a"}, {"id": "c3", "account": "a"})
    left = CallsTold(unfinished=unfinished, ended=frozenset({"c1"}))
    assert await SqliteEventLog(database).calls_told() == left
    await database.close()
    assert await log.calls_told() == CallsTold()


async def test_a_full_disk_does_not_stop_events_and_they_are_written_later(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    log = SqliteEventLog(database)
    await log.append([event(1)])
    await break_disk(database)
    await log.append([event(2)])
    await log.append([event(3)])
    assert log.degraded
    assert caplog.text.count("are not being stored") == 1
    assert await seqs(log, 1) == []
    await mend_disk(database)
    await log.append([event(4)])
    assert not log.degraded
    assert "are being stored again" in caplog.text
    assert await seqs(log, 1) == [2, 3, 4]


async def test_a_hole_cuts_the_log_instead_of_being_skipped(database: Database) -> None:
    log = SqliteEventLog(database, unwritten=2)
    await log.append([event(1)])
    await break_disk(database)
    await log.append([event(seq) for seq in range(2, 6)])  # 2 and 3 are forgotten
    await mend_disk(database)
    await log.append([event(6)])
    assert await seqs(log, 1) is None
    assert await seqs(log, 3) == [4, 5, 6]


async def test_a_log_that_cannot_be_read_says_so_instead_of_calling_events_lost(database: Database) -> None:
    log = SqliteEventLog(database)
    await database.write(lambda connection: connection.execute("ALTER TABLE event RENAME TO elsewhere"))
    with pytest.raises(InternalError):
        await log.after(0, 10)


async def test_after_damage_the_numbers_begin_above_all_earlier_ones(database: Database) -> None:
    def base(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT INTO meta VALUES ('base_seq', 1000)")

    await database.write(base)
    log = SqliteEventLog(database)
    assert await log.last_seq() == 1000
    assert await seqs(log, 1000) == []
    assert await seqs(log, 5) is None


async def test_a_reader_does_not_wait_for_the_writer(database: Database) -> None:
    log = SqliteEventLog(database)
    await log.append([event(1)])
    async with asyncio.timeout(5):
        pages = await asyncio.gather(*(log.after(0, 10) for _ in range(20)), log.append([event(2)]))
    assert all(page and page[0].seq == 1 for page in pages[:20])
