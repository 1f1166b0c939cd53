"""The file of the control API's tokens and login codes: hashes only, one 0600 file of the state directory.

Written by commands while the daemon runs, under a lock on the directory, and always as a whole. Knows nothing of what
an entry allows. SHA-256 without salt is enough for values of 256 random bits: there is nothing to guess.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from phoned.errors import InvalidValue
from phoned.store.atomic import write_atomically

FILE = "tokens.json"
PREFIX = "phoned_"
"""Every token and every code begins with it, so that one can be told from other text (scanners, `token_in_url`)."""

Entry = dict[str, object]


@dataclass(slots=True, kw_only=True)
class Entries:
    """What the file holds."""

    tokens: list[Entry] = field(default_factory=list)
    logins: list[Entry] = field(default_factory=list)
    """Codes that were given out and not used yet."""

    def forget_expired(self, now: datetime) -> None:
        """Drop what is over."""
        self.tokens = [entry for entry in self.tokens if not is_over(entry, now)]
        self.logins = [entry for entry in self.logins if not is_over(entry, now)]


def hashed(secret: str) -> str:
    """What is kept of a token."""
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).hexdigest()


def expiry(entry: Entry) -> datetime | None:
    """When the entry ends; None for one that does not. Raises `ValueError` for what is no moment."""
    text = entry.get("expires_at")
    if text is None:
        return None
    moment = datetime.fromisoformat(str(text))
    if moment.tzinfo is None:
        raise ValueError(f"{text} has no time zone")
    return moment


def is_over(entry: Entry, now: datetime) -> bool:
    """Whether the entry has ended. One whose end cannot be read has."""
    try:
        until = expiry(entry)
        return until is not None and until <= now
    except ValueError:
        return True


def read(path: Path) -> Entries:
    """The entries; none when there is no file. Raises `InvalidValue` for a damaged one, `OSError`."""
    try:
        document = json.loads(path.read_text())
        return Entries(tokens=_listed(document["tokens"]), logins=_listed(document.get("logins", [])))
    except FileNotFoundError:
        return Entries()
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InvalidValue(f"{path} is damaged ({error}); move it away and make new tokens") from error


def _listed(entries: Any) -> list[Entry]:
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise ValueError("not a list of objects")
    return entries


@contextlib.contextmanager
def changing(state_dir: Path) -> Iterator[Entries]:
    """The entries, to be changed by nobody else meanwhile; written when the block ends without an error and they
    were changed. Blocks. Raises as `read` does."""
    state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(state_dir, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        path = state_dir / FILE
        entries = read(path)
        before = (list(entries.tokens), list(entries.logins))
        yield entries
        if (entries.tokens, entries.logins) != before:
            _replace(path, entries)
    finally:
        os.close(descriptor)


def _replace(path: Path, entries: Entries) -> None:
    document = {"version": 1, "tokens": entries.tokens, "logins": entries.logins}
    write_atomically(path, json.dumps(document, indent=1).encode() + b"\n")
    owner = os.stat(path.parent)
    if os.geteuid() == 0 and owner.st_uid != 0:
        # `phoned token` as root: the daemon, which owns the directory, must be able to read it
        os.chown(path, owner.st_uid, owner.st_gid)
