"""What the doctor finds, as values: part of `phoned.model`, which names them, and in a file of its own for its size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckView:
    """One thing that the doctor looked at. ``ok`` None: it was not run, and ``detail`` says why."""

    name: str
    ok: bool | None
    detail: str
    fix: str | None = None
    """What to do about it; only of a failed check."""
    account: str | None = None
    proxy: Literal["primary", "backup"] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DoctorView:
    """What the doctor found. ``ok``: nothing failed."""

    ok: bool
    checks: tuple[CheckView, ...]
