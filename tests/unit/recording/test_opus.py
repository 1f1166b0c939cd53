"""Recordings as Ogg/Opus: pages, what players hear, and what a crash leaves."""

from __future__ import annotations

import asyncio
import struct
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Literal

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from phoned.audio.tones import sine
from phoned.errors import InternalError
from phoned.media.codecs.tracks import TrackEncoder
from phoned.model import RecordingView, RecordRequest
from phoned.recording import ogg
from phoned.recording.recorder import Recorder
from phoned.recording.recover import recover

RATE = 16000
SIZE = RATE // 50 * 2


def slow_checksum(data: bytes) -> int:
    """RFC 3533 section 6, bit by bit."""
    value = 0
    for byte in data:
        value ^= byte << 24
        for _ in range(8):
            value = (value << 1 ^ 0x04C11DB7) & 0xFFFFFFFF if value & 0x80000000 else value << 1 & 0xFFFFFFFF
    return value


def pages(data: bytes) -> list[ogg.Page]:
    found, at = [], 0
    while at < len(data):
        page = ogg.look(data[at:])
        assert page is not None
        found.append(page)
        at += page.size
    return found


def heard(path: Path) -> NDArray[np.float64]:
    """Channels of samples at 48 kHz, as FFmpeg hears them."""
    with av.open(str(path)) as container:
        assert container.streams.audio[0].rate == 48000
        parts = [each.to_ndarray() for each in container.decode(audio=0)]
    return np.concatenate(parts, axis=1).astype(np.float64)


def spectrum(sound: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of each channel, of one second in the middle: an element is a hertz."""
    return np.abs(np.fft.rfft(sound[:, 24000:72000] * np.hanning(48000)))


async def record(
    directory: Path,
    seconds: float,
    *,
    channels: Literal["stereo", "mixed"] = "stereo",
    rate: int = RATE,
    finish: bool = True,
) -> RecordingView:
    """A recording of 500 Hz at our end and 1300 Hz at the other."""
    writer = ThreadPoolExecutor(1)
    size = rate // 50 * 2
    recorder = Recorder(
        "rec_1",
        "call_1",
        rate,
        RecordRequest(format="opus", channels=channels),
        directory=directory,
        writer=writer,
        on_failed=lambda recorder, detail: pytest.fail(detail),
    )
    await recorder.start()
    near, far = sine((500,), rate, 1000), sine((1300,), rate, 1000)
    for number in range(round(seconds * 50)):
        at = number % 50 * size
        recorder.write(near[at : at + size], far[at : at + size])
        await asyncio.sleep(0)
    view = await recorder.finish() if finish else recorder.view()
    await asyncio.get_running_loop().run_in_executor(None, writer.shutdown)
    return view


@pytest.mark.parametrize("data", [b"", b"\x00" * 9, bytes(range(256)) * 3])
def test_the_checksum_is_that_of_the_standard(data: bytes) -> None:
    assert int.from_bytes(ogg.checksum(data), "little") == slow_checksum(data)


def test_a_page_says_what_it_holds() -> None:
    packets = [b"", b"a" * 254, b"b" * 255, b"c" * 600]
    data = ogg.page(packets, serial=7, sequence=3, position=960, first=True)
    found = ogg.look(data + b"more")
    assert found == ogg.Page(
        first=True, last=False, position=960, serial=7, sequence=3, size=len(data), body_at=27 + 1 + 1 + 2 + 3
    )
    assert list(data[27 : found.body_at]) == [0, 254, 255, 0, 255, 255, 90]
    assert sum(map(ogg.segments, packets)) == 7
    closed = ogg.look(ogg.closed(data))
    assert closed is not None
    assert closed.last
    for broken in (data[:-1], data[:26], data[:30], b"Oggs" + data[4:], data[:40] + b"\xff" + data[41:]):
        assert ogg.look(broken) is None


def test_only_heads_of_ours_are_understood() -> None:
    for channels in (1, 2):
        head = ogg.OpusHead(channels=channels, pre_skip=312, rate=8000)
        assert ogg.OpusHead.parse(bytes(head)) == head
        assert ogg.OpusHead.parse(bytes(head)[:-1]) is None
        assert ogg.OpusHead.parse(b"opusHead" + bytes(head)[8:]) is None
    assert ogg.OpusHead.parse(b"OpusHead" + bytes([1, 9]) + bytes(9)) is None


@pytest.mark.parametrize("rate", [8000, 16000, 48000])
async def test_players_hear_both_sides_at_their_pitch_and_length(tmp_path: Path, rate: int) -> None:
    view = await record(tmp_path, 2.3, rate=rate)
    assert (view.state, view.format, view.file) == ("finished", "opus", "call_1-rec_1.opus")
    sound = heard(tmp_path / view.file)
    assert sound.shape == (2, 110_400)
    assert view.duration_s == 2.3
    assert spectrum(sound).argmax(axis=1).tolist() == pytest.approx([500, 1300], abs=2)


async def test_a_mixed_recording_is_mono(tmp_path: Path) -> None:
    sound = heard(tmp_path / (await record(tmp_path, 2.0, channels="mixed")).file)
    assert sound.shape == (1, 96000)
    assert set(np.argsort(spectrum(sound)[0])[-2:].tolist()) == {500, 1300}


async def test_nothing_of_one_side_is_heard_on_the_other(tmp_path: Path) -> None:
    power = spectrum(heard(tmp_path / (await record(tmp_path, 2.0)).file))
    assert power[0, 1300] < power[0, 500] / 300
    assert power[1, 500] < power[1, 1300] / 300


async def test_pages_follow_the_rules_of_opus_in_ogg(tmp_path: Path) -> None:
    view = await record(tmp_path, 1.3)
    found = pages((tmp_path / view.file).read_bytes())
    assert [page.sequence for page in found] == list(range(len(found)))
    assert [page.first for page in found] == [True] + [False] * (len(found) - 1)
    assert [page.last for page in found] == [False] * (len(found) - 1) + [True]
    assert len({page.serial for page in found}) == 1
    positions = [page.position for page in found]
    assert positions[:2] == [0, 0]
    assert all(0 < b - a <= 48000 for a, b in pairwise(positions[1:]))
    head = ogg.OpusHead.parse((tmp_path / view.file).read_bytes()[found[0].body_at : found[0].size])
    assert head is not None
    assert positions[-1] - head.pre_skip == round(1.3 * 48000)


async def test_a_crash_at_any_byte_loses_at_most_a_second(tmp_path: Path) -> None:
    await record(tmp_path, 2.0, finish=False)
    part = tmp_path / "call_1-rec_1.opus.part"
    whole = part.read_bytes()
    ends = np.cumsum([page.size for page in pages(whole)]).tolist()
    for size in [*ends[1:], *(end + 1 for end in ends[1:-1]), *(end - 1 for end in ends[2:])]:
        part.write_bytes(whole[:size])
        (found,) = recover(tmp_path)
        assert (found.file, found.format, found.channels) == ("call_1-rec_1.opus", "opus", "stereo")
        kept = sum(end <= size for end in ends) - 2
        assert found.duration_s == pytest.approx(max(kept * 0.5 - 312 / 48000, 0), abs=1e-6)
        if kept:
            assert heard(tmp_path / found.file).shape[1] == round(found.duration_s * 48000)
        assert pages((tmp_path / found.file).read_bytes())[-1].last
        (tmp_path / found.file).unlink()
    for size in (0, 20, ends[0] - 1, ends[0], ends[1] - 1):
        part.write_bytes(whole[:size])
        assert recover(tmp_path) == []


async def test_what_a_crash_left_is_read_up_to_the_first_wrong_page(tmp_path: Path) -> None:
    await record(tmp_path, 2.0, finish=False)
    part = tmp_path / "call_1-rec_1.opus.part"
    whole = part.read_bytes()
    third = sum(page.size for page in pages(whole)[:3])
    foreign = ogg.page([b"x"], serial=pages(whole)[0].serial ^ 1, sequence=3, position=5)
    skipped = ogg.page([b"x"], serial=pages(whole)[0].serial, sequence=9, position=5)
    for rest in (foreign, skipped, b"\0" * 5000, struct.pack("<4s", b"OggS") * 20):
        part.write_bytes(whole[:third] + rest)
        (found,) = recover(tmp_path)
        assert found.duration_s == pytest.approx(0.5 - 312 / 48000, abs=1e-6)
        assert (tmp_path / found.file).stat().st_size == third
        (tmp_path / found.file).unlink()


def test_a_frame_of_another_size_is_a_bug() -> None:
    with pytest.raises(InternalError):
        TrackEncoder(RATE, 2).encode(bytes(SIZE))
