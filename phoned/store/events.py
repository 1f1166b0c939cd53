"""The durable event log: an `EventLog` of `phoned.events` on the one SQLite file.

A full or broken disk must not silence the phone: then events are held in memory (bounded), delivered all the same, and
written with the next batch that succeeds. What was lost in between is a hole, and a client that asks for it gets None
(`events.gap`), never a silent skip.
"""

from __future__ import annotations

import json
import logging
import sqlite3
from collections.abc import Callable
from datetime import datetime

from phoned.clock import rfc3339
from phoned.events import CallsTold, Event, nobody
from phoned.plain import dumps, plain
from phoned.store.database import Database, StoreFailed

log = logging.getLogger(__name__)

_Row = tuple[int, str, str, str, str, str]


class SqliteEventLog:
    """Keeps the newest ``capacity`` events. Events that come back hold plain JSON values in `data`."""

    def __init__(self, database: Database, *, capacity: int = 100_000, unwritten: int = 10_000) -> None:
        self._database = database
        self._capacity = max(capacity, 1)
        self._unwritten_max = unwritten
        self._unwritten: list[_Row] = []
        self._since_prune = 0
        self._newest: int | None = None
        """The newest that we know to be in the log."""
        self.degraded = False
        """True while the disk refuses: events are delivered, but would not survive a crash."""

    async def last_seq(self) -> int:
        def work(connection: sqlite3.Connection) -> int:
            newest = connection.execute("SELECT max(seq) FROM event").fetchone()[0]
            base = connection.execute("SELECT max(value) FROM meta WHERE name = 'base_seq'").fetchone()[0]
            return max(newest or 0, base or 0)

        return await self._database.read(work)

    async def append(self, events: list[Event], committed: Callable[[], None] = nobody) -> None:
        """Commit in order. Never raises on behalf of the disk, see the module's words on that."""
        rows = [*self._unwritten, *map(_row, events)]
        if not rows:
            committed()
            return
        self._since_prune += len(events)
        prune = self._since_prune >= max(self._capacity // 20, 1)
        joined = self._newest == rows[0][0] - 1
        try:
            await self._database.write(lambda connection: self._write(connection, rows, joined, prune), committed)
        except StoreFailed as error:
            if not self.degraded:
                log.error("events are not being stored: %s", error)
            self.degraded = True
            self._unwritten = rows[-self._unwritten_max :]
            committed()  # to nowhere: they are told all the same
            return
        self._newest = rows[-1][0]
        if self.degraded:
            log.info("events are being stored again")
        self.degraded = False
        self._unwritten = []
        if prune:
            self._since_prune = 0

    async def after(self, seq: int, limit: int) -> list[Event] | None:
        def work(connection: sqlite3.Connection) -> list[Event] | None:
            oldest, newest = connection.execute("SELECT min(seq), max(seq) FROM event").fetchone()
            base = connection.execute("SELECT max(value) FROM meta WHERE name = 'base_seq'").fetchone()[0] or 0
            if newest is None:
                return [] if seq == base else None
            if seq < oldest - 1 or seq > newest:
                return None
            rows = connection.execute("SELECT * FROM event WHERE seq > ? ORDER BY seq LIMIT ?", (seq, limit))
            return [_event(row) for row in rows]

        return await self._database.read(work)

    async def calls_told(self) -> CallsTold:
        def work(connection: sqlite3.Connection) -> CallsTold:
            begun: dict[str, int] = {}
            ended: set[str] = set()
            rows = connection.execute(
                "SELECT seq, type, json_extract(data, '$.call.id') FROM event"
                " WHERE type IN ('call.created', 'call.incoming', 'call.ended') ORDER BY seq"
            )
            for seq, type_, call in rows:
                if type_ == "call.ended":
                    begun.pop(call, None)
                    ended.add(call)
                else:
                    begun[call] = seq
            texts = (connection.execute("SELECT data FROM event WHERE seq = ?", (seq,)) for seq in begun.values())
            unfinished = tuple(json.loads(found.fetchone()[0])["call"] for found in texts)
            return CallsTold(unfinished=unfinished, ended=frozenset(ended))

        try:
            return await self._database.read(work)
        except StoreFailed as error:
            log.error("the calls of before cannot be read from the events: %s", error)
            return CallsTold()

    def _write(self, connection: sqlite3.Connection, rows: list[_Row], joined: bool, prune: bool) -> None:
        """``joined``: the first of them is known to follow what is there."""
        first = rows[0][0]
        newest = None if joined else connection.execute("SELECT max(seq) FROM event").fetchone()[0]
        if newest is not None and newest < first - 1:
            # a hole: what lies before it can no longer be replayed without a silent skip
            connection.execute("DELETE FROM event WHERE seq < ?", (first,))
        connection.executemany("INSERT OR REPLACE INTO event VALUES (?, ?, ?, ?, ?, ?)", rows)
        if prune:
            connection.execute("DELETE FROM event WHERE seq <= ?", (rows[-1][0] - self._capacity,))


def _row(event: Event) -> _Row:
    return event.seq, event.id, event.type, rfc3339(event.time), event.node, dumps(plain(event.data))


def _event(row: _Row) -> Event:
    seq, id_, type_, time, node, data = row
    return Event(id=id_, seq=seq, type=type_, time=datetime.fromisoformat(time), node=node, data=json.loads(data))
