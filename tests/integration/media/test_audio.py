"""Playing and recording in a real call."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import wave
from pathlib import Path

import numpy as np
import pytest

from phoned.audio.tones import BEEP_HZ, sine
from phoned.errors import DiskFull, InvalidValue, NotFound, UnavailableError
from phoned.media.events import Flowing, PlaybackFinished, RecordingFailed, RecordingFinished
from phoned.media.options import SessionOptions
from phoned.model import PlayRequest, RecordRequest
from phoned.recording.floor import DiskFloor
from tests.support.child import missing
from tests.support.media import LOOPBACK, call, connect_through, frequency, level_dbov, until, wire
from tests.support.sounds import encoded


def write_wav(path: Path, hertz: int, seconds: float, rate: int = 16000, channels: int = 1) -> None:
    mono = np.frombuffer(sine((hertz,), rate, int(seconds * 1000)), np.int16)
    with wave.open(str(path), "wb") as file:
        file.setparams((channels, 2, rate, 0, "NONE", ""))
        file.writeframes(np.repeat(mono, channels).tobytes())


def files(directory: Path) -> list[Path]:
    return sorted(directory.iterdir())


def read_wav(path: Path) -> tuple[int, np.ndarray[tuple[int, int], np.dtype[np.int16]]]:
    with wave.open(str(path), "rb") as file:
        samples = np.frombuffer(file.readframes(file.getnframes()), np.int16)
        return file.getframerate(), samples.reshape(-1, file.getnchannels())


@pytest.mark.parametrize(("rate", "channels"), [(16000, 1), (8000, 1), (44100, 2)])
async def test_a_file_is_heard_and_ends(tmp_path: Path, rate: int, channels: int) -> None:
    write_wav(tmp_path / "greeting.wav", 800, 1.2, rate, channels)
    async with call(media=tmp_path) as pair:
        await pair.a.session.play(PlayRequest(file="greeting.wav"), "pb_1")
        await pair.b.listen(0.3)
        heard = await pair.b.listen(0.5)
        assert frequency(heard, 16000) == pytest.approx(800, abs=5)
        assert level_dbov(heard) == pytest.approx(-15.05, abs=1.0)
        finished = await pair.a.wait(PlaybackFinished)
        assert (finished.playback.id, finished.playback.state) == ("pb_1", "finished")
        assert finished.playback.position_s == pytest.approx(1.2, abs=0.05)
        assert pair.a.session.playbacks() == ()


async def test_a_long_file_is_streamed_and_can_loop_pause_and_stop(tmp_path: Path) -> None:
    write_wav(tmp_path / "music.wav", 500, 0.7)
    async with call(media=tmp_path) as pair:
        view = await pair.a.session.play(PlayRequest(file="music.wav", loop=True))
        await pair.b.listen(1.2)
        assert frequency(await pair.b.listen(0.4), 16000) == pytest.approx(500, abs=5)
        assert pair.a.session.pause_playback(view.id).state == "paused"
        await pair.b.listen(0.3)
        assert level_dbov(await pair.b.listen(0.2)) < -60
        assert pair.a.session.pause_playback(view.id, False).state == "playing"
        await pair.b.listen(0.2)
        assert level_dbov(await pair.b.listen(0.2)) > -20
        pair.a.session.stop_playback(view.id)
        with pytest.raises(NotFound):
            pair.a.session.stop_playback(view.id)
        assert (await pair.a.wait(PlaybackFinished)).detail == "stopped"


@pytest.mark.parametrize("how", [{"ice_restart": True}, {"rebuild": True}])
async def test_a_playback_keeps_its_place_and_a_recording_goes_on_over_a_handover(
    tmp_path: Path, how: dict[str, bool]
) -> None:
    """Tier 1 and tier 2 of the recovery. Each fifth of a second has a pitch of its own: it tells the place."""
    pitches = range(400, 1600, 100)
    with wave.open(str(tmp_path / "stairs.wav"), "wb") as file:
        file.setparams((1, 2, 16000, 0, "NONE", ""))
        file.writeframes(b"".join(sine((hertz,), 16000, 200) for hertz in pitches))
    async with call(media=tmp_path, recordings=tmp_path) as pair:
        ours = await pair.a.session.record(RecordRequest())
        theirs = await pair.b.session.record(RecordRequest())
        playback = await pair.a.session.play(PlayRequest(file="stairs.wav"))
        await pair.b.listen(0.5)
        await pair.exchange(pair.a, **how)
        (after,) = pair.a.session.playbacks()
        assert (after.id, after.state) == (playback.id, "playing")
        finished = await pair.a.wait(PlaybackFinished)
        assert finished.playback.position_s == pytest.approx(0.2 * len(pitches))
        await pair.b.listen(0.2)
        said = await pair.a.session.stop_recording(ours.id)
        heard = await pair.b.session.stop_recording(theirs.id)
        assert pair.b.all(Flowing)[-1].ice_generation == 2
    places = [steps_of(read_wav(tmp_path / said.file)[1][:, 0]), steps_of(read_wav(tmp_path / heard.file)[1][:, 1])]
    assert places[0] == list(pitches)
    assert places[1] == sorted(places[1])
    assert len(set(pitches) - set(places[1])) <= 1  # what was under way while the path moved


def steps_of(samples: np.ndarray[tuple[int], np.dtype[np.int16]]) -> list[int]:
    """The pitches that are heard for at least 60 ms, in order."""
    begin = int(np.flatnonzero(np.abs(samples) > 1000)[0])
    found: list[int] = []
    last = 0
    for at in range(begin, len(samples) - 960, 480):
        piece = np.ascontiguousarray(samples[at : at + 960])
        pitch = round(frequency(piece, 16000) / 100) * 100 if level_dbov(piece) > -25 else 0
        if pitch and pitch == last and (not found or found[-1] != pitch):
            found.append(pitch)
        last = pitch
    return found


async def test_two_playbacks_mix_when_asked_to() -> None:
    async with call() as pair:
        await pair.a.session.play(PlayRequest(tone="500", mix=True, loop=True))
        await pair.a.session.play(PlayRequest(tone="1500", mix=True, loop=True))
        await pair.b.listen(0.3)
        heard = await pair.b.listen(0.4)
        spectrum = np.abs(np.fft.rfft(heard * np.hanning(len(heard))))
        hertz = np.fft.rfftfreq(len(heard), 1 / 16000)
        loud = {round(float(value), -2) for value in hertz[spectrum > spectrum.max() / 4]}
        assert loud == {500.0, 1500.0}


async def test_a_list_is_heard_in_order_whatever_its_files_are(tmp_path: Path) -> None:
    encoded(tmp_path / "a.opus.ogg", 600, 0.5)
    encoded(tmp_path / "b.a.mp3", 1100, 0.5, rate=44100)
    async with call(media=tmp_path) as pair:
        view = await pair.a.session.play(PlayRequest(files=("a.opus.ogg", "b.a.mp3"), loop=2))
        assert (view.file, view.files) == ("a.opus.ogg", ("a.opus.ogg", "b.a.mp3"))
        heard = await pair.b.listen(1.6)
        assert pair.a.session.playbacks()[0].position_s > 1.0
        finished = (await pair.a.wait(PlaybackFinished)).playback
        assert (finished.state, finished.file) == ("finished", "b.a.mp3")
        assert finished.position_s == pytest.approx(2.0, abs=0.1)
    loud = np.flatnonzero(np.abs(heard) > 2000)[0]
    assert frequency(heard[loud + 1600 : loud + 6400], 16000) == pytest.approx(600, abs=8)
    assert frequency(heard[loud + 9600 : loud + 14400], 16000) == pytest.approx(1100, abs=8)


async def test_a_list_that_breaks_off_is_told_and_the_call_goes_on(tmp_path: Path) -> None:
    for name in ("a.wav", "b.wav"):
        write_wav(tmp_path / name, 500, 3.0)
    async with call(media=tmp_path) as pair:
        view = await pair.a.session.play(PlayRequest(files=("a.wav", "b.wav")))
        (tmp_path / "b.wav").unlink()
        (tmp_path / "a.wav").write_bytes((tmp_path / "a.wav").read_bytes()[:20_000])
        failed = await pair.a.wait(PlaybackFinished)
        assert (failed.playback.id, failed.playback.state) == (view.id, "failed")
        assert "b.wav: this file cannot be opened" in failed.detail
        received = pair.a.session.stats().packets_received
        await pair.a.listen(0.1)
        assert pair.a.session.stats().packets_received > received
        await pair.a.session.play(PlayRequest(tone="700", duration_ms=400))
        assert frequency(await pair.b.listen(0.3), 16000) == pytest.approx(700, abs=10)
        assert (await pair.a.wait(PlaybackFinished, 2)).playback.position_s == pytest.approx(0.4)


@pytest.mark.parametrize(
    "name",
    [
        "../secret.wav",
        "/etc/passwd",
        "no.wav",
        "text.wav",
        "link.wav",
        "pipe.wav",
        "",
        "folder",
        "empty.mp3",
        "lies.flac",
        "zeros.ogg",
        "list.m3u8",
    ],
)
async def test_a_file_that_is_none_of_ours_or_no_good_is_refused(tmp_path: Path, name: str) -> None:
    media = tmp_path / "media"
    media.mkdir()
    write_wav(tmp_path / "secret.wav", 400, 0.1)
    (media / "text.wav").write_text("RIFF is a mountain range" * 10)
    (media / "link.wav").symlink_to(tmp_path / "secret.wav")
    os.mkfifo(media / "pipe.wav")
    (media / "folder").mkdir()
    (media / "empty.mp3").touch()
    (media / "lies.flac").write_bytes(b"fLaC\x06\xff\xff\xff")
    (media / "list.m3u8").write_text("#EXTM3U\n#EXTINF:1\nfile:///etc/passwd\n")
    with (media / "zeros.ogg").open("wb") as file:
        file.write(b"OggS")
        file.truncate(1 << 40)
    async with call(media=media, connect=False) as pair:
        with pytest.raises(InvalidValue):
            await pair.a.session.play(PlayRequest(file=name))
        assert pair.a.session.playbacks() == ()


async def test_playing_needs_a_directory_and_one_thing_to_play() -> None:
    async with call(connect=False) as pair:
        with pytest.raises(UnavailableError):
            await pair.a.session.play(PlayRequest(file="x.wav"))
        with pytest.raises(InvalidValue):
            await pair.a.session.play(PlayRequest(file="x.wav", tone="440"))
        with pytest.raises(InvalidValue):
            await pair.a.session.play(PlayRequest(tone="warble"))


async def test_a_stereo_recording_has_each_side_on_its_own_channel(tmp_path: Path) -> None:
    async with call(recordings=tmp_path) as pair:
        await pair.a.session.play(PlayRequest(tone="600", loop=True))
        await pair.b.session.play(PlayRequest(tone="1100", loop=True))
        await pair.a.listen(0.2)
        view = await pair.a.session.record(RecordRequest(), "rec_1")
        assert view.state == "recording"
        await pair.a.listen(1.0)
        assert pair.a.session.recordings()[0].duration_s > 0.5
        done = await pair.a.session.stop_recording("rec_1")
        assert (await pair.a.wait(RecordingFinished)).recording == done
        assert done.gaps == ()
    rate, samples = read_wav(tmp_path / done.file)
    assert rate == 16000
    assert len(samples) / rate == pytest.approx(done.duration_s, abs=0.001)
    near, far = np.ascontiguousarray(samples[:, 0]), np.ascontiguousarray(samples[:, 1])
    assert frequency(near, rate) == pytest.approx(600, abs=5)
    assert frequency(far, rate) == pytest.approx(1100, abs=5)


async def test_a_recording_is_readable_at_every_moment_and_finished_by_the_end_of_the_call(tmp_path: Path) -> None:
    async with call(recordings=tmp_path) as pair:
        await pair.a.session.record(RecordRequest(channels="mixed"))
        await pair.a.listen(1.2)
        (part,) = files(tmp_path)
        await until(lambda: part.stat().st_size > 16000)
        _, samples = read_wav(part)
        assert samples.shape[1] == 1
        assert len(samples) >= 0.5 * 16000
    assert [path.suffix for path in files(tmp_path)] == [".wav"]


@pytest.mark.behaviour("P11")
async def test_a_gap_in_what_is_heard_is_marked_and_filled_with_silence(tmp_path: Path) -> None:
    async with wire() as halves, call(connect=False, recordings=tmp_path) as pair:
        await connect_through(pair, halves)
        await pair.b.session.play(PlayRequest(tone="1000", loop=True))
        view = await pair.a.session.record(RecordRequest())
        await pair.a.listen(0.6)
        halves[1].drop = lambda data: data[0] > 127
        await pair.a.listen(1.0)
        halves[1].drop = lambda data: False
        await pair.a.listen(0.4)
        done = await pair.a.session.stop_recording(view.id)
    ((start, end),) = done.gaps
    assert 0.3 < start < 1.2
    assert 0.5 < end - start < 1.2
    _, samples = read_wav(tmp_path / done.file)
    assert not samples[int((start + 0.1) * 16000) : int((end - 0.1) * 16000), 1].any()


async def test_a_full_disk_ends_the_recording_and_not_the_call(tmp_path: Path) -> None:
    """A recording whose file cannot grow: the limit of the process stands for the disk's."""
    import resource

    async with call(recordings=tmp_path) as pair:
        view = await pair.a.session.record(RecordRequest())
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, hard))
        try:
            failed = await pair.a.wait(RecordingFailed)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert failed.recording.id == view.id
        assert failed.recording.state == "failed"
        assert pair.a.session.recordings() == ()
        received = pair.a.session.stats().packets_received
        await pair.a.listen(0.2)
        assert pair.a.session.stats().packets_received > received
    (part,) = files(tmp_path)
    _, samples = read_wav(part)
    assert len(samples) > 0


async def test_the_beep_of_a_recording_is_heard_by_the_far_end_and_stands_in_the_file(tmp_path: Path) -> None:
    async with call(recordings=tmp_path) as pair:
        pair.a.session.mute(True)
        view = await pair.a.session.record(RecordRequest(beep=True, format="opus"))
        assert view.beep
        assert frequency(await pair.b.listen(0.4), 16000) == pytest.approx(BEEP_HZ, abs=10)
        await pair.a.session.stop_recording(view.id)
        assert not (await pair.a.session.record(RecordRequest())).beep
    opts = SessionOptions(codecs=("pcmu",), ice=LOOPBACK, recording_beep_s=0.5)
    async with call(opts, recordings=tmp_path) as pair:
        view = await pair.a.session.record(RecordRequest())
        await pair.b.listen(1.2)
        pair.a.session.pause_recording(view.id)
        await pair.b.listen(0.2)
        assert level_dbov(await pair.b.listen(0.5)) < -60
        done = await pair.a.session.stop_recording(view.id)
        assert done.beep
    _, samples = read_wav(tmp_path / done.file)
    near = np.ascontiguousarray(samples[:, 0])
    assert frequency(near[:3200], 16000) == pytest.approx(BEEP_HZ, abs=10)
    assert not near[3200:8000].any()
    assert near[8000:11200].any()


async def test_less_room_than_is_to_stay_free_is_told_and_the_call_goes_on(tmp_path: Path) -> None:
    options = SessionOptions(codecs=("pcmu",), ice=LOOPBACK, recordings_floor=DiskFloor(1 << 62))
    async with call(options, recordings=tmp_path) as pair:
        with pytest.raises(DiskFull):
            await pair.a.session.record(RecordRequest())
        failed = await pair.a.wait(RecordingFailed)
        assert (failed.recording.state, pair.a.session.recordings()) == ("failed", ())
        assert "recordings_min_free_mb" in failed.detail
        await pair.a.listen(0.2)
    assert files(tmp_path) == []


ON_A_SMALL_DISK = """
import asyncio, json, pathlib, sys
from phoned.media.events import RecordingFailed
from phoned.model import PlayRequest, RecordRequest
from tests.support.media import call

async def main(disk):
    async with call(recordings=disk) as pair:
        await pair.b.session.play(PlayRequest(tone="1000", loop=True))
        for format_ in ("wav", "opus"):
            await pair.a.session.record(RecordRequest(format=format_))
        (disk / "x").write_bytes(bytes(920_000))
        one = await pair.a.wait(RecordingFailed, timeout_s=10)
        try:
            (disk / "y").write_bytes(bytes(2_000_000))
        except OSError:
            pass
        other = await pair.a.wait(RecordingFailed, 2, timeout_s=10)
        received = pair.a.session.stats().packets_received
        await pair.a.listen(0.3)
        on = pair.a.session.stats().packets_received > received
    views = [[each.recording.file, each.recording.duration_s, each.detail] for each in (one, other)]
    for view in views:
        import av
        with av.open(str(disk / view[0])) as container:
            view.append(sum(frame.samples / frame.sample_rate for frame in container.decode(audio=0)))
    print(json.dumps({"on": on, "views": views}))

asyncio.run(main(pathlib.Path(sys.argv[1])))
"""


def test_a_disk_that_is_really_full_ends_recordings_with_what_fitted(tmp_path: Path) -> None:
    if subprocess.run(["unshare", "-m", "true"], capture_output=True, timeout=10, check=False).returncode != 0:
        missing("unshare -m is not allowed here")
    script = tmp_path / "record.py"
    script.write_text(ON_A_SMALL_DISK)
    disk = tmp_path / "disk"
    disk.mkdir()
    command = f"mount -t tmpfs -o size=1m none {disk} && {sys.executable} {script} {disk}"
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", command],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "PYTHONPATH": os.getcwd()},
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["on"]
    assert {Path(file).suffix for file, *_ in told["views"]} == {".wav", ".opus"}
    for _, duration_s, detail, heard in told["views"]:
        assert "No space left" in detail
        assert 0.4 < duration_s < 20
        assert heard == pytest.approx(duration_s, abs=0.01)


async def test_recording_needs_a_directory(tmp_path: Path) -> None:
    async with call(connect=False) as pair:
        with pytest.raises(UnavailableError):
            await pair.a.session.record(RecordRequest())
    async with call(connect=False, recordings=tmp_path) as pair:
        with pytest.raises(NotFound):
            await pair.a.session.stop_recording("rec_9")
    async with call(connect=False, recordings=tmp_path / "gone") as pair:
        with pytest.raises(UnavailableError):
            await pair.a.session.record(RecordRequest())
