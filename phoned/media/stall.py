"""Stall detection: has the inbound or the outbound stream of a call stopped? (recovery.md, media plane)

Two small pure machines over RTP counters, which are the truth; ICE states are hints. They report, they repair nothing.
"""

from __future__ import annotations

FLOOR_S = 0.6
DTX_S = 2.5
SAMPLE_S = 0.5
"""How often the outbound counter is sampled."""
SAMPLES = 3


def inbound_threshold_s(*, ptime_s: float, jitter_s: float, rtt_s: float | None, dtx: bool = False) -> float:
    """max(600 ms, 4 ptime + 2 jitter + RTT); at least 2.5 s when the peer uses DTX or comfort noise."""
    threshold = max(FLOOR_S, 4 * ptime_s + 2 * jitter_s + (rtt_s or 0.0))
    return max(DTX_S, threshold) if dtx else threshold


class InboundStall:
    """Silence of a stream that should flow. `MediaSession` tells packets and expectations, and asks ``check``."""

    __slots__ = ("_since", "stalled", "threshold_s")

    def __init__(self, threshold_s: float = FLOOR_S) -> None:
        self.threshold_s = threshold_s
        """Set anew whenever jitter, RTT or DTX are known better (`inbound_threshold_s`)."""
        self._since: float | None = None
        self.stalled = False

    def expect(self, now: float) -> None:
        """From now on packets must come (first packet heard, unheld, moved to a new pair)."""
        self._since = now
        self.stalled = False

    def pause(self) -> None:
        """None need come (held, no inbound direction, a hole that we make ourselves)."""
        self._since = None
        self.stalled = False

    def packet(self, now: float) -> bool:
        """A packet came. True when this ends a stall."""
        if self._since is not None:
            self._since = now
        ended, self.stalled = self.stalled, False
        return ended

    def quiet_s(self, now: float) -> float:
        """For how long an expected packet has not come; 0 when none is expected."""
        return 0.0 if self._since is None else max(0.0, now - self._since)

    def check(self, now: float) -> bool:
        """True once, when the stall begins."""
        if self.stalled or self._since is None or now - self._since < self.threshold_s:
            return False
        self.stalled = True
        return True

    def next_check(self) -> float | None:
        """When `check` can first become true; None when nothing is watched."""
        return None if self._since is None or self.stalled else self._since + self.threshold_s


class OutboundStall:
    """Three samples of 500 ms in which nothing left although it should."""

    __slots__ = ("_last", "_misses", "_next", "stalled")

    def __init__(self) -> None:
        self._last = 0
        self._misses = 0
        self._next: float | None = None
        self.stalled = False

    def sample(self, octets_sent: int, now: float, *, expected: bool = True) -> bool:
        """Tell the counter at any time, at least every 500 ms. True once, when the stall begins.

        ``expected``: False while nothing needs to leave (DTX, no outbound direction); the count then starts again.
        """
        if octets_sent != self._last or not expected or self._next is None:
            self._last = octets_sent
            self._misses = 0
            self._next = now + SAMPLE_S
            self.stalled = False
            return False
        if now < self._next:
            return False
        self._next = now + SAMPLE_S
        self._misses += 1
        if self.stalled or self._misses < SAMPLES:
            return False
        self.stalled = True
        return True
