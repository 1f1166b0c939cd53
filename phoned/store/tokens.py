"""The tokens of the control API: 256 bits each, kept as hashes in one 0600 file of the state directory.

`phoned token` writes the file while the daemon runs; the daemon reads it again when it changed. A token is shown once,
when it is made. SHA-256 without salt is enough for a value of 256 random bits: there is nothing to guess.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import hmac
import json
import logging
import os
import secrets
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, get_args

from phoned.clock import rfc3339
from phoned.errors import InvalidValue
from phoned.store.atomic import write_atomically

log = logging.getLogger(__name__)

Scope = Literal["read", "call", "media", "admin"]
SCOPES: tuple[Scope, ...] = get_args(Scope)
FILE = "tokens.json"
PREFIX = "phoned_"
"""Every token begins with it, so that one can be told from other text (secret scanners, `token_in_url`)."""

_GRANTS: dict[Scope, frozenset[Scope]] = {
    "read": frozenset({"read"}),
    "call": frozenset({"read", "call"}),
    "media": frozenset({"read", "media"}),
    "admin": frozenset(SCOPES),
}


def grants(held: Scope, needed: Scope) -> bool:
    """Whether a holder of ``held`` may do what asks for ``needed``: read < call < admin, and media beside call."""
    return needed in _GRANTS[held]


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredToken:
    """What is known of a token afterwards."""

    id: str
    scope: Scope
    hash: str


def issue_token(state_dir: Path, scope: Scope, *, now: datetime | None = None) -> str:
    """Make a token, keep its hash, return it. The only moment at which it can be read. Raises `InvalidValue`."""
    if scope not in SCOPES:
        raise InvalidValue(f"unknown scope {scope!r}; one of {', '.join(SCOPES)}", pointer="/scope")
    token = PREFIX + secrets.token_urlsafe(32)
    entry: dict[str, object] = {
        "id": "tok_" + secrets.token_hex(6),
        "scope": scope,
        "hash": _hash(token),
        "created_at": rfc3339(now or datetime.now(UTC)),
    }
    state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _locked(state_dir):
        entries = _entries(state_dir / FILE)
        _replace(state_dir / FILE, [*entries, entry])
    return token


class TokenStore:
    """The reader's side. `find` looks at the file's time stamp each time and reads it again when it changed."""

    def __init__(self, state_dir: Path) -> None:
        self._path = state_dir / FILE
        self._stamp: tuple[int, int, int] | None = None
        self._tokens: tuple[StoredToken, ...] = ()

    def find(self, token: str) -> StoredToken | None:
        """The stored token that this one is, compared in constant time; None when it is not one of ours."""
        self._refresh()
        candidate = _hash(token)
        found: StoredToken | None = None
        for stored in self._tokens:  # all of them, always: the time taken tells nothing
            if hmac.compare_digest(stored.hash, candidate):
                found = stored
        return found

    def _refresh(self) -> None:
        try:
            status = os.stat(self._path)
        except OSError:
            self._stamp, self._tokens = None, ()
            return
        stamp = (status.st_mtime_ns, status.st_size, status.st_ino)
        if stamp == self._stamp:
            return
        self._stamp = stamp
        if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            log.error("%s may be written by others: no token is accepted. Fix: chmod 600 %s", self._path, self._path)
            self._tokens = ()
            return
        try:
            entries = _entries(self._path)
        except (OSError, InvalidValue) as error:
            log.error("no token is accepted: %s", error)
            entries = []
        self._tokens = tuple(
            StoredToken(id=str(entry.get("id", "")), scope=scope, hash=str(entry["hash"]))
            for entry in entries
            for scope in SCOPES
            if entry.get("scope") == scope and "hash" in entry
        )


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()


def _entries(path: Path) -> list[dict[str, object]]:
    try:
        document = json.loads(path.read_text())
        entries = document["tokens"]
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            raise ValueError("tokens is not a list of objects")
    except FileNotFoundError:
        return []
    except (ValueError, KeyError, TypeError) as error:
        raise InvalidValue(f"{path} is damaged ({error}); move it away and make new tokens") from error
    return entries


def _replace(path: Path, entries: list[dict[str, object]]) -> None:
    write_atomically(path, json.dumps({"version": 1, "tokens": entries}, indent=1).encode() + b"\n")
    owner = os.stat(path.parent)
    if os.geteuid() == 0 and owner.st_uid != 0:
        # `phoned token` as root: the daemon, which owns the directory, must be able to read it
        os.chown(path, owner.st_uid, owner.st_gid)


@contextlib.contextmanager
def _locked(state_dir: Path) -> Iterator[None]:
    descriptor = os.open(state_dir, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
