"""The tokens of the control API: 256 bits each, kept as hashes (`phoned.store.tokenfile`).

`phoned token` writes the file while the daemon runs; the daemon reads it again when it changed. A token is shown once,
when it is made. A session is a token with an end, got for a login code (`phoned.store.logins`).
"""

from __future__ import annotations

import hmac
import logging
import os
import secrets
import stat
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal, get_args

from phoned.clock import WallClock, rfc3339, wall_clock
from phoned.errors import InvalidValue
from phoned.store import tokenfile
from phoned.store.tokenfile import FILE, PREFIX

log = logging.getLogger(__name__)

Scope = Literal["read", "call", "media", "admin"]
SCOPES: tuple[Scope, ...] = get_args(Scope)

__all__ = ["FILE", "PREFIX", "SCOPES", "Scope", "StoredToken", "TokenStore", "entry_of", "grants", "issue_token"]

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
    """What is known of a token afterwards. ``expires_at`` None: it lasts until it is removed."""

    id: str
    scope: Scope
    hash: str
    expires_at: datetime | None = None


def check_scope(scope: str) -> None:
    """Raises `InvalidValue`."""
    if scope not in SCOPES:
        raise InvalidValue(f"unknown scope {scope!r}; one of {', '.join(SCOPES)}", pointer="/scope")


def entry_of(token: str, scope: Scope, now: datetime, expires_at: datetime | None = None) -> tokenfile.Entry:
    """What is kept of a token."""
    entry: tokenfile.Entry = {
        "id": "tok_" + secrets.token_hex(6),
        "scope": scope,
        "hash": tokenfile.hashed(token),
        "created_at": rfc3339(now),
    }
    if expires_at is not None:
        entry["expires_at"] = rfc3339(expires_at)
    return entry


def issue_token(state_dir: Path, scope: Scope, *, now: datetime | None = None) -> str:
    """Make a token, keep its hash, return it. The only moment at which it can be read. Raises `InvalidValue`."""
    check_scope(scope)
    token = PREFIX + secrets.token_urlsafe(32)
    with tokenfile.changing(state_dir) as entries:
        entries.tokens.append(entry_of(token, scope, now or wall_clock()))
    return token


class TokenStore:
    """The reader's side. `find` looks at the file's time stamp each time and reads it again when it changed."""

    def __init__(self, state_dir: Path, *, clock: WallClock = wall_clock) -> None:
        self.state_dir = state_dir
        self.clock = clock
        self._path = state_dir / FILE
        self._stamp: tuple[int, int, int] | None = None
        self._tokens: tuple[StoredToken, ...] = ()
        self._logins: tuple[str, ...] = ()

    def find(self, token: str) -> StoredToken | None:
        """The stored token that this one is, compared in constant time; None when it is not one of ours, or over."""
        self._refresh()
        candidate = tokenfile.hashed(token)
        found: StoredToken | None = None
        for stored in self._tokens:  # all of them, always: the time taken tells nothing
            if hmac.compare_digest(stored.hash, candidate):
                found = stored
        if found is not None and found.expires_at is not None and found.expires_at <= self.clock():
            return None
        return found

    def holds(self, token_id: str) -> bool:
        """Whether the token of this id is still there, and not over."""
        self._refresh()
        return any(
            stored.id == token_id and (stored.expires_at is None or stored.expires_at > self.clock())
            for stored in self._tokens
        )

    def knows_login(self, code: str) -> bool:
        """Whether this may be a login code that nobody used yet; only then is it worth an exchange."""
        self._refresh()
        candidate = tokenfile.hashed(code)
        return sum(hmac.compare_digest(kept, candidate) for kept in self._logins) > 0

    def _refresh(self) -> None:
        try:
            status = os.stat(self._path)
        except OSError:
            self._stamp, self._tokens, self._logins = None, (), ()
            return
        stamp = (status.st_mtime_ns, status.st_size, status.st_ino)
        if stamp == self._stamp:
            return
        self._stamp = stamp
        if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            log.error("%s may be written by others: no token is accepted. Fix: chmod 600 %s", self._path, self._path)
            self._tokens, self._logins = (), ()
            return
        try:
            entries = tokenfile.read(self._path)
        except (OSError, InvalidValue) as error:
            log.error("no token is accepted: %s", error)
            entries = tokenfile.Entries()
        self._tokens = tuple(filter(None, map(_stored, entries.tokens)))
        self._logins = tuple(str(entry.get("hash", "")) for entry in entries.logins)


def _stored(entry: tokenfile.Entry) -> StoredToken | None:
    """None for an entry that is not understood."""
    try:
        expires_at = tokenfile.expiry(entry)
    except ValueError:
        return None
    for scope in SCOPES:
        if entry.get("scope") == scope and "hash" in entry:
            return StoredToken(id=str(entry.get("id", "")), scope=scope, hash=str(entry["hash"]), expires_at=expires_at)
    return None
