"""The states of accounts, calls and media, and why something ended: words that views, events and plans share."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal


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
