"""What answers look like, for OpenAPI and for the tests that compare them with what is really sent.

Answers are rendered by `phoned.plain` from the phone's views; these models only describe them.
"""

from __future__ import annotations

from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from phoned.model import (
    AccountState,
    CallState,
    Cause,
    CollectReason,
    DeviceKind,
    DeviceState,
    Direction,
    EndCause,
    MediaState,
    Party,
    StreamProtocolName,
    StreamState,
)
from phoned.store.tokens import Scope

T = TypeVar("T")

Moment = Annotated[
    str, Field(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$", json_schema_extra={"format": "date-time"})
]


class Answer(BaseModel):
    """Base of every answer. Built when the description is asked for: a start has no use for it."""

    model_config = ConfigDict(extra="forbid", defer_build=True)


class LastError(Answer):
    cause: Cause
    sip_code: int | None
    detail: str


class Registration(Answer):
    expires_at: Moment | None
    contact: str | None
    flow_generation: int
    last_error: LastError | None


class OutboundProxy(Answer):
    active: str
    primary: str
    backup: str | None
    mode: Literal["primary", "backup", "auto"]


class Mailbox(Answer):
    waiting: bool
    new: int | None
    old: int | None
    new_urgent: int | None
    old_urgent: int | None


class Account(Answer):
    id: str
    aor: str
    state: AccountState
    since: Moment
    desired: Literal["registered", "unregistered"]
    registration: Registration
    outbound_proxy: OutboundProxy
    mailbox: Mailbox | None


class Hold(Answer):
    local: bool
    remote: bool


class Peer(Answer):
    uri: str
    number: str | None
    display_name: str | None


class Media(Answer):
    state: MediaState
    codec: str | None
    local: str | None
    remote: str | None
    generation: int


class Recovering(Answer):
    plane: Literal["signalling", "media", "both"]
    since: Moment


class End(Answer):
    cause: EndCause
    by: Party
    sip_code: int | None
    sip_reason: str | None
    q850: int | None


class Call(Answer):
    id: str
    account: str
    direction: Direction
    state: CallState
    peer: Peer
    created_at: Moment
    sip_call_id: str | None
    hold: Hold
    muted: bool
    ringing_at: Moment | None
    answered_at: Moment | None
    ended_at: Moment | None
    duration_s: float
    media: Media
    recovering: Recovering | None
    streams: list[str]
    recordings: list[str]
    tags: dict[str, str]
    headers: dict[str, str]
    end: End | None


class Recovery(Answer):
    at: Moment
    plane: Literal["signalling", "media", "both"]
    cause: str
    tier: int
    gap_ms: int
    attempts: int


class QualitySample(Answer):
    time: Moment
    mos: float
    jitter_ms: float
    loss_pct: float
    rtt_ms: float | None
    packets_sent: int
    packets_received: int


class Stats(Answer):
    codec: str | None
    packets_sent: int
    packets_received: int
    bytes_sent: int
    bytes_received: int
    packets_lost: int
    loss_pct: float
    jitter_ms: float
    rtt_ms: float | None
    mos: float | None
    concealed_ms: int
    sent_dbov: float | None = Field(description="The last 200 ms; 0 is the loudest, -127 silence.")
    received_dbov: float | None
    local: str | None
    remote: str | None
    dtls_generation: int
    ice_generation: int
    recoveries: list[Recovery]
    series: list[QualitySample] = Field(default=[], description="Only with `series=1`.")


class SipMessage(Answer):
    time: Moment
    direction: Literal["sent", "received"]
    sip_call_id: str
    flow: int
    transport: str
    local: str
    remote: str
    text: str


class Trace(Answer):
    call: str
    sip_call_ids: list[str]
    complete: bool
    messages: list[SipMessage]


class Message(Answer):
    id: str
    account: str
    direction: Literal["in", "out"]
    peer: Peer
    content_type: str
    body: str
    created_at: Moment
    state: Literal["sending", "sent", "failed", "received"]
    sip_code: int | None = None
    call: str | None = None


class Playback(Answer):
    id: str
    call: str
    state: Literal["playing", "paused", "finished", "failed"]
    file: str | None = Field(default=None, description="Of several, the one that is heard.")
    files: list[str] | None = None
    tone: str | None = None
    url: str | None = Field(default=None, description="Without its query.")
    position_s: float


class Device(Answer):
    name: str
    description: str
    backend: Literal["alsa", "pulse"]
    kinds: list[DeviceKind]
    default: bool


class DeviceUse(Answer):
    device: str
    using: str | None
    state: DeviceState
    muted: bool
    gain_db: float | None
    volume_pct: int | None
    level_dbov: float
    latency_ms: float | None
    detail: str | None


class Devices(Answer):
    devices: list[Device]
    input: DeviceUse
    output: DeviceUse
    ring: DeviceUse
    call: str | None
    chosen: str | None


class DeviceTest(Answer):
    output: str | None
    input: str | None
    played_hz: float
    heard: bool
    heard_hz: float | None
    level_dbov: float
    quiet_dbov: float


class Stream(Answer):
    """``url`` without its query."""

    id: str
    call: str
    url: str
    protocol: StreamProtocolName
    sample_rate: int
    state: StreamState
    detail: str | None = Field(description="Why the bot is away, or what its end was.")
    sent_ms: int = Field(description="Sound of the call that the bot was sent.")
    played_ms: int = Field(description="Sound of the bot that was played.")
    queued_ms: int = Field(description="Sound of the bot that waits to be played.")


class Collected(Answer):
    """``digits`` without the terminator. ``no_digits``: nothing was keyed in time; ``timeout``: nothing more was."""

    call: str
    digits: str
    reason: CollectReason
    terminator: str | None
    playback: str | None


class Recording(Answer):
    id: str
    call: str
    state: Literal["recording", "paused", "finished", "failed"]
    format: Literal["wav", "opus"]
    channels: Literal["stereo", "mixed"]
    file: str
    duration_s: float
    gaps: list[tuple[float, float]]
    recovered: bool
    beep: bool


class Bridge(Answer):
    id: str
    calls: list[str] = Field(description="Of one that has ended: those that were left in it.")
    created_at: Moment
    state: Literal["active", "ended"]


class Lines(Answer):
    active: int
    capacity: int


class Interface(Answer):
    """``addresses`` as ``192.0.2.2/24``; ``ignored`` by configuration."""

    name: str
    kind: str
    up: bool
    carrier: bool
    addresses: list[str]
    ignored: bool


class NetworkRoute(Answer):
    """``destination`` is ``default`` or a prefix."""

    destination: str
    family: Literal["ipv4", "ipv6"]
    device: str | None
    gateway: str | None
    source: str | None
    metric: int
    table: int


class NetworkChange(Answer):
    """A change that mattered, with its reasons in words."""

    generation: int
    at: Moment
    reasons: list[str]
    became_unusable: list[str]
    trigger: str | None


class Check(Answer):
    """One thing that the doctor looked at. ``ok`` is null when it was not run, and ``detail`` says why; ``fix`` stands
    only with a failure. ``account`` and ``proxy``: whose way to the server it is."""

    name: str
    ok: bool | None
    detail: str
    fix: str | None
    account: str | None
    proxy: Literal["primary", "backup"] | None


class Doctor(Answer):
    """What is broken, if anything. Checks in the order in which they stand on one another."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "ok": False,
                "checks": [
                    {
                        "name": "tcp",
                        "ok": False,
                        "detail": "192.0.2.7 port 443: Connection refused",
                        "fix": "nothing listens at edge1.example.org:443: check the port in outbound_proxy, and that"
                        " the server runs",
                        "account": "front",
                        "proxy": "primary",
                    },
                ],
            }
        }
    )

    ok: bool
    checks: list[Check]


class Network(Answer):
    """The machine's network as the phone sees it; the newest change last."""

    generation: int
    source: str
    interfaces: list[Interface]
    routes: list[NetworkRoute]
    changes: list[NetworkChange]


class Status(Answer):
    version: str
    node: str
    uptime_s: float
    draining: bool
    accounts: list[Account]
    calls: Lines
    network: Network | None
    event_seq: int


class DoNotDisturb(Answer):
    do_not_disturb: bool


class AccountChanges(Answer):
    """Ids of the accounts of the configuration."""

    added: list[str]
    changed: list[str]
    removed: list[str]


class Reload(Answer):
    """``applied`` is in force now; ``restart_needed`` stays as it was until a restart. Keys as in a file."""

    accounts: AccountChanges
    applied: list[str]
    restart_needed: list[str]
    warnings: list[str]


class Event(Answer):
    """The envelope. `events.snapshot` and `events.gap` have no ``seq``."""

    id: str
    seq: int | None = None
    type: str
    time: Moment
    node: str
    data: dict[str, Any]


class Root(Answer):
    version: str
    node: str
    links: dict[str, str]


class Health(Answer):
    status: Literal["ok", "ready"]


class Ticket(Answer):
    """``subprotocol`` goes into the WebSocket's list of subprotocols, once, within ``expires_in_s``."""

    ticket: str
    subprotocol: str
    expires_in_s: float


class Login(Answer):
    """A session: ``token`` is shown this once, and is a bearer token until ``expires_at``."""

    token: str
    id: str
    scope: Scope
    expires_at: Moment


class Identity(Answer):
    """Who asks. ``expires_at`` is null for a token that lasts, and for a user of the unix socket."""

    id: str
    scope: Scope
    expires_at: Moment | None


class Page(Answer, Generic[T]):
    data: list[T]
    next_cursor: str | None


class FieldError(Answer):
    pointer: str
    detail: str


class Sip(Answer):
    code: int
    reason: str


class ProblemDocument(BaseModel):
    """RFC 9457."""

    model_config = ConfigDict(extra="allow", title="Problem", defer_build=True)

    type: str
    title: str
    status: int
    detail: str
    instance: str
    code: str
    request_id: str
    state: str | None = None
    allowed_in: list[str] | None = None
    sip: Sip | None = None
    errors: list[FieldError] | None = None
    retry_after_s: float | None = None
