"""Identifiers: a prefix that names the kind, then a UUIDv7 so that ids sort by time (RFC 9562 5.7)."""

from __future__ import annotations

import secrets
import threading
import time
import uuid
from datetime import UTC, datetime
from typing import Literal

Prefix = Literal["call", "str", "pb", "rec", "br", "wh", "evt", "req", "msg"]


RANDOM_BITS = 74
STEP_BITS = 32
"""By how much at most the second id of a millisecond is above the first: none can be guessed from another."""
BACK_MS = 1000
"""A clock that is set back by less does not lead to ids that sort before earlier ones."""

_lock = threading.Lock()
_newest = (0, 0)


def uuid7(*, now_ms: int | None = None) -> uuid.UUID:
    """A UUID version 7: 48 bits of Unix milliseconds, then 74 random bits. Each sorts after those made before, also
    within a millisecond (RFC 9562 6.2, method 2)."""
    global _newest
    ms = time.time_ns() // 1_000_000 if now_ms is None else now_ms
    chance = secrets.randbits(RANDOM_BITS)
    with _lock:
        before_ms, before = _newest
        if before_ms - BACK_MS < ms <= before_ms:
            ms, chance = before_ms, before + 1 + secrets.randbits(STEP_BITS)
            if chance >> RANDOM_BITS:
                ms, chance = ms + 1, secrets.randbits(RANDOM_BITS - 1)
        _newest = ms, chance
    high, low = chance >> 62, chance & (1 << 62) - 1
    return uuid.UUID(int=(ms & (1 << 48) - 1) << 80 | 0x7 << 76 | high << 64 | 0x2 << 62 | low)


def new_id(prefix: Prefix) -> str:
    """``call_019…``: the prefix, an underscore and the 32 hex digits of a UUIDv7."""
    return f"{prefix}_{uuid7().hex}"


def made_at(id_: str) -> datetime:
    """When an id of ours was made, in whole milliseconds. Raises `ValueError` for any other text."""
    _, _, tail = id_.rpartition("_")
    return datetime.fromtimestamp((uuid.UUID(tail).int >> 80) / 1000, UTC)
