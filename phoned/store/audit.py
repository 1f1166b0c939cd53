"""Who did what: one line of JSON for each order that was given, in a bounded file of the state directory.

Entries hold names, ids and outcomes; never bodies, never secrets. Each holds a hash of the line before it (``prev``),
so that a line that was changed or taken out is seen (`check`). Several processes may write: the daemon, and `phoned
token` beside it. The file is rotated by size; what is older than the last of `FILES` is gone.
"""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import json
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from phoned.clock import WallClock, rfc3339, wall_clock
from phoned.tasks import Tasks

log = logging.getLogger(__name__)

FILE = "audit.log"
FILES = 4
MOST_BYTES = 4 * 1024 * 1024
"""Of one file."""
PENDING = 10_000
"""Entries that may wait for a disk that is slow."""
_TAIL = 64 * 1024
"""Longer than any entry."""


class AuditLog:
    """The daemon's side. `note` returns at once; entries reach the disk, in order, in the background."""

    def __init__(self, state_dir: Path, *, clock: WallClock = wall_clock) -> None:
        self._path = state_dir / FILE
        self._clock = clock
        self._pending: list[Mapping[str, Any]] = []
        self._dropped = 0
        self._writing: asyncio.Task[None] | None = None
        self._tasks = Tasks("audit", self._on_crash)

    def note(self, *, who: str, what: str, outcome: str, **facts: str | int | None) -> None:
        """An order, who gave it and what came of it. Facts that are None or empty are left out."""
        if len(self._pending) >= PENDING:
            self._dropped += 1
            return
        self._pending.append(entry_of(self._clock, who=who, what=what, outcome=outcome, **facts))
        if self._writing is None:
            self._writing = self._tasks.spawn("write", self._write_out())

    async def close(self) -> None:
        """Write what waits."""
        while self._writing is not None:
            await asyncio.wait([self._writing])
        await self._tasks.close()

    async def _write_out(self) -> None:
        try:
            while self._pending:
                batch, self._pending = self._pending, []
                if self._dropped:
                    batch.append(entry_of(self._clock, who="phoned", what="lost entries", outcome=str(self._dropped)))
                    self._dropped = 0
                try:
                    await asyncio.to_thread(append, self._path, batch)
                except OSError as error:
                    log.error("%s: %d entries were not written: %s", self._path, len(batch), error)
        finally:
            self._writing = None

    def _on_crash(self, name: str, error: BaseException) -> None:
        log.error("%s ended", name, exc_info=error)


def entry_of(clock: WallClock, **facts: str | int | None) -> Mapping[str, Any]:
    """An entry of this moment."""
    return {"time": rfc3339(clock()), **{name: fact for name, fact in facts.items() if fact not in (None, "")}}


def append(path: Path, entries: Sequence[Mapping[str, Any]]) -> None:
    """Write entries at the end, on the disk when this returns. Blocks; raises `OSError`."""
    descriptor = _locked(path)
    try:
        while os.fstat(descriptor).st_size >= MOST_BYTES:
            _rotate(path)
            os.close(descriptor)
            descriptor = _locked(path)  # which another may have begun meanwhile
        own = _last_line(descriptor)
        text = b"" if own is None or own.endswith(b"\n") else b"\n"  # a line that a crash has torn
        last = own or _last_of(_numbered(path, 1))
        for entry in entries:
            line = json.dumps({**entry, "prev": _hash(last)}, ensure_ascii=True).encode() + b"\n"
            text, last = text + line, line
        os.write(descriptor, text)
        os.fsync(descriptor)
        _give_to_owner(descriptor, path.parent)
    finally:
        os.close(descriptor)


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line as it stands in a file. ``whole``: it is an entry, and the line before it is the one that it names."""

    file: Path
    number: int
    text: str
    whole: bool


def check(state_dir: Path) -> Iterator[Line]:
    """All lines, the oldest first. The first that is left of a log whose beginning was rotated away is believed."""
    last: bytes | None = None
    for path in reversed([_numbered(state_dir / FILE, number) for number in range(FILES)]):
        if not path.exists():
            continue
        for number, line in enumerate(path.read_bytes().splitlines(keepends=True), 1):
            try:
                prev = json.loads(line).get("prev")
                whole = last is None or prev == _hash(last)
            except (ValueError, AttributeError):
                whole = False
            yield Line(file=path, number=number, text=line.decode("utf-8", "replace").rstrip("\n"), whole=whole)
            last = line


def _locked(path: Path) -> int:
    """The file, open and ours alone; made when there is none. Whoever held it before us may have rotated it."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if os.path.exists(path) and os.path.samestat(os.fstat(descriptor), os.stat(path)):
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _rotate(path: Path) -> None:
    for number in range(FILES - 1, 0, -1):
        older = _numbered(path, number - 1)
        if older.exists():
            os.replace(older, _numbered(path, number))


def _numbered(path: Path, number: int) -> Path:
    return path if number == 0 else path.with_name(f"{path.name}.{number}")


def _last_line(descriptor: int) -> bytes | None:
    size = os.fstat(descriptor).st_size
    tail = os.pread(descriptor, _TAIL, max(0, size - _TAIL))
    lines = tail.splitlines(keepends=True)
    return lines[-1] if lines else None


def _last_of(path: Path) -> bytes | None:
    """The same of a file that was rotated, when there is one."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return None
    try:
        return _last_line(descriptor)
    finally:
        os.close(descriptor)


def _hash(line: bytes | None) -> str:
    return hashlib.sha256((line or b"").rstrip(b"\n")).hexdigest()[:32]


def _give_to_owner(descriptor: int, directory: Path) -> None:
    """What root has made, the daemon must be able to write."""
    owner = os.stat(directory)
    if os.geteuid() == 0 and os.fstat(descriptor).st_uid != owner.st_uid:
        os.fchown(descriptor, owner.st_uid, owner.st_gid)
