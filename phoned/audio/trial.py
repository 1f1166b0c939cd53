"""Trying a speaker and a microphone: a tone is played and listened for. The measuring is pure; the clock drives it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from phoned.audio.tones import PcmSource, sine

TONE_HZ = 1000.0
QUIET_FRAMES = 20
"""Listened to before the tone: 0.4 s."""
SETTLE_FRAMES = 15
"""On the way through cards and room: what is heard of the tone before is not counted."""
TONE_FRAMES = 60
FRAMES = QUIET_FRAMES + TONE_FRAMES
ABOVE_DB = 10.0
"""So much louder than the quiet it must be."""
FAINTEST_DBOV = -75.0
OFF_PITCH = 0.02


def level(samples: NDArray[np.int16]) -> float:
    """In dBov; -127 is silence."""
    power = float(np.mean(samples.astype(np.float64) ** 2)) if len(samples) else 0.0
    return max(-127.0, 10 * float(np.log10(power / 32768.0**2))) if power else -127.0


def pitch(samples: NDArray[np.int16], rate: int) -> float | None:
    """The strongest tone, in Hz; None in silence. To about 1 Hz for half a second of sound."""
    if len(samples) < 3:
        return None
    spectrum = np.abs(np.fft.rfft((samples - samples.mean()) * np.hanning(len(samples))))
    spectrum[: max(1, int(60 * len(samples) / rate))] = 0  # hum is no tone
    peak = int(np.argmax(spectrum))
    if not 0 < peak < len(spectrum) - 1 or not spectrum[peak]:
        return None
    before, at, after = np.log(np.maximum(spectrum[peak - 1 : peak + 2], 1e-9))
    curve = before - 2 * at + after
    offset = 0.5 * (before - after) / curve if curve else 0.0
    return float((peak + offset) * rate / len(samples))


class Trial:
    """One try. A `Ticker` beside the calls; ``done`` is called once, after `FRAMES`."""

    def __init__(
        self,
        rate: int,
        read: Callable[[], bytes | None],
        write: Callable[[bytes], None],
        done: Callable[[], None],
    ) -> None:
        self._rate = rate
        self._read = read
        self._write = write
        self._done = done
        self._tone = PcmSource(sine((int(TONE_HZ),), rate, 1000), rate, rounds=None)
        self._silence = bytes(rate // 50 * 2)
        self._heard: list[bytes] = []

    def tick(self, now: float, due: float) -> None:
        """20 ms."""
        if len(self._heard) >= FRAMES:
            return
        plays = len(self._heard) >= QUIET_FRAMES
        self._write((self._tone.read() if plays else None) or self._silence)
        self._heard.append(self._read() or self._silence)
        if len(self._heard) == FRAMES:
            self._done()

    def skip(self, ticks: int) -> None:
        """What was missed is not heard."""

    def crashed(self, error: Exception) -> None:
        """It is over; what was heard so far counts."""
        self._done()

    def _part(self, frames: list[bytes]) -> NDArray[np.int16]:
        return np.frombuffer(b"".join(frames), np.int16)

    @property
    def quiet_dbov(self) -> float:
        """The level before the tone; of its second half, for a card that clicks when it begins."""
        return level(self._part(self._heard[QUIET_FRAMES // 2 : QUIET_FRAMES]))

    @property
    def level_dbov(self) -> float:
        """The level with the tone."""
        return level(self._part(self._heard[QUIET_FRAMES + SETTLE_FRAMES :]))

    @property
    def heard_hz(self) -> float | None:
        """The strongest tone meanwhile."""
        return pitch(self._part(self._heard[QUIET_FRAMES + SETTLE_FRAMES :]), self._rate)

    @property
    def heard(self) -> bool:
        """Our tone came back."""
        hertz = self.heard_hz
        loud = self.level_dbov > max(FAINTEST_DBOV, self.quiet_dbov + ABOVE_DB)
        return loud and hertz is not None and abs(hertz - TONE_HZ) < TONE_HZ * OFF_PITCH
