"""Measuring an echo in a stereo recording: how alike, how loud, how late, and the longest hole. Pure (numpy)."""

from __future__ import annotations

import math
import wave
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.float64]

FRAME_S = 0.02
LONGEST_ECHO_S = 1.0
WINDOW_S = 0.5
QUIET = 0.01
"""Below this share of full scale a frame of what was said is a pause, and says nothing about holes."""
HOLE = 0.1
"""A frame is a hole when less than this share (-20 dB) of what was said came back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Echo:
    """``correlation`` -1..1 at the best delay of each window, on average; ``level_db`` of the echo against what was
    said."""

    correlation: float
    level_db: float
    delay_ms: float
    longest_gap_ms: int


def melody(rate: int, seconds: float) -> bytes:
    """A tune of sine tones without pauses, mono int16: no note equals its neighbour, so that a delay is unambiguous."""
    notes = (523.25, 659.25, 783.99, 587.33, 698.46, 880.0, 493.88, 739.99, 622.25, 830.61)
    length = int(rate * 0.17)
    count = math.ceil(rate * seconds / length)
    times = np.arange(length) / rate
    fade = np.minimum(1, np.minimum(np.arange(length), np.arange(length)[::-1]) / (rate * 0.005))
    parts = [np.sin(2 * np.pi * notes[(index * 7 + index // 10) % 10] * times) * fade for index in range(count)]
    tune = np.concatenate(parts)[: int(rate * seconds)] * 10_000
    return bytes(tune.astype("<i2").tobytes())


def write_wav(path: Path, pcm: bytes, rate: int) -> None:
    """A mono 16-bit file."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(pcm)


def read_stereo(path: Path) -> tuple[Samples, Samples, int]:
    """What was said, what was heard (-1..1), and the sample rate."""
    with wave.open(str(path), "rb") as file:
        rate = file.getframerate()
        both = np.frombuffer(file.readframes(file.getnframes()), "<i2").astype(np.float64) / 32768
    return both[0::2], both[1::2], rate


def echo_of(said: Samples, heard: Samples, rate: int) -> Echo:
    """Compare what was heard with what was said, window by window: a jitter buffer may move the delay as it goes."""
    step, most = int(rate * WINDOW_S), int(rate * LONGEST_ECHO_S)
    windows = [
        _window(start, said[start : start + step], heard[start : start + step + most])
        for start in range(0, min(len(said), len(heard)) - step + 1, step)
        if _rms(said[start : start + step]) > QUIET
    ]
    if not windows:
        return Echo(correlation=0.0, level_db=-120.0, delay_ms=0.0, longest_gap_ms=0)
    delay = round(float(np.median([window.delay for window in windows])))
    # the echo of the last window may not have come back yet when the recording ended
    windows = [window for window in windows if window.start + step + delay * 1.5 <= len(heard)] or windows
    before, after = said[: max(len(heard) - delay, 0)], heard[delay : delay + len(said)]
    return Echo(
        correlation=round(float(np.mean([window.correlation for window in windows])), 3),
        level_db=round(float(np.median([window.level_db for window in windows])), 1),
        delay_ms=round(1000 * delay / rate, 1),
        longest_gap_ms=_longest_gap_ms(before, after, rate),
    )


@dataclass(frozen=True, slots=True)
class _Window:
    start: int
    correlation: float
    level_db: float
    delay: int


def _window(start: int, said: Samples, heard: Samples) -> _Window:
    delay = _delay(said, heard)
    after = heard[delay : delay + len(said)]
    before = said[: len(after)]
    energy = math.sqrt(float(np.dot(before, before) * np.dot(after, after)))
    said_rms, heard_rms = _rms(before), _rms(after)
    return _Window(
        start,
        float(np.dot(before, after)) / energy if energy else 0.0,
        20 * math.log10(heard_rms / said_rms) if said_rms and heard_rms else -120.0,
        delay,
    )


def _rms(samples: Samples) -> float:
    return math.sqrt(float(np.mean(samples * samples))) if len(samples) else 0.0


def _delay(said: Samples, heard: Samples) -> int:
    """The delay in samples at which the two are most alike, by FFT correlation."""
    size = 1 << (len(said) + len(heard)).bit_length()
    spectrum = np.fft.rfft(heard, size) * np.conj(np.fft.rfft(said, size))
    return int(np.argmax(np.fft.irfft(spectrum, size)[: max(len(heard) - len(said), 0) + 1]))


def _longest_gap_ms(said: Samples, heard: Samples, rate: int) -> int:
    """The longest run of frames in which something was said and (nearly) nothing came back."""
    step = int(rate * FRAME_S)
    longest = run = 0
    for start in range(0, len(said) - step, step):
        out, back = _rms(said[start : start + step]), _rms(heard[start : start + step])
        run = run + 1 if out > QUIET and back < HOLE * out else 0
        longest = max(longest, run)
    return round(1000 * longest * FRAME_S)
