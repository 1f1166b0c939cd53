"""The values that `Phone` speaks: frozen views of accounts, calls and what hangs on them.

A view is a copy of a moment. Nothing here has behaviour beyond small derived properties; the objects that change live
in `accounts`, `calls` and `media`. Field names are those of the control API (durations ``_s`` floats, ``_ms`` integers,
moments aware UTC datetimes).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Literal

from phoned.findings import CheckView as CheckView
from phoned.findings import DoctorView as DoctorView

EMPTY: Mapping[str, Any] = MappingProxyType({})


class AccountState(StrEnum):
    """The signalling plane of an account."""

    OFF = "off"
    NET_DOWN = "net_down"
    CONNECTING = "connecting"
    REGISTERING = "registering"
    ONLINE = "online"
    SUSPECT = "suspect"
    BACKOFF = "backoff"
    THROTTLED = "throttled"
    AUTH_FAILED = "auth_failed"
    UNREGISTERING = "unregistering"


class Cause(StrEnum):
    """Why a flow was lost or could not be had. Never prose."""

    DNS = "dns"
    REFUSED = "refused"
    TIMEOUT = "timeout"
    TLS = "tls"
    UPGRADE = "upgrade"
    MUTE = "mute"
    PING = "ping"
    REGISTER_TIMEOUT = "register_timeout"
    CLOSED = "closed"
    NETWORK = "network"
    RESUME = "resume"
    API = "api"


class CallState(StrEnum):
    """What a person means by the state of a call. Hold and mute are flags beside it."""

    QUEUED = "queued"
    DIALING = "dialing"
    RINGING = "ringing"
    EARLY_MEDIA = "early_media"
    ACTIVE = "active"
    ENDED = "ended"


class MediaState(StrEnum):
    """The media plane of a call. RTP counters are the truth, ICE states are hints."""

    NEGOTIATING = "negotiating"
    CONNECTING_MEDIA = "connecting_media"
    FLOWING = "flowing"
    QUIET = "quiet"
    STALLED = "stalled"
    CHECKING = "checking"
    INBOUND_ONLY = "inbound_only"
    RESTARTING = "restarting"
    REBUILDING = "rebuilding"
    WAIT_SIGNALLING = "wait_signalling"
    FAILED = "failed"


class EndCause(StrEnum):
    """Why a call ended."""

    COMPLETED = "completed"
    CANCELED = "canceled"
    BUSY = "busy"
    REJECTED = "rejected"
    NO_ANSWER = "no_answer"
    NOT_FOUND = "not_found"
    FORBIDDEN = "forbidden"
    MEDIA_FAILED = "media_failed"
    TIMEOUT = "timeout"
    UNREACHABLE = "unreachable"
    MEDIA_TIMEOUT = "media_timeout"
    TRANSFERRED = "transferred"
    REPLACED = "replaced"
    ANSWERED_ELSEWHERE = "answered_elsewhere"
    LOST = "lost"
    SHUTDOWN = "shutdown"
    FAILED = "failed"


Direction = Literal["in", "out"]
Party = Literal["local", "remote", "system"]
DtmfMethod = Literal["auto", "rfc4733", "info", "inband"]
Wait = Literal["none", "ringing", "answered"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LastError:
    """The newest failure of an account's signalling."""

    cause: Cause
    sip_code: int | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistrationView:
    """The AOR binding, as far as we know it."""

    expires_at: datetime | None = None
    contact: str | None = None
    flow_generation: int = 0
    last_error: LastError | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboundProxyView:
    """Which outbound proxy serves an account now."""

    active: str
    primary: str
    backup: str | None = None
    mode: Literal["primary", "backup", "auto"] = "auto"


@dataclass(frozen=True, slots=True, kw_only=True)
class MailboxView:
    """What the server last said of an account's mailbox; the counts are of voice messages, None when it gives none."""

    waiting: bool
    new: int | None = None
    old: int | None = None
    new_urgent: int | None = None
    old_urgent: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountView:
    """An account: what is wished for (`desired`) and what is (`state`)."""

    id: str
    aor: str
    state: AccountState
    since: datetime
    desired: Literal["registered", "unregistered"]
    registration: RegistrationView
    outbound_proxy: OutboundProxyView
    mailbox: MailboxView | None = None
    """None until the server says something."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountChanges:
    """Ids of the configuration's accounts, as it was read again."""

    added: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ReloadView:
    """What came of reading the configuration again. Keys as in a file: ``dial.deny``, ``incoming``, ``api.port``."""

    accounts: AccountChanges = AccountChanges()
    applied: tuple[str, ...] = ()
    """Changed, and in force now."""
    restart_needed: tuple[str, ...] = ()
    """Changed in the files, and as before until a restart."""
    warnings: tuple[str, ...] = ()


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
class InterfaceView:
    """A network interface. ``addresses`` as ``192.0.2.2/24``; ``ignored`` by configuration."""

    name: str
    kind: str
    up: bool
    carrier: bool
    addresses: tuple[str, ...] = ()
    ignored: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteView:
    """A route. ``destination`` is ``default`` or a prefix; without a ``device`` it refuses what it matches."""

    destination: str
    family: Literal["ipv4", "ipv6"]
    device: str | None
    gateway: str | None = None
    source: str | None = None
    metric: int = 0
    table: int = 254


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkChangeView:
    """A change of the network that mattered. ``trigger`` says why it was asked for, when it was."""

    generation: int
    at: datetime
    reasons: tuple[str, ...] = ()
    became_unusable: tuple[str, ...] = ()
    trigger: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkView:
    """The network as phoned sees it; ``generation`` rises by one with each of ``changes`` (the newest last)."""

    generation: int
    source: str
    interfaces: tuple[InterfaceView, ...] = ()
    routes: tuple[RouteView, ...] = ()
    changes: tuple[NetworkChangeView, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PhoneStatus:
    """The whole phone at a glance."""

    version: str
    node: str
    uptime_s: float
    draining: bool
    accounts: tuple[AccountView, ...]
    calls_active: int
    calls_capacity: int
    event_seq: int
    network: NetworkView | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SipMessageView:
    """One SIP message as it passed, without secrets. ``local`` and ``remote``: ``address:port`` of its socket."""

    time: datetime
    direction: Literal["sent", "received"]
    sip_call_id: str
    flow: int
    transport: str
    local: str
    remote: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceView:
    """The SIP of a call. ``complete``: False when some of it is not kept (any more)."""

    call: str
    sip_call_ids: tuple[str, ...]
    complete: bool
    messages: tuple[SipMessageView, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageRequest:
    """Text to be sent (SIP MESSAGE, RFC 3428)."""

    account: str
    to: str
    body: str
    content_type: str = "text/plain;charset=utf-8"


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageView:
    """Text that was sent or received. ``call``: inside of which it came."""

    id: str
    account: str
    direction: Direction
    peer: Peer
    content_type: str
    body: str
    created_at: datetime
    state: Literal["sending", "sent", "failed", "received"]
    sip_code: int | None = None
    call: str | None = None


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


Step = PlayRequest | RecordRequest | DtmfRequest
"""One thing to do when media flows (``on_answer``)."""


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
