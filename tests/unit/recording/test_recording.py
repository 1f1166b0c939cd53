"""Recordings: the file at every moment, gaps, slow and broken disks, and what a crash leaves."""

from __future__ import annotations

import asyncio
import errno
import os
import threading
import wave
from collections import deque
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

import av
import numpy as np
import pytest

from phoned.errors import DiskFull, InvalidValue, UnavailableError
from phoned.model import RecordRequest
from phoned.recording import wav
from phoned.recording.floor import DiskFloor
from phoned.recording.recorder import CHUNK_FRAMES, FLOOR_CHUNKS, MAX_JOBS, SILENCE_FRAMES, Recorder
from phoned.recording.recover import recover
from phoned.recording.tapes import WavTape

RATE = 8000
SIZE = 320


def frame(value: int) -> bytes:
    return np.full(SIZE // 2, value, np.int16).tobytes()


def files(directory: Path) -> list[Path]:
    return sorted(directory.iterdir())


class Disk(Executor):
    """A writer that takes its jobs when it is told to, while it is held."""

    def __init__(self) -> None:
        self.held = False
        self.jobs: deque[Callable[[], None]] = deque()

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        self.jobs.append(lambda: future.set_result(fn(*args, **kwargs)))
        if not self.held:
            self.jobs.popleft()()
        return future

    async def work(self) -> None:
        """Do one, and let it be known."""
        self.jobs.popleft()()
        for _ in range(3):
            await asyncio.sleep(0)


class Studio:
    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.writer = ThreadPoolExecutor(1)
        self.failures: list[str] = []

    def recorder(self, request: RecordRequest | None = None, name: str = "rec_1", **more: Any) -> Recorder:
        return Recorder(
            name,
            "call_1",
            RATE,
            request or RecordRequest(),
            directory=self.directory,
            on_failed=lambda recorder, detail: self.failures.append(detail),
            **{"writer": self.writer, **more},
        )


@pytest.fixture
async def studio(tmp_path: Path) -> AsyncIterator[Studio]:
    made = Studio(tmp_path)
    yield made
    made.writer.shutdown()


def read(path: Path) -> np.ndarray[tuple[int, int], np.dtype[np.int16]]:
    with wave.open(str(path), "rb") as file:
        assert (file.getframerate(), file.getsampwidth()) == (RATE, 2)
        return np.frombuffer(file.readframes(file.getnframes()), np.int16).reshape(-1, file.getnchannels())


async def test_stereo_keeps_the_sides_apart_and_mixed_adds_them(studio: Studio) -> None:
    for channels, expected in (("stereo", [[1000, -300]]), ("mixed", [[700]])):
        recorder = studio.recorder(RecordRequest(channels=channels), channels)  # type: ignore[arg-type]  # literals
        await recorder.start()
        for _ in range(60):
            recorder.write(frame(1000), frame(-300))
        view = await recorder.finish()
        assert (view.state, view.duration_s, view.file) == ("finished", 1.2, f"call_1-{channels}.wav")
        samples = read(studio.directory / view.file)
        assert len(samples) == 60 * SIZE // 2
        assert np.unique(samples, axis=0).tolist() == expected
        assert await recorder.finish() == view


async def test_the_file_is_valid_after_every_half_second(studio: Studio) -> None:
    recorder = studio.recorder()
    await recorder.start()
    part = studio.directory / "call_1-rec_1.wav.part"
    assert len(read(part)) == 0
    for turn in range(1, 4):
        for _ in range(CHUNK_FRAMES):
            recorder.write(frame(turn), frame(0))
        await asyncio.get_running_loop().run_in_executor(studio.writer, lambda: None)
        assert len(read(part)) == turn * CHUNK_FRAMES * SIZE // 2
    await recorder.finish()
    recorder.write(frame(1), frame(1))


async def test_a_missing_far_end_is_silence_and_a_gap_once_it_was_heard(studio: Studio) -> None:
    recorder = studio.recorder()
    await recorder.start()
    for far in [None] * 20 + [frame(5)] * 10 + [None] * 5 + [frame(5)] * 5 + [None] * 15 + [frame(5)] * 3 + [None] * 12:
        recorder.write(frame(1), far)
    view = await recorder.finish()
    assert view.gaps == ((0.8, 1.1), (1.16, 1.4))
    assert not read(studio.directory / view.file)[: 20 * SIZE // 2, 1].any()


async def test_what_is_paused_is_not_in_the_file(studio: Studio) -> None:
    recorder = studio.recorder()
    await recorder.start()
    recorder.write(frame(1), frame(1))
    recorder.paused = True
    assert recorder.view().state == "paused"
    recorder.write(frame(2), frame(2))
    recorder.paused = False
    recorder.write(frame(3), frame(3))
    view = await recorder.finish()
    assert np.unique(read(studio.directory / view.file)[:, 0]).tolist() == [1, 3]


async def stalled(studio: Studio, recorder: Recorder, frames: int, far: bytes | None) -> None:
    """The disk takes nothing while so many frames come, and then all that waited."""
    gate = threading.Event()
    studio.writer.submit(gate.wait)
    for _ in range(frames):
        recorder.write(frame(1000), far)
    gate.set()
    await asyncio.get_running_loop().run_in_executor(studio.writer, lambda: None)


def loud(path: Path, channels: int) -> list[bool]:
    """Whether there is sound in the middle of each half second, on our side."""
    with av.open(str(path)) as container:
        found = [each.to_ndarray().reshape(-1, channels) for each in container.decode(audio=0)]
        rate = container.streams.audio[0].rate
    samples = np.concatenate(found).astype(np.float64)[:, 0]
    scale = 1.0 if samples.max() <= 1 else 32768.0
    size = rate // 2
    return [
        bool(np.abs(samples[at + size // 4 : at + size // 2]).max() / scale > 0.01)
        for at in range(0, len(samples), size)
    ]


@pytest.mark.parametrize("lost", [2, 3 * SILENCE_FRAMES // CHUNK_FRAMES + 1])
@pytest.mark.parametrize("channels", ["stereo", "mixed"])
async def test_a_disk_that_is_too_slow_costs_a_marked_gap_of_silence_and_no_memory(
    studio: Studio, channels: Literal["stereo", "mixed"], lost: int
) -> None:
    recorder = studio.recorder(RecordRequest(channels=channels))
    await recorder.start()
    await stalled(studio, recorder, (MAX_JOBS + lost) * CHUNK_FRAMES, frame(-300))
    for _ in range(2 * CHUNK_FRAMES):
        recorder.write(frame(1000), frame(-300))
    view = await recorder.finish()
    assert (view.state, view.duration_s) == ("finished", (MAX_JOBS + lost + 2) / 2)
    assert view.gaps == ((MAX_JOBS / 2, (MAX_JOBS + lost) / 2),)
    samples = read(studio.directory / view.file)
    assert len(samples) == (MAX_JOBS + lost + 2) * CHUNK_FRAMES * SIZE // 2
    sound = [1000, -300] if channels == "stereo" else [700]
    begin, end = (at * CHUNK_FRAMES * SIZE // 2 for at in (MAX_JOBS, MAX_JOBS + lost))
    for part, expected in ((samples[:begin], sound), (samples[begin:end], [0] * len(sound)), (samples[end:], sound)):
        assert np.unique(part, axis=0).tolist() == [expected]


@pytest.mark.parametrize("channels", ["stereo", "mixed"])
async def test_a_gap_of_the_disk_is_silence_in_opus_too(studio: Studio, channels: Literal["stereo", "mixed"]) -> None:
    recorder = studio.recorder(RecordRequest(format="opus", channels=channels))
    await recorder.start()
    rng = np.random.default_rng(1)
    noise = rng.integers(-9000, 9000, SIZE // 2, np.int16).tobytes()
    gate = threading.Event()
    studio.writer.submit(gate.wait)
    for _ in range((MAX_JOBS + 4) * CHUNK_FRAMES):
        recorder.write(noise, frame(0))
    gate.set()
    await asyncio.get_running_loop().run_in_executor(studio.writer, lambda: None)
    for _ in range(2 * CHUNK_FRAMES):
        recorder.write(noise, frame(0))
    view = await recorder.finish()
    assert (view.state, view.duration_s) == ("finished", (MAX_JOBS + 6) / 2)
    assert (
        loud(studio.directory / view.file, 2 if channels == "stereo" else 1)
        == [True] * MAX_JOBS + [False] * 4 + [True] * 2
    )


async def test_a_disk_that_comes_back_at_the_very_end_leaves_the_whole_length(studio: Studio) -> None:
    recorder = studio.recorder()
    await recorder.start()
    gate = threading.Event()
    studio.writer.submit(gate.wait)
    lost = SILENCE_FRAMES // CHUNK_FRAMES + 3
    for _ in range((MAX_JOBS + lost) * CHUNK_FRAMES):
        recorder.write(frame(1), frame(1))
    gate.set()
    view = await recorder.finish()
    assert (view.state, view.duration_s) == ("finished", (MAX_JOBS + lost) / 2)
    assert view.gaps == ((MAX_JOBS / 2, (MAX_JOBS + lost) / 2),)
    assert len(read(studio.directory / view.file)) == (MAX_JOBS + lost) * CHUNK_FRAMES * SIZE // 2


async def test_a_far_end_that_is_missing_while_the_disk_is_slow_has_its_gap_where_it_was(studio: Studio) -> None:
    recorder = studio.recorder()
    await recorder.start()
    recorder.write(frame(1), frame(5))
    await stalled(studio, recorder, (MAX_JOBS + 2) * CHUNK_FRAMES, None)
    recorder.write(frame(1), frame(5))
    end = ((MAX_JOBS + 2) * CHUNK_FRAMES + 1) / 50
    assert recorder.view().gaps == ((0.02, end),)
    view = await recorder.finish()
    assert view.gaps == ((0.02, end), (MAX_JOBS / 2, (MAX_JOBS + 2) / 2))


async def test_a_disk_that_is_only_as_fast_as_the_call_records_again(studio: Studio) -> None:
    disk = Disk()
    recorder = studio.recorder(writer=disk)
    await recorder.start()
    disk.held = True
    for _ in range((MAX_JOBS + 3) * CHUNK_FRAMES):
        recorder.write(frame(1), frame(1))
    for _ in range(5):
        await disk.work()
        for _ in range(CHUNK_FRAMES):
            recorder.write(frame(1), frame(1))
    disk.held = False
    while disk.jobs:
        await disk.work()
    view = await recorder.finish()
    assert view.gaps == ((MAX_JOBS / 2, (MAX_JOBS + 3) / 2),)
    assert view.duration_s == (MAX_JOBS + 8) / 2


async def test_a_disk_that_breaks_in_the_silence_fails_with_what_is_whole(studio: Studio) -> None:
    recorder = studio.recorder()
    await recorder.start()
    gate = threading.Event()
    studio.writer.submit(gate.wait)
    for _ in range((MAX_JOBS + 2) * CHUNK_FRAMES):
        recorder.write(frame(1), frame(1))
    recorder._floor = DiskFloor(1 << 62)
    gate.set()
    view = await recorder.finish()
    assert view.state == "failed"
    assert len(read(studio.directory / view.file)) == view.duration_s * RATE
    assert view.duration_s <= MAX_JOBS / 2
    assert "recordings_min_free_mb" in studio.failures[0]


async def test_the_longest_wav_file_ends_the_recording(studio: Studio) -> None:
    recorder = studio.recorder()
    await recorder.start()
    recorder.write(frame(1), frame(1))
    assert isinstance(recorder.tape, WavTape)
    recorder.tape.data_bytes = wav.MAX_DATA - 100  # 18 hours later
    for _ in range(CHUNK_FRAMES):
        recorder.write(frame(1), frame(1))
    for _ in range(100):
        await asyncio.sleep(0.005)
        if studio.failures:
            break
    assert studio.failures == ["the file is as long as a WAV file can be"]
    assert recorder.view().state == "failed"
    assert (await recorder.finish()).state == "failed"
    assert studio.failures == ["the file is as long as a WAV file can be"]
    assert [path.name for path in files(studio.directory)] == [recorder.view().file] == ["call_1-rec_1.wav"]


async def test_names_that_could_leave_the_directory_are_refused(studio: Studio) -> None:
    with pytest.raises(InvalidValue):
        studio.recorder(name="../../etc/cron.d/x")


async def test_an_existing_file_is_never_written_over(studio: Studio) -> None:
    (studio.directory / "call_1-rec_1.wav.part").symlink_to("/etc/hostname")
    with pytest.raises(UnavailableError):
        await studio.recorder().start()


async def test_a_directory_that_vanishes_fails_the_end_and_raises_nothing(studio: Studio) -> None:
    recorder = studio.recorder()
    await recorder.start()
    recorder.write(frame(1), frame(1))
    (studio.directory / "call_1-rec_1.wav.part").unlink()
    view = await recorder.finish()
    assert (view.state, view.file) == ("failed", "call_1-rec_1.wav.part")
    assert studio.failures == ["No such file or directory"]


@pytest.mark.parametrize("format_", ["wav", "opus"])
async def test_a_disk_that_fills_up_ends_the_recording_with_what_fitted(
    studio: Studio, format_: Literal["wav", "opus"], monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder = studio.recorder(RecordRequest(format=format_))
    await recorder.start()
    room = [20_000]

    def pwrite(fd: int, data: bytes, at: int) -> int:
        there = os.fstat(fd).st_size
        fits = min(len(data), max(there - at, 0) + room[0])
        if not fits:
            raise OSError(errno.ENOSPC, "No space left on device")
        room[0] -= max(at + fits - there, 0)
        return write(fd, bytes(data)[:fits], at)

    write = os.pwrite
    monkeypatch.setattr(os, "pwrite", pwrite)
    rng = np.random.default_rng(1)
    for _ in range(40 * CHUNK_FRAMES):
        recorder.write(rng.integers(-9000, 9000, SIZE // 2, np.int16).tobytes(), frame(0))
        await asyncio.sleep(0)
    view = await recorder.finish()
    assert (view.state, view.file) == ("failed", f"call_1-rec_1.{format_}")
    assert studio.failures == ["No space left on device"]
    assert 0.5 <= view.duration_s < 20
    with av.open(str(studio.directory / view.file)) as container:
        heard = sum(each.samples / each.sample_rate for each in container.decode(audio=0))
    assert heard == pytest.approx(view.duration_s, abs=0.01)


@pytest.mark.parametrize("format_", ["wav", "opus"])
async def test_no_room_for_the_end_keeps_what_was_there(
    studio: Studio, format_: Literal["wav", "opus"], monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder = studio.recorder(RecordRequest(format=format_))
    await recorder.start()
    for _ in range(CHUNK_FRAMES):
        recorder.write(frame(100), frame(0))
    finish = recorder.tape.finish
    broken = [True]

    def no_room() -> None:
        if broken.pop():
            raise OSError(errno.ENOSPC, "No space left on device")
        finish()

    monkeypatch.setattr(recorder.tape, "finish", no_room)
    broken.insert(0, False)
    view = await recorder.finish()
    assert (view.state, view.duration_s, view.file) == ("failed", 0.5, f"call_1-rec_1.{format_}")
    assert studio.failures == ["No space left on device"]


async def test_recordings_leave_room_on_their_disk(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DiskFull, match="recordings_min_free_mb"):
        await studio.recorder(floor=DiskFloor(1 << 62)).start()
    assert files(studio.directory) == []
    recorder = studio.recorder(floor=DiskFloor(1))
    await recorder.start()
    monkeypatch.setattr(recorder, "_floor", DiskFloor(1 << 62))
    for _ in range((FLOOR_CHUNKS + 1) * CHUNK_FRAMES):
        recorder.write(frame(1), frame(1))
    view = await recorder.finish()
    assert (view.state, view.duration_s) == ("failed", (FLOOR_CHUNKS - 1) * CHUNK_FRAMES / 50)
    assert "recordings_min_free_mb" in studio.failures[0]


def test_a_small_disk_keeps_a_twentieth_of_itself() -> None:
    free = os.statvfs("/").f_bavail * os.statvfs("/").f_frsize
    fd = os.open("/", os.O_RDONLY)
    try:
        DiskFloor().check(fd)
        with pytest.raises(OSError, match="free"):
            DiskFloor(free * 2).check(fd)
    finally:
        os.close(fd)


async def test_a_head_that_does_not_fit_leaves_no_file(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = studio.recorder()

    def full(fd: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(recorder.tape, "begin", full)
    with pytest.raises(DiskFull):
        await recorder.start()
    assert files(studio.directory) == []
    assert recorder.view().state == "failed"


async def test_gaps_are_told_with_their_cause(studio: Studio) -> None:
    told: list[tuple[float, float, str]] = []
    recorder = studio.recorder(on_gap=lambda recorder, start_s, end_s, cause: told.append((start_s, end_s, cause)))
    await recorder.start()
    for far in [frame(5)] * 5 + [None] * 15 + [frame(5)] * 5:
        recorder.write(frame(1), far)
    assert told == [(0.1, 0.4, "far_end")]
    gate = threading.Event()
    studio.writer.submit(gate.wait)
    for _ in range((MAX_JOBS + 1) * CHUNK_FRAMES):
        recorder.write(frame(1), frame(1))
    gate.set()
    view = await recorder.finish()
    assert told[1:] == [(MAX_JOBS / 2, (MAX_JOBS + 2) / 2, "disk")]
    assert view.gaps == tuple((start_s, end_s) for start_s, end_s, _ in told)


def test_a_crash_leaves_what_was_written(tmp_path: Path) -> None:
    body = frame(7) * 10
    (tmp_path / "a.wav.part").write_bytes(wav.header(rate=RATE, channels=1, data_bytes=SIZE) + body + b"\x01")
    (tmp_path / "b.wav.part").write_bytes(wav.header(rate=RATE, channels=2, data_bytes=9999))
    (tmp_path / "c.wav.part").write_bytes(b"something else")
    (tmp_path / "d.wav.part").symlink_to(tmp_path / "c.wav.part")
    (tmp_path / "e.wav").write_bytes(b"finished")
    (tmp_path / "f.wav.part").mkdir()
    found = recover(tmp_path)
    assert [(one.file, one.duration_s) for one in found] == [("a.wav", 0.2), ("b.wav", 0.0)]
    assert [(one.format, one.channels) for one in found] == [("wav", "mixed"), ("wav", "stereo")]
    assert len(read(tmp_path / "a.wav")) == len(body) // 2
    assert [path.name for path in files(tmp_path)] == [
        "a.wav",
        "b.wav",
        "c.wav.part",
        "d.wav.part",
        "e.wav",
        "f.wav.part",
    ]
    assert recover(tmp_path) == []


def test_only_headers_of_ours_are_understood() -> None:
    good = wav.header(rate=16000, channels=2, data_bytes=64)
    assert wav.parse(good) == (16000, 2)
    assert wav.parse(good[:40]) is None
    assert wav.parse(b"RIFX" + good[4:]) is None
    assert wav.parse(wav.header(rate=0, channels=2, data_bytes=0)) is None
