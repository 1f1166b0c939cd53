"""G.711 as tables (ITU-T G.711): a sample is a code of eight bits, by the mu-law or the A-law. Pure."""

from __future__ import annotations

from functools import cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Law = Literal["pcmu", "pcma"]


@cache
def decode_table(law: Law) -> NDArray[np.int16]:
    """256 samples, by code."""
    code = np.arange(256)
    if law == "pcmu":
        bits = ~code & 0xFF
        size = (((bits & 0x0F) << 3) + 0x84 << (bits >> 4 & 7)) - 0x84
        return np.where(bits & 0x80, -size, size).astype(np.int16)
    bits = code ^ 0x55
    segment, step = bits >> 4 & 7, (bits & 0x0F) << 4
    size = np.where(segment == 0, step + 8, step + 0x108 << np.maximum(segment - 1, 0))
    return np.where(bits & 0x80, size, -size).astype(np.int16)


@cache
def encode_table(law: Law) -> NDArray[np.uint8]:
    """65536 codes, by the sample's bits read as unsigned; as the reference code: 14 bits (mu) and 13 bits (A)."""
    sample = np.arange(-32768, 32768)
    if law == "pcmu":
        size = np.minimum(np.abs(sample), 32635) + 0x84
        segment = np.floor(np.log2(size)).astype(int) - 7
        code = ~((sample < 0) << 7 | segment << 4 | size >> segment + 3 & 0x0F) & 0xFF
    else:
        size = np.where(sample < 0, ~sample, sample)
        segment = np.maximum(np.floor(np.log2(np.maximum(size, 1))).astype(int) - 7, 0)
        code = (segment << 4 | size >> np.maximum(segment, 1) + 3 & 0x0F) ^ np.where(sample < 0, 0x55, 0xD5)
    by_sign = code.astype(np.uint8)
    return np.concatenate([by_sign[32768:], by_sign[:32768]])
