"""What a media session reports to its call: frozen facts, no orders.

Each event is handed to the `on_event` callable of `MediaEngine.session`, on the loop's thread, never from inside a call
of the session's own methods that the listener makes in turn: events are queued and delivered by `loop.call_soon`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from phoned.model import MediaState, PlaybackView, RecordingView, SoundDirection


class MediaFailure(StrEnum):
    """Why a session's media cannot be had, or was lost for good."""

    ICE = "ice"
    """No candidate pair worked before the deadline."""
    CONSENT = "consent"
    """The peer has not consented to receive for 30 s (RFC 7675)."""
    DTLS = "dtls"
    """The handshake failed or did not end in time."""
    FINGERPRINT = "fingerprint"
    """The peer's certificate is not the one that its description named (RFC 8122)."""
    NO_CANDIDATES = "no_candidates"
    """This machine has no address that media may use."""
    CODEC = "codec"
    """The encoder or decoder broke."""
    INTERNAL = "internal"
    """A bug of ours; the log has the traceback."""


class OfferReason(StrEnum):
    """Why a session would like a new offer to be sent."""

    NO_CANDIDATES = "no_candidates"
    """The answer held no candidates: repeat the offer unchanged, its answer will have them (ICE restart, rule 1b)."""
    REMOTE_CHANGED = "remote_changed"
    """The answer came from another ICE agent than the one that we are connected with: offer an ICE restart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaStateChanged:
    """The media plane moved. ``cause`` is a word for logs and people."""

    old: MediaState
    new: MediaState
    cause: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Flowing:
    """The first RTP packet was decoded: of the call, or after a restart (``gap_ms`` since the last one before)."""

    codec: str
    ssrc: int
    ice_generation: int
    dtls_generation: int
    gap_ms: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaFailed:
    """No audio can flow any more without a new offer."""

    cause: MediaFailure
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RestartFailed:
    """A new path or association did not come to life; what carried the media before still does, if it can."""

    cause: MediaFailure
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class OfferWanted:
    """The session asks its call to send an offer when the dialog allows it."""

    reason: OfferReason
    ice_restart: bool = False
    rebuild: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PathChanged:
    """Media moved to another pair: ``address:port`` of both ends."""

    local: str
    remote: str
    ice_generation: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PathTrouble:
    """A fact about the path in use: a socket error (its errno name), or missed consent checks in a row."""

    kind: Literal["socket", "consent"]
    detail: str
    misses: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteHold:
    """The far end put us on hold, or took us off."""

    on: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class CodecChanged:
    """The codec in use, by its SDP name (``opus``, ``PCMU``...)."""

    codec: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DtmfReceived:
    """One digit was pressed at the far end."""

    digit: str
    method: Literal["rfc4733", "info", "inband"]
    duration_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class VoiceTurned:
    """The far end (inbound), or who speaks to it (outbound), began to speak or has stopped (`phoned.media.voice`)."""

    direction: SoundDirection
    speaking: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class DtmfSent:
    """One digit has been sent completely."""

    digit: str


@dataclass(frozen=True, slots=True, kw_only=True)
class InfoWanted:
    """A digit is to be sent by SIP INFO: the call layer does it."""

    digit: str
    duration_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaybackFinished:
    """A playback ended: by itself, by `stop_playback`, or because it failed (``detail`` tells)."""

    playback: PlaybackView
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordingFinished:
    """The file is complete and has its final name."""

    recording: RecordingView


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordingGap:
    """A stretch of a recording without the far end, or (an empty one) a place where the disk was too slow."""

    recording: RecordingView
    start_s: float
    end_s: float
    cause: Literal["far_end", "disk"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordingFailed:
    """Writing failed (disk full, directory gone); what was written before is kept. The call goes on."""

    recording: RecordingView
    detail: str


MediaEvent = (
    MediaStateChanged
    | Flowing
    | MediaFailed
    | RestartFailed
    | OfferWanted
    | PathChanged
    | PathTrouble
    | RemoteHold
    | CodecChanged
    | DtmfReceived
    | VoiceTurned
    | DtmfSent
    | InfoWanted
    | PlaybackFinished
    | RecordingFinished
    | RecordingFailed
    | RecordingGap
)
AFTER_THE_END = (PlaybackFinished, RecordingFinished, RecordingFailed, RecordingGap)
"""What may still happen to a call that has ended."""
