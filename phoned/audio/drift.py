"""Two clocks that never quite agree: a resampler whose ratio can be moved by parts per million, and what moves it.

Pure. A sound card's 48,000 Hz are those of its own crystal, some hundred parts per million off the clock of the calls.
`Stretcher` converts between any two rates and takes a correction with every call; `DriftControl` finds the correction
that keeps a buffer at its target, slowly enough that nobody hears the pitch move (at most `MAX_CORRECTION`).
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

Floats = NDArray[np.float32]

MAX_CORRECTION = 0.0009
"""900 ppm, one and a half cents: cards are within some 300 ppm, the rest is for finding the target."""
SMOOTHING_S = 1.5
"""How long the buffer is looked at before its fill is believed: blocks come and go every few milliseconds."""
PROPORTIONAL = 0.08
"""Correction per second of deviation: 5 ms too much is 400 ppm."""
INTEGRAL = PROPORTIONAL**2 / 4
"""Per second: critically damped."""

_HALF = 16
"""Zero crossings of the filter on either side."""
_PHASES = 128
_PASS = 0.92
"""Of the lower rate's half."""


@cache
def _filter(source_rate: int, target_rate: int) -> tuple[Floats, int]:
    """The low pass by phase (one row more than phases, for interpolation), and half its length in source samples."""
    scale = min(1.0, target_rate / source_rate)
    half = int(np.ceil(_HALF / scale))
    # row p: what the samples base - half + 1 ... base + half weigh at base + p / phases
    at = np.arange(_PHASES + 1)[:, None] / _PHASES + half - 1 - np.arange(2 * half)[None, :]
    cutoff = _PASS * scale
    window = np.i0(8.0 * np.sqrt(np.clip(1 - (at / half) ** 2, 0, None))) / np.i0(8.0)
    rows = cutoff * np.sinc(cutoff * at) * window
    return (rows / rows.sum(axis=1, keepdims=True)).astype(np.float32), half


class Stretcher:
    """Sound of one rate in, of another out, at a ratio that may be corrected from frame to frame without a click.

    ``correction``: the source is read faster by this fraction, so that less of it is left over."""

    def __init__(self, source_rate: int, target_rate: int) -> None:
        self._rows, self._half = _filter(source_rate, target_rate)
        self._step = source_rate / target_rate
        self._buffer: Floats = np.zeros(self._half, np.float32)
        self._at = float(self._half - 1)
        """Where in the buffer the next target sample lies."""

    @property
    def backlog(self) -> float:
        """Source samples that were fed and not yet used up; a little below zero when all were."""
        return len(self._buffer) - 1 - self._half - self._at

    def feed(self, samples: NDArray[np.int16]) -> None:
        """More of the source."""
        self._buffer = np.concatenate((self._buffer, samples.astype(np.float32)))

    def discard(self, samples: float) -> None:
        """Skip that much of the backlog."""
        self._at += min(samples, max(self.backlog, 0.0))
        self._forget()

    def take(self, count: int, correction: float = 0.0) -> NDArray[np.int16] | None:
        """Exactly ``count`` target samples; None, and nothing used up, when there is not enough."""
        step = self._step * (1 + correction)
        if self.backlog < (count - 1) * step:
            return None
        return self._make(count, step)

    def drain(self, correction: float = 0.0) -> NDArray[np.int16]:
        """All target samples that the backlog is good for."""
        step = self._step * (1 + correction)
        return self._make(max(0, int(np.floor(self.backlog / step)) + 1), step)

    def _make(self, count: int, step: float) -> NDArray[np.int16]:
        if not count:
            return np.empty(0, np.int16)
        places = self._at + step * np.arange(count)
        base = places.astype(np.int64)
        phase = (places - base) * _PHASES
        row = phase.astype(np.int64)
        part = (phase - row).astype(np.float32)[:, None]
        weights = self._rows[row] * (1 - part) + self._rows[row + 1] * part
        windows = sliding_window_view(self._buffer, 2 * self._half)[base - self._half + 1]
        out = np.einsum("ij,ij->i", windows, weights)
        self._at += count * step
        self._forget()
        samples: NDArray[np.int16] = np.clip(np.rint(out), -32768, 32767).astype(np.int16)
        return samples

    def _forget(self) -> None:
        past = int(self._at) - self._half + 1
        if past > 0:
            self._buffer = self._buffer[past:]
            self._at -= past


class DriftControl:
    """From how full a buffer is, every 20 ms, to how much faster it must be emptied."""

    def __init__(self) -> None:
        self._smooth = 0.0
        self._sum = 0.0
        """What the clocks differ by, as far as it is known."""

    def restart(self) -> None:
        """The buffer begins anew; what was learnt of the clocks stays."""
        self._smooth = 0.0

    def update(self, excess_s: float, elapsed_s: float = 0.02) -> float:
        """The correction for the next frame, a fraction. ``excess_s``: seconds in the buffer above its target."""
        self._smooth += (excess_s - self._smooth) * min(1.0, elapsed_s / SMOOTHING_S)
        wish = self._sum + PROPORTIONAL * self._smooth
        if abs(wish) < MAX_CORRECTION:  # else what cannot be done is not learnt from
            self._sum += INTEGRAL * self._smooth * elapsed_s
        return max(-MAX_CORRECTION, min(MAX_CORRECTION, wish))
