"""What a telephone says by itself: it rings, it beeps when another call waits, it lets the caller hear ringing.

Tones are periods to be repeated, as PCM at a rate. A ringtone of a file is read whole, a minute at most. Blocks.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from phoned.audio.drift import Stretcher
from phoned.audio.tones import sine, tone
from phoned.audio.wav import WavReader

LONGEST_S = 60


def silence(rate: int, milliseconds: int) -> bytes:
    """Nothing, for so long."""
    return bytes(rate * milliseconds // 1000 * 2)


def ringing(rate: int) -> bytes:
    """The ringtone without a file: a warble of two notes, twice, and a pause."""
    warble = b"".join(sine((hertz,), rate, 50, 0.35) for _ in range(8) for hertz in (784, 988))
    return warble + silence(rate, 400) + warble + silence(rate, 2000)


def waiting(rate: int) -> bytes:
    """Another call comes in (ITU-T E.182): two short beeps and a long pause, softly."""
    beep = sine((425,), rate, 200, 0.08)
    return beep + silence(rate, 200) + beep + silence(rate, 5000)


def ringback(rate: int) -> bytes:
    """It rings at the other end."""
    return tone("ringback", rate)


def ringtone(path: Path | None, rate: int) -> bytes:
    """The file's sound, or ours without one. Raises `OSError` and `InvalidValue`."""
    if path is None:
        return ringing(rate)
    with path.open("rb") as file:
        reader = WavReader(file, path.stat().st_size)
        samples = reader.read(reader.rate * LONGEST_S)
    stretcher = Stretcher(reader.rate, rate)
    stretcher.feed(np.asarray(samples, np.int16))
    return stretcher.drain().tobytes()
