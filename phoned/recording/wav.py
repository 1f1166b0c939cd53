"""The header of the WAV files that we write: 44 bytes that are right at every moment (RIFF WAVE, 16-bit PCM)."""

from __future__ import annotations

import struct

HEADER = struct.Struct("<4sI4s4sIHHIIHH4sI")
SIZE = HEADER.size
MAX_DATA = 0xFFFFFFFF - SIZE - 4096
"""Sizes are 32 bit: what is beyond cannot be said."""


def header(*, rate: int, channels: int, data_bytes: int) -> bytes:
    """The header of a file with so much sound."""
    block = channels * 2
    return HEADER.pack(
        b"RIFF",
        SIZE - 8 + data_bytes,
        b"WAVE",
        b"fmt ",
        16,
        1,
        channels,
        rate,
        rate * block,
        block,
        16,
        b"data",
        data_bytes,
    )


def parse(data: bytes) -> tuple[int, int] | None:
    """Rate and channels of a header that we wrote; None for anything else."""
    if len(data) < SIZE:
        return None
    riff, _, wave, fmt, _, code, channels, rate, _, _, bits, mark, _ = HEADER.unpack_from(data)
    if (riff, wave, fmt, code, bits, mark) != (b"RIFF", b"WAVE", b"fmt ", 1, 16, b"data") or not channels or not rate:
        return None
    return rate, channels
