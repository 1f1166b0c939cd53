"""The dialog journal: one contract for the one in memory and the one on the disk; damage and a full disk."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from phoned.calls.journal import DialogJournal, MemoryJournal
from phoned.store.database import Database, StoreFailed
from phoned.store.journal import ASIDE_MAX, SqliteJournal

NOW = datetime(2026, 11, 21, 1, 2, 3, 456000, tzinfo=UTC)


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    made = Database(tmp_path / "phoned.sqlite3")
    await made.open()
    yield made
    await made.close()


@pytest.fixture(params=["memory", "sqlite"])
async def journal(request: pytest.FixtureRequest, database: Database) -> DialogJournal:
    if request.param == "memory":
        return MemoryJournal()
    kept = SqliteJournal(database)
    await kept.open()
    return kept


async def test_a_new_journal_holds_nothing(journal: DialogJournal) -> None:
    kept = await journal.load()
    assert (dict(kept.entries), kept.seen_at) == ({}, None)


async def test_what_was_written_last_is_what_is_kept(journal: DialogJournal) -> None:
    await journal.save({"one": "first", "two": "{}"}, NOW)
    await journal.save({"one": "second", "two": None, "three": None}, NOW + timedelta(seconds=1))
    kept = await journal.load()
    assert dict(kept.entries) == {"one": "second"}
    assert kept.seen_at == NOW + timedelta(seconds=1)


async def test_a_sign_of_life_changes_nothing_else(journal: DialogJournal) -> None:
    await journal.save({"one": "first"}, NOW)
    await journal.save({}, NOW + timedelta(seconds=5))
    kept = await journal.load()
    assert dict(kept.entries) == {"one": "first"}
    assert kept.seen_at == NOW + timedelta(seconds=5)


async def test_what_is_set_aside_does_not_come_again(journal: DialogJournal) -> None:
    await journal.save({"good": "good", "bad": "\N{PILE OF POO}"}, NOW)
    await journal.set_aside("bad", "not JSON")
    await journal.set_aside("none", "it is not there")
    assert dict((await journal.load()).entries) == {"good": "good"}


async def test_it_outlives_the_process(tmp_path: Path) -> None:
    for writes in (True, False):
        database = Database(tmp_path / "phoned.sqlite3")
        await database.open()
        journal = SqliteJournal(database)
        await journal.open()
        if writes:
            await journal.save({"one": "text"}, NOW)
        else:
            assert (await journal.load()).entries == {"one": "text"}
        await database.close()


async def test_so_many_damaged_entries_are_kept_and_no_more(database: Database) -> None:
    journal = SqliteJournal(database)
    await journal.open()
    for number in range(ASIDE_MAX + 5):
        await journal.save({f"c{number}": "x"}, NOW)
        await journal.set_aside(f"c{number}", "damaged")
    rows = await database.read(lambda c: c.execute("SELECT call, entry, why FROM journal_aside").fetchall())
    assert len(rows) == ASIDE_MAX
    assert rows[-1] == (f"c{ASIDE_MAX + 4}", "x", "damaged")


@pytest.mark.parametrize("at", ["nonsense", "2026-01-01T00:00:00", 7])
async def test_columns_of_another_kind_do_no_harm(database: Database, at: object) -> None:
    journal = SqliteJournal(database)
    await journal.open()

    def spoil(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT INTO journal VALUES ('one', ?)", (b"\xff\x00",))
        connection.execute("INSERT INTO journal_seen VALUES (1, ?)", (at,))

    await database.write(spoil)
    kept = await journal.load()
    assert kept.seen_at is None
    assert list(kept.entries) == ["one"]


async def test_a_disk_that_refuses_is_reported(database: Database) -> None:
    journal = SqliteJournal(database)  # without its tables
    with pytest.raises(StoreFailed):
        await journal.save({"one": "x"}, NOW)
    with pytest.raises(StoreFailed):
        await journal.load()
