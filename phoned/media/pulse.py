"""What recovery must know of a session's media at one moment: counters and facts, no opinion."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Pulse:
    """One moment of a media session. Times are the loop's, in seconds."""

    ready: bool = False
    """There are keys and a nominated pair."""
    heard_at: float | None = None
    """When the newest RTP packet came."""
    expected_since: float = 0.0
    """Since when packets should come."""
    expects: bool = False
    """By what was agreed the far end sends, and does not hold us."""
    heard_here: bool = False
    """Something was heard on the pair in use."""
    stall_s: float = 0.6
    """Silence that counts as a stall."""
    sends: bool = False
    """By what was agreed packets leave every 20 ms."""
    sent: int = 0
    """Packets that left."""
    unsent: int = 0
    """Packets that the path did not take."""
    consented: bool = False
    """The newest consent check (RFC 7675) was answered."""
    rtt_s: float | None = None
    ice_generation: int = 0
    dtls_generation: int = 0
