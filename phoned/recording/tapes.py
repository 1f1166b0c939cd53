"""What a recorder writes on: a WAV file or Ogg/Opus, whole at every moment. Used by the writer thread alone.

A tape owns what stands in its file, not the file itself. What it could not write whole it takes back in `salvage`.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from random import SystemRandom
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from phoned.media.codecs.tracks import TrackEncoder
from phoned.recording import ogg, wav

PART = ".part"
"""The suffix of a recording that has not been finished."""
PAGE_FRAMES = 50
"""No page holds more than a second."""
_TOO_BIG = 27  # EFBIG


class Tape(Protocol):
    """One file that grows. Each verb may raise `OSError`."""

    frames: int
    """Whole frames of 20 ms that stand in the file."""

    def begin(self, fd: int) -> None:
        """The head of an empty file."""
        ...

    def append(self, near: list[bytes], far: list[bytes]) -> None:
        """Frames of both sides, as many of one as of the other."""
        ...

    def finish(self) -> None:
        """What is left, and the mark of the end."""
        ...

    def salvage(self) -> None:
        """After a write that failed: a whole file of what stood there before."""
        ...


def joined(near: list[bytes], far: list[bytes], channels: int) -> NDArray[np.int16]:
    """Both sides as two channels, ours on the left; or as their sum, clipped."""
    one = np.frombuffer(b"".join(near), np.int16)
    other = np.frombuffer(b"".join(far), np.int16)
    if channels == 2:
        return np.stack((one, other), axis=1)
    summed: NDArray[np.int16] = np.clip(one.astype(np.int32) + other, -32768, 32767).astype(np.int16)
    return summed


def _write(fd: int, data: bytes, at: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(fd, view, at)
        at += written
        view = view[written:]


class WavTape:
    """16-bit PCM behind a header that is right after each write."""

    def __init__(self, rate: int, channels: int) -> None:
        self._rate = rate
        self._channels = channels
        self._fd = -1
        self.data_bytes = 0
        self.frames = 0

    def begin(self, fd: int) -> None:
        self._fd = fd
        self._header()

    def _header(self) -> None:
        _write(self._fd, wav.header(rate=self._rate, channels=self._channels, data_bytes=self.data_bytes), 0)

    def append(self, near: list[bytes], far: list[bytes]) -> None:
        data = joined(near, far, self._channels).astype("<i2").tobytes()
        if self.data_bytes + len(data) > wav.MAX_DATA:
            raise OSError(_TOO_BIG, "the file is as long as a WAV file can be")
        _write(self._fd, data, wav.SIZE + self.data_bytes)
        self.data_bytes += len(data)
        self.frames += len(near)
        self._header()

    def finish(self) -> None:
        os.ftruncate(self._fd, wav.SIZE + self.data_bytes)

    def salvage(self) -> None:
        self.finish()
        self._header()


class OpusTape:
    """Ogg pages of Opus packets, a page for each `append`."""

    def __init__(self, rate: int, channels: int, serial: Callable[[], int] = lambda: SystemRandom().getrandbits(32)):
        self._encoder = TrackEncoder(rate, channels)
        self._rate = rate
        self._channels = channels
        self._frame = rate // 50 * channels * 2
        self._serial = serial()
        self._fd = -1
        self._size = 0
        self._sequence = 0
        self._last = (0, b"")
        self.frames = 0

    def begin(self, fd: int) -> None:
        self._fd = fd
        head = ogg.OpusHead(channels=self._channels, pre_skip=self._encoder.pre_skip, rate=self._rate)
        self._page([bytes(head)], 0, first=True)
        self._page([ogg.tags(self._encoder.vendor, "ENCODER=phoned")], 0)

    def _page(self, packets: list[bytes], position: int, *, first: bool = False, last: bool = False) -> None:
        data = ogg.page(
            packets, serial=self._serial, sequence=self._sequence, position=position, first=first, last=last
        )
        _write(self._fd, data, self._size)
        self._last = (self._size, data)
        self._size += len(data)
        self._sequence += 1

    def append(self, near: list[bytes], far: list[bytes]) -> None:
        pcm = joined(near, far, self._channels).tobytes()
        packets = [self._encoder.encode(pcm[at : at + self._frame]) for at in range(0, len(pcm), self._frame)]
        for at in range(0, len(packets), PAGE_FRAMES):
            some = packets[at : at + PAGE_FRAMES]
            self._page(some, (self.frames + len(some)) * (ogg.CLOCK_RATE // 50))
            self.frames += len(some)

    def finish(self) -> None:
        # what the encoder still holds comes out with one more packet; the position says where the sound ends in it
        end = self.frames * (ogg.CLOCK_RATE // 50) + self._encoder.pre_skip
        self._page([self._encoder.encode(bytes(self._frame))], end, last=True)

    def salvage(self) -> None:
        at, data = self._last
        os.ftruncate(self._fd, self._size)
        _write(self._fd, ogg.closed(data), at)
