"""Playing files from the media directory: opened beneath it without following links, read ahead off the loop.

Owns the defence against names and files that are not what they seem, and the bounded read-ahead. The samples come from
`WavReader`; other rates are converted by PyAV's resampler in the reader thread.
"""

from __future__ import annotations

import asyncio
import os
import stat
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor
from pathlib import Path
from typing import BinaryIO

import av
import numpy as np

from phoned.audio.wav import Samples, WavReader
from phoned.errors import InvalidValue

MAX_NAME = 1024
BLOCK_S = 0.5
"""One read of the thread pool."""
READ_AHEAD_FRAMES = 100
"""Two seconds: below that the next block is asked for."""


def open_beneath(directory: Path, name: str) -> tuple[BinaryIO, int]:
    """A regular file beneath a directory, and its size: no link on the way, no device, no pipe.

    Raises `InvalidValue`.
    """
    parts = name.split("/")
    if not name or len(name) > MAX_NAME or "\0" in name or any(part in ("", ".", "..") for part in parts):
        raise InvalidValue("a file is named relative to the media directory", pointer="/file")
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        here = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            for part in parts[:-1]:
                there = os.open(part, flags | os.O_DIRECTORY, dir_fd=here)
                os.close(here)
                here = there
            # looked at before it is opened: opening a device or a pipe may already do something
            if not stat.S_ISREG(os.stat(parts[-1], dir_fd=here, follow_symlinks=False).st_mode):
                raise InvalidValue("this is not a regular file", pointer="/file")
            file = os.open(parts[-1], flags | os.O_NONBLOCK | os.O_NOCTTY, dir_fd=here)
        finally:
            os.close(here)
    except OSError as error:
        raise InvalidValue(f"this file cannot be opened: {error.strerror}", pointer="/file") from error
    status = os.fstat(file)
    if not stat.S_ISREG(status.st_mode):
        os.close(file)
        raise InvalidValue("this is not a regular file", pointer="/file")
    return os.fdopen(file, "rb"), status.st_size


class FileSource:
    """An open file as a source of frames. Read by the graph on the loop; filled by the reader threads."""

    def __init__(self, file: BinaryIO, reader: WavReader, rate: int, pool: Executor, *, loop: bool) -> None:
        self._file = file
        self._reader = reader
        self._rate = rate
        self._pool = pool
        self._repeat = loop
        self._size = rate // 50 * 2
        self._resampler = av.AudioResampler(format="s16", layout="mono", rate=rate) if reader.rate != rate else None
        self._rest = b""
        self._frames: deque[bytes] = deque()
        self._lock = threading.Lock()
        self._filling = False
        self._at_end = False
        self._closed = False
        self._played = 0
        self.starved = 0
        """Ticks in which the disk was too slow."""
        self.error = ""
        self.paused = False
        self.on_end: Callable[[], None] | None = None

    @property
    def position_s(self) -> float:
        """Seconds played, all rounds of a loop together."""
        return self._played / 50

    def read(self) -> bytes | None:
        """The next frame; None while paused, when the disk is late, and after the end."""
        if self.paused or self._closed:
            return None
        if len(self._frames) < READ_AHEAD_FRAMES and not self._filling and not self._at_end:
            self._filling = True
            asyncio.get_running_loop().run_in_executor(self._pool, self._block).add_done_callback(self._filled)
        if self._frames:
            self._played += 1
            return self._frames.popleft()
        if self._at_end:
            ended, self.on_end = self.on_end, None
            if ended is not None:
                ended()
        else:
            self.starved += 1
        return None

    def prefill(self) -> None:
        """The first block, in a reader thread, before the source is used."""
        self._frames.extend(self._block())

    def _filled(self, future: asyncio.Future[list[bytes]]) -> None:
        self._filling = False
        if future.cancelled():
            self._at_end = True
        elif future.exception() is not None:
            self.error = f"reading failed: {future.exception()}"
            self._at_end = True
        else:
            self._frames.extend(future.result())

    def _block(self) -> list[bytes]:
        """Half a second of frames. Runs in a reader thread."""
        with self._lock:
            if self._closed:
                self._at_end = True
                return []
            samples = self._reader.read(int(self._reader.rate * BLOCK_S))
            if not len(samples) and self._repeat:
                self._reader.rewind()
                samples = self._reader.read(int(self._reader.rate * BLOCK_S))
            if not len(samples):
                self._at_end = True
            data = self._rest + self._converted(samples)
            if self._at_end and data:
                data += bytes(-len(data) % self._size)
            whole = len(data) - len(data) % self._size
            self._rest = data[whole:]
            return [data[at : at + self._size] for at in range(0, whole, self._size)]

    def _converted(self, samples: Samples) -> bytes:
        if self._resampler is None:
            return samples.tobytes()
        frame = None
        if len(samples):
            frame = av.AudioFrame.from_ndarray(samples.reshape(1, -1), format="s16", layout="mono")
            frame.sample_rate = self._reader.rate
        parts = [part.to_ndarray() for part in self._resampler.resample(frame)]
        return np.concatenate(parts, axis=1).tobytes() if parts else b""

    def close(self) -> None:
        """Give the file back, once a reader thread that may be at it is done."""
        if not self._closed:
            self._closed = True
            self._frames.clear()
            self._pool.submit(self._close_file)

    def _close_file(self) -> None:
        with self._lock:
            self._file.close()


async def open_media(directory: Path, name: str, rate: int, pool: Executor, *, loop: bool) -> FileSource:
    """Open, check and begin to read a file, off the loop. Raises `InvalidValue`."""

    def start() -> FileSource:
        file, size = open_beneath(directory, name)
        try:
            source = FileSource(file, WavReader(file, size), rate, pool, loop=loop)
            source.prefill()
        except BaseException:
            file.close()
            raise
        return source

    return await asyncio.get_running_loop().run_in_executor(pool, start)
