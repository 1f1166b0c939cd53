"""Compressed sound: every kind, from its first sample to its last, and files that are not what they seem."""

from __future__ import annotations

import io
import random
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from phoned.audio import decoded
from phoned.audio.decoded import DecodedReader, container_of
from phoned.errors import InvalidValue
from tests.support.media import frequency
from tests.support.sounds import KINDS, encoded

RATE = 16000


def reader(data: bytes, kind: str | None = None, rate: int = RATE) -> DecodedReader:
    return DecodedReader(io.BytesIO(data), kind or container_of(data[:4]) or "", rate)


def whole(found: DecodedReader) -> NDArray[np.int16]:
    parts = []
    while len(samples := found.read(RATE // 2)):
        parts.append(samples)
    return np.concatenate(parts) if parts else np.empty(0, np.int16)


@pytest.fixture(scope="module")
def sounds(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """One second of 800 Hz, of each kind."""
    folder = tmp_path_factory.mktemp("sounds")
    return {name: encoded(folder / name).read_bytes() for name in KINDS}


@pytest.fixture(scope="module")
def longer(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Ten seconds."""
    folder = tmp_path_factory.mktemp("longer")
    return {name: encoded(folder / name, seconds=10.0).read_bytes() for name in KINDS}


@pytest.mark.parametrize("name", KINDS)
def test_each_kind_is_heard_whole_and_again(sounds: dict[str, bytes], name: str) -> None:
    found = reader(sounds[name])
    for _ in range(2):
        heard = whole(found)
        assert len(heard) / RATE == pytest.approx(1.0, abs=0.03)
        assert frequency(heard[2000:12000], RATE) == pytest.approx(800, abs=2)
        assert 7000 < np.abs(heard[2000:12000]).max() < 8600
        found.rewind()
    found.close()


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (b"OggS", "ogg"),
        (b"fLaC", "flac"),
        (b"ID3\x04", "mp3"),
        (b"\xff\xfb\x90\x00", "mp3"),
        (b"\xff\xf3\x90\x00", "mp3"),
        (b"\xff\xf1\x50\x80", None),  # AAC
        (b"#EXT", None),
        (b"RIFF", None),
        (b"", None),
    ],
)
def test_the_first_bytes_say_what_it_is(head: bytes, kind: str | None) -> None:
    assert container_of(head) == kind


@pytest.mark.parametrize("name", KINDS)
def test_what_was_cut_off_is_played_as_far_as_it_goes(longer: dict[str, bytes], name: str) -> None:
    heard = whole(reader(longer[name][: len(longer[name]) * 2 // 3]))
    assert 2.0 < len(heard) / RATE < 9.0


@pytest.mark.parametrize("name", KINDS)
def test_a_damaged_place_is_passed_over(longer: dict[str, bytes], name: str) -> None:
    data = bytearray(longer[name])
    middle = len(data) * 3 // 4
    data[middle : middle + 40] = bytes(40)
    assert len(whole(reader(bytes(data)))) / RATE > 5.0


def test_words_in_another_alphabet_and_a_picture_do_no_harm(tmp_path: Path) -> None:
    data = encoded(tmp_path / "a.mp3", title="x").read_bytes()
    assert data[:3] == b"ID3"
    size = int.from_bytes(data[6:10], "big")  # small: the same with and without the spare bits
    picture = b"\x00image/png\x00\x03\x00" + b"\x89PNG\r\n\x1a\n" + bytes(5000)
    frames = b"TIT2" + (5).to_bytes(4, "big") + b"\x00\x00" + b"\x03\xff\xfe\xe4\xf6"
    frames += b"APIC" + len(picture).to_bytes(4, "big") + b"\x00\x00" + picture
    length = len(frames)
    spread = bytes((length >> shift) & 127 for shift in (21, 14, 7, 0))
    heard = whole(reader(b"ID3\x03\x00\x00" + spread + frames + data[10 + size :]))
    assert len(heard) / RATE == pytest.approx(1.0, abs=0.03)


def test_a_chain_of_streams_is_one_sound(tmp_path: Path) -> None:
    one = encoded(tmp_path / "a.opus.ogg", 800, 0.5, channels=1).read_bytes()
    other = encoded(tmp_path / "b.opus.ogg", 500, 0.5, channels=1).read_bytes()
    heard = whole(reader(one + other))
    assert len(heard) / RATE == pytest.approx(1.0, abs=0.05)
    assert frequency(heard[1000:7000], RATE) == pytest.approx(800, abs=3)
    assert frequency(heard[-7000:-1000], RATE) == pytest.approx(500, abs=3)


@pytest.mark.parametrize("kind", ["ogg", "flac", "mp3"])
@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"OggS",
        b"fLaC\x00\x00\x00\x22",
        b"ID3\x03\x00\x00\x7f\x7f\x7f\x7f",  # a tag of 256 MB
        b"fLaC\x06\xff\xff\xff" + bytes(100),  # a picture of 16 MB
        b"OggS" + bytes(2000),
        random.Random(1).randbytes(5000),
    ],
)
def test_what_holds_no_sound_is_refused(kind: str, data: bytes) -> None:
    try:
        assert not len(reader(data, kind).read(RATE))
    except InvalidValue:
        pass


def test_a_video_is_not_looked_into(tmp_path: Path) -> None:
    path = tmp_path / "a.ogg"
    with av.open(str(path), "w", format="ogg") as container:
        stream = container.add_stream("libvpx", rate=10)
        stream.width = stream.height = 32
        frame = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24")
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with pytest.raises(InvalidValue, match="no sound that can be decoded"):
        reader(path.read_bytes())


class Endless(io.RawIOBase):
    """Pages of Ogg that carry one packet without an end."""

    def __init__(self, head: bytes) -> None:
        self._head = head
        self._at = 0
        self.read_bytes = 0

    def readable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        self._at = offset if whence == 0 else self._at + offset if whence == 1 else 1 << 40
        return self._at

    def tell(self) -> int:
        return self._at

    def read(self, size: int = -1) -> bytes:
        data = self._head[self._at : self._at + size].ljust(size, b"\x00")
        self._at += size
        self.read_bytes += size
        return data


@pytest.mark.parametrize("kind", ["ogg", "flac", "mp3"])
def test_a_file_without_end_and_without_sound_is_given_up(
    monkeypatch: pytest.MonkeyPatch, kind: str, sounds: dict[str, bytes]
) -> None:
    monkeypatch.setattr(decoded, "MAX_SILENT_BYTES", 200_000)
    head = {"ogg": "opus.ogg", "flac": "a.flac", "mp3": "a.mp3"}[kind]
    file = Endless(sounds[head][: 300 if kind == "ogg" else 3000])
    with pytest.raises(InvalidValue):
        whole(DecodedReader(file, kind, RATE))  # type: ignore[arg-type]  # all that is used of a file
    assert file.read_bytes < 2_000_000


def test_a_rate_beyond_all_use_is_refused(tmp_path: Path) -> None:
    data = encoded(tmp_path / "a.flac", 800, 0.2, rate=384_000, channels=1).read_bytes()
    with pytest.raises(InvalidValue, match="384000 Hz"):
        whole(reader(data))


def test_what_is_damaged_all_along_is_given_up(sounds: dict[str, bytes]) -> None:
    frame = sounds["a.mp3"].rfind(b"\xff\xfb", 0, len(sounds["a.mp3"]) // 2)
    header = sounds["a.mp3"][frame : frame + 4]
    noise = random.Random(3)
    data = sounds["a.mp3"][:frame] + b"".join(header + noise.randbytes(380) for _ in range(2000))
    with pytest.raises(InvalidValue, match="damaged"):
        whole(reader(data))


def test_nothing_is_said_through_ffmpeg(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoded, "MAX_SILENT_BYTES", 100_000)
    with pytest.raises(InvalidValue, match="no sound"):
        reader(b"fLaC" + (b"\x06\x00\xff\xff" + bytes(0xFFFF)) * 5)
    assert capfd.readouterr() == ("", "")


def test_a_broken_disk_is_told(sounds: dict[str, bytes]) -> None:
    file = io.BytesIO(sounds["a.flac"])
    found = DecodedReader(file, "flac", RATE)
    file.close()
    with pytest.raises(ValueError, match="closed file"):
        whole(found)


def test_any_damage_is_played_or_refused(sounds: dict[str, bytes]) -> None:
    chance = random.Random(7)
    for name in KINDS:
        for _ in range(15):
            data = bytearray(sounds[name])
            for _ in range(chance.randrange(1, 40)):
                data[chance.randrange(4, min(len(data), 3000))] = chance.randrange(256)
            try:
                assert len(whole(reader(bytes(data)))) < 100 * RATE
            except InvalidValue:
                pass
