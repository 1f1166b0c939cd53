"""Which recordings go, in which order, and that nothing else does. Time is what the test says."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from phoned.ids import new_id
from phoned.model import RecordingView, RecordRequest
from phoned.recording import ogg, shelf
from phoned.recording.catalogue import Catalogue
from phoned.recording.recorder import Recorder
from phoned.recording.retention import DAY_S, EVERY_S, MB, KeepLimits, Retention, expired
from phoned.recording.shelf import Kept, Shelf

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


def kept(number: int, *, days: float, mb: float = 1.0) -> Kept:
    return Kept(
        file=f"{number}.wav",
        recording=f"rec_{number}",
        size=int(mb * MB),
        written_at=NOW.timestamp() - days * DAY_S,
    )


THREE = Shelf(kept=(kept(2, days=2), kept(1, days=10), kept(3, days=0)))


@pytest.mark.parametrize(
    ("limits", "gone"),
    [
        (KeepLimits(), []),
        (KeepLimits(days=10.1), []),
        (KeepLimits(days=9.9), [(1, "age")]),
        (KeepLimits(days=0.5), [(1, "age"), (2, "age")]),
        (KeepLimits(max_mb=3), []),
        (KeepLimits(max_mb=2), [(1, "size")]),
        (KeepLimits(max_mb=1), [(1, "size"), (2, "size")]),
        (KeepLimits(days=5, max_mb=2), [(1, "age")]),
        (KeepLimits(days=5, max_mb=1), [(1, "age"), (2, "size")]),
    ],
)
def test_the_oldest_go_first_for_their_age_or_for_room(limits: KeepLimits, gone: list[tuple[int, str]]) -> None:
    found = [(int(each.recording[4:]), reason) for each, reason in expired(THREE, NOW.timestamp(), limits)]
    assert found == gone


def test_what_runs_takes_room_from_what_is_finished() -> None:
    running = Shelf(kept=THREE.kept, unfinished=10 * MB)
    assert len(expired(running, NOW.timestamp(), KeepLimits(max_mb=12))) == 1
    assert len(expired(running, NOW.timestamp(), KeepLimits(max_mb=1))) == 3


def test_a_clock_that_was_set_back_deletes_nothing() -> None:
    assert expired(THREE, NOW.timestamp() - 400 * DAY_S, KeepLimits(days=1)) == []


class Archive:
    """A directory, and what became of what was in it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.now = NOW
        self.known: dict[str, RecordingView] = {}
        self.told: list[tuple[str, str]] = []
        self.views: list[RecordingView] = []
        self.slept: asyncio.Queue[float] = asyncio.Queue()
        self.wake = asyncio.Event()

    def file(self, *, days: float = 0.0, size: int = 1000, suffix: str = ".wav", recording: str | None = None) -> Path:
        path = self.directory / f"{new_id('call')}-{recording or new_id('rec')}{suffix}"
        path.write_bytes(bytes(size))
        at = NOW.timestamp() - days * DAY_S
        os.utime(path, (at, at))
        return path

    def files(self) -> list[Path]:
        return sorted(self.directory.iterdir())

    def deleted(self, view: RecordingView, reason: str) -> None:
        self.told.append((view.file, reason))
        self.views.append(view)

    async def sleep(self, seconds: float) -> None:
        self.slept.put_nowait(seconds)
        await self.wake.wait()
        self.wake.clear()

    @asynccontextmanager
    async def kept(self, limits: KeepLimits) -> AsyncIterator[Retention]:
        made = Retention(
            Catalogue(self.directory),
            limits,
            known=lambda: self.known,
            deleted=self.deleted,
            clock=lambda: self.now,
            sleep=self.sleep,
        )
        made.start()
        try:
            yield made
        finally:
            await made.close()


async def test_it_looks_at_the_start_and_every_so_often(tmp_path: Path) -> None:
    archive = Archive(tmp_path)
    old, young = archive.file(days=40), archive.file(days=29)
    async with archive.kept(KeepLimits(days=30)):
        assert await archive.slept.get() == EVERY_S
        assert archive.told == [(old.name, "age")]
        assert not old.exists()
        archive.now += timedelta(days=2)
        archive.wake.set()
        await archive.slept.get()
        assert archive.told[1:] == [(young.name, "age")]
        assert archive.files() == []


async def test_nothing_but_finished_recordings_of_ours_goes(tmp_path: Path) -> None:
    archive = Archive(tmp_path)
    precious = tmp_path / "precious.wav"
    precious.write_bytes(bytes(10))
    left = [
        archive.file(days=99, suffix=".wav.part"),
        archive.file(days=99, suffix=".mp3"),
        archive.file(days=99, recording="rec_1"),
    ]
    folder = tmp_path / f"{new_id('call')}-{new_id('rec')}.wav"
    folder.mkdir()
    link = tmp_path / f"{new_id('call')}-{new_id('rec')}.opus"
    link.symlink_to(precious)
    for each in (folder, precious):
        os.utime(each, (0, 0))
    running = archive.file(days=99, recording="rec_" + "a" * 32)
    archive.known["rec_" + "a" * 32] = RecordingView(
        id="rec_" + "a" * 32, call="c", state="recording", format="wav", channels="mixed", file=running.name
    )
    gone = archive.file(days=99)
    async with archive.kept(KeepLimits(days=1, max_mb=1)):
        await archive.slept.get()
    assert archive.told == [(gone.name, "age")]
    assert archive.files() == sorted([precious, *left, folder, link, running])


async def test_limits_change_while_it_runs(tmp_path: Path) -> None:
    archive = Archive(tmp_path)
    for days in (3, 2, 1):
        archive.file(days=days, size=MB)
    async with archive.kept(KeepLimits()) as retention:
        await archive.slept.get()
        assert archive.told == []
        retention.change(KeepLimits())
        retention.change(KeepLimits(max_mb=2))
        await retention.look()
        await retention.look()
        assert [reason for _, reason in archive.told] == ["size"]


async def test_what_cannot_be_looked_at_or_deleted_is_logged_and_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    archive = Archive(tmp_path / "gone")
    async with archive.kept(KeepLimits(days=1)) as retention:
        await archive.slept.get()
        assert "cannot be looked at" in caplog.text
        archive.directory.mkdir()
        first, second = archive.file(days=9), archive.file(days=8)
        real = os.unlink

        def stubborn(path: Path) -> None:
            if path == first:
                raise PermissionError(1, "Operation not permitted")
            if path == second:
                real(path)  # somebody was quicker
                raise FileNotFoundError(2, "No such file or directory")

        monkeypatch.setattr(os, "unlink", stubborn)
        await retention.look()
        assert "Operation not permitted" in caplog.text
        assert archive.told == []
        monkeypatch.undo()
        await retention.look()
        assert archive.told == [(first.name, "age")]


async def test_a_fault_of_ours_ends_one_look_and_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    archive = Archive(tmp_path)
    archive.file(days=9)
    archive.known = None  # type: ignore[assignment]  # the fault
    with caplog.at_level(logging.ERROR):
        async with archive.kept(KeepLimits(days=1)):
            for _ in range(100):
                if "crashed" in caplog.text:
                    break
                await asyncio.sleep(0.01)
    assert "crashed" in caplog.text


@pytest.mark.parametrize("format_", ["wav", "opus"])
@pytest.mark.parametrize("channels", ["stereo", "mixed"])
async def test_a_recording_that_nobody_remembers_is_described_by_its_file(
    tmp_path: Path, format_: str, channels: str
) -> None:
    call, recording = new_id("call"), new_id("rec")
    request = RecordRequest(format=format_, channels=channels)  # type: ignore[arg-type]  # literals
    with ThreadPoolExecutor(1) as writer:
        recorder = Recorder(
            recording, call, 16000, request, directory=tmp_path, writer=writer, on_failed=lambda recorder, detail: None
        )
        await recorder.start()
        for _ in range(130):
            recorder.write(bytes(640), bytes(640))
        view = await recorder.finish()
    assert shelf.describe(tmp_path, view.file) == view
    path = tmp_path / view.file
    path.write_bytes(path.read_bytes()[:20])
    assert (shelf.describe(tmp_path, view.file).duration_s, path.exists()) == (0.0, True)
    archive = Archive(tmp_path)
    os.utime(path, (0, 0))
    async with archive.kept(KeepLimits(days=1)):
        await archive.slept.get()
    assert [each.id for each in archive.views] == [recording]
    path.symlink_to("nowhere")
    assert shelf.describe(tmp_path, view.file).duration_s == 0.0


def test_an_ogg_file_without_a_sound_end_has_no_length(tmp_path: Path) -> None:
    archive = Archive(tmp_path)
    path = archive.file(suffix=".opus")
    head = ogg.OpusHead(channels=2, pre_skip=312, rate=16000)
    first = ogg.page([bytes(head)], serial=1, sequence=0, position=0, first=True)
    path.write_bytes(first + bytes(ogg.MAX_PAGE) + b"OggS" + bytes(50))
    view = shelf.describe(tmp_path, path.name)
    assert (view.channels, view.duration_s) == ("stereo", 0.0)
