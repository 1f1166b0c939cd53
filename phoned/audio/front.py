"""Where devices and calls meet: microphone and speaker in the graph of one call, and the tones of the phone's own.

Told what is to be (`attach`, `sound`); repeating it changes nothing. It knows no device and no call.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from phoned.audio import bells
from phoned.audio.handles import Microphone, Speaker
from phoned.audio.tones import PcmSource
from phoned.media.clock import Ticker
from phoned.media.graph import AudioGraph, LevelMeter


class Clock(Protocol):
    """The 20 ms clock, for what sounds without a call."""

    def add(self, ticker: Ticker) -> Callable[[], None]: ...


class Front:
    """See the module."""

    def __init__(self, microphone: Microphone, speaker: Speaker, bell: Speaker, clock: Clock) -> None:
        self._microphone = microphone
        self._speaker = speaker
        self._bell = bell
        self._clock = clock
        self._graph: AudioGraph | None = None
        self._sounding = (False, False, False)
        self._beats: list[Callable[[], None]] = []
        self.ringtone = b""
        """At the bell's rate."""

    def attach(self, graph: AudioGraph | None, *, speaks: bool) -> None:
        """This call's graph has the speaker and, if it speaks, the microphone; none: nobody has."""
        before, microphone, speaker = self._graph, self._microphone, self._speaker
        if before is not None and before is not graph:
            before.ear = None
        if before is not None and (before is not graph or not speaks):
            before.room = None
        self._graph = graph
        if graph is None:
            if before is not None:
                microphone.level, speaker.level = LevelMeter(), LevelMeter()
            return
        if graph.ear is not speaker:
            speaker.at(graph.rate)
            graph.ear = speaker
        if speaks and graph.room is not microphone:
            microphone.at(graph.rate)
            graph.room = microphone

    def sound(self, *, ring: bool, waiting: bool, ringback: bool) -> None:
        """The bell rings, another call waits, it rings at the other end."""
        if (ring, waiting, ringback) == self._sounding:
            return
        self._sounding = (ring, waiting, ringback)
        for stop in self._beats:
            stop()
        self._beats = []
        rate = self._speaker.rate
        self._bell.tone = self._speaker.tone = None
        if ring:
            self._bell.tone = PcmSource(self.ringtone, self._bell.rate, rounds=None)
            self._beats.append(self._clock.add(_Beat(self._bell)))
        if waiting:  # the call's own ticks carry it
            self._speaker.tone = PcmSource(bells.waiting(rate), rate, rounds=None)
        elif ringback:
            self._speaker.tone = PcmSource(bells.ringback(rate), rate, rounds=None)
            self._beats.append(self._clock.add(_Beat(self._speaker)))


class _Beat:
    """Keeps a speaker going while no call does: a `Ticker`."""

    def __init__(self, speaker: Speaker) -> None:
        self._speaker = speaker
        self._silence = bytes(speaker.rate // 50 * 2)

    def tick(self, now: float, due: float) -> None:
        self._speaker.write(self._silence)

    def skip(self, ticks: int) -> None:
        """It is heard later."""

    def crashed(self, error: Exception) -> None:
        """It is silent, and logged by the clock."""
