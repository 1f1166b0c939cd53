"""The values of a session description, the same for what is read and what is written (RFC 8866, RFC 8839, RFC 8842).

Owns: the vocabulary (`SessionDescription`, `AudioDescription`, `PayloadType`, `Candidate`, ...) and its limits. Knows
nothing of bytes (`read`, `write`), of policy (`negotiate`) or of the sockets and codecs that the values speak of.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

MAX_BYTES = 64 * 1024
"""A longer description is refused unread."""
MAX_CODECS = 10
"""Payload types (telephone-event and comfort noise not counted) kept of one m-line; the rest is not looked at."""
MAX_CANDIDATES = 64
"""Candidates kept of one m-line; the rest is not looked at."""

SECURE_PROTOCOLS = frozenset({"RTP/SAVP", "RTP/SAVPF", "UDP/TLS/RTP/SAVP", "UDP/TLS/RTP/SAVPF"})
"""Transport protocols that mean DTLS-SRTP when a fingerprint is there (RFC 5764 section 8, and older habits)."""
DEFAULT_PROTOCOL = "UDP/TLS/RTP/SAVPF"


class Direction(StrEnum):
    """The direction attribute, from the view of whoever wrote the description (RFC 3264 section 5.1)."""

    SENDRECV = "sendrecv"
    SENDONLY = "sendonly"
    RECVONLY = "recvonly"
    INACTIVE = "inactive"

    @property
    def sends(self) -> bool:
        """The writer wants to send."""
        return self in (Direction.SENDRECV, Direction.SENDONLY)

    @property
    def receives(self) -> bool:
        """The writer wants to receive."""
        return self in (Direction.SENDRECV, Direction.RECVONLY)

    @classmethod
    def of(cls, *, sends: bool, receives: bool) -> Direction:
        """The direction with these two halves."""
        if sends:
            return cls.SENDRECV if receives else cls.SENDONLY
        return cls.RECVONLY if receives else cls.INACTIVE


class Setup(StrEnum):
    """The DTLS role that the writer offers or takes (RFC 4145, RFC 5763 section 5)."""

    ACTPASS = "actpass"
    ACTIVE = "active"
    PASSIVE = "passive"
    HOLDCONN = "holdconn"


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """The o= line. The triple (username, session_id, address) stays constant for the life of a session."""

    session_id: int
    version: int = 1
    username: str = "-"
    address: str = "127.0.0.1"
    """A constant: our real address may change in mid call, and o= names the session, not the host."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fingerprint:
    """A certificate's hash: ``algorithm`` lower case (``sha-256``), ``value`` upper-case hex pairs with colons."""

    algorithm: str
    value: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One ICE candidate (RFC 8839 section 5.1). ``transport`` and ``type`` are lower case."""

    foundation: str
    component: int
    transport: str
    priority: int
    address: str
    port: int
    type: str
    related_address: str | None = None
    related_port: int | None = None

    def __str__(self) -> str:
        text = (
            f"{self.foundation} {self.component} {self.transport} {self.priority} {self.address} {self.port} "
            f"typ {self.type}"
        )
        if self.related_address is not None and self.related_port is not None:
            text += f" raddr {self.related_address} rport {self.related_port}"
        return text


def parameters(fmtp: str) -> dict[str, str]:
    """Format parameters as ``key=value`` pairs, keys in lower case; a part without ``=`` has an empty value."""
    pairs = (part.strip().partition("=") for part in fmtp.split(";"))
    return {key.strip().lower(): value.strip() for key, _, value in pairs if key}


@dataclass(frozen=True, slots=True, kw_only=True)
class PayloadType:
    """One format of an audio m-line: rtpmap and fmtp together; static types without rtpmap are filled in (RFC 3551)."""

    number: int
    name: str
    """The encoding name in lower case: ``opus``, ``pcmu``, ``telephone-event``, ``cn``."""
    clock_rate: int
    """RTP clock in Hz (8000 for G.722, whatever its sample rate)."""
    channels: int = 1
    fmtp: str = ""
    """The format parameters as on the wire, without the number."""

    @property
    def parameters(self) -> dict[str, str]:
        """See the function of this name."""
        return parameters(self.fmtp)


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioDescription:
    """The audio m-line that we use: session-level attributes that apply to it are already merged in."""

    port: int
    address: str
    """Of the c= line: an address, a host name, or ``0.0.0.0``."""
    protocol: str
    payload_types: tuple[PayloadType, ...]
    """In the writer's order of preference, codecs, telephone-event and comfort noise alike."""
    direction: Direction = Direction.SENDRECV
    mid: str | None = None
    ptime_ms: int | None = None
    maxptime_ms: int | None = None
    ufrag: str = ""
    """Empty: no ICE."""
    pwd: str = ""
    ice_lite: bool = False
    candidates: tuple[Candidate, ...] = ()
    end_of_candidates: bool = False
    fingerprints: tuple[Fingerprint, ...] = ()
    setup: Setup | None = None
    tls_id: str | None = None
    rtcp_mux: bool = False
    ssrc: int | None = None
    cname: str | None = None

    @property
    def codecs(self) -> tuple[PayloadType, ...]:
        """The payload types that carry speech or music."""
        return tuple(p for p in self.payload_types if p.name not in ("telephone-event", "cn", "red", "ulpfec"))

    @property
    def telephone_events(self) -> tuple[PayloadType, ...]:
        """telephone-event, one for each clock rate (RFC 4733)."""
        return tuple(p for p in self.payload_types if p.name == "telephone-event")

    @property
    def comfort_noise(self) -> PayloadType | None:
        """The comfort noise payload type (RFC 3389)."""
        return next((p for p in self.payload_types if p.name == "cn"), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class OtherMedia:
    """An m-line that we do not use, kept so that it can be refused in its place in its own words (RFC 3264 section
    6)."""

    kind: str
    """``video``, ``application``, ``audio`` (a second one), ..."""
    port: int
    protocol: str
    formats: tuple[str, ...]
    mid: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionDescription:
    """A whole description: one audio m-line for us at ``audio_index``, around it ``others`` in their order."""

    origin: Origin
    audio: AudioDescription
    others: tuple[OtherMedia, ...] = ()
    audio_index: int = 0
    """The place of the audio m-line among all m-lines."""
    bundle: tuple[str, ...] = ()
    """The mids of the first BUNDLE group, empty without one (RFC 9143)."""
