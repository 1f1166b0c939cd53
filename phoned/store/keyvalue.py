"""Small durable values of one service: `KeyValue` of `phoned.service` on the one SQLite file."""

from __future__ import annotations

import sqlite3

from phoned.store.database import Database


class SqliteKeyValue:
    """The keys of ``service``; services do not see each other's."""

    def __init__(self, database: Database, service: str) -> None:
        self._database = database
        self._service = service

    async def get(self, key: str) -> bytes | None:
        def work(connection: sqlite3.Connection) -> bytes | None:
            row = connection.execute(
                "SELECT value FROM keyvalue WHERE service = ? AND key = ?", (self._service, key)
            ).fetchone()
            return None if row is None else bytes(row[0])

        return await self._database.read(work)

    async def set(self, key: str, value: bytes) -> None:
        def work(connection: sqlite3.Connection) -> None:
            connection.execute("INSERT OR REPLACE INTO keyvalue VALUES (?, ?, ?)", (self._service, key, value))

        await self._database.write(work)

    async def delete(self, key: str) -> None:
        def work(connection: sqlite3.Connection) -> None:
            connection.execute("DELETE FROM keyvalue WHERE service = ? AND key = ?", (self._service, key))

        await self._database.write(work)

    async def items(self, prefix: str) -> dict[str, bytes]:
        def work(connection: sqlite3.Connection) -> dict[str, bytes]:
            rows = connection.execute(
                "SELECT key, value FROM keyvalue WHERE service = ? AND substr(key, 1, ?) = ?",
                (self._service, len(prefix), prefix),
            )
            return {str(key): bytes(value) for key, value in rows}

        return await self._database.read(work)
