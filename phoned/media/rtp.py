"""RTP (RFC 3550): the packet on the wire, arithmetic of its counters, and receive statistics.

Owns bytes <-> `Packet` and the bookkeeping of RFC 3550 appendix A.1 (sequence validation), A.3 (loss) and A.8 (jitter).
Knows no socket, no SRTP, no codec; arrival times are passed in as monotonic seconds.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from phoned.errors import RemoteError

HEADER = struct.Struct("!BBHII")
_new_tuple = tuple.__new__
"""Makes a named tuple without the Python call of its constructor."""
_U16 = struct.Struct("!H")

MAX_DROPOUT = 3000
"""A forward jump of the sequence number up to this is loss; beyond it the stream was restarted (RFC 3550 A.1)."""
MAX_MISORDER = 100
"""A step back up to this is a late packet; beyond it the stream was restarted (RFC 3550 A.1)."""


class MalformedPacket(RemoteError):
    """A datagram that is no RTP or RTCP packet. Counted and dropped; it never ends a call."""

    code = "malformed_packet"


class Packet(NamedTuple):
    """One RTP packet. A named tuple: thousands are made every second."""

    payload_type: int
    sequence: int
    timestamp: int
    ssrc: int
    payload: bytes
    marker: bool = False
    csrc: tuple[int, ...] = ()
    extension_profile: int = 0
    extension: bytes = b""
    """The header extension's content, without its four-byte head; see `extension_elements`."""


def parse(data: bytes) -> Packet:
    """Read one packet. Raises `MalformedPacket`. Padding is removed; the time is linear in the length."""
    size = len(data)
    if size < 12:
        raise MalformedPacket("shorter than an RTP header")
    first, second, sequence, timestamp, ssrc = HEADER.unpack_from(data)
    if first >> 6 != 2:
        raise MalformedPacket("not RTP version 2")
    if first & 0x3F == 0:  # the common case: no padding, extension or CSRC
        return _new_tuple(Packet, (second & 0x7F, sequence, timestamp, ssrc, data[12:], second > 0x7F, (), 0, b""))
    count = first & 0x0F
    start = 12 + 4 * count
    if start > size:
        raise MalformedPacket("CSRC list past the end")
    csrc = struct.unpack_from(f"!{count}I", data, 12)
    profile, extension = 0, b""
    if first & 0x10:
        if start + 4 > size:
            raise MalformedPacket("header extension past the end")
        profile, words = struct.unpack_from("!HH", data, start)
        start += 4
        if start + 4 * words > size:
            raise MalformedPacket("header extension past the end")
        extension = data[start : start + 4 * words]
        start += 4 * words
    end = size
    if first & 0x20:
        padding = data[-1]
        if not 0 < padding <= size - start:
            raise MalformedPacket("padding longer than the payload")
        end -= padding
    return Packet(second & 0x7F, sequence, timestamp, ssrc, data[start:end], second > 0x7F, csrc, profile, extension)


def pack(payload_type: int, sequence: int, timestamp: int, ssrc: int, payload: bytes, marker: bool = False) -> bytes:
    """The plain packet that we send: no padding, CSRC or extension. Counters must already be in range."""
    return HEADER.pack(0x80, payload_type | 0x80 if marker else payload_type, sequence, timestamp, ssrc) + payload


def serialise(packet: Packet, *, padding: int = 0) -> bytes:
    """Any packet, with CSRC, extension (padded to words) and ``padding`` bytes (0..255)."""
    first = 0x80 | len(packet.csrc) | (0x20 if padding else 0)
    middle = struct.pack(f"!{len(packet.csrc)}I", *packet.csrc)
    if packet.extension or packet.extension_profile:
        first |= 0x10
        content = packet.extension + bytes(-len(packet.extension) % 4)
        middle += struct.pack("!HH", packet.extension_profile, len(content) // 4) + content
    head = HEADER.pack(
        first, packet.payload_type | (packet.marker << 7), packet.sequence, packet.timestamp, packet.ssrc
    )
    tail = bytes(padding - 1) + bytes([padding]) if padding else b""
    return head + middle + packet.payload + tail


def extension_elements(packet: Packet) -> dict[int, bytes]:
    """The elements of a one-byte or two-byte header extension by id (RFC 8285); a broken tail is left out."""
    data, found, at = packet.extension, {}, 0
    if packet.extension_profile == 0xBEDE:
        while at < len(data):
            identifier, length = data[at] >> 4, (data[at] & 0x0F) + 1
            if data[at] == 0:  # padding
                at += 1
                continue
            if identifier == 15 or at + 1 + length > len(data):
                break
            found[identifier] = data[at + 1 : at + 1 + length]
            at += 1 + length
    elif packet.extension_profile & 0xFFF0 == 0x1000:
        while at < len(data):
            if data[at] == 0:  # padding
                at += 1
                continue
            if at + 2 > len(data) or at + 2 + data[at + 1] > len(data):
                break
            found[data[at]] = data[at + 2 : at + 2 + data[at + 1]]
            at += 2 + data[at + 1]
    return found


def is_rtcp(data: bytes) -> bool:
    """Whether a datagram with version bits of RTP is RTCP when both share a port (RFC 5761 section 4)."""
    return len(data) > 1 and 192 <= data[1] <= 223


def sequence_delta(newer: int, older: int) -> int:
    """Signed distance of two sequence numbers, -32768..32767."""
    return ((newer - older + 0x8000) & 0xFFFF) - 0x8000


def timestamp_delta(newer: int, older: int) -> int:
    """Signed distance of two timestamps, -2^31..2^31-1."""
    return ((newer - older + 0x80000000) & 0xFFFFFFFF) - 0x80000000


class Received(NamedTuple):
    """The counters of one SSRC, for a report block and for people."""

    ssrc: int
    extended_sequence: int
    packets: int
    lost: int
    """Expected less received; duplicates can make it negative (RFC 3550 section 6.4.1)."""
    jitter: int
    """In clock units."""
    fraction_lost: int
    """Of the interval since the last report, in 1/256."""


class ReceiveStatistics:
    """What one stream's reports need (RFC 3550 A.1, A.3, A.8). Driven by every RTP packet that passed SRTP.

    A new SSRC, or a restarted sequence, begins a new stream: the counters of finished streams stay in ``packets_total``
    and ``lost_total``.
    """

    __slots__ = (
        "_bad",
        "_base",
        "_clock_rate",
        "_cycles",
        "_expected_prior",
        "_jitter",
        "_max",
        "_packets",
        "_past_lost",
        "_past_packets",
        "_received_prior",
        "_transit",
        "ssrc",
        "ssrc_changes",
    )

    def __init__(self, clock_rate: int) -> None:
        self._clock_rate = clock_rate
        self.ssrc: int | None = None
        self.ssrc_changes = 0
        self._past_packets = 0
        self._past_lost = 0
        self._begin(0)

    def _begin(self, sequence: int) -> None:
        self._base = self._max = sequence
        self._cycles = 0
        self._packets = 0
        self._bad: int | None = None
        self._expected_prior = 0
        self._received_prior = 0
        self._transit: float | None = None
        self._jitter = 0.0

    def _restart(self, sequence: int) -> None:
        self._past_packets += self._packets
        self._past_lost += max(0, self._expected() - self._packets)
        self._begin(sequence)

    def received(self, packet: Packet, now: float, clock_rate: int | None = None, *, timed: bool = True) -> bool:
        """Count one packet. Returns True when it began a new stream (first packet, new SSRC, restarted sequence).

        ``clock_rate``: of its payload type, when it differs from the stream's (a codec switch). ``timed``: its
        timestamp says when it was sent; that of a telephone-event says when the key was pressed.
        """
        if clock_rate is not None and clock_rate != self._clock_rate:
            self._clock_rate = clock_rate
            self._transit = None  # timestamps of two clocks cannot be compared
        began = False
        sequence = packet.sequence
        if packet.ssrc != self.ssrc:
            if self.ssrc is not None:
                self.ssrc_changes += 1
                self._restart(sequence)
            else:
                self._begin(sequence)
            self.ssrc = packet.ssrc
            began = True
        else:
            step = (sequence - self._max) & 0xFFFF
            if step < MAX_DROPOUT:
                if sequence < self._max:
                    self._cycles += 0x10000
                self._max = sequence
                self._bad = None
            elif step <= 0x10000 - MAX_MISORDER:
                if sequence != self._bad:
                    self._bad = (sequence + 1) & 0xFFFF
                    return False  # one stray packet proves nothing; two in a row are a restart
                self._restart(sequence)
                began = True
        self._packets += 1
        if not timed:
            return began
        transit = now * self._clock_rate - packet.timestamp
        if self._transit is not None:
            difference = abs(transit - self._transit)
            if difference < self._clock_rate:  # more than a second is a jump of the sender's clock, not jitter
                self._jitter += (difference - self._jitter) / 16
        self._transit = transit
        return began

    def _expected(self) -> int:
        return self._cycles + self._max - self._base + 1 if self._packets else 0

    @property
    def packets_total(self) -> int:
        """Packets of all streams of this call."""
        return self._past_packets + self._packets

    @property
    def lost_total(self) -> int:
        """Packets lost of all streams of this call, never negative."""
        return self._past_lost + max(0, self._expected() - self._packets)

    @property
    def jitter_s(self) -> float:
        """Interarrival jitter in seconds."""
        return self._jitter / self._clock_rate

    def report(self) -> Received | None:
        """The block for the next RTCP report, and begin its next interval. None before the first packet."""
        if self.ssrc is None:
            return None
        expected = self._expected()
        expected_interval = expected - self._expected_prior
        received_interval = self._packets - self._received_prior
        self._expected_prior, self._received_prior = expected, self._packets
        lost_interval = expected_interval - received_interval
        fraction = min(255, (lost_interval << 8) // expected_interval) if lost_interval > 0 else 0
        return Received(
            self.ssrc,
            (self._cycles + self._max) & 0xFFFFFFFF,
            self._packets,
            expected - self._packets,
            int(self._jitter),
            fraction,
        )
