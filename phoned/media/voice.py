"""Voice activity: when somebody begins to speak, and when they have stopped. Pure.

A detector by energy. What is well above the background, for 80 ms, is a voice; 0.6 s without it (the hangover, longer
than the gaps between words) end it. The background is learnt: it follows what is quieter at once and what is louder by
4 dB a second, so that a fan or a tone that goes on becomes background within some seconds, and speech, which pauses,
does not. Digital silence says nothing about it. Loudness is all that is looked at: music and loud noises count.
"""

from __future__ import annotations

import numpy as np

WINDOW_FRAMES = 2
"""Frames that are looked at together: half the work, and nobody turns faster than in 40 ms."""
ONSET = 2
"""Windows."""
HANGOVER = 15
"""Windows: 0.6 s."""
FULL_SCALE = 32768.0**2
AUDIBLE = FULL_SCALE * 10**-5.0
"""-50 dBov: what is quieter is no voice, however quiet the background."""
QUIETEST = FULL_SCALE * 10**-6.5
"""-65 dBov: no background is taken to be quieter."""
NOTHING = 1.0
"""Below one bit: silence that somebody has made up."""
BEGIN, GO_ON = 10**0.9, 10**0.6
"""9 dB above the background to begin, 6 dB to go on."""
RISE = 10 ** (0.4 * 0.04)
"""Of the background in one window."""


class VoiceDetector:
    """One direction of one call. Fed with each frame."""

    __slots__ = ("_background", "_held", "_left", "_loud", "_part", "speaking")

    def __init__(self) -> None:
        self.speaking = False
        self._background = QUIETEST
        self._held = False
        """Every other frame is."""
        self._part: bytes | None = None
        """The frame that is held."""
        self._loud = 0
        """Windows in a row that were loud enough."""
        self._left = 0
        """Windows of the hangover."""

    def feed(self, frame: bytes | None) -> bool | None:
        """20 ms of 16 bit samples, None: of silence. True when a voice begins here, False when it has ended, else
        None."""
        if not self._held:
            self._held, self._part = True, frame
            return None
        self._held = False
        part = self._part
        whole = part + frame if part and frame else part or frame
        return self._turn(0.0 if whole is None else _power(whole))

    def _turn(self, power: float) -> bool | None:
        background = self._background
        if power > background:
            self._background = background * RISE
        elif power > NOTHING:
            self._background = background = max(power, QUIETEST)
        if power <= max(AUDIBLE, background * (GO_ON if self.speaking else BEGIN)):
            return self._quiet()
        self._left = HANGOVER
        self._loud += 1
        if self.speaking or self._loud < ONSET:
            return None
        self.speaking = True
        return True

    def _quiet(self) -> bool | None:
        self._loud = 0
        if not self.speaking:
            return None
        self._left -= 1
        if self._left:
            return None
        self.speaking = False
        return False


def _power(samples: bytes) -> float:
    """The mean square."""
    values = np.frombuffer(samples, np.int16).astype(np.float32)
    return float(values.dot(values)) / len(values)
