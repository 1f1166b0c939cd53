"""Is the machine's clock right? Servers tell the time by the way; it is only compared, never set."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC
from email.utils import parsedate_to_datetime

from phoned.clock import WallClock, rfc3339
from phoned.doctor.chain import Chain

MOST_OFF_S = 300.0
FIX = "set this machine's clock: timedatectl set-ntp true (no network for it? timedatectl set-time)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """A server told the time. ``ahead_s``: how much our clock is ahead of its."""

    server: str
    ahead_s: float


@dataclass(slots=True, kw_only=True)
class Evidence:
    """What the other checks learnt about the time. Filled as they go on."""

    clock: WallClock
    told: list[Told] = field(default_factory=list)
    too_early: list[str] = field(default_factory=list)
    """Certificates that are not valid yet, in words."""
    valid: list[str] = field(default_factory=list)
    """Certificates that are valid by our clock, in words."""

    def hear(self, server: str, date: str | None) -> None:
        """A Date header (RFC 9110 5.6.7, RFC 3261 20.17), or none; nonsense counts as none."""
        try:
            moment = parsedate_to_datetime(date or "")
        except ValueError:
            return
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        self.told.append(Told(server=server, ahead_s=(self.clock() - moment).total_seconds()))

    def judge(self, chain: Chain) -> None:
        """The check ``clock``. One server that agrees with us is enough: a wrong one would not."""
        now = self.clock()
        if self.too_early:
            fix = f"{FIX}; if it is right, the server needs another certificate"
            chain.failed(f"it says {rfc3339(now)}, but {self.too_early[0]}", fix)
            return
        if not self.told:
            if self.valid:
                chain.passed(f"it says {rfc3339(now)}; no server tells the time, but {self.valid[0]}")
            else:
                chain.skipped("not run: no server told the time")
            return
        closest = min(self.told, key=lambda told: abs(told.ahead_s))
        if abs(closest.ahead_s) < 2:  # what a header tells is a second late, or two
            chain.passed(f"as that of {closest.server}")
            return
        words = f"{_span(abs(closest.ahead_s))} {'ahead of' if closest.ahead_s > 0 else 'behind'} {closest.server}"
        if abs(closest.ahead_s) > MOST_OFF_S:
            chain.failed(f"it says {rfc3339(now)}, {words}", f"{FIX}; if it is right, the server's is wrong")
        else:
            chain.passed(words)


def _span(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.0f} h"
