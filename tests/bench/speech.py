"""A sound like speech: voiced syllables, hisses and pauses. The same for every peer that is measured.

An encoder's cost depends on what it hears; a sine or silence would flatter it.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

SECONDS = 8
_RATE = 48_000
_VOWELS = ((730, 1090, 2440), (270, 2290, 3010), (300, 870, 2240), (530, 1840, 2480), (570, 840, 2410))
_SYLLABLE_S = 0.2
_PHRASE = 8
"""Syllables: the last two of each are a pause."""


@cache
def speech(rate: int) -> bytes:
    """Eight seconds, mono int16, fit to be repeated."""
    spectrum = np.fft.rfft(_at_48000())
    size = SECONDS * rate
    fewer = np.fft.irfft(spectrum[: size // 2 + 1], size) * (size / (SECONDS * _RATE))
    return np.clip(fewer, -32768, 32767).astype(np.int16).tobytes()


@cache
def frames(rate: int) -> tuple[bytes, ...]:
    """The same in frames of 20 ms, shared by all calls of a process."""
    size = rate // 50 * 2
    pcm = speech(rate)
    return tuple(pcm[at : at + size] for at in range(0, len(pcm), size))


def start_of(call: int) -> int:
    """The frame that a call begins with: no two neighbours say the same at once."""
    return call * 37 % (SECONDS * 50)


def _at_48000() -> NDArray[np.float64]:
    random = np.random.default_rng(7)
    syllable = int(_SYLLABLE_S * _RATE)
    count = SECONDS * _RATE // syllable
    parts = []
    for index in range(count):
        at = index % _PHRASE
        if at >= _PHRASE - 2:
            sound = np.zeros(syllable)
        elif at == 3:
            sound = np.diff(random.normal(0, 0.08, syllable + 1))  # a hiss: more of it the higher
        else:
            sound = _voiced(syllable, 105 + 6 * (at + index % 3), _VOWELS[index % len(_VOWELS)])
        parts.append(sound * np.hanning(syllable) ** 0.5)
    whole = np.concatenate(parts)
    return np.asarray(whole * 9000 + random.normal(0, 8, len(whole)))


def _voiced(size: int, pitch: float, formants: tuple[int, int, int]) -> NDArray[np.float64]:
    time = np.arange(size) / _RATE
    glide = pitch * time * (1 + 0.15 * time / _SYLLABLE_S)
    sound = np.zeros(size)
    for harmonic in range(1, int(7500 / pitch)):
        frequency = harmonic * pitch
        loudness = sum(1 / (1 + ((frequency - formant) / 90) ** 2) for formant in formants) + 0.01
        sound += loudness / harmonic**0.5 * np.sin(2 * np.pi * harmonic * glide)
    return np.asarray(sound / np.abs(sound).max())
