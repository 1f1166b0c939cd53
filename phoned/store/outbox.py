"""The outbox on the one SQLite file: an `Outbox` of `phoned.webhook`.

An event counts as taken over once its parcels and the webhook's cursor are in the same commit. Bodies are kept with
the parcels, because retries outlast the event log. Of what is finished the newest `KEPT` of each webhook stay.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from phoned.clock import rfc3339
from phoned.config.types import Secret
from phoned.store.database import Database
from phoned.webhook import Attempted, DeliveryPage, DeliveryState, DeliveryView, Parcel, StoredWebhook, Waiting

KEPT = 1000
SCHEMA = (
    "CREATE TABLE IF NOT EXISTS webhook (id TEXT PRIMARY KEY, source TEXT NOT NULL, url TEXT NOT NULL,"
    " events TEXT NOT NULL, enabled INTEGER NOT NULL, secret TEXT, created_at TEXT NOT NULL, cursor INTEGER NOT NULL,"
    " last_status INTEGER, failing_since TEXT, disabled_reason TEXT) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS delivery (place INTEGER PRIMARY KEY AUTOINCREMENT, webhook TEXT NOT NULL"
    " REFERENCES webhook (id) ON DELETE CASCADE, id TEXT NOT NULL, type TEXT NOT NULL, seq INTEGER, lane TEXT NOT NULL,"
    " body TEXT NOT NULL, state TEXT NOT NULL, attempts INTEGER NOT NULL, step INTEGER NOT NULL, last_status INTEGER,"
    " last_error TEXT, created_at TEXT NOT NULL, next_at TEXT, finished_at TEXT, UNIQUE (webhook, id))",
    "CREATE INDEX IF NOT EXISTS delivery_of_state ON delivery (webhook, state, place)",
)
_WEBHOOK = "id, source, url, events, enabled, secret, created_at, last_status, failing_since, disabled_reason"
_VIEW = "place, id, webhook, type, seq, state, attempts, last_status, last_error, created_at, next_at, finished_at"
_WAITING = "place, id, type, seq, lane, attempts, step, next_at"


class SqliteOutbox:
    """See the module's docstring. `open` comes first; every method raises `StoreFailed`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def open(self) -> None:
        """Make the tables."""

        def work(connection: sqlite3.Connection) -> None:
            for statement in SCHEMA:
                connection.execute(statement)

        await self._database.write(work)

    async def load(self) -> list[StoredWebhook]:
        def work(connection: sqlite3.Connection) -> list[StoredWebhook]:
            rows = connection.execute(f"SELECT cursor, {_WEBHOOK} FROM webhook ORDER BY created_at, id")
            return [_stored(row) for row in rows]

        return await self._database.read(work)

    async def add(self, webhook: StoredWebhook) -> None:
        def work(connection: sqlite3.Connection) -> None:
            marks = ", ".join("?" * 11)
            row = (webhook.cursor, *_row(webhook))
            connection.execute(f"INSERT INTO webhook (cursor, {_WEBHOOK}) VALUES ({marks})", row)

        await self._database.write(work)

    async def update(self, webhook: StoredWebhook) -> None:
        await self._database.write(lambda connection: _update(connection, webhook))

    async def remove(self, webhook: str) -> None:
        def work(connection: sqlite3.Connection) -> None:
            connection.execute("DELETE FROM webhook WHERE id = ?", (webhook,))

        await self._database.write(work)

    async def put(self, webhook: str, parcels: Sequence[Parcel], cursor: int | None) -> list[int]:
        def work(connection: sqlite3.Connection) -> list[int]:
            places = []
            for parcel in parcels:
                at = rfc3339(parcel.created_at)
                found = connection.execute(
                    "INSERT OR IGNORE INTO delivery (webhook, id, type, seq, lane, body, state, attempts, step,"
                    " created_at, next_at) VALUES (?, ?, ?, ?, ?, ?, 'pending', 0, 0, ?, ?)",
                    (webhook, parcel.id, parcel.type, parcel.seq, parcel.lane, parcel.body, at, at),
                )
                places.append(found.lastrowid if found.rowcount and found.lastrowid else 0)
            if cursor is not None:
                connection.execute("UPDATE webhook SET cursor = ? WHERE id = ?", (cursor, webhook))
            return places

        return await self._database.write(work)

    async def waiting(self, webhook: str) -> list[Waiting]:
        def work(connection: sqlite3.Connection) -> list[Waiting]:
            rows = connection.execute(
                f"SELECT {_WAITING} FROM delivery WHERE webhook = ? AND state = 'pending' ORDER BY place", (webhook,)
            )
            return [_waiting(row) for row in rows]

        return await self._database.read(work)

    async def body(self, place: int) -> str | None:
        def work(connection: sqlite3.Connection) -> str | None:
            row = connection.execute("SELECT body FROM delivery WHERE place = ?", (place,)).fetchone()
            return None if row is None else str(row[0])

        return await self._database.read(work)

    async def note(self, webhook: StoredWebhook, attempted: Attempted) -> None:
        def work(connection: sqlite3.Connection) -> None:
            _update(connection, webhook)
            finished = attempted.state != "pending"
            connection.execute(
                "UPDATE delivery SET state = ?, attempts = ?, step = ?, last_status = ?, last_error = ?, next_at = ?,"
                " finished_at = ? WHERE place = ?",
                (
                    attempted.state,
                    attempted.attempts,
                    attempted.step,
                    attempted.status,
                    attempted.error,
                    _text(attempted.next_at),
                    rfc3339(attempted.at) if finished else None,
                    attempted.place,
                ),
            )
            if finished:
                for state in ("delivered", "failed"):
                    connection.execute(
                        "DELETE FROM delivery WHERE webhook = ? AND state = ? AND place <= (SELECT place FROM delivery"
                        " WHERE webhook = ? AND state = ? ORDER BY place DESC LIMIT 1 OFFSET ?)",
                        (webhook.id, state, webhook.id, state, KEPT),
                    )

        await self._database.write(work)

    async def deliveries(
        self, webhook: str, *, state: DeliveryState | None, before: int | None, limit: int
    ) -> DeliveryPage:
        def work(connection: sqlite3.Connection) -> DeliveryPage:
            found = connection.execute(
                f"SELECT {_VIEW} FROM delivery WHERE webhook = ? AND (? IS NULL OR state = ?)"
                " AND (? IS NULL OR place < ?) ORDER BY place DESC LIMIT ?",
                (webhook, state, state, before, before, limit + 1),
            ).fetchall()
            more = len(found) > limit
            return DeliveryPage(
                deliveries=tuple(map(_view, found[:limit])), before=int(found[limit - 1][0]) if more else None
            )

        return await self._database.read(work)

    async def delivery(self, webhook: str, delivery: str) -> DeliveryView | None:
        def work(connection: sqlite3.Connection) -> DeliveryView | None:
            row = connection.execute(
                f"SELECT {_VIEW} FROM delivery WHERE webhook = ? AND id = ?", (webhook, delivery)
            ).fetchone()
            return None if row is None else _view(row)

        return await self._database.read(work)

    async def again(self, webhook: str, delivery: str, now: datetime) -> Waiting | None:
        def work(connection: sqlite3.Connection) -> Waiting | None:
            connection.execute(
                "UPDATE delivery SET state = 'pending', step = 0, next_at = ?, finished_at = NULL"
                " WHERE webhook = ? AND id = ?",
                (rfc3339(now), webhook, delivery),
            )
            row = connection.execute(
                f"SELECT {_WAITING} FROM delivery WHERE webhook = ? AND id = ?", (webhook, delivery)
            ).fetchone()
            return None if row is None else _waiting(row)

        return await self._database.write(work)


def _update(connection: sqlite3.Connection, webhook: StoredWebhook) -> None:
    names = _WEBHOOK.split(", ")[1:]
    assignments = ", ".join(f"{name} = ?" for name in names)
    connection.execute(f"UPDATE webhook SET {assignments} WHERE id = ?", (*_row(webhook)[1:], webhook.id))


def _row(webhook: StoredWebhook) -> tuple[Any, ...]:
    """In the order of `_WEBHOOK`."""
    return (
        webhook.id,
        webhook.source,
        webhook.url,
        json.dumps(webhook.events),
        int(webhook.enabled),
        webhook.secret.text() if webhook.secret is not None else None,
        rfc3339(webhook.created_at),
        webhook.last_status,
        _text(webhook.failing_since),
        webhook.disabled_reason,
    )


def _stored(row: tuple[Any, ...]) -> StoredWebhook:
    cursor, id_, source, url, events, enabled, secret, created_at, last_status, failing_since, disabled_reason = row
    return StoredWebhook(
        id=id_,
        source=source,
        url=url,
        events=tuple(json.loads(events)),
        enabled=bool(enabled),
        secret=None if secret is None else Secret(secret.encode()),
        created_at=datetime.fromisoformat(created_at),
        cursor=cursor,
        last_status=last_status,
        failing_since=_moment(failing_since),
        disabled_reason=disabled_reason,
    )


def _waiting(row: tuple[Any, ...]) -> Waiting:
    place, id_, type_, seq, lane, attempts, step, next_at = row
    return Waiting(
        place=place,
        id=id_,
        type=type_,
        seq=seq,
        lane=lane,
        attempts=attempts,
        step=step,
        next_at=datetime.fromisoformat(next_at),
    )


def _view(row: tuple[Any, ...]) -> DeliveryView:
    _, id_, webhook, type_, seq, state, attempts, last_status, last_error, created_at, next_at, finished_at = row
    return DeliveryView(
        id=id_,
        webhook=webhook,
        type=type_,
        seq=seq,
        state=state,
        attempts=attempts,
        last_status=last_status,
        last_error=last_error,
        created_at=datetime.fromisoformat(created_at),
        next_attempt_at=_moment(next_at),
        finished_at=_moment(finished_at),
    )


def _text(moment: datetime | None) -> str | None:
    return None if moment is None else rfc3339(moment)


def _moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
