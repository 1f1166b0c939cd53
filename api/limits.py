"""Counters with a clock passed in: request rate of a client, wrong tokens of a peer, one-use tickets. Pure."""

from __future__ import annotations

import secrets
from collections import OrderedDict, deque
from dataclasses import dataclass
from typing import Generic, TypeVar

KEPT = 4096
"""Clients remembered at once; the one that was quiet for longest is forgotten first."""

T = TypeVar("T")


class RateLimit:
    """A token bucket for each client: ``per_s`` refilled, one second's worth kept."""

    def __init__(self, per_s: float) -> None:
        self.change(per_s)
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def change(self, per_s: float) -> None:
        """Another rate, for whoever asks next."""
        self._per_s = per_s
        self._burst = max(per_s, 1.0)

    def take(self, client: str, now: float) -> float | None:
        """Spend one. None when there was one, else the seconds until there will be."""
        level, since = self._buckets.pop(client, (self._burst, now))
        level = min(self._burst, level + max(0.0, now - since) * self._per_s)
        wait = None
        if level >= 1.0:
            level -= 1.0
        else:
            wait = (1.0 - level) / self._per_s
        self._buckets[client] = (level, now)
        if len(self._buckets) > KEPT:
            self._buckets.popitem(last=False)
        return wait


class FailureLimit:
    """Wrong tokens of each peer: ``allowed`` within ``window_s`` are answered 401, the next 429.

    A right token is let in even then: guessing 256 bits is hopeless at any rate, and nobody must be able to lock out
    the owner by sending nonsense.
    """

    def __init__(self, allowed: int = 5, window_s: float = 60.0) -> None:
        self._allowed = allowed
        self._window_s = window_s
        self._failures: OrderedDict[str, deque[float]] = OrderedDict()

    def failed(self, peer: str, now: float) -> float | None:
        """Count one. None while it is within the allowance, else the seconds until the oldest is forgotten."""
        times = self._failures.pop(peer, None) or deque(maxlen=self._allowed + 1)
        while times and times[0] <= now - self._window_s:
            times.popleft()
        times.append(now)
        self._failures[peer] = times
        if len(self._failures) > KEPT:
            self._failures.popitem(last=False)
        return times[0] + self._window_s - now if len(times) > self._allowed else None


@dataclass(frozen=True, slots=True)
class _Ticket(Generic[T]):
    holder: T
    until: float


class Tickets(Generic[T]):
    """One-use passes for a browser's WebSocket, which cannot send a header."""

    def __init__(self, lifetime_s: float = 30.0, most: int = 256) -> None:
        self.lifetime_s = lifetime_s
        self._most = most
        self._open: OrderedDict[str, _Ticket[T]] = OrderedDict()

    def issue(self, holder: T, now: float) -> str:
        """A pass in the name of ``holder``."""
        name = secrets.token_urlsafe(32)
        self._open[name] = _Ticket(holder, now + self.lifetime_s)
        while len(self._open) > self._most:
            self._open.popitem(last=False)
        return name

    def redeem(self, name: str, now: float) -> T | None:
        """The holder, once and in time."""
        found = self._open.pop(name, None)
        return found.holder if found is not None and now < found.until else None
