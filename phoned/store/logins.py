"""One-time login codes: what stands in the link that `phoned token --console` prints.

A code is 256 bits, kept as a hash beside the tokens, good once and for five minutes. It is exchanged for a session: a
token that ends. The exchange replaces the file once, so that a crash leaves the code or the session, never both.
"""

from __future__ import annotations

import hmac
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from phoned.clock import rfc3339, wall_clock
from phoned.store import tokenfile
from phoned.store.tokenfile import PREFIX
from phoned.store.tokens import SCOPES, Scope, check_scope, entry_of

CODE_PREFIX = PREFIX + "login_"
CODE_LIFE = timedelta(minutes=5)
SESSION_LIFE = timedelta(days=30)
"""A session ends with its browser tab; this is for a tab that nobody closes, as on a kiosk."""
MOST_CODES = 64
"""More are not kept open: the oldest go."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """A token that was just made. Its text is shown this once."""

    token: str
    id: str
    scope: Scope
    expires_at: datetime

    def __repr__(self) -> str:
        return f"Session({self.id}, {self.scope})"


def issue_login(state_dir: Path, scope: Scope, *, now: datetime | None = None) -> str:
    """Make a code for a session of ``scope``.. Blocks, raises `InvalidValue`."""
    check_scope(scope)
    now = now or wall_clock()
    code = CODE_PREFIX + secrets.token_urlsafe(32)
    entry: tokenfile.Entry = {
        "scope": scope,
        "hash": tokenfile.hashed(code),
        "expires_at": rfc3339(now + CODE_LIFE),
    }
    with tokenfile.changing(state_dir) as entries:
        entries.forget_expired(now)
        entries.logins = [*entries.logins, entry][-MOST_CODES:]
    return code


def console_link(host: str, port: int, code: str) -> str:
    """Where a browser of this machine uses the code. It stands in the fragment, which no browser sends anywhere."""
    return f"http://{f'[{host}]' if ':' in host else host}:{port}/console/#login={code}"


def exchange_login(state_dir: Path, code: str, *, now: datetime | None = None) -> Session | None:
    """The session for a code, once and in time; None for any other. Blocks; raises `InvalidValue`, `OSError`."""
    now = now or wall_clock()
    candidate = tokenfile.hashed(code)
    with tokenfile.changing(state_dir) as entries:
        entries.forget_expired(now)
        found = next((e for e in entries.logins if hmac.compare_digest(str(e.get("hash", "")), candidate)), None)
        if found is None:
            return None
        entries.logins.remove(found)
        scope = next((scope for scope in SCOPES if scope == found.get("scope")), None)
        if scope is None:
            return None
        token, expires_at = PREFIX + secrets.token_urlsafe(32), now + SESSION_LIFE
        entry = entry_of(token, scope, now, expires_at)
        entries.tokens.append(entry)
    return Session(token=token, id=str(entry["id"]), scope=scope, expires_at=expires_at)


def end_session(state_dir: Path, id_: str) -> bool:
    """Remove a session. A token that lasts is left alone, and so is what is unknown. Blocks."""
    with tokenfile.changing(state_dir) as entries:
        kept = [entry for entry in entries.tokens if entry.get("id") != id_ or entry.get("expires_at") is None]
        ended = len(kept) != len(entries.tokens)
        entries.tokens = kept
    return ended
