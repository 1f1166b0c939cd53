"""Microphone and speaker as a call's graph sees them: frames of 20 ms at its rate, whatever the card's clock does.

Each stands between a `Role` (the device, which comes and goes) and one graph at a time. Owns gain, volume, mute and the
levels; tones that are mixed into what the speaker says. Without a device a microphone is silent and a speaker deaf.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from phoned.audio.elastic import Intake, Outlet
from phoned.media.graph import LevelMeter, Source

GRAPH_RATE = 16_000


def loudness(volume_pct: int) -> float:
    """The factor of a volume: 100 leaves the sound as it is, the middle is about half as loud to the ear."""
    return float((volume_pct / 100) ** 3)


def scaled(samples: NDArray[np.int16], factor: float) -> NDArray[np.int16]:
    """Louder or softer, clipped."""
    if factor == 1.0:
        return samples
    louder: NDArray[np.int16] = np.clip(np.rint(samples * np.float32(factor)), -32768, 32767).astype(np.int16)
    return louder


class Microphone:
    """A source of a graph, fed by a device."""

    def __init__(self) -> None:
        self.muted = False
        self.gain_db = 0.0
        self.level = LevelMeter()
        self._card_rate: int | None = None
        self._graph_rate = GRAPH_RATE
        self._intake: Intake | None = None

    # -- the device's side (`Sound`)

    def begin(self, rate: int, write: Callable[[bytes], None]) -> None:
        """See `Sound`."""
        self._card_rate = rate
        self._intake = Intake(rate, self._graph_rate)

    def heard(self, block: bytes) -> None:
        """See `Sound`."""
        if self._intake is not None:
            self._intake.push(block)

    def played(self, samples: int, missing: int) -> None:
        """Not a microphone's."""

    def end(self) -> None:
        """See `Sound`."""
        self._card_rate = self._intake = None

    # -- the graph's side

    def at(self, graph_rate: int) -> None:
        """Frames of this rate from now on, with nothing old in them."""
        self._graph_rate = graph_rate
        if self._card_rate is not None:
            self._intake = Intake(self._card_rate, graph_rate)

    @property
    def latency_s(self) -> float:
        """What waits here."""
        return self._intake.fill_s if self._intake is not None else 0.0

    @property
    def wants(self) -> int:
        """Frames that the device was late for, since it was opened."""
        return self._intake.wants if self._intake is not None else 0

    def read(self) -> bytes | None:
        """The next frame; None is silence (`Source`)."""
        samples = self._intake.read() if self._intake is not None else None
        frame = None
        if samples is not None and not self.muted:
            frame = scaled(samples, 10 ** (self.gain_db / 20)).tobytes()
        self.level.add(frame)
        return frame


class Speaker:
    """A sink of a graph, that feeds a device."""

    def __init__(self) -> None:
        self.muted = False
        self.volume_pct = 100
        self.level = LevelMeter()
        self.tone: Source | None = None
        """Mixed into what is played."""
        self._card_rate: int | None = None
        self._graph_rate = GRAPH_RATE
        self._outlet: Outlet | None = None
        self._write: Callable[[bytes], None] | None = None

    # -- the device's side (`Sound`)

    def begin(self, rate: int, write: Callable[[bytes], None]) -> None:
        """See `Sound`."""
        self._card_rate, self._write = rate, write
        self._outlet = Outlet(self._graph_rate, rate)

    def heard(self, block: bytes) -> None:
        """Not a speaker's."""

    def played(self, samples: int, missing: int) -> None:
        """See `Sound`."""
        if self._outlet is not None:
            self._outlet.played(samples, missing)

    def end(self) -> None:
        """See `Sound`."""
        self._card_rate = self._outlet = self._write = None

    # -- the graph's side

    @property
    def rate(self) -> int:
        """Of the frames that `write` takes."""
        return self._graph_rate

    def at(self, graph_rate: int) -> None:
        """Frames of this rate from now on."""
        if graph_rate != self._graph_rate:
            self._graph_rate = graph_rate
            if self._card_rate is not None:
                self._outlet = Outlet(graph_rate, self._card_rate)

    @property
    def latency_s(self) -> float:
        """What waits here."""
        return self._outlet.fill_s if self._outlet is not None else 0.0

    @property
    def wants(self) -> int:
        """How often the device ran dry, since it was opened."""
        return self._outlet.wants if self._outlet is not None else 0

    def write(self, frame: bytes) -> None:
        """20 ms to be heard (`Sink`)."""
        samples = np.frombuffer(frame, np.int16)
        over = self.tone.read() if self.tone is not None else None
        if over is not None:
            mixed = samples.astype(np.int32) + np.frombuffer(over, np.int16)
            samples = np.clip(mixed, -32768, 32767).astype(np.int16)
        samples = scaled(samples, 0.0 if self.muted else loudness(self.volume_pct))
        self.level.add(samples.tobytes())
        if self._outlet is not None and self._write is not None:
            data = self._outlet.write(samples)
            if data:
                self._write(data)
