"""Sounds made of numbers: tones of a call's progress, test tones, and PCM from memory as a source."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np

from phoned.errors import InvalidValue

LEVEL = 0.25
"""Peak of one component: about -12 dBov."""
MAX_HZ = 20_000
STEADY_S = 5
"""A tone without a cadence, once."""
BEEP_HZ, BEEP_MS, BEEP_LEVEL = 1400, 200, 0.1
"""The tone of a call that is recorded, as 47 CFR 64.501 has it: 1400 Hz for 0.2 s, every 12 to 15 s."""

CADENCES: dict[str, tuple[tuple[int, ...], tuple[tuple[int, bool], ...]]] = {
    # name: frequencies, then (milliseconds, sounding) for ever
    "ringback": ((425,), ((1000, True), (4000, False))),
    "busy": ((425,), ((480, True), (480, False))),
    "congestion": ((425,), ((240, True), (240, False))),
    "dial": ((425,), ((1000, True),)),
    "beep": ((1000,), ((200, True), (800, False))),
    "milliwatt": ((1004,), ((1000, True),)),
}
"""Tones by name, as in most of Europe (ITU-T E.180)."""


class PcmSource:
    """PCM from memory, once, so many rounds or for ever (None). Read by the graph."""

    def __init__(self, pcm: bytes, rate: int, *, rounds: int | None = 1) -> None:
        self._size = rate // 50 * 2
        self._pcm = pcm + bytes(-len(pcm) % self._size)
        self._at = 0
        self._left = None if rounds is None else rounds - 1
        self.on_end: Callable[[], None] | None = None
        """Called from `read` after the last frame."""
        self.paused = False
        self.error = ""
        self._played = 0

    @property
    def position_s(self) -> float:
        """Seconds played, all rounds of a loop together."""
        return self._played / 50

    def close(self) -> None:
        """Nothing is held."""

    def read(self) -> bytes | None:
        """The next frame, None while paused and after the end."""
        if self.paused:
            return None
        if self._at >= len(self._pcm):
            if self._left == 0 or not self._pcm:
                ended, self.on_end = self.on_end, None
                if ended is not None:
                    ended()
                return None
            if self._left is not None:
                self._left -= 1
            self._at = 0
        frame = self._pcm[self._at : self._at + self._size]
        self._at += self._size
        self._played += 1
        return frame


class Beeps:
    """A short tone at once and then every so often, while ``wanted``. Read by the graph."""

    def __init__(self, rate: int, every_s: float, wanted: Callable[[], bool]) -> None:
        size = rate // 50 * 2
        sound = sine((BEEP_HZ,), rate, BEEP_MS, BEEP_LEVEL)
        self._frames = [sound[at : at + size] for at in range(0, len(sound), size)]
        self._period = max(round(every_s * 50), 2 * len(self._frames))
        self._wanted = wanted
        self._at = 0

    def read(self) -> bytes | None:
        """The next frame, None between the tones."""
        if not self._wanted():
            self._at = 0
            return None
        at, self._at = self._at, (self._at + 1) % self._period
        return self._frames[at] if at < len(self._frames) else None


def tone(name: str, rate: int) -> bytes:
    """One period of a tone, to be repeated: a name of `CADENCES`, or frequencies such as ``440`` or ``350+440``.

    Raises `InvalidValue`.
    """
    if name in CADENCES:
        frequencies, cadence = CADENCES[name]
        return b"".join(
            sine(frequencies, rate, milliseconds) if sounding else bytes(rate * milliseconds // 1000 * 2)
            for milliseconds, sounding in cadence
        )
    if not re.fullmatch(r"[0-9]{2,5}(\+[0-9]{2,5})?", name):
        raise InvalidValue(f"there is no tone {name[:40]!r}", pointer="/tone")
    frequencies = tuple(int(part) for part in name.split("+"))
    if max(frequencies) > min(MAX_HZ, rate // 2):
        raise InvalidValue("the tone is too high for the audio graph", pointer="/tone")
    return sine(frequencies, rate, 1000)


def tone_source(name: str, rate: int, *, rounds: int | None = 1) -> PcmSource:
    """A tone that plays: so many times its cadence, or `STEADY_S` seconds if it has none. Raises `InvalidValue`."""
    _, cadence = CADENCES.get(name, ((), ()))
    steady = all(sounding for _, sounding in cadence)
    pcm = tone(name, rate)
    return PcmSource(pcm, rate, rounds=rounds if rounds is None or not steady else rounds * STEADY_S)


def sine(frequencies: tuple[int, ...], rate: int, milliseconds: int, level: float = LEVEL) -> bytes:
    """The sum of sines, each with this peak (1.0 is full scale)."""
    time = np.arange(rate * milliseconds // 1000) / rate
    wave = np.sum([np.sin(2 * np.pi * frequency * time) for frequency in frequencies], axis=0)
    clipped = np.clip(wave * level * 32767, -32768, 32767)
    return np.asarray(clipped, dtype=np.int16).tobytes()
