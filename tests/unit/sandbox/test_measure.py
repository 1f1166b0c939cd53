"""An echo is measured: how alike, how loud, how late, and its holes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from phoned.sandbox.measure import Samples, echo_of, melody, read_stereo, write_wav

RATE = 8000


def tune(seconds: float = 3.0) -> Samples:
    return np.frombuffer(melody(RATE, seconds), "<i2").astype(np.float64) / 32768


def echoed(said: Samples, *, delay_ms: int, gain: float) -> Samples:
    late = np.concatenate([np.zeros(RATE * delay_ms // 1000), said * gain])
    return late[: len(said)]


def test_a_melody_has_the_asked_length_and_no_silence() -> None:
    samples = tune(1.5)
    assert len(samples) == RATE * 1.5
    loud = [float(np.abs(samples[start : start + 400]).max()) for start in range(0, len(samples) - 400, 400)]
    assert min(loud) > 0.1


@pytest.mark.parametrize(("delay_ms", "gain", "level_db"), [(0, 1.0, 0), (120, 0.5, -6), (700, 0.1, -20)])
def test_a_good_echo_is_recognised(delay_ms: int, gain: float, level_db: int) -> None:
    said = tune()
    echo = echo_of(said, echoed(said, delay_ms=delay_ms, gain=gain), RATE)
    assert echo.correlation > 0.98
    assert echo.delay_ms == pytest.approx(delay_ms, abs=1)
    assert echo.level_db == pytest.approx(level_db, abs=0.5)


def test_a_delay_that_moves_is_no_worse_an_echo() -> None:
    said = tune()
    heard = echoed(said, delay_ms=100, gain=0.8)
    heard[RATE:] = echoed(said, delay_ms=140, gain=0.8)[RATE:]
    assert echo_of(said, heard, RATE).correlation > 0.9


def test_a_hole_is_measured() -> None:
    said = tune()
    heard = echoed(said, delay_ms=100, gain=0.8)
    heard[RATE : RATE + RATE * 3 // 10] = 0
    assert 260 <= echo_of(said, heard, RATE).longest_gap_ms <= 320


def test_silence_and_something_else_are_no_echo() -> None:
    said = tune()
    assert echo_of(said, np.zeros(len(said)), RATE).correlation == 0
    assert echo_of(np.zeros(0), np.zeros(0), RATE).level_db == -120
    noise = np.random.default_rng(1).normal(0, 0.1, len(said))
    assert abs(echo_of(said, noise, RATE).correlation) < 0.4


def test_a_stereo_file_is_read_by_its_two_sides(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    write_wav(path, bytes(range(0, 64)) * 4, RATE)
    assert path.stat().st_size == 44 + 256
    said, heard, rate = read_stereo(path)
    assert (len(said), len(heard), rate) == (64, 64, RATE)
