"""The audio graph of one call: what is said to the far end, and who hears what it says.

Frames are ``bytes``: 20 ms of mono int16, native endian, at the graph's rate. Each tick of the clock asks `outgoing`
once and then gives what was heard to `incoming`. Owns mixing, muting and the levels. It knows no codec, no packet and
no file.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from typing import Protocol

import numpy as np

RATES = (8000, 16000, 48000)
LEVEL_FRAMES = 10
"""The level is that of the last 200 ms."""
SILENCE_DBOV = -127.0


class Source(Protocol):
    """Something that may be said."""

    def read(self) -> bytes | None:
        """The next frame; None when there is nothing to say now."""
        ...


class Sink(Protocol):
    """Someone who hears the far end."""

    def write(self, frame: bytes) -> None:
        """20 ms that were heard."""
        ...


class Witness(Protocol):
    """Someone who gets both directions, aligned: a recorder."""

    def write(self, near: bytes, far: bytes | None) -> None:
        """20 ms: what we said, and what was heard (None: nothing, although something could have been)."""
        ...


class Company(Source, Protocol):
    """Other calls, who hear this one and are heard in it."""

    def write(self, frame: bytes | None) -> None:
        """20 ms of the far end for them. None: it is silent."""
        ...

    def write_room(self, frame: bytes) -> None:
        """20 ms of who speaks at this phone, for them."""
        ...


class CallableSource:
    """A function as a source."""

    def __init__(self, function: Callable[[], bytes | None]) -> None:
        self.read = function


class CallableSink:
    """A function as a sink."""

    def __init__(self, function: Callable[[bytes], None]) -> None:
        self.write = function


class LevelMeter:
    """Loudness of one direction. It remembers the last frames, and measures them when somebody asks."""

    __slots__ = ("_frames", "add")

    def __init__(self) -> None:
        self._frames: deque[bytes | None] = deque(maxlen=LEVEL_FRAMES)
        self.add: Callable[[bytes | None], None] = self._frames.append
        """20 ms of sound; None: of silence."""

    def silent(self) -> None:
        """20 ms of silence."""
        self.add(None)

    @property
    def dbov(self) -> float:
        """0 is the loudest square wave, -127 silence."""
        sound = [frame for frame in self._frames if frame]
        if not sound:
            return SILENCE_DBOV
        samples = np.frombuffer(b"".join(sound), np.int16).astype(np.float32)
        power = float(np.dot(samples, samples)) / len(samples) * len(sound) / len(self._frames)
        return max(SILENCE_DBOV, 10 * math.log10(power / 32768.0**2)) if power else SILENCE_DBOV


def mix(frames: list[bytes]) -> bytes:
    """The sum, clipped."""
    if len(frames) == 1:
        return frames[0]
    total = np.frombuffer(frames[0], np.int16).astype(np.int32)
    for frame in frames[1:]:
        total += np.frombuffer(frame, np.int16)
    return np.clip(total, -32768, 32767).astype(np.int16).tobytes()


class AudioGraph:
    """Sources, sinks and witnesses of one call. Driven by the session's tick; changed by its verbs."""

    __slots__ = (
        "_others",
        "bridge",
        "ear",
        "expecting",
        "heard",
        "held",
        "music",
        "muted",
        "notices",
        "overlays",
        "rate",
        "room",
        "said",
        "sent",
        "silence",
        "sinks",
        "sources",
        "witnesses",
    )

    def __init__(self, rate: int) -> None:
        self.rate = rate
        self.silence = bytes(rate // 50 * 2)
        self.muted = False
        self.held = False
        """Nothing is said to or heard from the far end, except what plays as music on hold."""
        self.music: Source | None = None
        """What it hears meanwhile; we may be muted: that is about what we say."""
        self.expecting = False
        """The far end may speak: that nothing comes is a gap."""
        self.sent = LevelMeter()
        self.heard = LevelMeter()
        self.sources: list[Source] = []
        """All are mixed."""
        self.overlays: list[Source] = []
        """While one of these speaks, sources are silent: playbacks that do not mix."""
        self.bridge: Company | None = None
        """Said beside all of these, whatever overlays."""
        self.room: Source | None = None
        """Who speaks at this phone. One of the sources, and in a bridge the others hear it, too."""
        self.ear: Sink | None = None
        """Who listens there. One of the sinks, and in a bridge it hears the others, too."""
        self._others: bytes | None = None
        """What those of the bridge say in this tick."""
        self.notices: list[Source] = []
        """Mixed with whatever speaks, and heard when muted too: that the call is recorded."""
        self.sinks: list[Sink] = []
        self.witnesses: list[Witness] = []
        self.said: bytes | None = None
        """In this tick; None: silence."""

    def outgoing(self) -> bytes | None:
        """The frame to send; None is silence."""
        # every source is asked in every tick: what is not said now is gone, not late. One that ends may leave meanwhile
        over = [said for source in tuple(self.overlays) if (said := source.read()) is not None] if self.overlays else []
        base = [said for source in tuple(self.sources) if (said := source.read()) is not None]
        room = None if self.room is None else self.room.read()
        if room is not None:
            base.append(room)
        frames = over or base
        if self.bridge is not None:
            if room is not None and not (self.muted or self.held):
                self.bridge.write_room(room)
            self._others = self.bridge.read()
            if self._others is not None:
                frames = [*frames, self._others]
        frame = None
        if self.held:
            frame = None if self.music is None else self.music.read()
        elif frames and not self.muted:  # else the far end hears nothing of us, whatever speaks
            frame = frames[0] if len(frames) == 1 else mix(frames)
        if self.notices:
            frame = self._noticed(frame)
        self.sent.add(frame)
        self.said = frame
        return frame

    def _noticed(self, frame: bytes | None) -> bytes | None:
        said = [notice for source in self.notices if (notice := source.read()) is not None]
        if self.held or not said:
            return frame
        return mix([*said, frame] if frame is not None else said)

    def incoming(self, frame: bytes | None) -> None:
        """20 ms were heard; None: nothing came."""
        self.heard.add(frame)
        if self.sinks:
            heard = self.silence if frame is None or self.held else frame
            for sink in self.sinks:
                sink.write(heard)
        if self.ear is not None:
            self.ear.write(self._near_the_ear(frame))
        if self.bridge is not None and not self.held:
            self.bridge.write(frame)
        if self.witnesses:
            far = frame if frame is not None or (self.expecting and not self.held) else self.silence
            for witness in self.witnesses:
                witness.write(self.said or self.silence, far)

    def _near_the_ear(self, frame: bytes | None) -> bytes:
        if self.held:
            return self.silence
        heard = [each for each in (frame, self._others if self.bridge is not None else None) if each is not None]
        return mix(heard) if heard else self.silence
