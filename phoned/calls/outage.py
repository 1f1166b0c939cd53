"""What is told of a call's repairs: what is being repaired since when, its end, and what became of earlier ones.

Two planes may be broken at once. Each is lost and comes back by itself; people hear of the first loss, of the second
plane's, and of the end once everything that was broken is good again.
"""

from __future__ import annotations

from collections import deque
from typing import Literal, Protocol

from phoned.clock import WallClock
from phoned.model import Recovering, RecoveryRecord

Plane = Literal["signalling", "media"]
KEPT = 32
"""Finished repairs that a call remembers."""


class Publisher(Protocol):
    """The call, as far as its outages must know it."""

    def publish(self, type_: str, **facts: object) -> None: ...


class Outage:
    """Driven by `MediaRepair`."""

    def __init__(self, call: Publisher, clock: WallClock) -> None:
        self._call = call
        self._clock = clock
        self._broken: set[Plane] = set()
        self._hurt: set[Plane] = set()
        """Planes that were broken since everything was good last."""
        self._since = clock()
        self._cause = ""
        self._tier = 0
        self._gap_ms = 0
        self.attempts = 0
        """Re-INVITEs of the present outage."""
        self._history: deque[RecoveryRecord] = deque(maxlen=KEPT)

    @property
    def recovering(self) -> Recovering | None:
        """For the call's view."""
        return Recovering(plane=_name(self._broken), since=self._since) if self._broken else None

    @property
    def history(self) -> tuple[RecoveryRecord, ...]:
        """Finished repairs, oldest first."""
        return tuple(self._history)

    def broken(self, plane: Plane) -> bool:
        """Whether this plane is being repaired."""
        return plane in self._broken

    def lost(self, plane: Plane, cause: str) -> None:
        """A plane is broken; to say so again changes nothing."""
        if plane in self._broken:
            return
        if not self._broken:
            self._since, self._cause = self._clock(), cause
            self._tier = self._gap_ms = self.attempts = 0
            self._hurt.clear()
        self._break({plane}, cause)

    def lost_all(self, cause: str) -> None:
        """Nothing of the call is left but its dialog at the far end."""
        self._since, self._cause = self._clock(), cause
        self._break({"signalling", "media"}, cause)

    def _break(self, planes: set[Plane], cause: str) -> None:
        self._broken |= planes
        self._hurt |= planes
        self._call.publish("call.reconnecting", plane=_name(self._broken), cause=cause)

    def back(self, plane: Plane, *, tier: int = 0, gap_ms: int = 0) -> None:
        """A plane is good again; one that was not broken is nothing."""
        if plane not in self._broken:
            return
        self._broken.discard(plane)
        self._tier, self._gap_ms = max(self._tier, tier), max(self._gap_ms, gap_ms)
        if self._broken:
            return
        name = _name(self._hurt)
        self._history.append(
            RecoveryRecord(
                at=self._clock(),
                plane=name,
                cause=self._cause,
                tier=self._tier,
                gap_ms=self._gap_ms,
                attempts=self.attempts,
            )
        )
        self._call.publish("call.reconnected", plane=name, gap_ms=self._gap_ms, tier=self._tier)


def _name(planes: set[Plane]) -> Literal["signalling", "media", "both"]:
    if len(planes) > 1:
        return "both"
    return "media" if "media" in planes else "signalling"
