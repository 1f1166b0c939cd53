"""Idempotency-Key: the same key with the same body is the same call, for 24 hours (in memory, bounded)."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from api.errors import ProblemError, problem
from phoned import errors

KEPT_S = 24 * 3600.0
KEPT = 10_000
_KEY = re.compile(r"[\x21-\x7e]{1,255}")


@dataclass(slots=True)
class _Entry:
    digest: bytes
    until: float
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    call: str | None = None
    error: errors.PhonedError | None = None


class Idempotency:
    """Outcomes by client and key. A second request with the key of a running one waits for it and shares its end."""

    def __init__(self, *, kept_s: float = KEPT_S, kept: int = KEPT) -> None:
        self._kept_s = kept_s
        self._kept = kept
        self._entries: OrderedDict[tuple[str, str], _Entry] = OrderedDict()

    async def once(self, client: str, key: str, body: bytes, place: Callable[[], Awaitable[str]]) -> tuple[str, bool]:
        """The id of the call that ``place`` made, now or earlier, and whether it was earlier.

        An outcome is kept once the call has been sent: success, a refusal, no answer. Errors before that (not
        registered, at capacity) are not: there a retry with the same key is meant to try again.
        """
        if not _KEY.fullmatch(key):
            raise errors.InvalidValue("1 to 255 printable ASCII characters", pointer="/header/Idempotency-Key")
        entry = self._entry(client, key, hashlib.sha256(body).digest())
        async with entry.lock:
            if entry.error is not None:
                raise entry.error
            if entry.call is not None:
                return entry.call, True
            try:
                entry.call = await place()
            except (errors.RemoteError, errors.DeadlineExceeded) as error:
                entry.error = error
                raise
            except BaseException:
                self._entries.pop((client, key), None)
                raise
            return entry.call, False

    def _entry(self, client: str, key: str, digest: bytes) -> _Entry:
        now = asyncio.get_running_loop().time()
        for name, entry in list(self._entries.items()):
            if entry.until > now and len(self._entries) <= self._kept:
                break  # in order of age: the rest is younger
            if not entry.lock.locked():
                del self._entries[name]
        entry = self._entries.setdefault((client, key), _Entry(digest=digest, until=now + self._kept_s))
        if entry.digest != digest:
            raise ProblemError(problem("idempotency_mismatch"))
        return entry
