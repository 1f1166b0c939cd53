"""A tap into a call's audio for a program: feed what the far end shall hear, take what it says.

Safe to use from another thread: both directions are bounded and drop the oldest (`heard`) or refuse (`feed`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable


class AudioPort:
    """PCM in and out of a call, mono int16 native endian at ``rate``. Made by `MediaSession.port`; read and written by
    its user, and by the 20 ms clock at the other side."""

    def __init__(
        self, rate: int, *, capacity_s: float = 2.0, on_close: Callable[[AudioPort], None] | None = None
    ) -> None:
        self.rate = rate
        self._frame_bytes = rate // 50 * 2
        capacity = max(1, int(capacity_s * 50))
        self._speak: deque[bytes] = deque(maxlen=capacity)
        self._heard: deque[bytes] = deque(maxlen=capacity)
        self._rest = b""
        self._on_close = on_close
        self.closed = False
        self.overruns = 0
        """Frames heard that nobody took in time."""

    # -- the program's side

    def feed(self, pcm: bytes) -> int:
        """Queue audio for the far end. Returns how many bytes were taken; the rest did not fit: try later."""
        taken = 0
        data = self._rest + pcm
        offset = 0
        while len(data) - offset >= self._frame_bytes and len(self._speak) < (self._speak.maxlen or 0):
            self._speak.append(data[offset : offset + self._frame_bytes])
            offset += self._frame_bytes
        left = data[offset:]
        if len(left) < self._frame_bytes:
            taken = len(pcm)
            self._rest = left
        else:
            taken = max(0, offset - len(self._rest))
            self._rest = b"" if offset else self._rest
        return taken

    def take(self) -> bytes:
        """All that was heard since the last call; empty when nothing was."""
        frames = []
        while self._heard:
            frames.append(self._heard.popleft())
        return b"".join(frames)

    @property
    def backlog_s(self) -> float:
        """Seconds of fed audio that have not been sent yet."""
        return len(self._speak) / 50

    def close(self) -> None:
        """Detach from the call. Idempotent."""
        if not self.closed:
            self.closed = True
            if self._on_close is not None:
                self._on_close(self)

    # -- the clock's side

    def read(self) -> bytes | None:
        """The next 20 ms to send, None when there is none."""
        return self._speak.popleft() if self._speak else None

    def write(self, frame: bytes) -> None:
        """20 ms that were heard."""
        if len(self._heard) == self._heard.maxlen:
            self.overruns += 1
        self._heard.append(frame)
