"""What is configured about media: values handed in by the composition root, no reading of files or environment."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from phoned.media.continuation import Continuation
from phoned.model import DtmfMethod, SoundDirection
from phoned.recording.floor import NO_FLOOR, DiskFloor


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnServer:
    """A TURN server (RFC 8656)."""

    host: str
    port: int = 3478
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    transport: str = "udp"
    tls: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class IceOptions:
    """How candidates are gathered and paths are kept (RFC 8445, RFC 7675)."""

    addresses: tuple[str, ...] = ()
    """Local addresses to use, best first; empty: ask the machine, the default route's address first."""
    interfaces: tuple[str, ...] = ()
    """When not empty, only addresses of these interfaces count."""
    allow_loopback: bool = False
    """Use loopback addresses, and let checks go to them. For tests, the sandbox and peers on this machine."""
    max_hosts: int = 4
    """At most so many host candidates: every dead pair before the good one costs time."""
    use_ipv6: bool = True
    stun_server: tuple[str, int] | None = None
    turn_server: TurnServer | None = None
    relay_only: bool = False
    gather_budget_s: float = 0.3
    """No offer waits longer than this for STUN; TURN gets `relay_budget_s`."""
    relay_budget_s: float = 2.0
    connect_deadline_s: float = 4.0
    """The end of candidates is never signalled to the agent; this deadline ends the search instead."""
    pace_s: float = 0.005
    """Time between two new checks (Ta of RFC 8445 14.2)."""
    consent_interval_s: float = 1.5
    consent_timeout_s: float = 30.0
    linger_s: float = 0.5
    """How long the old sockets stay open after media moved to a new pair."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionOptions:
    """One call's media."""

    codecs: tuple[str, ...] = ("opus", "g722", "pcmu", "pcma")
    """Codecs to offer and accept, the preferred one first."""
    graph_rate: int = 16000
    """Sample rate of the audio graph: 8000, 16000 or 48000."""
    dtmf: DtmfMethod = "auto"
    detect_inband_dtmf: bool = False
    detect_voice: frozenset[SoundDirection] = frozenset()
    """Where to tell when somebody begins and stops to speak: 1.4 us a frame and direction."""
    ice: IceOptions = field(default_factory=IceOptions)
    handshake_deadline_s: float = 8.0
    opus_bitrate: int = 24000
    """The most; a far end that asks for less gets less."""
    opus_complexity: int = 1
    opus_dtx: bool = False
    """Send nothing in silence, and ask for the same. A far end that asks for it gets it anyway."""
    recordings_floor: DiskFloor = NO_FLOOR
    """What recordings leave free on their disk."""
    recording_beep_s: float = 0.0
    """Every so many seconds a tone tells both ends that they are recorded; 0: only when a request asks for it."""
    continues: Continuation | None = None
    """The session of an earlier process whose call this one takes up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineOptions:
    """What all sessions of a process share."""

    media_dir: Path | None = None
    """Where `play` finds files; None: playing files is refused."""
    recordings_dir: Path | None = None
    """Where recordings go; None: recording is refused."""
    hold_music: Path | None = None
    """What far ends hear while we hold them; None: silence."""
    phases: int = 4
    """Into how many equal parts a 20 ms period is divided, so that calls do not all tick at once."""
