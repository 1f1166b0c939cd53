"""Calls as they are seen from outside, and what is needed to place one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from phoned.model.sound import Step
from phoned.model.states import CallState, Direction, EndCause, MediaState, Party

BOT_TAG = "bot"
"""Tag of a call: the bot in this process that has it, or is to have it (`phoned.bots`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """The other party."""

    uri: str
    number: str | None = None
    display_name: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldView:
    """Who put the call on hold."""

    local: bool = False
    remote: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaView:
    """A call's media: the codec's name, ``address:port`` of both ends of the nominated pair, the DTLS generation."""

    state: MediaState = MediaState.NEGOTIATING
    codec: str | None = None
    local: str | None = None
    remote: str | None = None
    generation: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovering:
    """What is being repaired, since when."""

    plane: Literal["signalling", "media", "both"]
    since: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class EndView:
    """How a call ended: by whom, why, and the SIP status when one was involved."""

    cause: EndCause
    by: Party
    sip_code: int | None = None
    sip_reason: str | None = None
    q850: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CallView:
    """A call as a person means it; its id outlives dialogs and media generations."""

    id: str
    account: str
    direction: Direction
    state: CallState
    peer: Peer
    created_at: datetime
    sip_call_id: str | None = None
    hold: HoldView = HoldView()
    muted: bool = False
    ringing_at: datetime | None = None
    answered_at: datetime | None = None
    ended_at: datetime | None = None
    duration_s: float = 0.0
    media: MediaView = MediaView()
    recovering: Recovering | None = None
    streams: tuple[str, ...] = ()
    recordings: tuple[str, ...] = ()
    tags: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    end: EndView | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RecoveryRecord:
    """One finished repair of a call."""

    at: datetime
    plane: Literal["signalling", "media", "both"]
    cause: str
    tier: int
    gap_ms: int
    attempts: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StatsView:
    """Counters of a call's media since it began. Loss in percent, times in milliseconds, MOS 1-4.5 (estimate).

    ``sent_dbov`` and ``received_dbov``: how loud the last 200 ms were (RFC 6465: 0 the loudest, -127 silence).
    """

    codec: str | None = None
    packets_sent: int = 0
    packets_received: int = 0
    bytes_sent: int = 0
    bytes_received: int = 0
    packets_lost: int = 0
    loss_pct: float = 0.0
    jitter_ms: float = 0.0
    rtt_ms: float | None = None
    mos: float | None = None
    concealed_ms: int = 0
    sent_dbov: float | None = None
    received_dbov: float | None = None
    local: str | None = None
    remote: str | None = None
    dtls_generation: int = 0
    ice_generation: int = 0
    recoveries: tuple[RecoveryRecord, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class QualitySample:
    """How a call sounded at one moment; counters since it began."""

    time: datetime
    mos: float
    jitter_ms: float
    loss_pct: float
    rtt_ms: float | None
    packets_sent: int
    packets_received: int


MAX_HEADERS = 16
HEADER_NAME = (
    r"^([Xx]-[A-Za-z0-9-]+|User-to-User|Subject|Priority|Privacy|Alert-Info|Call-Info|Answer-Mode"
    r"|P-Preferred-Identity)$"
)
"""Headers that a caller may add to an INVITE."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CallRequest:
    """What `Phone.place_call` needs. ``to``: a SIP URI, a user part of the account's domain, or an E.164 number."""

    account: str
    to: str
    headers: Mapping[str, str] = field(default_factory=dict)
    timeout_s: float = 60.0
    max_duration_s: float | None = None
    on_answer: tuple[Step, ...] = ()
    tags: Mapping[str, str] = field(default_factory=dict)
    id: str | None = None
