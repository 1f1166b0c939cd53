"""When an attempt is repeated, and what an answer means. PURE: time and chance are passed in.

The table is that of the Standard Webhooks specification: ten attempts over 75.6 hours.
"""

from __future__ import annotations

import email.utils
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum

TABLE_S = (0.0, 5.0, 300.0, 1_800.0, 7_200.0, 18_000.0, 36_000.0, 50_400.0, 72_000.0, 86_400.0)
"""Seconds before each attempt, since the one before."""
JITTER = 0.2
"""Every wait is up to so much longer, never shorter."""
RETRY_AFTER_MAX_S = 86_400.0
OUTAGE_S = 300.0
"""What was put off while nothing got through for so long is tried at once when something does."""
_HEEDED = frozenset({429, 503})
"""Answers whose Retry-After counts."""

Uniform = Callable[[float, float], float]


class Verdict(Enum):
    """What an answer means."""

    DELIVERED = "delivered"
    GONE = "gone"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """One webhook's figures."""

    table_s: Sequence[float] = TABLE_S
    timeout_s: float = 15.0
    decide_s: float = 5.0
    disable_after_s: float = 432_000.0

    def wait_s(self, step: int, uniform: Uniform, retry_after_s: float | None = None) -> float | None:
        """How long until the attempt after ``step`` failed ones (1: the second attempt); None when there is none."""
        if step >= len(self.table_s):
            return None
        wait_s = self.table_s[step] * uniform(1.0, 1.0 + JITTER)
        return wait_s if retry_after_s is None else max(wait_s, min(retry_after_s, RETRY_AFTER_MAX_S))


def verdict_of(status: int | None) -> Verdict:
    """2xx is delivered, 410 says never again, anything else (a redirect, too) has failed. None: no answer."""
    if status is not None and 200 <= status <= 299:
        return Verdict.DELIVERED
    return Verdict.GONE if status == 410 else Verdict.FAILED


def retry_after_s(status: int, value: str | None, now: datetime) -> float | None:
    """What ``Retry-After`` asks for (RFC 9110 10.2.3); None when it does not count or cannot be read."""
    if status not in _HEEDED or value is None:
        return None
    text = value.strip()
    if text.isascii() and text.isdigit() and len(text) <= 9:
        return float(text)
    try:
        moment = email.utils.parsedate_to_datetime(text[:64])
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    moment = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    return max(0.0, (moment - now).total_seconds())
