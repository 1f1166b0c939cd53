"""One SQLite file (WAL), one writer thread, one reader thread. Nothing here runs on the loop.

Work is a function of a connection. The writer takes all work that gathered while it committed the last batch and
commits it at once (group commit), each piece in a savepoint of its own, so that one failure undoes one piece. A
caller's future resolves after the commit: what `write` returned survives a crash of the process (``synchronous=NORMAL``
means that a power cut may take the newest commits, never the file).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import queue
import sqlite3
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from phoned.errors import InternalError

log = logging.getLogger(__name__)

T = TypeVar("T")
Work = Callable[[sqlite3.Connection], T]
_Job = tuple[Work[Any], "Future[Any]"]

SCHEMA = (
    "CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS event (seq INTEGER PRIMARY KEY, id TEXT NOT NULL, type TEXT NOT NULL,"
    " time TEXT NOT NULL, node TEXT NOT NULL, data TEXT NOT NULL)",
    "DROP INDEX IF EXISTS event_of_call",  # of an earlier version
    "CREATE INDEX IF NOT EXISTS event_of_calls ON event (seq)"
    " WHERE type IN ('call.created', 'call.incoming', 'call.ended')",
    "CREATE TABLE IF NOT EXISTS keyvalue (service TEXT NOT NULL, key TEXT NOT NULL, value BLOB NOT NULL,"
    " PRIMARY KEY (service, key)) WITHOUT ROWID",
)
BATCH = 256


class StoreFailed(InternalError):
    """The database could not do it: disk full, file gone, file damaged."""

    code = "store_failed"


class Database:
    """The file and its two threads. Driven by `write` and `read`; `close` commits what is queued."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._writer: threading.Thread | None = None
        self._reader = ThreadPoolExecutor(max_workers=1, thread_name_prefix="store-read")
        self._read_connection: sqlite3.Connection | None = None

    async def open(self) -> None:
        """Make or open the file. A damaged file is set aside, with a line in the log, and a new one begun."""
        ready: Future[None] = Future()
        self._writer = threading.Thread(target=self._run, args=(ready,), name="store-write", daemon=True)
        self._writer.start()
        await asyncio.wrap_future(ready)

    async def write(self, work: Work[T], committed: Callable[[], None] | None = None) -> T:
        """Run ``work`` on the writer; returns after the commit. Raises `StoreFailed`.

        ``committed`` is called after the commit, a turn of the loop before whoever waits here goes on.
        """
        if self._writer is None:
            raise StoreFailed("the store is closed")
        future: Future[T] = Future()
        if committed is not None:
            future.add_done_callback(_teller(asyncio.get_running_loop(), committed))
        self._jobs.put((work, future))
        try:
            return await asyncio.wrap_future(future)
        except sqlite3.Error as error:
            raise StoreFailed(f"{self.path.name}: {error}") from error

    async def read(self, work: Work[T]) -> T:
        """Run ``work`` on the reader, beside the writer. Raises `StoreFailed`."""
        if self._writer is None:
            raise StoreFailed("the store is closed")
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._reader, self._do_read, work)
        except sqlite3.Error as error:
            raise StoreFailed(f"{self.path.name}: {error}") from error

    async def close(self) -> None:
        """Commit what is queued, close the file, end the threads."""
        writer, self._writer = self._writer, None
        if writer is not None:
            self._jobs.put(None)
            await asyncio.to_thread(writer.join)
            await asyncio.get_running_loop().run_in_executor(self._reader, self._close_read)
        self._reader.shutdown(wait=False)

    def _do_read(self, work: Work[T]) -> T:
        if self._read_connection is None:
            self._read_connection = self._connect()
            self._read_connection.execute("PRAGMA query_only = ON")
        return work(self._read_connection)

    def _close_read(self) -> None:
        if self._read_connection is not None:
            self._read_connection.close()

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False, timeout=5.0)
        connection.execute("PRAGMA busy_timeout = 5000")
        return connection

    def _prepare(self) -> sqlite3.Connection:
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # SQLite gives the WAL and the shared memory file the mode of the database
        os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        connection = self._connect()
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")
            connection.execute("PRAGMA foreign_keys = ON")
            for statement in SCHEMA:
                connection.execute(statement)
            verdict = connection.execute("PRAGMA quick_check(1)").fetchone()
            if verdict is None or verdict[0] != "ok":
                raise sqlite3.DatabaseError(f"quick_check: {verdict}")
        except sqlite3.Error:
            connection.close()
            raise
        return connection

    def _open_or_replace(self) -> sqlite3.Connection:
        try:
            return self._prepare()
        except sqlite3.OperationalError:
            raise  # no room, no right: the file itself may be fine
        except sqlite3.DatabaseError as error:
            aside = self.path.with_name(f"{self.path.name}.damaged-{int(time.time())}")
            log.error("%s is damaged (%s); kept as %s, a new one is begun", self.path, error, aside.name)
            os.replace(self.path, aside)
            for suffix in ("-wal", "-shm"):
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(f"{self.path}{suffix}")
            connection = self._prepare()
            # numbers that were given out before must not come again: begin above any that a phone can have reached
            connection.execute("INSERT INTO meta VALUES ('base_seq', ?)", (time.time_ns() // 1_000_000,))
            return connection

    def _run(self, ready: Future[None]) -> None:
        try:
            connection = self._open_or_replace()
        except (sqlite3.Error, OSError) as error:
            ready.set_exception(StoreFailed(f"{self.path}: {error}"))
            return
        ready.set_result(None)
        with contextlib.closing(connection):
            while self._step(connection):
                pass

    def _step(self, connection: sqlite3.Connection) -> bool:
        """One batch: one transaction. False when the end of the work was met."""
        job = self._jobs.get()
        batch: list[_Job] = []
        while job is not None:
            batch.append(job)
            if len(batch) >= BATCH or self._jobs.empty():
                break
            job = self._jobs.get()
        alone = len(batch) == 1
        done = [(future, _attempt(connection, work, alone)) for work, future in batch if _begin(connection, future)]
        failure = _commit(connection)
        for future, (result, error) in done:
            if error is not None or failure is not None:
                future.set_exception(error or failure or sqlite3.Error())
            else:
                future.set_result(result)
        return job is not None


def _teller(loop: asyncio.AbstractEventLoop, committed: Callable[[], None]) -> Callable[[Future[Any]], None]:
    """Called by the writer's thread."""

    def tell(future: Future[Any]) -> None:
        if not (future.cancelled() or future.exception() or loop.is_closed()):
            loop.call_soon_threadsafe(committed)

    return tell


def _attempt(connection: sqlite3.Connection, work: Work[Any], alone: bool) -> tuple[Any, BaseException | None]:
    """One piece. ``alone``: there is nothing else in the transaction that its failure must not undo; each statement
    that is spared is one time less that this thread has to get the interpreter back from the loop."""
    try:
        if not alone:
            connection.execute("SAVEPOINT piece")
        result = work(connection)
        if not alone:
            connection.execute("RELEASE piece")
    except Exception as error:  # a bug in one piece must not end the thread
        if connection.in_transaction:
            with contextlib.suppress(sqlite3.Error):
                if alone:
                    connection.execute("ROLLBACK")
                else:
                    connection.execute("ROLLBACK TO piece")
                    connection.execute("RELEASE piece")
        return None, error
    return result, None


def _begin(connection: sqlite3.Connection, future: Future[Any]) -> bool:
    """Open the transaction when none is; False when nobody waits for this piece any more."""
    if not future.set_running_or_notify_cancel():
        return False
    if not connection.in_transaction:
        with contextlib.suppress(sqlite3.Error):  # the piece itself will meet the same error and report it
            connection.execute("BEGIN IMMEDIATE")
    return True


def _commit(connection: sqlite3.Connection) -> sqlite3.Error | None:
    if not connection.in_transaction:
        return None
    try:
        connection.execute("COMMIT")
    except sqlite3.Error as error:
        with contextlib.suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
        return error
    return None
