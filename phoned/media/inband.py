"""Digits as tones in the sound of a call, one after the other: the queue of those that wait, and its sound.

A source of the audio graph: each tone is made as it is said, 20 ms at a time, however long it is.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from phoned.errors import AtCapacity
from phoned.media.dtmf import PAUSE, PAUSE_MS
from phoned.media.tones import tone_part

MAX_QUEUE = 64


class InbandDigits:
    """Driven by the graph (`read`)."""

    def __init__(self, rate: int, *, sent: Callable[[str], None], silent: Callable[[], None]) -> None:
        """``sent`` is told of each digit when it and the gap behind it are over, ``silent`` when none is left."""
        self._rate = rate
        self._size = rate // 50
        self._sent = sent
        self._silent = silent
        self._queue: deque[tuple[str, int, int]] = deque()
        """Digit or pause, samples that sound, samples with the gap."""
        self._at = 0
        """In the first of them."""

    def send(self, digits: str, duration_ms: int, gap_ms: int) -> None:
        """Queue digits behind those that wait. Raises `AtCapacity`; nothing is queued then."""
        if len(self._queue) + len(digits) > MAX_QUEUE:
            raise AtCapacity("too many digits wait to be sent")
        per_ms = self._rate // 1000
        for digit in digits:
            sounding, gap = (0, PAUSE_MS) if digit == PAUSE else (duration_ms, gap_ms)
            self._queue.append((digit, sounding * per_ms, (sounding + gap) * per_ms))

    def read(self) -> bytes | None:
        """The next frame: nothing else is said in a gap. None when no digit is left."""
        if not self._queue:
            self._silent()
            return None
        frame = b""
        while self._queue and len(frame) < self._size * 2:
            digit, sounding, whole = self._queue[0]
            count = min(self._size - len(frame) // 2, whole - self._at)
            part = b"" if self._at >= sounding else tone_part(digit, self._rate, sounding, self._at, count)
            frame += part.ljust(count * 2, b"\0")
            self._at += count
            if self._at == whole:
                self._queue.popleft()
                self._at = 0
                if digit != PAUSE:
                    self._sent(digit)
        return frame.ljust(self._size * 2, b"\0")
