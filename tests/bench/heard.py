"""How good a sound is that was heard, against the speech that was said: delay over time, level, gaps, PESQ.

Pure: samples in, figures out. The speech is a loop of `speech.SECONDS`; where in it something heard belongs is found by
cross-correlation, window by window, so that a delay that grows is seen and does not count as a gap.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from tests.bench.speech import SECONDS, speech

RATE = 16_000
LOOP = SECONDS * RATE
WINDOW = 2 * RATE
BLOCK = RATE // 50
SPOKEN_DB, SILENT_DB = -35.0, -58.0
"""dBov of 20 ms: speech that is missing is where the one should be and not even the other is."""

Samples = NDArray[np.int16]
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Quality:
    """Of one listening."""

    delay_ms: list[float]
    """By window, against the first one."""
    place: int
    """Which sample of the loop the first one heard is."""
    level_db: list[float]
    """By window: how much louder than what was said."""
    gap_ms: list[float]
    """Each stretch in which speech was missing."""
    seconds: float

    @property
    def gap_ms_per_s(self) -> float:
        """Missing speech in each second of it all."""
        return sum(self.gap_ms) / self.seconds

    @property
    def longest_gap_ms(self) -> float:
        """0 without any."""
        return max(self.gap_ms, default=0.0)


@cache
def reference() -> Samples:
    """What was said, one loop of it."""
    return np.frombuffer(speech(RATE), np.int16)


def at_16000(pcm: bytes, rate: int) -> Samples:
    """Any rate that is a multiple of 16 kHz, in whole seconds of it."""
    sound = np.frombuffer(pcm[: len(pcm) // 2 * 2], np.int16)
    if rate == RATE:
        return sound
    size = len(sound) // rate * rate
    if not size:
        return np.zeros(0, np.int16)
    spectrum = np.fft.rfft(sound[:size])
    fewer = size * RATE // rate
    made = np.fft.irfft(spectrum[: fewer // 2 + 1], fewer) * (fewer / size)
    return np.clip(made, -32768, 32767).astype(np.int16)


def measure(heard: Samples) -> Quality:
    """Raises `ValueError` for less than a window."""
    if len(heard) < WINDOW:
        raise ValueError(f"{len(heard) / RATE:.1f} s were heard")
    said = reference()
    delays: list[float] = []
    levels: list[float] = []
    missing: list[bool] = []
    first = place_of(heard[:WINDOW])
    for start in range(0, len(heard) - WINDOW + 1, WINDOW):
        window = heard[start : start + WINDOW]
        place = place_of(window)
        late = (first + start - place + LOOP // 2) % LOOP - LOOP // 2
        delays.append(late / RATE * 1000)
        wanted = np.take(said, range(place, place + WINDOW), mode="wrap")
        levels.append(_db(window) - _db(wanted))
        missing += _missing(window, wanted)
    gaps: list[float] = []
    run = 0
    for gone in [*missing, False]:
        if gone:
            run += 1
        elif run:
            gaps.append(run * 20.0)
            run = 0
    return Quality(delay_ms=delays, place=first, level_db=levels, gap_ms=gaps, seconds=len(missing) / 50)


def place_of(window: Samples) -> int:
    """Which sample of the loop the first one of ``window`` is."""
    spectrum = np.fft.rfft(window.astype(np.float64), LOOP)
    likeness = np.fft.irfft(np.conj(spectrum) * _reference_spectrum(), LOOP)
    return int(likeness.argmax())


@cache
def _reference_spectrum() -> NDArray[np.complex128]:
    return np.asarray(np.fft.rfft(reference().astype(np.float64)))


def _missing(window: Samples, wanted: Samples) -> list[bool]:
    """By 20 ms: somebody spoke, before and after as well, and nothing was heard."""
    spoken = _blocks_db(wanted) > SPOKEN_DB
    around = spoken.copy()
    for shift in (1, 2):
        around[shift:] &= spoken[:-shift]
        around[:-shift] &= spoken[shift:]
    return [bool(gone) for gone in around & (_blocks_db(window) < SILENT_DB)]


def _blocks_db(sound: Samples) -> Floats:
    blocks = sound[: len(sound) // BLOCK * BLOCK].reshape(-1, BLOCK).astype(np.float64)
    return np.asarray(10 * np.log10((blocks**2).mean(axis=1) / 32768.0**2 + 1e-13))


def _db(sound: Samples) -> float:
    return float(10 * np.log10(np.mean(sound.astype(np.float64) ** 2) / 32768.0**2 + 1e-13))


def pesq_why_not() -> str | None:
    """Why PESQ cannot be computed here; None when it can."""
    try:
        import pesq  # noqa: F401 - only here, because it needs a C compiler to be installed
    except ImportError:
        return "PESQ is missing: pip install --group bench (it needs a C compiler)"
    return None


def pesq_of(heard: Samples) -> list[float]:
    """PESQ (ITU-T P.862.2, wide band), 1.0 to 4.6, loop by loop. Where nothing at all was heard it is 1."""
    from pesq import NoUtterancesError, pesq

    said = reference()
    scores: list[float] = []
    for start in range(0, len(heard) - LOOP + 1, LOOP):
        part = heard[start : start + LOOP]
        wanted = np.roll(said, -place_of(part[:WINDOW]))
        try:
            scores.append(float(pesq(RATE, wanted, part, "wb")))
        except NoUtterancesError:
            scores.append(1.0)
    return scores
