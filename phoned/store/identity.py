"""The registration identity: what makes a REGISTER after a restart replace the old binding instead of adding a ghost.

One small JSON file in the state directory, apart from the database, so that a damaged database never costs it. It holds
instance-id and reg-id (RFC 5626 4.1, 4.2), Call-ID and CSeq (RFC 3261 10.2) per account. CSeq is written ahead in
steps: the file always holds a number above all that were used, so that a crash can never use one twice, and a REGISTER
a minute costs a write each half hour. It knows nothing of when a REGISTER is sent.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import re
import secrets
import time
import uuid
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from phoned.store.atomic import write_atomically
from phoned.tasks import Tasks

log = logging.getLogger(__name__)

FILE = "identity.json"
STEP = 64
"""How far ahead of the used CSeq the file is kept; it is written again when half of that is used up."""
_CSEQ_TOP = 2**31 - 100_000
"""Above this a registration begins a new Call-ID (RFC 3261 8.1.1.5: below 2**31)."""

_INSTANCE = re.compile(r"urn:uuid:[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_CALL_ID = re.compile(r"[A-Za-z0-9.!%*_+`'~()<>:\\\"/\[\]?{}@-]{1,256}")

Write = Callable[[Path, bytes], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistrationIdentity:
    """One account's. ``cseq`` is the number to go on from: the next REGISTER uses ``cseq + 1`` or more."""

    instance_id: str
    reg_id: int = 1
    call_id: str
    cseq: int = 0

    @classmethod
    def new(cls) -> RegistrationIdentity:
        """For an account that was never registered from here."""
        return cls(instance_id=uuid.uuid4().urn, call_id=secrets.token_hex(16))


class IdentityStore:
    """Reads the file once, keeps it ahead of use. Driven by `open_account`, `used` and `close`, on one loop."""

    def __init__(self, state_dir: Path, *, write: Write = write_atomically) -> None:
        self._path = state_dir / FILE
        self._write = write
        self._stored: dict[str, RegistrationIdentity] = {}
        """As in the file, or on its way there: ``cseq`` is the number written ahead."""
        self._used: dict[str, int] = {}
        self._changed = False
        self._writing: asyncio.Task[None] | None = None
        self._tasks = Tasks("identity", self._on_crash)
        self.set_aside: Path | None = None
        """Where a damaged file went, when there was one."""

    async def load(self) -> None:
        """Read the file. A damaged one is set aside and what is good in it is kept; one that the disk does not give
        is as none: a phone with a new identity is better than no phone."""
        try:
            self._stored, self.set_aside = await asyncio.to_thread(_read, self._path)
        except OSError as error:
            log.error("%s cannot be read (%s): accounts register under a new identity", self._path, error)
        if self.set_aside is not None:
            log.error(
                "%s was damaged: moved to %s; accounts that it lost register under a new identity",
                self._path,
                self.set_aside,
            )

    async def open_account(self, account: str) -> RegistrationIdentity:
        """The identity to go on with. The file is ahead of it when this returns."""
        identity = self._stored.get(account) or RegistrationIdentity.new()
        if identity.cseq > _CSEQ_TOP:
            identity = replace(identity, call_id=secrets.token_hex(16), cseq=0)
        self._used[account] = identity.cseq
        self._stored[account] = replace(identity, cseq=identity.cseq + STEP)
        self._changed = True
        await self._finish_writing()
        return identity

    def used(self, account: str, *, call_id: str, cseq: int) -> None:
        """A REGISTER went out with these. Returns at once; the file is brought ahead in the background."""
        stored = self._stored.get(account)
        if stored is None:
            return  # forgotten meanwhile
        self._used[account] = cseq
        if call_id == stored.call_id and cseq <= stored.cseq - STEP // 2:
            return
        self._stored[account] = replace(stored, call_id=call_id, cseq=cseq + STEP)
        self._changed = True
        if self._writing is None:
            self._writing = self._tasks.spawn("write", self._write_out())

    async def forget(self, account: str) -> None:
        """The account is gone; another one of its name is another one."""
        self._used.pop(account, None)
        if self._stored.pop(account, None) is not None:
            self._changed = True
            await self._finish_writing()

    async def close(self) -> None:
        """Write the numbers as they are: a clean stop wastes none."""
        for account, cseq in self._used.items():
            self._stored[account] = replace(self._stored[account], cseq=cseq)
        self._used.clear()
        self._changed = True
        await self._finish_writing()
        await self._tasks.close()

    # ------------------------------------------------------------------ writing

    async def _finish_writing(self) -> None:
        """Return once nothing is left to write."""
        if self._writing is None:
            self._writing = self._tasks.spawn("write", self._write_out())
        await asyncio.wait([self._writing])

    async def _write_out(self) -> None:
        """One writer: what changes meanwhile is written in the next turn. A disk that refuses costs a log line and is
        tried again at the next change; the phone goes on."""
        try:
            while self._changed:
                self._changed = False
                content = _render(self._stored)
                try:
                    await asyncio.to_thread(self._write, self._path, content)
                except OSError as error:
                    log.error("%s was not written: %s", self._path, error)
        finally:
            self._writing = None

    def _on_crash(self, name: str, error: BaseException) -> None:
        log.error("%s ended", name, exc_info=error)


def _render(stored: dict[str, RegistrationIdentity]) -> bytes:
    document = {"version": 1, "accounts": {account: asdict(identity) for account, identity in stored.items()}}
    return (json.dumps(document, indent=2) + "\n").encode()


def _read(path: Path) -> tuple[dict[str, RegistrationIdentity], Path | None]:
    """What is good in the file, and where a damaged one was moved. Blocks."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return {}, None
    good: dict[str, RegistrationIdentity] = {}
    whole = True
    try:
        entries = json.loads(content)["accounts"].items()
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        entries, whole = (), False
    for account, entry in entries:
        identity = _identity(entry)
        if identity is None:
            whole = False
        else:
            good[account] = identity
    if whole:
        return good, None
    aside = path.with_name(f"{path.name}.damaged-{time.time_ns()}")
    os.rename(path, aside)
    return good, aside


def _identity(entry: Any) -> RegistrationIdentity | None:
    """An entry of the file, or None when anything about it is wrong."""
    match entry:
        case {"instance_id": str(instance), "reg_id": int(reg_id), "call_id": str(call_id), "cseq": int(cseq)}:
            if _INSTANCE.fullmatch(instance) and _CALL_ID.fullmatch(call_id) and reg_id >= 1 and 0 <= cseq < 2**31:
                return RegistrationIdentity(instance_id=instance, reg_id=reg_id, call_id=call_id, cseq=cseq)
    return None
