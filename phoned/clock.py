"""Wall time, for people: stamped by the event bus and by record keeping, never used to measure a duration.

Durations and deadlines use the running loop's monotonic time (``asyncio.get_running_loop().time()``), or the ``now``
that is passed into pure code.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

WallClock = Callable[[], datetime]


def wall_clock() -> datetime:
    """Now, in UTC."""
    return datetime.now(UTC)


def in_ms(moment: datetime) -> datetime:
    """Cut to whole milliseconds, as `rfc3339` shows it: what was written down and read again stays the same moment."""
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def rfc3339(moment: datetime) -> str:
    """RFC 3339 in UTC with milliseconds: ``2026-11-20T23:30:00.123Z``."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
