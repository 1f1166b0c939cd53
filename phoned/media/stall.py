"""Stall detection: has the inbound or the outbound stream of a call stopped? Pure; time is passed in (recovery.md)."""

from __future__ import annotations


def inbound_threshold_s(*, ptime_s: float, jitter_s: float, rtt_s: float | None, dtx: bool = False) -> float:
    """max(600 ms, 4 ptime + 2 jitter + RTT); 2.5 s when the peer uses DTX or comfort noise."""
    raise NotImplementedError


class InboundStall:
    """``packet(now)`` for each inbound RTP packet, ``check(now)`` at will.

    ``expect(now)`` starts the watch (first packet, unhold, new pair), ``pause()`` stops it (hold, no direction).
    """


class OutboundStall:
    """``sample(bytes_sent, now)`` every 500 ms; three samples in a row without progress are a stall."""
