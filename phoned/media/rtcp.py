"""RTCP (RFC 3550 section 6): SR, RR, SDES and BYE, built and read; reduced-size packets read too (RFC 5506)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportBlock:
    """Reception of one SSRC (RFC 3550 section 6.4.1)."""

    ssrc: int
    fraction_lost: int
    lost: int
    extended_sequence: int
    jitter: int
    last_sr: int
    delay_since_last_sr: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SenderReport:
    """SR. ``ntp`` is the 64-bit NTP time stamp."""

    ssrc: int
    ntp: int
    rtp_timestamp: int
    packets: int
    octets: int
    blocks: tuple[ReportBlock, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiverReport:
    """RR."""

    ssrc: int
    blocks: tuple[ReportBlock, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceDescription:
    """SDES: the CNAME of each SSRC."""

    cnames: tuple[tuple[int, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Goodbye:
    """BYE. It ends statistics of a source, never a call."""

    ssrcs: tuple[int, ...]
    reason: str = ""


Report = SenderReport | ReceiverReport | SourceDescription | Goodbye


def parse(data: bytes) -> tuple[Report, ...]:
    """Read a compound (or reduced-size) packet; unknown types are skipped. Raises `rtp.MalformedPacket`."""
    raise NotImplementedError


def build(*reports: Report) -> bytes:
    """A compound packet of these reports, in this order."""
    raise NotImplementedError


def ntp_time(unix_s: float) -> int:
    """Unix time as a 64-bit NTP time stamp."""
    raise NotImplementedError


class RtcpSession:
    """Our half of RTCP for one call: what to send and when, and the round trip time from what comes in.

    Driven by `MediaSession`: ``report(...)`` when ``due(now)``, ``received(reports, now)`` for each parsed packet.
    """

    rtt_s: float | None
    remote_fraction_lost: int
    """The peer's view of what we send, in 1/256."""
    remote_jitter: int

    def __init__(
        self, ssrc: int, cname: str, clock_rate: int, *, first_s: float = 1.0, interval_s: float = 5.0
    ) -> None: ...

    def next_due(self) -> float | None:
        """When the next report is due; None before the first ``start``."""
        raise NotImplementedError
