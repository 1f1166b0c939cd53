"""How much of something may come in a time: what keeps a flood from taking more than its share. Pure."""

from __future__ import annotations


class Bucket:
    """``burst`` at once, and ``rate`` a second. Driven by `take`; ``now`` in seconds."""

    def __init__(self, rate: float, burst: float) -> None:
        self._rate = rate
        self._burst = burst
        self._left = burst
        self._at: float | None = None

    def take(self, amount: float, now: float) -> float:
        """It came: how many seconds to wait before the next may."""
        self._refill(now)
        self._left -= amount
        return max(0.0, -self._left / self._rate)

    def try_take(self, amount: float, now: float) -> bool:
        """Whether there is room for it; then it is taken."""
        self._refill(now)
        if self._left < amount:
            return False
        self._left -= amount
        return True

    def _refill(self, now: float) -> None:
        if self._at is not None:
            self._left = min(self._burst, self._left + (now - self._at) * self._rate)
        self._at = now
