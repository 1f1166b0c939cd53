"""Loss concealment for codecs without their own (in the spirit of G.711 Appendix I): repeat the last pitch period,
fade out.

Owns the waveform substitution at one rate. ``good`` hands through what was received; the first good frame after a
loss is cross-faded with the made-up sound, so that neither edge clicks.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.int16]

_FULL_FRAMES = 1
"""Concealed frames at nearly full level before the fade."""
_FADE_FRAMES = 3
"""Frames of 20 ms that the fade to silence takes."""


class Concealer:
    """The recent past of one stream."""

    __slots__ = ("_fade", "_frame", "_lags", "_lost", "_past", "_period", "_phase")

    def __init__(self, sample_rate: int) -> None:
        self._frame = sample_rate // 50
        self._lags = (sample_rate // 400, sample_rate * 3 // 200)  # 2.5 to 15 ms: 400 to 67 Hz
        self._fade = sample_rate // 200
        self._past: tuple[Samples, Samples] = (np.zeros(self._frame, np.int16),) * 2
        self._lost = 0
        self._period = np.zeros(self._lags[0], np.float32)
        self._phase = 0

    def good(self, samples: Samples) -> Samples:
        """A received stretch, to be played as returned."""
        if self._lost:
            size = min(self._fade, len(samples))
            ramp = np.arange(1, size + 1, dtype=np.float32) / (size + 1)
            made_up = self._take(size) * self._level(self._lost)
            samples = samples.copy()
            samples[:size] = samples[:size] * ramp + made_up * (1 - ramp)
            self._lost = 0
        older, newer = self._past
        if len(samples) < self._frame:  # short packets: a pitch period needs 30 ms of past
            self._past = (older, np.concatenate((newer, samples))[-2 * self._frame :])
        else:
            self._past = (newer, samples)
        return samples

    def conceal(self) -> Samples:
        """20 ms for a lost packet."""
        if not self._lost:
            self._begin()
        start, end = self._level(self._lost), self._level(self._lost + 1)
        self._lost += 1
        if start == 0:
            return np.zeros(self._frame, np.int16)
        ramp = np.linspace(start, end, self._frame, dtype=np.float32)
        return (self._take(self._frame) * ramp).astype(np.int16)

    def _begin(self) -> None:
        """Find the pitch period: the lag at which the recent past resembles itself most."""
        past = np.concatenate(self._past).astype(np.float32)[-2 * self._frame :]
        shortest, longest = self._lags
        newest = past[-longest:]
        best, best_lag = -1.0, longest
        for lag in range(shortest, min(longest, len(past) - longest) + 1):
            older = past[len(past) - longest - lag : len(past) - lag]
            score = float(newest @ older) / (float(np.sqrt(older @ older)) + 1.0)
            if score > best:
                best, best_lag = score, lag
        self._period, self._phase = past[-best_lag:], 0

    def _take(self, count: int) -> NDArray[np.float32]:
        """The next samples of the repeated period."""
        at = (np.arange(count) + self._phase) % len(self._period)
        self._phase = (self._phase + count) % len(self._period)
        return self._period[at]

    @staticmethod
    def _level(lost: int) -> float:
        """The gain at the start of the n-th concealed frame (0: full)."""
        return max(0.0, min(1.0, 1.0 - (lost - _FULL_FRAMES) / _FADE_FRAMES))
