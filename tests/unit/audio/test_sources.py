"""Tones, PCM from memory, and files as sources."""

from __future__ import annotations

import asyncio
import os
import threading
import wave
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from phoned.audio.files import FileSource, beneath, open_beneath, open_media
from phoned.audio.playlist import Entry, Playlist
from phoned.audio.tones import CADENCES, STEADY_S, Beeps, PcmSource, sine, tone, tone_source
from phoned.errors import InvalidValue


def test_a_tone_has_its_pitch_and_level_and_repeats_without_a_step() -> None:
    period = np.frombuffer(tone("350+440", 16000), np.int16)
    assert len(period) == 16000
    spectrum = np.abs(np.fft.rfft(period))
    assert set(np.argsort(spectrum)[-2:].tolist()) == {350, 440}
    assert abs(int(period[0]) - int(period[-1])) < 3000


@pytest.mark.parametrize("name", CADENCES)
def test_named_tones_are_whole_frames(name: str) -> None:
    for rate in (8000, 16000, 48000):
        assert len(tone(name, rate)) % (rate // 50 * 2) == 0


@pytest.mark.parametrize("name", ["", "1", "440+", "440+480+500", "-5", "440.5", "99999", "9000", "ringback ", "٤٤٠"])
def test_what_is_no_tone_is_refused(name: str) -> None:
    with pytest.raises(InvalidValue):
        tone(name, 16000)


def test_pcm_plays_once_and_tells_its_end() -> None:
    source = PcmSource(b"\x01\x00" * 400, 16000)
    ended: list[bool] = []
    source.on_end = lambda: ended.append(True)
    assert source.read() == b"\x01\x00" * 320
    source.paused = True
    assert source.read() is None
    source.paused = False
    assert source.read() == b"\x01\x00" * 80 + bytes(480)
    assert ended == []
    assert source.read() is None
    assert source.read() is None
    assert ended == [True]
    assert source.position_s == pytest.approx(0.04)


def test_a_loop_never_ends_unless_it_is_empty() -> None:
    source = PcmSource(sine((100,), 16000, 20), 16000, rounds=None)
    assert all(source.read() for _ in range(100))
    assert PcmSource(b"", 16000, rounds=None).read() is None


@pytest.mark.parametrize(
    ("name", "rounds", "frames"), [("440", 1, STEADY_S * 50), ("dial", 2, STEADY_S * 100), ("busy", 3, 144)]
)
def test_a_tone_ends_after_its_rounds(name: str, rounds: int, frames: int) -> None:
    source = tone_source(name, 8000, rounds=rounds)
    ended: list[bool] = []
    source.on_end = lambda: ended.append(True)
    assert sum(source.read() is not None for _ in range(frames + 1)) == frames
    assert ended == [True]
    assert tone_source(name, 8000, rounds=None).read() is not None


def write_wav(path: Path, samples: int, rate: int = 16000) -> None:
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, rate, 0, "NONE", ""))
        file.writeframes(np.arange(samples, dtype=np.int16).tobytes())


def test_files_are_opened_beneath_the_directory_alone(tmp_path: Path) -> None:
    media = tmp_path / "media"
    (media / "deep" / "er").mkdir(parents=True)
    write_wav(media / "deep" / "er" / "a.wav", 10)
    write_wav(tmp_path / "out.wav", 10)
    (media / "link").symlink_to(tmp_path)
    (media / "deep" / "link.wav").symlink_to(tmp_path / "out.wav")
    os.mkfifo(media / "fifo")
    file, size = open_beneath(media, "deep/er/a.wav")
    with file:
        assert len(file.read()) == size == 64
    for name in (
        "../out.wav",
        "deep/../../out.wav",
        str(tmp_path / "out.wav"),
        "link/out.wav",
        "deep/link.wav",
        "deep",
        "fifo",
        "gone.wav",
        "a\0.wav",
        "./deep/er/a.wav",
        "deep//er/a.wav",
        "x" * 2000,
        "",
    ):
        with pytest.raises(InvalidValue):
            open_beneath(media, name)
    with pytest.raises(InvalidValue):
        open_beneath(Path("/dev"), "null")
    with pytest.raises(InvalidValue):
        open_beneath(tmp_path / "nowhere", "a.wav")


async def drain(source: FileSource, ticks: int) -> bytes:
    frames = []
    for _ in range(ticks):
        frame = source.read()
        if frame is not None:
            frames.append(frame)
        await asyncio.sleep(0.002)
    return b"".join(frames)


async def test_a_file_comes_out_whole_and_in_order(tmp_path: Path) -> None:
    write_wav(tmp_path / "a.wav", 20_000)
    with ThreadPoolExecutor(1) as pool:
        source = await open_media(beneath(tmp_path, ("a.wav",)), 16000, pool, rounds=1)
        ended: list[bool] = []
        source.on_end = lambda: ended.append(True)
        heard = np.frombuffer(await drain(source, 100), np.int16)
        assert heard[:20_000].tolist() == list(range(20_000))
        assert not heard[20_000:].any()
        assert ended == [True]
        source.close()
        source.close()
        assert source.read() is None


async def test_a_file_closed_while_it_is_read_ends_quietly(tmp_path: Path) -> None:
    write_wav(tmp_path / "a.wav", 20_000)
    gate = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        source = await open_media(beneath(tmp_path, ("a.wav",)), 16000, pool, rounds=None)
        pool.submit(gate.wait)
        source.read()
        source.close()
        gate.set()
        await asyncio.sleep(0.05)
        assert source.read() is None
        assert source.error == ""


async def test_a_disk_that_fails_ends_the_file_with_an_error(tmp_path: Path) -> None:
    write_wav(tmp_path / "a.wav", 40_000)
    with ThreadPoolExecutor(1) as pool:
        file, size = open_beneath(tmp_path, "a.wav")
        files = Playlist((Entry(open=lambda: (file, size)),), 16000, 1)
        files.check()
        source = FileSource(files, 16000, pool)
        file.close()  # every read fails from now on
        assert source.read() is None
        assert source.starved == 1
        await asyncio.sleep(0.05)
        assert source.read() is None
        assert "reading failed" in source.error


async def test_a_file_that_is_no_sound_is_refused_and_closed(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(b"no sound")
    with ThreadPoolExecutor(1) as pool, pytest.raises(InvalidValue):
        await open_media(beneath(tmp_path, ("a.wav",)), 16000, pool, rounds=1)


def test_beeps_come_at_once_and_then_every_so_often_while_they_are_wanted() -> None:
    wanted = [True]
    beeps = Beeps(16000, 1.0, lambda: wanted[0])
    first = [beeps.read() for _ in range(60)]
    assert [frame is not None for frame in first] == [True] * 10 + [False] * 40 + [True] * 10
    wanted[0] = False
    assert beeps.read() is None
    wanted[0] = True
    assert beeps.read() == first[0]
