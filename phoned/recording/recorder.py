"""A recorder of one call: both directions, aligned, into a file that is whole at every moment.

Owns the file from its creation as ``name.wav.part`` to its final name. The 20 ms clock only appends to a list; half
seconds of sound are encoded and written by the writer thread, through a bounded number of jobs. So a crash loses less
than a second, a slow disk costs a marked gap of silence, and a full disk ends the recording, never the call.
"""

from __future__ import annotations

import asyncio
import errno
import os
import re
from collections.abc import Callable
from concurrent.futures import Executor
from contextlib import suppress
from pathlib import Path
from typing import Literal

from phoned.errors import DiskFull, InvalidValue, UnavailableError
from phoned.model import RecordingView, RecordRequest
from phoned.recording.floor import NO_FLOOR, DiskFloor
from phoned.recording.tapes import PART, OpusTape, Tape, WavTape

CHUNK_FRAMES = 25
MAX_JOBS = 20
"""Chunks that may wait for the disk: ten seconds."""
SILENCE_FRAMES = 500
"""Silence that one job writes for what was dropped: ten seconds, so that other recordings have their turn."""
PIECE_FRAMES = 50
"""Of that, so much is made and written at once."""
GAP_FRAMES = 10
"""The far end missing for 200 ms is a gap; less is jitter."""
MAX_GAPS = 1000
FLOOR_CHUNKS = 10
"""Every so many chunks, each five seconds, the free space is looked at."""
SUFFIXES = {"wav": ".wav", "opus": ".opus"}

GapCause = Literal["far_end", "disk"]
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
        on_gap: Callable[[Recorder, float, float, GapCause], None] = lambda recorder, start_s, end_s, cause: None,
        floor: DiskFloor = NO_FLOOR,
    ) -> None:
        if not _NAME.fullmatch(recording_id) or not _NAME.fullmatch(call_id):
            raise InvalidValue("an identifier that cannot be part of a file's name", pointer="/id")
        self.id = recording_id
        self._call_id = call_id
        self._request = request
        self._directory = directory
        self._writer = writer
        self._on_failed = on_failed
        self._on_gap = on_gap
        self._floor = floor
        self._loop = asyncio.get_running_loop()
        self._silence = bytes(rate // 50 * 2)
        self.file = f"{call_id}-{recording_id}{SUFFIXES[request.format]}"
        self.paused = False
        self.beeps = request.beep
        self.tape: Tape = (OpusTape if request.format == "opus" else WavTape)(
            rate, 2 if request.channels == "stereo" else 1
        )
        """The writer thread's."""
        self._fd = -1
        self._chunks = 0
        self._whole = False
        self._near: list[bytes] = []
        self._far: list[bytes] = []
        self._jobs = 0
        self._frames = 0
        self._heard = False
        self._missing = 0
        self._dropped = 0
        """Frames that the disk had no room for, and whose silence is still to be written."""
        self._disk_gap_at: int | None = None
        """The frame since which the disk takes none."""
        self._gaps: list[tuple[float, float]] = []
        self._failed = ""
        self._finished = False

    # -- life

    async def start(self) -> None:
        """Create the file. Raises `DiskFull`, `UnavailableError`."""
        try:
            await self._loop.run_in_executor(self._writer, self._create)
        except OSError as error:
            self._failed = f"{error.strerror}"
            kind = DiskFull if error.errno == errno.ENOSPC else UnavailableError
            raise kind(f"the recording cannot be written: {error.strerror}") from error

    async def finish(self) -> RecordingView:
        """Write what is left, give the file its final name. Never raises for the disk's sake."""
        if not self._finished:
            self._finished = True
            self._flush(forced=True)
            self._end_gap()
            self._fail(await self._loop.run_in_executor(self._writer, self._complete))
        return self.view()

    def _fail(self, detail: str) -> None:
        """It is told once, by its first cause."""
        if detail and not self._failed:
            self._failed = detail
            self._on_failed(self, detail)

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
            format=self._request.format,
            channels=self._request.channels,
            file=self.file + (PART if self._failed and not self._whole else ""),
            duration_s=(self.tape.frames if self._failed else self._frames) / 50,
            gaps=tuple(self._gaps),
            beep=self.beeps,
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
            self._mark((self._frames - self._missing) / 50, self._frames / 50, "far_end")
        self._missing = 0

    def _mark(self, start_s: float, end_s: float, cause: GapCause) -> None:
        if len(self._gaps) < MAX_GAPS:
            self._gaps.append((start_s, end_s))
            self._on_gap(self, start_s, end_s, cause)

    def _flush(self, *, forced: bool = False) -> None:
        near, self._near = self._near, []
        far, self._far = self._far, []
        if self._failed:
            return
        while self._dropped > SILENCE_FRAMES and (forced or self._jobs < MAX_JOBS):
            self._submit(SILENCE_FRAMES, [], [])
            self._dropped -= SILENCE_FRAMES
        if not forced and (self._jobs >= MAX_JOBS or self._dropped > SILENCE_FRAMES):
            # the disk does not keep up: this half second will be silence, and said so
            if self._disk_gap_at is None:
                self._disk_gap_at = self._frames - len(near)
            self._dropped += len(near)
            return
        if near or self._dropped:
            self._submit(self._dropped, near, far)
            self._dropped = 0
        if self._disk_gap_at is not None:
            self._mark(self._disk_gap_at / 50, (self._frames - len(near)) / 50, "disk")
            self._disk_gap_at = None

    def _submit(self, silence: int, near: list[bytes], far: list[bytes]) -> None:
        self._jobs += 1
        job = self._loop.run_in_executor(self._writer, self._append, silence, near, far)
        job.add_done_callback(self._appended)

    def _appended(self, future: asyncio.Future[None]) -> None:
        self._jobs -= 1
        error = None if future.cancelled() else future.exception()
        if error is not None:
            self._fail((error.strerror if isinstance(error, OSError) else None) or repr(error))

    # -- the writer thread's side

    def _create(self) -> None:
        directory = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            self._floor.check(directory)
            flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            self._fd = os.open(self.file + PART, flags, 0o640, dir_fd=directory)
            try:
                self.tape.begin(self._fd)
            except OSError:
                os.close(self._fd)
                self._fd = -1
                os.unlink(self.file + PART, dir_fd=directory)
                raise
        finally:
            os.close(directory)

    def _append(self, silence: int, near: list[bytes], far: list[bytes]) -> None:
        """``silence``: frames of it that stand before these."""
        if self._fd < 0:
            return  # it has failed before this one's turn
        self._chunks += 1
        try:
            if silence or not self._chunks % FLOOR_CHUNKS:
                self._floor.check(self._fd)
            for done in range(0, silence, PIECE_FRAMES):
                nothing = [self._silence] * min(PIECE_FRAMES, silence - done)
                self.tape.append(nothing, nothing)
            if near:
                self.tape.append(near, far)
        except BaseException:
            with suppress(OSError):
                self._close(self.tape.salvage)
            raise

    def _complete(self) -> str:
        """Returns what went wrong, in words."""
        trouble: list[str] = []

        def last_words() -> None:
            try:
                self.tape.finish()
            except OSError as error:
                trouble.append(f"{error.strerror}")
                self.tape.salvage()

        try:
            self._close(last_words)
        except OSError as error:
            trouble.append(f"{error.strerror}")
        return "; ".join(trouble)

    def _close(self, last_words: Callable[[], None]) -> None:
        """Make the file whole and give it its final name."""
        if self._fd < 0:
            return
        fd, self._fd = self._fd, -1
        try:
            last_words()
            os.fsync(fd)
        finally:
            os.close(fd)
        os.rename(self._directory / (self.file + PART), self._directory / self.file)
        self._whole = True
