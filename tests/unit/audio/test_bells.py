"""What the phone says by itself, and what a trial hears."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np
import pytest

from phoned.audio import bells, trial
from phoned.audio.tones import sine
from phoned.errors import InvalidValue


@pytest.mark.parametrize("make", [bells.ringing, bells.waiting, bells.ringback])
def test_tones_are_whole_frames_with_a_pause(make: object) -> None:
    pcm = np.frombuffer(make(16_000), np.int16)  # type: ignore[operator]
    assert len(pcm) % 320 == 0
    assert not pcm[-16_000:].any()
    assert 2000 < np.abs(pcm).max() < 32_000


def test_a_ringtone_is_read_at_the_bells_rate(tmp_path: Path) -> None:
    path = tmp_path / "ring.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(44_100)
        file.writeframes(sine((600,), 44_100, 1000))
    samples = np.frombuffer(bells.ringtone(path, 16_000), np.int16)
    assert len(samples) == pytest.approx(16_000, abs=50)
    assert trial.pitch(samples, 16_000) == pytest.approx(600, abs=1)
    assert bells.ringtone(None, 16_000) == bells.ringing(16_000)
    path.write_text("no sound")
    with pytest.raises(InvalidValue):
        bells.ringtone(path, 16_000)
    with pytest.raises(FileNotFoundError):
        bells.ringtone(tmp_path / "none", 16_000)


def run(hear: object, rate: int = 16_000) -> tuple[trial.Trial, list[bytes]]:
    said: list[bytes] = []
    done: list[bool] = []

    def read() -> bytes | None:
        return hear(said)  # type: ignore[operator, no-any-return]

    test = trial.Trial(rate, read, said.append, lambda: done.append(True))
    for _ in range(trial.FRAMES + 5):
        test.tick(0.0, 0.0)
    assert done == [True]
    test.skip(1)
    test.crashed(RuntimeError())
    return test, said


def test_a_tone_that_comes_back_is_heard_with_its_pitch() -> None:
    test, said = run(lambda said: said[-6] if len(said) > 5 else None)
    assert test.heard
    assert test.heard_hz == pytest.approx(1000, abs=1)
    assert test.quiet_dbov == -127
    assert test.level_dbov == pytest.approx(-15, abs=1)
    assert not any(said[0])


def test_silence_a_hum_and_another_tone_are_not_taken_for_ours() -> None:
    assert not run(lambda said: None)[0].heard
    assert run(lambda said: None)[0].heard_hz is None
    hum = sine((50,), 16_000, 20)
    assert not run(lambda said: hum)[0].heard
    other = sine((1500,), 16_000, 20)
    test, _ = run(lambda said: other)
    assert not test.heard
    assert test.heard_hz == pytest.approx(1500, abs=5)
    offset = np.full(320, 500, np.int16).tobytes()
    assert not run(lambda said: offset)[0].heard


def test_nothing_has_no_pitch() -> None:
    assert trial.pitch(np.empty(0, np.int16), 16_000) is None
    assert trial.pitch(np.full(64, 7, np.int16), 16_000) is None
    assert trial.level(np.empty(0, np.int16)) == -127
