"""Accounts that were made at run time: one file of the state directory for what they are, one file each for a password.

``accounts.json`` holds what was asked for, without a password; ``account-secrets/`` holds those that were given in so
many words, mode 0600, under a name that changes with each of them, so that the one rename of ``accounts.json`` is the
moment at which both change. A crash between leaves the account of before, and a secret that nobody names, which goes
with the next start. It must not know what an account means. Everything here blocks: call it off the loop.
"""

from __future__ import annotations

import json
import logging
import os
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from phoned.errors import AtCapacity
from phoned.store.atomic import write_atomically

log = logging.getLogger(__name__)

FILE = "accounts.json"
SECRETS = "account-secrets"
MOST = 1000
"""Far above what a phone has; a client that goes wrong must not fill the disk."""

Write = Callable[[Path, bytes], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredAccount:
    """One account. ``document``: as it was asked for, without the password. ``secret``: the name of its file."""

    document: Mapping[str, Any]
    secret: str | None = None


class AccountStore:
    """See the module's docstring. `load` first; one caller at a time."""

    def __init__(self, state_dir: Path, *, write: Write = write_atomically) -> None:
        self._path = state_dir / FILE
        self._secrets = state_dir / SECRETS
        self._write = write
        self._stored: dict[str, StoredAccount] = {}
        self._unread: OSError | None = None
        """Why the file could not be read: what it holds must not be written over."""

    def __contains__(self, account: str) -> bool:
        return account in self._stored

    @property
    def accounts(self) -> Mapping[str, Mapping[str, Any]]:
        """What was asked for, by id."""
        return {account: stored.document for account, stored in self._stored.items()}

    def load(self) -> None:
        """Read the file. A damaged one is set aside, with a line in the log; a phone without the accounts that it held
        is better than no phone."""
        try:
            content = self._path.read_bytes()
        except FileNotFoundError:
            self._sweep()
            return
        except OSError as error:
            log.error("%s cannot be read (%s): the accounts in it are not registered", self._path, error)
            self._unread = error
            return
        try:
            entries = json.loads(content)["accounts"]
            self._stored = {str(account): _entry(entry) for account, entry in entries.items()}
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            aside = self._path.with_name(f"{FILE}.damaged-{time.time_ns()}")
            os.rename(self._path, aside)
            log.error("%s was damaged (%s): moved to %s; make its accounts again", self._path, error, aside)
        else:
            self._sweep()

    def password(self, account: str) -> bytes | None:
        """The password that was given for it; None when none was, or when its file is gone."""
        stored = self._stored.get(account)
        if stored is None or stored.secret is None:
            return None
        try:
            return (self._secrets / stored.secret).read_bytes()
        except OSError as error:
            log.error("account %s: its password cannot be read: %s", account, error)
            return None

    def put(self, account: str, document: Mapping[str, Any], password: bytes | None) -> None:
        """Keep it, in the place of what was known. Raises `OSError` and `AtCapacity`, and changes nothing then."""
        if self._unread is not None:
            raise self._unread
        before = self._stored.get(account)
        if before is None and len(self._stored) >= MOST:
            raise AtCapacity(f"{MOST} accounts were made at run time already: delete one")
        secret = None
        if password is not None:
            self._secrets.mkdir(mode=0o700, exist_ok=True)
            secret = f"{account}.{secrets.token_hex(8)}"
            self._write(self._secrets / secret, password)
        after = {**self._stored, account: StoredAccount(document=dict(document), secret=secret)}
        try:
            self._write(self._path, _render(after))
        except BaseException:
            self._drop(secret)
            raise
        self._stored = after
        self._drop(before.secret if before is not None else None)

    def remove(self, account: str) -> None:
        """Forget it. Raises `OSError`, and changes nothing then."""
        if self._unread is not None:
            raise self._unread
        after = {name: stored for name, stored in self._stored.items() if name != account}
        self._write(self._path, _render(after))
        gone, self._stored = self._stored.get(account), after
        self._drop(gone.secret if gone is not None else None)

    # ------------------------------------------------------------------ inside

    def _sweep(self) -> None:
        """Secrets that no account names: a crash left them."""
        named = {stored.secret for stored in self._stored.values()}
        for path in self._secrets.glob("*") if self._secrets.is_dir() else ():
            if path.name not in named:
                self._drop(path.name)

    def _drop(self, secret: str | None) -> None:
        if secret is None:
            return
        try:
            (self._secrets / secret).unlink(missing_ok=True)
        except OSError as error:
            log.error("%s is not wanted any more and cannot be removed: %s", self._secrets / secret, error)


def _render(stored: Mapping[str, StoredAccount]) -> bytes:
    accounts = {
        account: {"settings": dict(entry.document), "secret": entry.secret} for account, entry in stored.items()
    }
    return (json.dumps({"version": 1, "accounts": accounts}, indent=1) + "\n").encode()


def _entry(entry: Any) -> StoredAccount:
    match entry:
        case {"settings": dict(document), "secret": str() | None as secret}:
            if secret is not None and Path(secret).name != secret:
                raise ValueError("a secret outside its directory")
            return StoredAccount(document=document, secret=secret)
    raise ValueError("an account without settings")
