"""What may be said, recorded and keyed in a call: orders, and how they stand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from phoned.model.states import DtmfMethod

StreamProtocolName = Literal["twilio", "l16"]
StreamTracks = Literal["inbound", "both"]
SoundDirection = Literal["inbound", "outbound"]
"""From the far end, and to it."""
OnClose = Literal["hangup", "keep", "reconnect"]
WhileAway = Literal["silence", "music"]
StreamState = Literal["connecting", "started", "reconnecting", "stopped", "failed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaybackView:
    """What is being played into a call. ``state``: playing, paused, finished, failed."""

    id: str
    call: str
    state: Literal["playing", "paused", "finished", "failed"]
    file: str | None = None
    """Of several, the one that is heard."""
    files: tuple[str, ...] | None = None
    """Of an order with more than one."""
    tone: str | None = None
    url: str | None = None
    """Without its query, where secrets stand."""
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
    beep: bool = False
    """Both ends hear that they are recorded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlayRequest:
    """What to play: exactly one of ``file``, ``files``, ``tone`` and ``url``. Files lie below the media directory, and
    are heard one after another."""

    file: str | None = None
    files: tuple[str, ...] = ()
    tone: str | None = None
    url: str | None = field(default=None, repr=False)
    loop: bool | int = False
    """True: for ever; a number: so many rounds."""
    mix: bool = False
    duration_ms: int | None = None
    """It ends after so long, whatever else was said; a tone lasts so long."""

    @property
    def rounds(self) -> int | None:
        """How often; None: for ever."""
        return None if self.loop is True else int(self.loop) or 1


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordRequest:
    """How to record. ``beep``: both ends hear that it runs, whether or not the configuration asks for that."""

    format: Literal["wav", "opus"] = "wav"
    channels: Literal["stereo", "mixed"] = "stereo"
    beep: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class DtmfRequest:
    """Digits ``0-9 * # A-D``, and ``w`` for a pause of half a second."""

    digits: str
    method: DtmfMethod = "auto"
    duration_ms: int = 100
    gap_ms: int = 60


CollectReason = Literal["terminator", "max_digits", "timeout", "no_digits", "call_ended", "canceled"]
"""Why a collection ended. ``timeout``: after some digits; ``no_digits``: before the first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectRequest:
    """Digits to be keyed by the far end, and what it is asked with.

    The first digit has ``first_digit_s`` from the end of the prompt, each further one ``between_digits_s`` from the
    last, all of it ``timeout_s``. With ``barge_in`` a digit ends the prompt, else what is keyed into it is dropped.
    With ``type_ahead`` (and ``barge_in``) keys count that were pressed before and that nobody has asked for; then the
    prompt is not played.
    """

    play: PlayRequest | None = None
    max_digits: int = 32
    terminators: str = "#"
    first_digit_s: float = 10.0
    between_digits_s: float = 4.0
    timeout_s: float = 120.0
    barge_in: bool = True
    type_ahead: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectView:
    """What was keyed, without the terminator. ``playback``: the prompt."""

    call: str
    digits: str
    reason: CollectReason
    terminator: str | None = None
    playback: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamRequest:
    """A bot to be dialled, that hears a call and speaks in it."""

    url: str
    """``ws://`` or ``wss://``."""
    protocol: StreamProtocolName = "twilio"
    sample_rate: int = 8000
    tracks: StreamTracks = "inbound"
    parameters: Mapping[str, str] = field(default_factory=dict)
    """For the bot to read."""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Of the upgrade; they may hold secrets."""
    on_close: OnClose = "hangup"
    while_away: WhileAway = "silence"
    """What the far end hears while the bot is being dialled, first or again: the music on hold, if there is any."""
    trusted: bool = False
    """The URL stands in the configuration file: it may lead anywhere."""
    id: str | None = None
    """Of a stream that an earlier process had."""

    @property
    def shown_url(self) -> str:
        """Without its query, where secrets stand."""
        return self.url.partition("?")[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamView:
    """A bot on a call. ``url`` without its query, where secrets stand. Times since the stream began: what the bot was
    sent, and what of its sound was played and waits to be."""

    id: str
    call: str
    url: str
    protocol: StreamProtocolName
    sample_rate: int
    state: StreamState
    detail: str | None = None
    """Why the bot is away, or what its end was."""
    sent_ms: int = 0
    played_ms: int = 0
    queued_ms: int = 0


class Frame(NamedTuple):
    """20 ms of a call: mono int16, native endian, at the rate of whoever takes it."""

    heard: bytes
    """What the far end says; silence where nothing came."""
    said: bytes | None = None
    """What it is told, for those who asked for both."""


Step = PlayRequest | RecordRequest | DtmfRequest | StreamRequest
"""One thing to do when media flows (``on_answer``)."""
