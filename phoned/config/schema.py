"""The tables of the configuration file that the core itself owns, with their defaults.

The root is `Config`. ``[[accounts]]`` lives in `accounts`. Tables of services (``[api]``, ``[[webhooks]]``, ...)
are not here: the loader keeps them raw for the services' own models. Units stand in the names; every key is the
contract of the control surfaces page.
"""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from phoned.config.accounts import AccountConfig, RecoveryConfig, TlsConfig
from phoned.config.stream import Parameters, SampleRate, StreamOrder, StreamUrl
from phoned.config.types import Count, Flag, FromFile, FromState, Number, PositiveSeconds, Seconds, SecretFile, Table
from phoned.model import OnClose, StreamProtocolName, StreamTracks, WhileAway

__all__ = [
    "AccountConfig",
    "AudioConfig",
    "AutoAnswerConfig",
    "Config",
    "DialConfig",
    "IncomingRule",
    "MediaConfig",
    "NetworkConfig",
    "PhoneConfig",
    "RecoveryConfig",
    "TlsConfig",
    "TransferConfig",
    "TurnServer",
]


def _network(value: str) -> str:
    try:
        return str(ipaddress.ip_network(value))
    except ValueError as error:
        raise ValueError(f'{error}: write it like "127.0.0.0/8"') from None


def _ice_server(value: str, schemes: tuple[str, ...]) -> str:
    scheme, colon, rest = value.partition(":")
    if scheme not in schemes or not colon or not rest or any(c.isspace() for c in value) or "@" in value:
        raise ValueError(f'not a {schemes[0]} server: write it like "{schemes[0]}:{schemes[0]}.example.org:3478"')
    return value


def _stun(value: str) -> str:
    return _ice_server(value, ("stun",))


def _turn(value: str) -> str:
    return _ice_server(value, ("turn", "turns"))


def _status(value: int) -> int:
    if not 300 <= value <= 699:
        raise ValueError("a SIP refusal is 300 to 699")
    return value


NetworkText = Annotated[str, AfterValidator(_network)]
StunUrl = Annotated[str, AfterValidator(_stun)]
TurnUrl = Annotated[str, AfterValidator(_turn)]
RefusalStatus = Annotated[int, Field(strict=True), AfterValidator(_status)]
Codec = Literal["opus", "g722", "pcmu", "pcma"]


class PhoneConfig(Table):
    """``[phone]``."""

    state_dir: FromFile
    """Always filled by the loader: ``$STATE_DIRECTORY``, else XDG state."""


class TurnServer(Table):
    """One of ``[media] turn``."""

    url: TurnUrl
    username: str
    credential_file: SecretFile


class MediaConfig(Table):
    """``[media]``."""

    codecs: tuple[Codec, ...] = ("opus", "g722", "pcmu", "pcma")
    stun: tuple[StunUrl, ...] = ()
    turn: tuple[TurnServer, ...] = ()
    media_dir: FromState = Path("media")
    recordings_dir: FromState = Path("recordings")
    recordings_min_free_mb: Count | None = None
    """What recordings leave free on their disk; by default 100 MB, or a twentieth of a smaller one."""
    recordings_keep_days: Annotated[float, Field(strict=True, gt=0, le=36_500, allow_inf_nan=False)] | None = None
    """Recordings that ended longer ago are deleted; by default none is."""
    recordings_max_mb: Annotated[int, Field(strict=True, ge=1, le=1_000_000_000)] | None = None
    """When all of them take more (10^6 bytes), the oldest are deleted. Those that run count, and stay."""
    recording_beep_s: Annotated[float, Field(strict=True, ge=0, le=3600, allow_inf_nan=False)] = 0
    """Both ends of a call that is recorded hear a short tone every so many seconds; 0: only when asked for."""
    allow_loopback: Flag = False
    """127.0.0.1 is a candidate too."""
    relay_only: Flag = False
    """Media go through the TURN server and nowhere else (RFC 8828 section 5.2, mode 4)."""

    voice_activity: Flag = True
    """Tell when the far end of a call begins and stops to speak."""
    voice_activity_outbound: Flag = False
    """The same of what the far end is sent: a microphone, a bot, a file."""
    opus_bitrate: Annotated[int, Field(strict=True, ge=6_000, le=510_000)] = 24_000
    """Bit/s that we send at most; a far end that asks for less gets less (RFC 7587 section 6.1)."""
    opus_complexity: Annotated[int, Field(strict=True, ge=0, le=10)] = 1
    """Of the encoder: 5 sounds a little better and costs twice the processor time of 1."""
    opus_dtx: Flag = False
    """Send next to nothing while nobody speaks, and ask the far end for the same (RFC 7587 section 3.1.3)."""

    @model_validator(mode="after")
    def _usable(self) -> Self:
        if not self.codecs:
            raise ValueError("codecs: name at least one")
        if len(set(self.codecs)) != len(self.codecs):
            raise ValueError("codecs: one is named twice")
        if self.relay_only and not self.turn:
            raise ValueError("relay_only: there is no way out without a server; add one to turn")
        return self


class NetworkConfig(Table):
    """``[network]``."""

    source: Literal["auto", "netlink", "polling"] = "auto"
    ignore_interfaces: tuple[str, ...] = ("docker*", "veth*", "br-*")
    allow_private: tuple[NetworkText, ...] = ()


class IncomingRule(Table):
    """``[[incoming]]``: what to do with a call; the first match wins. Globs match the whole, without case."""

    match: str = "*"
    """Glob on the caller's URI."""
    account: str = "*"
    to: str = "*"
    """Glob on the called URI."""
    action: Literal["ring", "answer", "reject", "stream"] = "ring"
    after_s: Seconds = 0
    code: RefusalStatus = 486
    url: StreamUrl | None = None
    """Of the bot that the call is given to. The rest as in `StreamOrder`."""
    protocol: StreamProtocolName = "twilio"
    sample_rate: SampleRate = 8000
    tracks: StreamTracks = "inbound"
    parameters: Parameters = Field(default_factory=dict)
    on_close: OnClose = "hangup"
    while_away: WhileAway = "silence"

    @model_validator(mode="after")
    def _stream_has_url(self) -> Self:
        if (self.action == "stream") != (self.url is not None):
            raise ValueError('url goes with action = "stream", and that needs it')
        self.bot()
        return self

    def bot(self) -> StreamOrder | None:
        """Whom the call is given to, if a bot."""
        if self.url is None:
            return None
        return StreamOrder(
            url=self.url,
            protocol=self.protocol,
            sample_rate=self.sample_rate,
            tracks=self.tracks,
            parameters=self.parameters,
            on_close=self.on_close,
            while_away=self.while_away,
        )


class DialConfig(Table):
    """``[dial]``: what may be called, and how much."""

    allow: tuple[str, ...] = ("*",)
    deny: tuple[str, ...] = ()
    max_concurrent: Count = 50
    max_per_minute: Count = 60
    max_duration_s: PositiveSeconds = 14_400
    emergency: Literal["block", "allow"] = "block"
    emergency_numbers: tuple[str, ...] = ("112", "911", "999")


class AutoAnswerConfig(Table):
    """``[auto_answer]``: callers whose auto-answer headers count."""

    callers: tuple[str, ...] = ()


class TransferConfig(Table):
    """``[transfer]``."""

    allow_refer: Flag = False


class AudioConfig(Table):
    """``[audio]``: ``none``, ``default`` or a device's name."""

    input: str = "none"
    output: str = "none"
    ring: str = "none"
    gain_db: Annotated[Number, Field(ge=-60, le=30)] = 0
    fallback: tuple[str, ...] = ()
    ringtone: FromFile | None = None
    ringback: Flag = True
    hold_music: FromFile | None = None


class Config(Table):
    """The whole file, less the tables of services."""

    phone: PhoneConfig
    accounts: tuple[AccountConfig, ...] = ()
    media: MediaConfig = MediaConfig()
    network: NetworkConfig = NetworkConfig()
    incoming: tuple[IncomingRule, ...] = ()
    dial: DialConfig = DialConfig()
    auto_answer: AutoAnswerConfig = AutoAnswerConfig()
    transfer: TransferConfig = TransferConfig()
    audio: AudioConfig = AudioConfig()
