"""Comfort noise (RFC 3389): what a pause sounds like when its sender told how loud its background is.

Owns the noise at the graph's rate. The spectrum that a payload may describe beside the level is not followed: the
noise is flat up to 3.4 kHz, as on a telephone.
"""

from __future__ import annotations

import random
from functools import cache

import numpy as np
from numpy.typing import NDArray

from phoned.media.codecs.resample import Resampler

_FRAMES = 64
"""Frames of 20 ms, heard in any order."""
_RMS = 2000.0


class ComfortNoise:
    """The background of one stream. Silent until `describe`."""

    __slots__ = ("_frames", "_level", "_rate")

    def __init__(self, sample_rate: int) -> None:
        self._rate = sample_rate
        self._level = 127
        self._frames: list[bytes] = [bytes(sample_rate // 25)]

    def describe(self, payload: bytes) -> None:
        """Take the level of a payload: its first byte, in -dBov (0 is the loudest, 127 silence)."""
        level = payload[0] & 0x7F if payload else 127
        if level != self._level:
            self._level = level
            gain = 32768 / _RMS * 10 ** (-level / 20)
            noise = np.clip(_noise(self._rate) * gain, -32768, 32767).astype(np.int16)
            self._frames = [frame.tobytes() for frame in noise]

    def frame(self) -> bytes:
        """20 ms, mono int16."""
        return random.choice(self._frames)


@cache
def _noise(rate: int) -> NDArray[np.float64]:
    """Frames of noise with a power of `_RMS` squared."""
    flat = np.random.default_rng(3389).normal(0, _RMS, (_FRAMES, 160)).astype(np.int16)
    up = Resampler(8000, rate)
    sound = np.concatenate([up.process(frame) for frame in flat]).astype(np.float64).reshape(_FRAMES, -1)
    return np.asarray(sound * (_RMS / np.sqrt(np.mean(sound**2))))
