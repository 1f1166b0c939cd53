"""RTCP (RFC 3550 section 6): SR, RR, SDES and BYE, built and read, and one call's reporting.

Owns bytes <-> reports and the round trip time. Reduced-size packets are read too (RFC 5506); unknown types are skipped.
Knows no SRTP and no socket. ``now`` is monotonic seconds; NTP time is passed in, since it is wall time.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from phoned.media.rtp import MalformedPacket, Received

SR, RR, SDES, BYE = 200, 201, 202, 203
_CNAME = 1
_NTP_EPOCH = 2208988800
_BLOCK = struct.Struct("!IIIIII")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportBlock:
    """Reception of one SSRC (RFC 3550 section 6.4.1)."""

    ssrc: int
    fraction_lost: int
    """Since the last report, in 1/256."""
    lost: int
    """Cumulative, signed 24 bit."""
    extended_sequence: int
    jitter: int
    """In clock units."""
    last_sr: int = 0
    """The middle 32 bits of the NTP time of the last SR from this SSRC; 0: none yet."""
    delay_since_last_sr: int = 0
    """In 1/65536 s."""


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
    """Read a compound (or reduced-size) packet; unknown types are skipped. Raises `MalformedPacket`."""
    reports: list[Report] = []
    at = 0
    if len(data) < 4:
        raise MalformedPacket("shorter than an RTCP header")
    while at < len(data):
        if len(data) - at < 4:
            raise MalformedPacket("a stub at the end of an RTCP packet")
        first, kind, words = struct.unpack_from("!BBH", data, at)
        end = at + 4 + 4 * words
        if first >> 6 != 2 or end > len(data):
            raise MalformedPacket("not an RTCP packet")
        body = data[at + 4 : end]
        if first & 0x20:
            padding = body[-1] if body else 0
            if not 0 < padding <= len(body):
                raise MalformedPacket("RTCP padding longer than its packet")
            body = body[:-padding]
        report = _read(kind, first & 0x1F, body)
        if report is not None:
            reports.append(report)
        at = end
    return tuple(reports)


def _read(kind: int, count: int, body: bytes) -> Report | None:
    if kind == SR:
        if len(body) < 24 + 24 * count:
            raise MalformedPacket("SR too short")
        ssrc, ntp, timestamp, packets, octets = struct.unpack_from("!IQIII", body)
        return SenderReport(
            ssrc=ssrc, ntp=ntp, rtp_timestamp=timestamp, packets=packets, octets=octets, blocks=_blocks(body, 24, count)
        )
    if kind == RR:
        if len(body) < 4 + 24 * count:
            raise MalformedPacket("RR too short")
        return ReceiverReport(ssrc=int.from_bytes(body[:4], "big"), blocks=_blocks(body, 4, count))
    if kind == SDES:
        return _read_sdes(body, count)
    if kind == BYE:
        if len(body) < 4 * count:
            raise MalformedPacket("BYE too short")
        rest = body[4 * count :]
        reason = rest[1 : 1 + rest[0]].decode("utf-8", "replace") if rest else ""
        return Goodbye(ssrcs=struct.unpack_from(f"!{count}I", body), reason=reason)
    return None


def _blocks(body: bytes, at: int, count: int) -> tuple[ReportBlock, ...]:
    blocks = []
    for ssrc, loss, sequence, jitter, last_sr, delay in _BLOCK.iter_unpack(body[at : at + 24 * count]):
        lost = loss & 0xFFFFFF
        blocks.append(
            ReportBlock(
                ssrc=ssrc,
                fraction_lost=loss >> 24,
                lost=lost - 0x1000000 if lost & 0x800000 else lost,
                extended_sequence=sequence,
                jitter=jitter,
                last_sr=last_sr,
                delay_since_last_sr=delay,
            )
        )
    return tuple(blocks)


def _read_sdes(body: bytes, count: int) -> SourceDescription:
    cnames: list[tuple[int, str]] = []
    at = 0
    for _ in range(count):
        if at + 4 > len(body):
            raise MalformedPacket("SDES too short")
        ssrc = int.from_bytes(body[at : at + 4], "big")
        at += 4
        while at < len(body) and body[at]:
            if at + 2 > len(body) or at + 2 + body[at + 1] > len(body):
                raise MalformedPacket("an SDES item past the end")
            if body[at] == _CNAME:
                cnames.append((ssrc, body[at + 2 : at + 2 + body[at + 1]].decode("utf-8", "replace")))
            at += 2 + body[at + 1]
        at += 4 - at % 4  # at least one zero byte, up to the next word
    return SourceDescription(cnames=tuple(cnames))


def build(*reports: Report) -> bytes:
    """A compound packet of these reports, in this order (the caller puts SR or RR first, RFC 3550 section 6.1)."""
    return b"".join(map(_write, reports))


def _write(report: Report) -> bytes:
    match report:
        case SenderReport():
            body = struct.pack(
                "!IQIII",
                report.ssrc,
                report.ntp,
                report.rtp_timestamp & 0xFFFFFFFF,
                report.packets & 0xFFFFFFFF,
                report.octets & 0xFFFFFFFF,
            )
            return _packet(SR, len(report.blocks), body + b"".join(map(_write_block, report.blocks)))
        case ReceiverReport():
            blocks = b"".join(map(_write_block, report.blocks))
            return _packet(RR, len(report.blocks), struct.pack("!I", report.ssrc) + blocks)
        case SourceDescription():
            chunks = b""
            for ssrc, cname in report.cnames:
                text = cname.encode()[:255]
                chunk = struct.pack("!IBB", ssrc, _CNAME, len(text)) + text
                chunks += chunk + bytes(4 - len(chunk) % 4)
            return _packet(SDES, len(report.cnames), chunks)
        case _:
            reason = report.reason.encode()[:255]
            tail = bytes([len(reason)]) + reason if reason else b""
            return _packet(BYE, len(report.ssrcs), struct.pack(f"!{len(report.ssrcs)}I", *report.ssrcs) + tail)


def _packet(kind: int, count: int, body: bytes) -> bytes:
    body += bytes(-len(body) % 4)
    return struct.pack("!BBH", 0x80 | count, kind, len(body) // 4) + body


def _write_block(block: ReportBlock) -> bytes:
    lost = max(-0x800000, min(0x7FFFFF, block.lost)) & 0xFFFFFF
    return _BLOCK.pack(
        block.ssrc,
        block.fraction_lost << 24 | lost,
        block.extended_sequence & 0xFFFFFFFF,
        block.jitter & 0xFFFFFFFF,
        block.last_sr,
        block.delay_since_last_sr & 0xFFFFFFFF,
    )


def ntp_time(unix_s: float) -> int:
    """Unix time as a 64-bit NTP time stamp."""
    return int((unix_s + _NTP_EPOCH) * (1 << 32)) & 0xFFFFFFFFFFFFFFFF


class RtcpSession:
    """Our half of RTCP for one call. `MediaSession` sends ``report`` when it is due and feeds what comes in."""

    __slots__ = (
        "_last_sr",
        "_next",
        "cname",
        "interval_s",
        "peer_fraction_lost",
        "peer_jitter",
        "peer_lost",
        "rtt_s",
        "ssrc",
    )

    def __init__(self, ssrc: int, cname: str, now: float, *, first_s: float = 1.0, interval_s: float = 5.0) -> None:
        self.ssrc, self.cname = ssrc, cname
        self.interval_s = interval_s
        self._next = now + first_s
        self._last_sr: tuple[int, int, float] | None = None
        self.rtt_s: float | None = None
        """Round trip time, from the newest report block about us."""
        self.peer_fraction_lost = 0
        """Of what we send, as the peer saw it last, in 1/256."""
        self.peer_lost = 0
        self.peer_jitter = 0

    def due(self, now: float) -> bool:
        """Whether a report should go out now. The caller spreads calls over time by their start."""
        return now >= self._next

    def report(
        self, now: float, *, unix_s: float, rtp_timestamp: int, packets: int, octets: int, received: Received | None
    ) -> bytes:
        """The next compound packet: SR (RR before anything was sent) and SDES."""
        self._next = now + self.interval_s
        blocks = (self._block(now, received),) if received is not None else ()
        head: Report = ReceiverReport(ssrc=self.ssrc, blocks=blocks)
        if packets:
            head = SenderReport(
                ssrc=self.ssrc,
                ntp=ntp_time(unix_s),
                rtp_timestamp=rtp_timestamp,
                packets=packets,
                octets=octets,
                blocks=blocks,
            )
        return build(head, SourceDescription(cnames=((self.ssrc, self.cname),)))

    def _block(self, now: float, received: Received) -> ReportBlock:
        last_sr = delay = 0
        if self._last_sr is not None and self._last_sr[0] == received.ssrc:
            _, last_sr, at = self._last_sr
            delay = int((now - at) * 65536)
        return ReportBlock(
            ssrc=received.ssrc,
            fraction_lost=received.fraction_lost,
            lost=received.lost,
            extended_sequence=received.extended_sequence,
            jitter=received.jitter,
            last_sr=last_sr,
            delay_since_last_sr=delay,
        )

    def goodbye(self) -> bytes:
        """The last packet of a call."""
        return build(
            ReceiverReport(ssrc=self.ssrc),
            SourceDescription(cnames=((self.ssrc, self.cname),)),
            Goodbye(ssrcs=(self.ssrc,)),
        )

    def received(self, reports: tuple[Report, ...], now: float, *, unix_s: float) -> bool:
        """Take what the peer reports. ``unix_s``: the same wall clock that our reports carried. True when it told what
        became of our packets."""
        told = False
        for report in reports:
            if isinstance(report, SenderReport):
                self._last_sr = (report.ssrc, report.ntp >> 16 & 0xFFFFFFFF, now)
            if isinstance(report, SenderReport | ReceiverReport):
                for block in report.blocks:
                    if block.ssrc == self.ssrc:
                        self._about_us(block, unix_s)
                        told = True
        return told

    def _about_us(self, block: ReportBlock, unix_s: float) -> None:
        self.peer_fraction_lost, self.peer_lost, self.peer_jitter = block.fraction_lost, block.lost, block.jitter
        if not block.last_sr:
            return
        arrived = ntp_time(unix_s) >> 16 & 0xFFFFFFFF
        rtt = (arrived - block.last_sr - block.delay_since_last_sr) & 0xFFFFFFFF
        if rtt < 60 << 16:  # else a wall clock was set, or the peer's arithmetic is off
            self.rtt_s = rtt / 65536
        elif rtt > 0xFFFF0000:  # a hair below zero: rounding
            self.rtt_s = 0.0
