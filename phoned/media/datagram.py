"""The first look at every datagram that reaches a media socket (RFC 7983 7, findings F1-F5 of our own attacks).

Owns the limits, the counters and the rate-limited log of what is dropped. It knows neither ICE nor keys: whether an
address is trusted is asked from outside.
"""

from __future__ import annotations

import logging
from collections import Counter

MAX_DATAGRAM = 1500
"""libsrtp's binding and every path that we send on take no more; longer ones are never media."""

log = logging.getLogger(__name__)


class DropLog:
    """Counts drops by cause, and writes at most one line per cause in ten seconds."""

    PERIOD_S = 10.0

    def __init__(self, owner: str) -> None:
        self._owner = owner
        self.counts: Counter[str] = Counter()
        self._reported: dict[str, tuple[float, int]] = {}

    def count(self, cause: str) -> None:
        """Something that is normal now and then: counted, never written."""
        self.counts[cause] += 1

    def drop(self, cause: str, now: float, detail: object = "") -> None:
        """One datagram was dropped. ``now`` is monotonic."""
        self.counts[cause] += 1
        at, count = self._reported.get(cause, (-self.PERIOD_S, 0))
        if now - at < self.PERIOD_S:
            return
        total = self.counts[cause]
        self._reported[cause] = (now, total)
        log.warning("%s: dropped %d datagrams (%d in all): %s %.200r", self._owner, total - count, total, cause, detail)


def is_rtcp(data: bytes) -> bool:
    """RTCP among what starts with 128-191 (RFC 5761 4): packet types 192-223."""
    return 192 <= data[1] <= 223


def is_client_hello(data: bytes) -> bool:
    """A DTLS handshake record of epoch 0 that starts a ClientHello: the peer begins an association."""
    return len(data) > 13 and data[0] == 22 and data[3:5] == b"\0\0" and data[13] == 1


def client_random(data: bytes) -> bytes | None:
    """What tells one ClientHello from another, and not from its repetitions; None for a later fragment of one."""
    if not is_client_hello(data) or data[19:22] != b"\0\0\0" or len(data) < 59:
        return None
    return data[27:59]


def is_alert(data: bytes) -> bool:
    """A DTLS alert record."""
    return data[0] == 21


def is_plaintext(data: bytes) -> bool:
    """A DTLS record of epoch 0: not encrypted, so anybody can have made it. (DTLS 1.3 ciphertext starts at 32.)"""
    return data[0] < 32 and data[3:5] == b"\0\0"
