"""DTMF as sound (ITU-T Q.23, Q.24): dual tones made, and detected by the Goertzel algorithm in numpy.

Owns samples -> digits and back, at any sample rate. The detector works on blocks of 20 ms with half overlap and asks
for what Q.24 asks: a level, two clear tones, bounded twist, little else in the sound, and two blocks in a row before
it believes.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from phoned.errors import InvalidValue
from phoned.media.dtmf import Digit

LOW = (697.0, 770.0, 852.0, 941.0)
HIGH = (1209.0, 1336.0, 1477.0, 1633.0)
_KEYPAD = ("123A", "456B", "789C", "*0#D")
FREQUENCIES = {
    digit: (low, high) for row, low in zip(_KEYPAD, LOW, strict=True) for digit, high in zip(row, HIGH, strict=True)
}
_AMPLITUDE = 0.2
"""Of each tone, of full scale: -14 dBFS, together -11 dBm0 or so."""
_RAMP_S = 0.002
_BLOCK_S = 0.0255
_HOP_S = 0.01
_MIN_LEVEL = 10 ** (-36 / 20)
"""RMS of full scale."""
_TWIST = 10 ** (8 / 10)
"""Power ratio of the two tones, either way (Q.24 allows 4 to 8 dB)."""
_NEXT = 10 ** (8 / 10)
"""How far the strongest tone of a group must be above the second."""
_PURITY = 0.7
"""Share of the block's power that the two tones must have."""
_CONFIRM = 3
"""Blocks in a row that begin a digit."""
_RELEASE = 3
"""Blocks without it that end it."""


def tone(digit: str, sample_rate: int, duration_ms: int) -> bytes:
    """The digit's dual tone as mono int16, with soft edges. Raises `InvalidValue`."""
    samples = sample_rate * duration_ms // 1000
    return tone_part(digit, sample_rate, samples, 0, samples)


def tone_part(digit: str, sample_rate: int, samples: int, start: int, count: int) -> bytes:
    """Up to ``count`` samples of a tone that has ``samples``, from the one numbered ``start`` on; as `tone`."""
    if digit not in FREQUENCIES:
        raise InvalidValue(f"{digit!r} has no tone", pointer="/digits")
    low, high = FREQUENCIES[digit]
    number = np.arange(start, min(start + count, samples))
    at = number / sample_rate
    sound = _AMPLITUDE * 32767 * (np.sin(2 * np.pi * low * at) + np.sin(2 * np.pi * high * at))
    ramp = max(1, min(samples // 2, int(_RAMP_S * sample_rate)))
    sound *= np.minimum(1.0, np.minimum(number, samples - 1 - number) / ramp)
    return sound.astype(np.int16).tobytes()


@cache
def _basis(sample_rate: int) -> NDArray[np.float32]:
    """Rows of cosines and sines of the eight frequencies under a Hann-like window; Goertzel's sums as one product."""
    size = int(sample_rate * _BLOCK_S)
    at = np.arange(size) / sample_rate
    window = np.hamming(size)
    rows = [f(2 * np.pi * frequency * at) * window for f in (np.cos, np.sin) for frequency in LOW + HIGH]
    return np.array(rows, dtype=np.float32)


class ToneDetector:
    """In-band digits of one stream: ``feed`` mono int16 of any length, digits come out when they end."""

    __slots__ = ("_basis", "_blocks", "_candidate", "_digit", "_gain", "_hop", "_misses", "_rest", "_size", "_streak")

    def __init__(self, sample_rate: int) -> None:
        self._basis = _basis(sample_rate)
        self._size = self._basis.shape[1]
        self._hop = int(sample_rate * _HOP_S)
        window = np.hamming(self._size)
        # power of a pure tone in the product over the block's mean square
        self._gain = float(window.sum() ** 2 / 2)
        self._rest = np.zeros(0, np.float32)
        self._digit: str | None = None
        self._candidate: str | None = None
        self._streak = self._misses = self._blocks = 0

    def feed(self, pcm: bytes) -> tuple[Digit, ...]:
        """The digits that ended in this stretch of sound."""
        self._rest = np.concatenate((self._rest, np.frombuffer(pcm, np.int16).astype(np.float32) / 32768))
        found: list[Digit] = []
        at = 0
        while at + self._size <= len(self._rest):
            digit = self._step(self._look(self._rest[at : at + self._size]))
            if digit is not None:
                found.append(digit)
            at += self._hop
        self._rest = self._rest[at:]
        return tuple(found)

    def _look(self, block: NDArray[np.float32]) -> str | None:
        """The digit that this block is, if any."""
        power = float(block @ block) / self._size
        if power < _MIN_LEVEL**2:
            return None
        sums = self._basis @ block
        tones = (sums[:8] ** 2 + sums[8:] ** 2) / self._gain  # mean square of each tone
        low, high = tones[:4], tones[4:]
        row, column = int(low.argmax()), int(high.argmax())
        strongest_low, strongest_high = float(low[row]), float(high[column])
        clear = (
            strongest_low + strongest_high > _PURITY * power
            and strongest_low < _TWIST * strongest_high
            and strongest_high < _TWIST * strongest_low
            and all(_NEXT * float(value) < strongest_low for n, value in enumerate(low) if n != row)
            and all(_NEXT * float(value) < strongest_high for n, value in enumerate(high) if n != column)
        )
        return _KEYPAD[row][column] if clear else None

    def _step(self, seen: str | None) -> Digit | None:
        self._streak = self._streak + 1 if seen is not None and seen == self._candidate else int(seen is not None)
        self._candidate = seen
        ended: Digit | None = None
        if self._digit is not None:
            self._blocks += 1
            self._misses = 0 if seen == self._digit else self._misses + 1
            if self._misses >= _RELEASE or (self._streak >= _CONFIRM and seen != self._digit):
                lasted = (self._blocks - self._misses) * _HOP_S + _HOP_S
                ended = Digit(self._digit, round(lasted * 1000))
                self._digit = None
        if self._digit is None and seen is not None and self._streak >= _CONFIRM:
            self._digit, self._blocks, self._misses = seen, self._streak, 0
        return ended
