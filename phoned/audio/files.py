"""Playing files from the media directory: opened beneath it without following links, read ahead off the loop.

Owns the defence against names that are not what they seem, and the bounded read-ahead. What is in the files is for
`Playlist` and its readers to know.
"""

from __future__ import annotations

import asyncio
import os
import stat
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from pathlib import Path
from typing import BinaryIO

from phoned.audio.playlist import Entry, Playlist
from phoned.errors import InvalidValue

MAX_NAME = 1024
MAX_SHOWN = 100
"""Of a name, in an error."""
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
        hint = "files lie in the directory that [media] media_dir names"
        raise InvalidValue(f"this file cannot be opened: {error.strerror}; {hint}", pointer="/file") from error
    status = os.fstat(file)
    if not stat.S_ISREG(status.st_mode):
        os.close(file)
        raise InvalidValue("this is not a regular file", pointer="/file")
    return os.fdopen(file, "rb"), status.st_size


class FileSource:
    """Files that play, as a source of frames. Read by the graph on the loop; filled by the reader threads."""

    def __init__(self, files: Playlist, rate: int, pool: Executor) -> None:
        self._files = files
        self._pool = pool
        self._size = rate // 50 * 2
        self._rest = b""
        self._frames: deque[tuple[int, bytes]] = deque()
        self._lock = threading.Lock()
        self._filling = False
        self._at_end = False
        self._closed = False
        self._played = 0
        self.index = 0
        """Which file is heard."""
        self.starved = 0
        """Ticks in which the disk was too slow."""
        self.error = ""
        self.paused = False
        self.on_end: Callable[[], None] | None = None

    @property
    def position_s(self) -> float:
        """Seconds played, all files and rounds together."""
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
            self.index, frame = self._frames.popleft()
            return frame
        if self._at_end:
            ended, self.on_end = self.on_end, None
            if ended is not None:
                ended()
        else:
            self.starved += 1
        return None

    def prefill(self) -> None:
        """The first block, in a reader thread, before the source is used."""
        self._take(*self._block())

    def _take(self, frames: list[tuple[int, bytes]], over: bool) -> None:
        self._frames.extend(frames)
        self._at_end = over

    def _filled(self, future: asyncio.Future[tuple[list[tuple[int, bytes]], bool]]) -> None:
        self._filling = False
        if future.cancelled():
            self._at_end = True
            return
        error = future.exception()
        if error is None:
            self._take(*future.result())
            return
        self.error = error.detail if isinstance(error, InvalidValue) else f"reading failed: {error}"
        self._at_end = True

    def _block(self) -> tuple[list[tuple[int, bytes]], bool]:
        """Half a second of frames, and whether these are the last. Runs in a reader thread."""
        with self._lock:
            if self._closed:
                return [], True
            index, sound = self._files.read()
            data = self._rest + sound
            if not sound:
                data += bytes(-len(data) % self._size)
            whole = len(data) - len(data) % self._size
            self._rest = data[whole:]
            return [(index, data[at : at + self._size]) for at in range(0, whole, self._size)], not sound

    def close(self) -> None:
        """Give the file back, once a reader thread that may be at it is done."""
        if not self._closed:
            self._closed = True
            self._frames.clear()
            self._pool.submit(self._close_files)

    def _close_files(self) -> None:
        with self._lock:
            self._files.close()


def beneath(directory: Path, names: Sequence[str]) -> tuple[Entry, ...]:
    """Files of a directory, as a playlist has them."""

    def opener(name: str) -> Callable[[], tuple[BinaryIO, int]]:
        return lambda: open_beneath(directory, name)

    if len(names) == 1:
        return (Entry(open=opener(names[0]), name=names[0][:MAX_SHOWN]),)
    return tuple(
        Entry(open=opener(name), pointer=f"/files/{number}", name=name[:MAX_SHOWN]) for number, name in enumerate(names)
    )


async def open_media(entries: Sequence[Entry], rate: int, pool: Executor, *, rounds: int | None) -> FileSource:
    """Open, check and begin to read files, off the loop; ``rounds`` None: for ever. Raises `InvalidValue`."""

    def start() -> FileSource:
        files = Playlist(entries, rate, rounds)
        try:
            files.check()
            source = FileSource(files, rate, pool)
            source.prefill()
        except BaseException:
            files.close()
            raise
        return source

    return await asyncio.get_running_loop().run_in_executor(pool, start)
