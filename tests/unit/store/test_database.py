from __future__ import annotations

import asyncio
import os
import sqlite3
import stat
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from phoned.store.database import Database, StoreFailed
from phoned.store.keyvalue import SqliteKeyValue


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    database = Database(tmp_path / "state" / "phoned.db")
    await database.open()
    try:
        yield database
    finally:
        await database.close()


def insert(connection: sqlite3.Connection, name: str, value: int) -> None:
    connection.execute("INSERT INTO meta VALUES (?, ?)", (name, value))


def count(connection: sqlite3.Connection) -> int:
    return int(connection.execute("SELECT count(*) FROM meta").fetchone()[0])


async def test_what_was_written_is_read(database: Database) -> None:
    await database.write(lambda connection: insert(connection, "a", 1))
    assert await database.read(count) == 1


async def test_the_file_is_private_and_uses_wal(database: Database) -> None:
    for file in database.path.parent.iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600, file
    mode = await database.read(lambda connection: connection.execute("PRAGMA journal_mode").fetchone()[0])
    assert mode == "wal"


async def test_one_failing_piece_leaves_the_others_of_its_batch(database: Database) -> None:
    def broken(connection: sqlite3.Connection) -> None:
        insert(connection, "half", 1)
        raise ValueError("a bug")

    results = await asyncio.gather(
        database.write(lambda connection: insert(connection, "a", 1)),
        database.write(broken),
        database.write(lambda connection: insert(connection, "a", 2)),  # the name is taken
        database.write(lambda connection: insert(connection, "b", 1)),
        return_exceptions=True,
    )
    assert results[0] is None
    assert isinstance(results[1], ValueError)
    assert isinstance(results[2], StoreFailed)
    assert results[3] is None
    assert await database.read(count) == 2


async def test_a_piece_that_fails_alone_leaves_nothing(database: Database) -> None:
    def broken(connection: sqlite3.Connection) -> None:
        insert(connection, "half", 1)
        raise ValueError("a bug")

    with pytest.raises(ValueError, match="a bug"):
        await database.write(broken)
    assert await database.read(count) == 0
    await database.write(lambda connection: insert(connection, "a", 1))
    assert await database.read(count) == 1


async def test_a_commit_is_told_before_whoever_waits_for_it_goes_on_and_a_failure_is_not(database: Database) -> None:
    told: list[str] = []
    await database.write(lambda connection: insert(connection, "a", 1), lambda: told.append("a"))
    assert told == ["a"]
    with pytest.raises(StoreFailed):
        await database.write(lambda connection: insert(connection, "a", 2), lambda: told.append("again"))
    assert told == ["a"]


async def test_readers_cannot_write(database: Database) -> None:
    with pytest.raises(StoreFailed, match="readonly"):
        await database.read(lambda connection: insert(connection, "a", 1))


async def test_writes_that_nobody_waits_for_any_more_do_no_harm(database: Database) -> None:
    waiting = asyncio.gather(*(database.write(lambda connection: insert(connection, "x", 1)) for _ in range(3)))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await database.write(lambda connection: insert(connection, "y", 1))
    assert await database.read(count) in (1, 2)


async def test_a_commit_that_fails_is_everybodys_failure_and_the_next_one_works(database: Database) -> None:
    parent = "CREATE TABLE parent (id INTEGER PRIMARY KEY)"
    child = "CREATE TABLE child (id INTEGER REFERENCES parent DEFERRABLE INITIALLY DEFERRED)"
    await database.write(lambda connection: connection.execute(parent) and connection.execute(child))
    with pytest.raises(StoreFailed, match="FOREIGN KEY"):
        await database.write(lambda connection: connection.execute("INSERT INTO child VALUES (1)"))
    await database.write(lambda connection: insert(connection, "a", 1))
    assert await database.read(count) == 1


async def test_what_is_queued_is_committed_by_close(tmp_path: Path) -> None:
    database = Database(tmp_path / "phoned.db")
    await database.open()
    writes = [database.write(lambda connection, n=n: insert(connection, f"n{n}", n)) for n in range(300)]  # type: ignore[misc]  # a default binds the number
    gathered = asyncio.gather(*writes)
    await asyncio.sleep(0)
    await database.close()
    await gathered
    again = Database(tmp_path / "phoned.db")
    await again.open()
    assert await again.read(count) == 300
    await again.close()


async def test_a_closed_store_says_so(tmp_path: Path) -> None:
    database = Database(tmp_path / "phoned.db")
    with pytest.raises(StoreFailed, match="closed"):
        await database.read(count)
    await database.open()
    await database.close()
    await database.close()
    with pytest.raises(StoreFailed, match="closed"):
        await database.write(count)


async def test_a_damaged_file_is_set_aside_and_numbers_do_not_come_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "phoned.db"
    path.write_bytes(b"this is no database at all, whatever its name says" * 100)
    database = Database(path)
    before_ms = time.time_ns() // 1_000_000
    await database.open()
    base = await database.read(lambda connection: connection.execute("SELECT value FROM meta").fetchone()[0])
    await database.close()
    assert base >= before_ms
    assert "is damaged" in caplog.text
    asides = [name for name in os.listdir(tmp_path) if name.startswith("phoned.db.damaged-")]
    assert len(asides) == 1
    assert (tmp_path / asides[0]).read_bytes().startswith(b"this is no database")


async def test_a_directory_in_the_place_of_the_file_is_reported(tmp_path: Path) -> None:
    database = Database(tmp_path)
    with pytest.raises(StoreFailed, match="directory"):
        await database.open()


async def test_values_are_kept_for_each_service(database: Database) -> None:
    one, two = SqliteKeyValue(database, "one"), SqliteKeyValue(database, "two")
    assert await one.get("k") is None
    await one.set("k", b"1")
    await one.set("k", b"\x00\xff")
    await two.set("k", b"2")
    assert await one.get("k") == b"\x00\xff"
    await one.delete("k")
    await one.delete("k")
    assert await one.get("k") is None
    assert await two.get("k") == b"2"


async def test_values_are_found_by_the_beginning_of_their_keys(database: Database) -> None:
    one, two = SqliteKeyValue(database, "one"), SqliteKeyValue(database, "two")
    for key in ("a/1", "a/2", "A/3", "a%", "b"):
        await one.set(key, key.encode())
    await two.set("a/9", b"9")
    assert await one.items("a/") == {"a/1": b"a/1", "a/2": b"a/2"}
    assert await one.items("a%") == {"a%": b"a%"}
    assert len(await one.items("")) == 5
