"""What plays, records, streams and bridges calls, and the machine's sound devices."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from api.answers.base import Answer, Moment
from phoned.model import (
    CollectReason,
    DeviceKind,
    DeviceState,
    StreamProtocolName,
    StreamState,
)


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
