"""A bounded reader of WAV files (RIFF WAVE): it believes no size that a file states about itself.

Reads integer PCM of 8, 16, 24 and 32 bits, floats of 32 and 64, and G.711. Samples come out as mono int16. Raises
`InvalidValue` for everything that is no such file.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from phoned.errors import InvalidValue

MAX_CHUNKS = 64
MAX_CHANNELS = 8
MIN_RATE, MAX_RATE = 4000, 192_000
PCM, FLOAT, ALAW, MULAW, EXTENSIBLE = 1, 3, 6, 7, 0xFFFE

Samples = NDArray[np.int16]


def no_good(why: str) -> InvalidValue:
    """A file that is not what it should be."""
    return InvalidValue(f"this file cannot be played: {why}", pointer="/file")


class WavReader:
    """The sound of one open file. ``file`` must be seekable; its real ``size`` is the only size that counts."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file = file
        self.rate = 0
        self.channels = 0
        self._frame_bytes = 0
        self._decode: Callable[[bytes], Samples] = _int16
        self._data_at = 0
        self._left = 0
        self._data_bytes = 0
        self._find_data(size)

    def _find_data(self, size: int) -> None:
        head = self._file.read(12)
        if len(head) < 12 or head[:4] != b"RIFF" or head[8:] != b"WAVE":
            raise no_good("it is not a WAV file")
        at = 12
        for _ in range(MAX_CHUNKS):
            self._file.seek(at)
            chunk = self._file.read(8)
            if len(chunk) < 8:
                break
            name, length = chunk[:4], int(struct.unpack_from("<I", chunk, 4)[0])
            if name == b"fmt ":
                self._read_format(self._file.read(min(length, 40)))
            elif name == b"data":
                if not self.rate:
                    raise no_good("there is no format before the sound")
                self._data_at = at + 8
                # a stream that was never finished states 0 or 2^32-1; a lying file anything: the real end decides
                stated = length if 0 < length < 0xFFFFFF00 else size
                length = min(stated, size - self._data_at)
                self._left = self._data_bytes = length - length % self._frame_bytes
                self._file.seek(self._data_at)
                if not self._left:
                    raise no_good("it holds no sound")
                return
            at += 8 + length + length % 2
            if at >= size:
                break
        raise no_good("it holds no sound")

    def _read_format(self, data: bytes) -> None:
        if len(data) < 16:
            raise no_good("its format is cut short")
        code, channels, rate, _, _, bits = struct.unpack_from("<HHIIHH", data)
        if code == EXTENSIBLE and len(data) >= 26:
            code = struct.unpack_from("<H", data, 24)[0]
        if not MIN_RATE <= rate <= MAX_RATE:
            raise no_good(f"{rate} Hz")
        if not 1 <= channels <= MAX_CHANNELS:
            raise no_good(f"{channels} channels")
        decoder = _DECODERS.get((code, bits))
        if decoder is None:
            raise no_good(f"format {code} with {bits} bits")
        self.rate, self.channels, self._decode = rate, channels, decoder
        self._frame_bytes = channels * bits // 8

    @property
    def duration_s(self) -> float:
        """Length of the sound that is really there."""
        return self._data_bytes / self._frame_bytes / self.rate

    def read(self, frames: int) -> Samples:
        """Up to ``frames`` samples, mixed down to mono; empty at the end."""
        data = self._file.read(min(self._left, frames * self._frame_bytes))
        self._left -= len(data)
        data = data[: len(data) - len(data) % self._frame_bytes]
        if not data:
            self._left = 0
        samples = self._decode(data)
        if self.channels == 1:
            return samples
        mixed = samples.reshape(-1, self.channels).mean(axis=1, dtype=np.float32)
        return np.asarray(mixed, dtype=np.int16)

    def rewind(self) -> None:
        """Back to the first sample."""
        self._left = self._data_bytes
        self._file.seek(self._data_at)

    def close(self) -> None:
        """With the file."""
        self._file.close()


def _int8(data: bytes) -> Samples:
    return (np.frombuffer(data, np.uint8).astype(np.int16) - 128) * np.int16(256)


def _int16(data: bytes) -> Samples:
    return np.frombuffer(data, "<i2").astype(np.int16)


def _int24(data: bytes) -> Samples:
    raw = np.frombuffer(data, np.uint8).reshape(-1, 3)
    return np.ascontiguousarray(raw[:, 1:]).view("<i2").reshape(-1).astype(np.int16)


def _int32(data: bytes) -> Samples:
    return (np.frombuffer(data, "<i4") >> 16).astype(np.int16)


def _float32(data: bytes) -> Samples:
    return _floats(np.frombuffer(data, "<f4"))


def _float64(data: bytes) -> Samples:
    return _floats(np.frombuffer(data, "<f8"))


def _floats(values: NDArray[Any]) -> Samples:
    whole = np.nan_to_num(values, nan=0.0, posinf=1.0, neginf=-1.0)
    return np.asarray(np.clip(whole, -1.0, 1.0) * 32767, dtype=np.int16)


def _mulaw(data: bytes) -> Samples:
    code = ~np.frombuffer(data, np.uint8)
    magnitude = (((code & 15).astype(np.int32) << 3) + 132 << ((code >> 4) & 7)) - 132
    return np.where(code & 128, -magnitude, magnitude).astype(np.int16)


def _alaw(data: bytes) -> Samples:
    code = np.frombuffer(data, np.uint8) ^ 0x55
    exponent = ((code >> 4) & 7).astype(np.int32)
    low = ((code & 15).astype(np.int32) << 4) + 8
    magnitude = np.where(exponent > 0, (low + 256) << np.maximum(exponent - 1, 0), low)
    return np.where(code & 128, magnitude, -magnitude).astype(np.int16)


_DECODERS: dict[tuple[int, int], Callable[[bytes], Samples]] = {
    (PCM, 8): _int8,
    (PCM, 16): _int16,
    (PCM, 24): _int24,
    (PCM, 32): _int32,
    (FLOAT, 32): _float32,
    (FLOAT, 64): _float64,
    (MULAW, 8): _mulaw,
    (ALAW, 8): _alaw,
}
