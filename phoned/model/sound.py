"""What may be said, recorded and keyed in a call: orders, and how they stand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

from phoned.model.states import DtmfMethod


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaybackView:
    """A file or tone that is being played into a call. ``state``: playing, paused, finished, failed."""

    id: str
    call: str
    state: Literal["playing", "paused", "finished", "failed"]
    file: str | None = None
    tone: str | None = None
    position_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordingView:
    """A recording of a call. ``file`` is relative to the recordings directory."""

    id: str
    call: str
    state: Literal["recording", "paused", "finished", "failed"]
    format: Literal["wav", "opus"]
    channels: Literal["stereo", "mixed"]
    file: str
    duration_s: float = 0.0
    gaps: tuple[tuple[float, float], ...] = ()
    recovered: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PlayRequest:
    """What to play: exactly one of ``file`` (relative to the media directory) and ``tone``."""

    file: str | None = None
    tone: str | None = None
    loop: bool = False
    mix: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordRequest:
    """How to record."""

    format: Literal["wav", "opus"] = "wav"
    channels: Literal["stereo", "mixed"] = "stereo"


@dataclass(frozen=True, slots=True, kw_only=True)
class DtmfRequest:
    """Digits ``0-9 * # A-D``, and ``w`` for a pause of half a second."""

    digits: str
    method: DtmfMethod = "auto"
    duration_ms: int = 100
    gap_ms: int = 60


class Frame(NamedTuple):
    """20 ms of a call: mono int16, native endian, at the rate of whoever takes it."""

    heard: bytes
    """What the far end says; silence where nothing came."""
    said: bytes | None = None
    """What it is told, for those who asked for both."""


Step = PlayRequest | RecordRequest | DtmfRequest
"""One thing to do when media flows (``on_answer``)."""
