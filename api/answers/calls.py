"""Calls, how they sound, what was said in SIP, and text messages."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from api.answers.base import Answer, Moment
from phoned.model import (
    CallState,
    Direction,
    EndCause,
    MediaState,
    Party,
)


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
