"""Calls that hear each other: each hears the sum of the others (mix-minus), whatever their codecs and rates.

Owns how frames get from the graph of one call into those of the others. Every call ticks once in 20 ms, each at a time
of its own and always in the same order; what one has heard lies ready for the others at their next tick, and no longer.
So a frame is at most 20 ms late (and 2 ms more where rates differ), a call that stops ticking falls silent, and nothing
queues up. It must not know calls, packets or codecs.
"""

from __future__ import annotations

import numpy as np

from phoned.media.codecs.resample import Resampler
from phoned.media.graph import AudioGraph, mix

MAX_SEATS = 16
"""In one bridge: n calls cost n * (n - 1) additions of a frame in 20 ms."""


class Seat:
    """One call's place in a bridge: what its graph says comes from here, and what it hears goes here."""

    __slots__ = ("_inbox", "_others", "_resamplers", "_room", "aside", "graph")

    def __init__(self, graph: AudioGraph) -> None:
        self.graph = graph
        self.aside = False
        """It listens, and is not heard."""
        self._others: tuple[Seat, ...] = ()
        self._inbox: dict[object, bytes] = {}
        """What others have said since the last tick, at our rate: by seat, or by its `_room`."""
        self._room = object()
        """Stands for who speaks at this phone, beside the seat's far end."""
        self._resamplers: dict[tuple[object, int], Resampler] = {}

    def read(self) -> bytes | None:
        """The sum of the others; None when all are silent."""
        if not self._inbox:
            return None
        frames = list(self._inbox.values())
        self._inbox.clear()
        return mix(frames)

    def write(self, frame: bytes | None) -> None:
        """20 ms of the far end for the others. None: it is silent."""
        if frame is not None and not self.aside:
            self._tell(self, frame)

    def write_room(self, frame: bytes) -> None:
        """20 ms of who speaks at this phone, for the others."""
        self._tell(self._room, frame)

    def _tell(self, who: object, frame: bytes) -> None:
        made = {self.graph.rate: frame}
        for other in self._others:
            rate = other.graph.rate
            if rate not in made:
                made[rate] = self._at(rate, who, frame)
            other._inbox[who] = made[rate]

    def _at(self, rate: int, who: object, frame: bytes) -> bytes:
        if (who, rate) not in self._resamplers:
            self._resamplers[who, rate] = Resampler(self.graph.rate, rate)
        return self._resamplers[who, rate].process(np.frombuffer(frame, np.int16)).tobytes()

    def know(self, others: tuple[Seat, ...]) -> None:
        """Who else is there, from now on."""
        self._others = others
        known = {who for other in others for who in (other, other._room)}
        for gone in self._inbox.keys() - known:
            del self._inbox[gone]


class Bridge:
    """The seats of one bridge. Changed on the loop; ticked by its calls."""

    def __init__(self) -> None:
        self._seats: list[Seat] = []

    def join(self, graph: AudioGraph) -> Seat:
        """Let it hear the others, and be heard."""
        seat = Seat(graph)
        graph.bridge = seat
        self._seats.append(seat)
        self._introduce()
        return seat

    def leave(self, seat: Seat) -> None:
        """The others go on without it."""
        seat.graph.bridge = None
        self._seats.remove(seat)
        seat.know(())
        self._introduce()

    def _introduce(self) -> None:
        for seat in self._seats:
            seat.know(tuple(other for other in self._seats if other is not seat))
