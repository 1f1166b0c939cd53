"""Identifiers: a prefix that names the kind, then a UUIDv7 so that ids sort by time (RFC 9562 5.7)."""

from __future__ import annotations

import secrets
import time
import uuid
from datetime import UTC, datetime
from typing import Literal

Prefix = Literal["call", "str", "pb", "rec", "br", "wh", "evt", "req", "msg"]


def uuid7(*, now_ms: int | None = None) -> uuid.UUID:
    """A UUID version 7: 48 bits of Unix milliseconds, then 74 random bits."""
    ms = time.time_ns() // 1_000_000 if now_ms is None else now_ms
    value = (ms & (1 << 48) - 1) << 80 | secrets.randbits(80)
    value &= ~(0xF << 76) & ~(0x3 << 62)
    return uuid.UUID(int=value | 0x7 << 76 | 0x2 << 62)


def new_id(prefix: Prefix) -> str:
    """``call_019…``: the prefix, an underscore and the 32 hex digits of a UUIDv7."""
    return f"{prefix}_{uuid7().hex}"


def made_at(id_: str) -> datetime:
    """When an id of ours was made, in whole milliseconds. Raises `ValueError` for any other text."""
    _, _, tail = id_.rpartition("_")
    return datetime.fromtimestamp((uuid.UUID(tail).int >> 80) / 1000, UTC)
