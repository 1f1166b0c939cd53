"""The dialog journal on the one SQLite file: a `DialogJournal` of `phoned.calls.journal`, as text by call id.

It knows nothing of what the text says. Entries that could not be read are kept, a bounded number of them, in a table of
their own, for people to look at.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from datetime import datetime

from phoned.calls.journal import Kept
from phoned.clock import rfc3339
from phoned.store.database import Database

ASIDE_MAX = 32
SCHEMA = (
    "CREATE TABLE IF NOT EXISTS journal (call TEXT PRIMARY KEY, entry TEXT NOT NULL) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS journal_seen (one INTEGER PRIMARY KEY CHECK (one = 1), at TEXT NOT NULL)",
    "CREATE TABLE IF NOT EXISTS journal_aside (id INTEGER PRIMARY KEY, call TEXT NOT NULL, entry TEXT NOT NULL,"
    " why TEXT NOT NULL)",
)


class SqliteJournal:
    """See the module's docstring. `open` comes first; every method raises `StoreFailed`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def open(self) -> None:
        """Make the tables."""

        def work(connection: sqlite3.Connection) -> None:
            for statement in SCHEMA:
                connection.execute(statement)

        await self._database.write(work)

    async def load(self) -> Kept:
        def work(connection: sqlite3.Connection) -> Kept:
            entries = {str(call): _text(entry) for call, entry in connection.execute("SELECT call, entry FROM journal")}
            row = connection.execute("SELECT at FROM journal_seen").fetchone()
            return Kept(entries=entries, seen_at=_moment(row[0]) if row else None)

        return await self._database.read(work)

    async def save(self, changes: Mapping[str, str | None], seen_at: datetime) -> None:
        def work(connection: sqlite3.Connection) -> None:
            for call, entry in changes.items():
                if entry is None:
                    connection.execute("DELETE FROM journal WHERE call = ?", (call,))
                else:
                    connection.execute("INSERT OR REPLACE INTO journal VALUES (?, ?)", (call, entry))
            connection.execute("INSERT OR REPLACE INTO journal_seen VALUES (1, ?)", (rfc3339(seen_at),))

        await self._database.write(work)

    async def set_aside(self, call: str, why: str) -> None:
        def work(connection: sqlite3.Connection) -> None:
            connection.execute(
                "INSERT INTO journal_aside (call, entry, why) SELECT call, entry, ? FROM journal WHERE call = ?",
                (why, call),
            )
            connection.execute("DELETE FROM journal WHERE call = ?", (call,))
            connection.execute(
                "DELETE FROM journal_aside WHERE id <= (SELECT max(id) FROM journal_aside) - ?", (ASIDE_MAX,)
            )

        await self._database.write(work)


def _text(value: object) -> str:
    """What stands in the column, be it text or not: the reader above judges it."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _moment(value: object) -> datetime | None:
    try:
        moment = datetime.fromisoformat(str(value))
    except ValueError:
        return None
    return moment if moment.tzinfo is not None else None
