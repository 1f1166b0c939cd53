"""The buffers between a sound card's clock and the 20 ms clock of the calls, one class for each direction. Pure.

Each keeps a target of some milliseconds, held by `DriftControl`. Too little is silence for a moment and a target that
is a little higher from then on; far too much (the loop stood still) is cut back to the target. Samples are mono int16.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from phoned.audio.drift import DriftControl, Stretcher

FRAME_S = 0.02
RESERVE_S = 0.015
"""What is there beyond the frame that is due: a block of the card (10 ms) and some lateness."""
RESERVE_STEP_S = 0.005
MAX_RESERVE_S = 0.06
CALM_FRAMES = 3000
"""After a minute without want the reserve goes down by a step."""
SLACK_S = 0.08
"""So much above the target is cut off."""


class _Reserve:
    """How much is kept beyond the frame that is due: more after each want, less after a calm minute."""

    def __init__(self) -> None:
        self.s = RESERVE_S
        self.wants = 0
        self._calm = 0

    def wanted(self) -> None:
        """There was not enough."""
        self.wants += 1
        self._calm = 0
        self.s = min(MAX_RESERVE_S, self.s + RESERVE_STEP_S)

    def calm(self) -> None:
        """A frame went well."""
        self._calm += 1
        if self._calm >= CALM_FRAMES:
            self._calm = 0
            self.s = max(RESERVE_S, self.s - RESERVE_STEP_S)


class Intake:
    """From a microphone to the graph: blocks of any length in, frames of 20 ms out."""

    def __init__(self, card_rate: int, graph_rate: int) -> None:
        self._rate = card_rate
        self._frame = graph_rate // 50
        self._stretcher = Stretcher(card_rate, graph_rate)
        self._control = DriftControl()
        self._reserve = _Reserve()
        self._flows = False
        self.cuts = 0
        """How often too much was cut off."""

    @property
    def fill_s(self) -> float:
        """Seconds that wait."""
        return max(0.0, self._stretcher.backlog / self._rate)

    @property
    def wants(self) -> int:
        """Frames that could not be given."""
        return self._reserve.wants

    def push(self, block: bytes) -> None:
        """What the card heard."""
        self._stretcher.feed(np.frombuffer(block, np.int16))
        target_s = FRAME_S + self._reserve.s
        if self.fill_s > target_s + SLACK_S:
            self._stretcher.discard((self.fill_s - target_s) * self._rate)
            self._control.restart()
            self.cuts += 1

    def read(self) -> NDArray[np.int16] | None:
        """The next frame; None while there is not enough."""
        target_s = FRAME_S + self._reserve.s
        if not self._flows and self.fill_s < target_s:
            return None
        correction = self._control.update(self.fill_s - target_s) if self._flows else 0.0
        frame = self._stretcher.take(self._frame, correction)
        if frame is None:
            self._flows = False
            self._control.restart()
            self._reserve.wanted()
        else:
            self._flows = True
            self._reserve.calm()
        return frame


class Outlet:
    """From the graph to a speaker: frames of 20 ms in, what the card is to be sent out. What lies between is counted:
    `write` adds to it, `played` takes away."""

    def __init__(self, graph_rate: int, card_rate: int) -> None:
        self._rate = card_rate
        self._stretcher = Stretcher(graph_rate, card_rate)
        self._control = DriftControl()
        self._reserve = _Reserve()
        self._ahead = 0
        self._missing = 0
        """Samples that the card wanted in vain since the last frame."""
        self._flows = False
        self.cuts = 0
        """How often a frame was left out because too much waited."""

    @property
    def fill_s(self) -> float:
        """Seconds that wait."""
        return self._ahead / self._rate

    @property
    def wants(self) -> int:
        """How often the card found nothing while frames came."""
        return self._reserve.wants

    def played(self, samples: int, missing: int) -> None:
        """The card took so many, and wanted more."""
        self._ahead = max(0, self._ahead - samples)
        self._missing += missing

    def write(self, frame: NDArray[np.int16]) -> bytes:
        """What to send to the card now; may be empty."""
        self._stretcher.feed(frame)
        missing, self._missing = self._missing, 0
        lead = b""
        if missing or not self._flows:
            if self._flows and missing < self._rate * 4 * FRAME_S:  # else nobody wrote for a while: no want of ours
                self._reserve.wanted()
            self._flows = True
            self._control.restart()
            lead = bytes(max(0, round(self._reserve.s * self._rate) - self._ahead) * 2)
        else:
            self._reserve.calm()
        if self.fill_s > self._reserve.s + SLACK_S:
            self._stretcher.discard(self._stretcher.backlog)
            self.cuts += 1
            return b""
        data = lead + self._stretcher.drain(self._control.update(self.fill_s - self._reserve.s)).tobytes()
        self._ahead += len(data) // 2
        return data
