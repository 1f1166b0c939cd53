"""A recorder of one call: both directions, aligned, into a WAV file that is valid at every moment.

Owns the file from its creation as ``name.wav.part`` to its final name. The 20 ms clock only appends to a list; half
seconds of sound are written by the writer thread, through a bounded number of jobs, each with the header's sizes. So a
crash loses less than a second, a slow disk costs a marked gap, and a full disk ends the recording, never the call.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Callable
from concurrent.futures import Executor
from pathlib import Path

import numpy as np

from phoned.errors import InvalidValue, UnavailableError
from phoned.model import RecordingView, RecordRequest
from phoned.recording import wav

CHUNK_FRAMES = 25
MAX_JOBS = 20
"""Chunks that may wait for the disk: ten seconds."""
GAP_FRAMES = 10
"""The far end missing for 200 ms is a gap; less is jitter."""
MAX_GAPS = 1000

_NAME = re.compile(r"[A-Za-z0-9_.-]{1,120}")


class Recorder:
    """One recording. Written by the graph's tick, started, paused and finished by `AudioDesk`."""

    def __init__(
        self,
        recording_id: str,
        call_id: str,
        rate: int,
        request: RecordRequest,
        *,
        directory: Path,
        writer: Executor,
        on_failed: Callable[[Recorder, str], None],
    ) -> None:
        if not _NAME.fullmatch(recording_id) or not _NAME.fullmatch(call_id):
            raise InvalidValue("an identifier that cannot be part of a file's name", pointer="/id")
        self.id = recording_id
        self._call_id = call_id
        self._rate = rate
        self._request = request
        self._channels = 2 if request.channels == "stereo" else 1
        self._directory = directory
        self._writer = writer
        self._on_failed = on_failed
        self._loop = asyncio.get_running_loop()
        self._silence = bytes(rate // 50 * 2)
        self.file = f"{call_id}-{recording_id}.wav"
        self.paused = False
        self._fd = -1
        self._data_bytes = 0
        self._near: list[bytes] = []
        self._far: list[bytes] = []
        self._jobs = 0
        self._frames = 0
        self._heard = False
        self._missing = 0
        self._gaps: list[tuple[float, float]] = []
        self._failed = ""
        self._finished = False

    # -- life

    async def start(self) -> None:
        """Create the file. Raises `UnavailableError`."""
        try:
            await self._loop.run_in_executor(self._writer, self._create)
        except OSError as error:
            raise UnavailableError(f"the recording cannot be written: {error.strerror}") from error

    async def finish(self) -> RecordingView:
        """Write what is left, give the file its final name. Never raises for the disk's sake."""
        if not self._finished:
            self._finished = True
            self._flush(forced=True)
            self._end_gap()
            try:
                await self._loop.run_in_executor(self._writer, self._complete)
            except OSError as error:
                self._failed = self._failed or f"{error.strerror}"
        return self.view()

    def view(self) -> RecordingView:
        """What is known now."""
        if self._failed:
            state = "failed"
        elif self._finished:
            state = "finished"
        else:
            state = "paused" if self.paused else "recording"
        return RecordingView(
            id=self.id,
            call=self._call_id,
            state=state,  # type: ignore[arg-type]  # one of the literals above
            format="wav",
            channels=self._request.channels,
            file=self.file + (wav.PART if self._failed else ""),
            duration_s=self._frames / 50,
            gaps=tuple(self._gaps),
        )

    # -- the clock's side

    def write(self, near: bytes, far: bytes | None) -> None:
        """20 ms of both directions (`graph.Witness`)."""
        if self.paused or self._failed or self._finished:
            return
        if far is None:
            far = self._silence
            if self._heard:
                self._missing += 1
        else:
            self._heard = True
            self._end_gap()
        self._near.append(near)
        self._far.append(far)
        self._frames += 1
        if len(self._near) >= CHUNK_FRAMES:
            self._flush()

    def _end_gap(self) -> None:
        if self._missing >= GAP_FRAMES:
            self._mark(self._missing)
        self._missing = 0

    def _mark(self, frames: int) -> None:
        if len(self._gaps) < MAX_GAPS:
            self._gaps.append(((self._frames - frames) / 50, self._frames / 50))

    def _flush(self, *, forced: bool = False) -> None:
        near, self._near = self._near, []
        far, self._far = self._far, []
        if not near or self._failed:
            return
        if self._jobs >= MAX_JOBS and not forced:
            # the disk does not keep up: this half second is lost, and said so
            self._frames -= len(near)
            self._gaps.append((self._frames / 50, self._frames / 50))
            return
        self._jobs += 1
        self._loop.run_in_executor(self._writer, self._append, near, far).add_done_callback(self._appended)

    def _appended(self, future: asyncio.Future[None]) -> None:
        self._jobs -= 1
        if future.cancelled() or self._failed:
            return
        error = future.exception()
        if error is not None:
            self._failed = (error.strerror if isinstance(error, OSError) else None) or repr(error)
            self._on_failed(self, self._failed)

    # -- the writer thread's side

    def _create(self) -> None:
        directory = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            self._fd = os.open(self.file + wav.PART, flags, 0o640, dir_fd=directory)
        finally:
            os.close(directory)
        os.pwrite(self._fd, wav.header(rate=self._rate, channels=self._channels, data_bytes=0), 0)

    def _append(self, near: list[bytes], far: list[bytes]) -> None:
        one = np.frombuffer(b"".join(near), np.int16)
        other = np.frombuffer(b"".join(far), np.int16)
        if self._channels == 2:
            samples = np.stack((one, other), axis=1)
        else:
            samples = np.clip(one.astype(np.int32) + other, -32768, 32767).astype(np.int16)
        data = samples.astype("<i2").tobytes()
        if self._data_bytes + len(data) > wav.MAX_DATA:
            raise OSError(27, "the file is as long as a WAV file can be")
        view = memoryview(data)
        at = wav.SIZE + self._data_bytes
        while view:
            written = os.pwrite(self._fd, view, at)
            at += written
            view = view[written:]
        self._data_bytes += len(data)
        os.pwrite(self._fd, wav.header(rate=self._rate, channels=self._channels, data_bytes=self._data_bytes), 0)

    def _complete(self) -> None:
        if self._fd < 0:
            return
        fd, self._fd = self._fd, -1
        try:
            os.ftruncate(fd, wav.SIZE + self._data_bytes)
            os.fsync(fd)
        finally:
            os.close(fd)
        if not self._failed:
            os.rename(self._directory / (self.file + wav.PART), self._directory / self.file)
