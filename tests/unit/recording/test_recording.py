"""Recordings: the file at every moment, gaps, slow and broken disks, and what a crash leaves."""

from __future__ import annotations

import asyncio
import threading
import wave
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from phoned.errors import InvalidValue, UnavailableError
from phoned.model import RecordRequest
from phoned.recording import wav
from phoned.recording.recorder import CHUNK_FRAMES, MAX_JOBS, Recorder
from phoned.recording.recover import recover

RATE = 8000
SIZE = 320


def frame(value: int) -> bytes:
    return np.full(SIZE // 2, value, np.int16).tobytes()


def files(directory: Path) -> list[Path]:
    return sorted(directory.iterdir())


class Studio:
    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.writer = ThreadPoolExecutor(1)
        self.failures: list[str] = []

    def recorder(self, request: RecordRequest | None = None, name: str = "rec_1") -> Recorder:
        return Recorder(
            name,
            "call_1",
            RATE,
            request or RecordRequest(),
            directory=self.directory,
            writer=self.writer,
            on_failed=lambda recorder, detail: self.failures.append(detail),
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


async def test_a_disk_that_is_too_slow_costs_a_marked_gap_and_no_memory(studio: Studio) -> None:
    recorder = studio.recorder()
    await recorder.start()
    gate = threading.Event()
    studio.writer.submit(gate.wait)
    for _ in range((MAX_JOBS + 2) * CHUNK_FRAMES):
        recorder.write(frame(1), frame(1))
    gate.set()
    view = await recorder.finish()
    assert view.state == "finished"
    assert view.duration_s == MAX_JOBS * CHUNK_FRAMES / 50
    assert len(view.gaps) == 2
    assert len(read(studio.directory / view.file)) == MAX_JOBS * CHUNK_FRAMES * SIZE // 2


async def test_the_longest_wav_file_ends_the_recording(studio: Studio) -> None:
    recorder = studio.recorder()
    await recorder.start()
    recorder.write(frame(1), frame(1))
    recorder._data_bytes = wav.MAX_DATA  # 18 hours later
    for _ in range(CHUNK_FRAMES):
        recorder.write(frame(1), frame(1))
    for _ in range(100):
        await asyncio.sleep(0.005)
        if studio.failures:
            break
    assert studio.failures == ["the file is as long as a WAV file can be"]
    assert recorder.view().state == "failed"
    recorder._data_bytes = 0
    assert (await recorder.finish()).state == "failed"
    assert [path.suffix for path in files(studio.directory)] == [".part"]


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
    assert (await recorder.finish()).state == "failed"


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
