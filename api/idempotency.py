"""Idempotency-Key: the same key with the same body is the same call, for 24 hours, also over a restart of the daemon.

A call's id is chosen and kept before the call is placed. So whoever repeats a request after the daemon died finds the
call that it placed, and a new one only when none was. What is kept is bounded, and holds no key as it was sent.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import re
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from api.errors import ProblemError, problem
from phoned import errors
from phoned.clock import WallClock, wall_clock
from phoned.logs import Limited
from phoned.service import KeyValue

log = logging.getLogger(__name__)

KEPT_S = 24 * 3600.0
KEPT = 10_000
DROPPED = 64
"""How many old ones a request takes out of the way, at most."""
PREFIX = "idempotency/"
_KEY = re.compile(r"[\x21-\x7e]{1,255}")


@dataclass(slots=True)
class _Entry:
    digest: str
    call: str
    until: float
    """Wall time, in seconds: it is kept over restarts."""
    done: bool = False
    """The call was placed, and what was waited for happened."""
    error: errors.PhonedError | None = None
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class Idempotency:
    """Outcomes by client and key. A second request with the key of a running one waits for it and shares its end.

    ``known``: whether there is, or was, a call of this id. Call `load` before the first `once`.
    """

    def __init__(
        self,
        keys: KeyValue,
        known: Callable[[str], bool],
        *,
        clock: WallClock = wall_clock,
        kept_s: float = KEPT_S,
        kept: int = KEPT,
    ) -> None:
        self._keys = keys
        self._known = known
        self._clock = clock
        self._kept_s = kept_s
        self._kept = kept
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        self._trouble = Limited(log)

    async def load(self) -> None:
        """Take up what the process before has kept."""
        try:
            found = await self._keys.items(PREFIX)
        except errors.PhonedError as error:
            log.error("idempotency keys of before cannot be read: %s", error.detail)
            return
        read = ((name, _decode(value)) for name, value in found.items())
        kept = [(name, entry) for name, entry in read if entry is not None and entry.until > self._now()]
        self._entries.update(sorted(kept, key=lambda item: item[1].until))
        await self._forget([name for name in found if name not in self._entries])

    async def once(
        self, client: str, key: str, body: bytes, call: str, place: Callable[[str], Awaitable[str]]
    ) -> tuple[str, bool]:
        """The id of the call that ``place`` made, now or earlier, and whether it was earlier. ``call``: its id, if it
        is new. ``place`` is given the id; for a call that there is already it waits for what was asked for.

        An outcome is kept once the call has been sent: success, a refusal, no answer. Errors before that (not
        registered, at capacity) are not: there a retry with the same key is meant to try again.
        """
        if not _KEY.fullmatch(key):
            raise errors.InvalidValue("1 to 255 printable ASCII characters", pointer="/header/Idempotency-Key")
        name = PREFIX + hashlib.sha256(f"{client}\0{key}".encode()).hexdigest()
        digest = hashlib.sha256(body).hexdigest()
        while True:
            entry = self._entry(name, digest, call)
            async with entry.lock:
                if self._entries.get(name) is not entry:
                    continue  # who was before us failed and has freed the key
                if entry.error is not None:
                    raise entry.error
                if entry.done:
                    return entry.call, True
                known = self._known(entry.call)
                if not known:
                    await self._forget(self._old())
                    await self._keep(name, entry)
                await self._place(name, entry, place)
                return entry.call, known

    async def _place(self, name: str, entry: _Entry, place: Callable[[str], Awaitable[str]]) -> None:
        try:
            await place(entry.call)
        except (errors.RemoteError, errors.DeadlineExceeded) as error:
            entry.error = error
            await self._keep(name, entry)
            raise
        except BaseException:
            # a call that was placed goes on without the request that was cut off: its key stays its key
            if not self._known(entry.call):
                self._entries.pop(name, None)
                await self._forget([name])
            raise
        entry.done = True
        await self._keep(name, entry)

    def _entry(self, name: str, digest: str, call: str) -> _Entry:
        entry = self._entries.get(name)
        if entry is not None and entry.until <= self._now() and not entry.lock.locked():
            del self._entries[name]
            entry = None
        if entry is None:
            if self._known(call):
                raise ProblemError(problem("idempotency_mismatch"))  # the id of a call that came about otherwise
            entry = self._entries[name] = _Entry(digest=digest, call=call, until=self._now() + self._kept_s)
        if entry.digest != digest:
            raise ProblemError(problem("idempotency_mismatch"))
        return entry

    def _old(self) -> list[str]:
        """Take some of those out that are over, or too many."""
        dropped: list[str] = []
        for name, entry in list(self._entries.items())[:DROPPED]:
            if entry.until > self._now() and len(self._entries) <= self._kept:
                break  # in order of age: the rest is younger
            if not entry.lock.locked():
                del self._entries[name]
                dropped.append(name)
        return dropped

    def _now(self) -> float:
        return self._clock().timestamp()

    async def _keep(self, name: str, entry: _Entry) -> None:
        try:
            await self._keys.set(name, _encode(entry))
        except errors.PhonedError as error:
            self._trouble.log(logging.ERROR, "keep", "a restart would forget an idempotency key: %s", error.detail)

    async def _forget(self, names: list[str]) -> None:
        try:
            await asyncio.gather(*(self._keys.delete(name) for name in names))
        except errors.PhonedError as error:
            self._trouble.log(logging.ERROR, "forget", "old idempotency keys cannot be dropped: %s", error.detail)


def _encode(entry: _Entry) -> bytes:
    document: dict[str, Any] = {"digest": entry.digest, "call": entry.call, "until": entry.until, "done": entry.done}
    match entry.error:
        case errors.Refused() as refused:
            document["refused"] = [refused.status, refused.reason, refused.detail]
        case errors.DeadlineExceeded() as late:
            document["late"] = late.detail
        case errors.RemoteError() as remote:
            document["remote"] = remote.detail
    return json.dumps(document).encode()


def _decode(value: bytes) -> _Entry | None:
    """None for what `_encode` has not written."""
    try:
        document = json.loads(value)
        entry = _Entry(
            digest=str(document["digest"]),
            call=str(document["call"]),
            until=float(document["until"]),
            done=bool(document["done"]),
        )
        if "refused" in document:
            status, reason, detail = document["refused"]
            entry.error = errors.Refused(int(status), str(reason), str(detail))
        elif "late" in document:
            entry.error = errors.DeadlineExceeded(str(document["late"]))
        elif "remote" in document:
            entry.error = errors.RemoteError(str(document["remote"]))
    except (ValueError, KeyError, TypeError) as error:
        log.error("an idempotency key of before cannot be read: %r", error)
        return None
    return entry
