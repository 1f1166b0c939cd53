"""Calls that are joined to one conversation."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class BridgeView:
    """Calls that hear each other. Of one that has ended, ``calls`` are those that were left in it."""

    id: str
    calls: tuple[str, ...]
    created_at: datetime
    state: Literal["active", "ended"] = "active"
