"""Ogg pages (RFC 3533) with Opus in them (RFC 7845): made, looked at, and closed after a crash. Pure.

A file is whole after every page. What a crash leaves behind its last whole page is cut off; that page is then marked
as the end, so that players and checkers see a file like any other.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

CLOCK_RATE = 48000
"""Positions are counted at this rate, whatever the sound's own."""
MAX_PAGE = 27 + 255 + 255 * 255
MAX_SEGMENTS = 255
_HEADER = struct.Struct("<4sBBqIIIB")
_CRC_AT = 22
_FIRST, _LAST = 2, 4
_HEAD = struct.Struct("<8sBBHIhB")
_MIRRORED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def checksum(data: bytes) -> bytes:
    """The page's CRC as it stands there: polynomial 0x04c11db7, most significant bit first, nothing inverted.

    zlib's CRC is of the same polynomial, of mirrored bits and inverted twice.
    """
    mirrored = zlib.crc32(data.translate(_MIRRORED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return mirrored.to_bytes(4, "big").translate(_MIRRORED)


def _sealed(data: bytes) -> bytes:
    return data[:_CRC_AT] + checksum(data) + data[_CRC_AT + 4 :]


def segments(packet: bytes) -> int:
    """How many of a page's `MAX_SEGMENTS` a packet takes."""
    return len(packet) // 255 + 1


def page(
    packets: Sequence[bytes], *, serial: int, sequence: int, position: int, first: bool = False, last: bool = False
) -> bytes:
    """A page of whole packets. ``position``: samples of 48 kHz up to the end of its last packet."""
    lacing = b"".join(b"\xff" * (len(packet) // 255) + bytes((len(packet) % 255,)) for packet in packets)
    flags = _FIRST * first | _LAST * last
    header = _HEADER.pack(b"OggS", 0, flags, position, serial, sequence, 0, len(lacing))
    return _sealed(header + lacing + b"".join(packets))


def closed(data: bytes) -> bytes:
    """The same page, marked as the last one."""
    return _sealed(data[:5] + bytes((data[5] | _LAST,)) + data[6:_CRC_AT] + bytes(4) + data[_CRC_AT + 4 :])


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """What the head of a page says."""

    first: bool
    last: bool
    position: int
    serial: int
    sequence: int
    size: int
    """Bytes of the whole page."""
    body_at: int


def look(data: bytes) -> Page | None:
    """The page that ``data`` begins with; None when that is no whole and sound page."""
    if len(data) < _HEADER.size:
        return None
    mark, version, flags, position, serial, sequence, _, count = _HEADER.unpack_from(data)
    body_at = _HEADER.size + count
    size = body_at + sum(data[_HEADER.size : body_at])
    if mark != b"OggS" or version or len(data) < size or len(data) < body_at:
        return None
    if checksum(data[:_CRC_AT] + bytes(4) + data[_CRC_AT + 4 : size]) != data[_CRC_AT : _CRC_AT + 4]:
        return None
    return Page(
        first=bool(flags & _FIRST),
        last=bool(flags & _LAST),
        position=position,
        serial=serial,
        sequence=sequence,
        size=size,
        body_at=body_at,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class OpusHead:
    """The first packet of an Opus stream. Two channels are two streams of their own: nothing leaks between them."""

    channels: int
    pre_skip: int
    """Samples of 48 kHz at the beginning that are the encoder's delay."""
    rate: int
    """Of the sound that was encoded, in Hz. For people."""

    def __bytes__(self) -> bytes:
        family = 0 if self.channels == 1 else 1
        fixed = _HEAD.pack(b"OpusHead", 1, self.channels, self.pre_skip, self.rate, 0, family)
        return fixed + (b"" if family == 0 else bytes((self.channels, 0, *range(self.channels))))

    @classmethod
    def parse(cls, data: bytes) -> OpusHead | None:
        """A head as we write it; None for anything else."""
        if len(data) < _HEAD.size:
            return None
        _, _, channels, pre_skip, rate, _, _ = _HEAD.unpack_from(data)
        head = cls(channels=channels, pre_skip=pre_skip, rate=rate)
        return head if channels in (1, 2) and bytes(head) == data else None


def tags(vendor: str, *comments: str) -> bytes:
    """The second packet: who encoded it, and ``NAME=value`` comments."""
    texts = [text.encode() for text in comments]
    listed = b"".join(struct.pack("<I", len(text)) + text for text in texts)
    name = vendor.encode()
    return b"OpusTags" + struct.pack("<I", len(name)) + name + struct.pack("<I", len(texts)) + listed
