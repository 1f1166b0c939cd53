"""Files one after another: seams, rounds, and files that go wrong when their turn comes."""

from __future__ import annotations

import wave
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pytest
from numpy.typing import NDArray

from phoned.audio.files import beneath
from phoned.audio.playlist import Entry, Playlist
from phoned.errors import InvalidValue
from tests.support.media import frequency
from tests.support.sounds import encoded

RATE = 16000


def ramp(path: Path, first: int, count: int, rate: int = RATE) -> None:
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, rate, 0, "NONE", ""))
        file.writeframes(np.arange(first, first + count, dtype=np.int16).tobytes())


def heard(files: Playlist) -> tuple[list[int], NDArray[np.int16]]:
    """Which files, in order, and all of the sound."""
    order: list[int] = []
    parts: list[bytes] = []
    while True:
        at, data = files.read()
        if not data:
            assert files.read()[1] == b""
            return order, np.frombuffer(b"".join(parts), np.int16)
        if not order or order[-1] != at:
            order.append(at)
        parts.append(data)


@pytest.mark.parametrize("rounds", [1, 3])
def test_files_follow_each_other_without_a_seam(tmp_path: Path, rounds: int) -> None:
    ramp(tmp_path / "a.wav", 0, 9000)
    ramp(tmp_path / "b.wav", 9000, 50)
    files = Playlist(beneath(tmp_path, ("a.wav", "b.wav")), RATE, rounds)
    files.check()
    order, sound = heard(files)
    assert order == [0, 1] * rounds
    assert sound.tolist() == list(range(9050)) * rounds
    files.close()


def test_one_file_goes_round_without_a_seam_at_another_rate_too(tmp_path: Path) -> None:
    ramp(tmp_path / "a.wav", 0, 4000)
    assert heard(Playlist(beneath(tmp_path, ("a.wav",)), RATE, 3))[1].tolist() == list(range(4000)) * 3
    assert len(heard(Playlist(beneath(tmp_path, ("a.wav",)), 8000, 3))[1]) == pytest.approx(6000, abs=2)


def test_files_of_every_kind_and_rate_are_one_list(tmp_path: Path) -> None:
    encoded(tmp_path / "a.opus.ogg", 600, 0.5)
    encoded(tmp_path / "b.a.mp3", 900, 0.5, rate=44100)
    ramp(tmp_path / "c.wav", 0, 4000, 8000)
    order, sound = heard(Playlist(beneath(tmp_path, ("a.opus.ogg", "b.a.mp3", "c.wav")), RATE, 1))
    assert order == [0, 1, 2]
    assert len(sound) / RATE == pytest.approx(1.5, abs=0.03)
    assert frequency(sound[1000:7000], RATE) == pytest.approx(600, abs=4)
    assert frequency(sound[9000:15000], RATE) == pytest.approx(900, abs=4)


def test_an_endless_list_begins_again(tmp_path: Path) -> None:
    ramp(tmp_path / "a.wav", 0, 100)
    ramp(tmp_path / "b.wav", 100, 100)
    files = Playlist(beneath(tmp_path, ("a.wav", "b.wav")), RATE, None)
    assert [files.read()[0] for _ in range(50)] == [0, 1] * 25
    files.close()


def test_the_one_that_is_no_good_is_named_before_anything_is_heard(tmp_path: Path) -> None:
    ramp(tmp_path / "a.wav", 0, 100)
    (tmp_path / "text.ogg").write_text("no sound")
    files = Playlist(beneath(tmp_path, ("a.wav", "a.wav", "text.ogg")), RATE, 1)
    with pytest.raises(InvalidValue, match=r"text\.ogg.*no WAV, Ogg, FLAC or MP3") as refused:
        files.check()
    assert refused.value.pointer == "/files/2"


@pytest.mark.parametrize("names", [("gone.wav",), ("a.wav", "gone.wav")])
def test_a_file_that_is_not_there_is_named_with_the_place_where_it_belongs(
    tmp_path: Path, names: tuple[str, ...]
) -> None:
    ramp(tmp_path / "a.wav", 0, 100)
    with pytest.raises(InvalidValue, match=r"^gone\.wav: .*No such file.*\[media\] media_dir") as refused:
        Playlist(beneath(tmp_path, names), RATE, 1).check()
    assert str(tmp_path) not in refused.value.detail


def test_a_file_that_goes_away_before_its_turn_is_told(tmp_path: Path) -> None:
    ramp(tmp_path / "a.wav", 0, 100)
    ramp(tmp_path / "b.wav", 0, 100)
    files = Playlist(beneath(tmp_path, ("a.wav", "b.wav")), RATE, 1)
    files.check()
    (tmp_path / "b.wav").unlink()
    assert files.read()[0] == 0
    with pytest.raises(InvalidValue, match=r"b\.wav: this file cannot be opened"):
        files.read()
    files.close()


def test_a_file_that_shrinks_to_nothing_ends_an_endless_round(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    ramp(path, 0, 20_000)
    files = Playlist(beneath(tmp_path, ("a.wav",)), RATE, None)
    files.read()
    path.write_bytes(path.read_bytes()[:44])
    files.read()  # what was read ahead
    with pytest.raises(InvalidValue, match="holds no sound"):
        files.read()
    files.close()


@pytest.mark.parametrize("errno", [5, None])
def test_a_disk_that_fails_when_it_is_opened_is_no_fault_of_ours(errno: int | None) -> None:
    def fail() -> tuple[BinaryIO, int]:
        raise OSError(errno, "Input/output error") if errno else OSError("it is gone")

    with pytest.raises(InvalidValue, match=r"cannot be read: (Input/output error|it is gone)"):
        Playlist((Entry(open=fail),), RATE, 1).check()
