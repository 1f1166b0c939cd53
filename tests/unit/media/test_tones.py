"""Audible DTMF: made and detected, and not imagined in noise."""

from __future__ import annotations

import numpy as np
import pytest

from phoned.errors import InvalidValue
from phoned.media.dtmf import DIGITS
from phoned.media.tones import ToneDetector, tone


def dial(rate: int, *, noise_db: float | None = None, tone_ms: int = 80) -> bytes:
    sound = b"".join(tone(digit, rate, tone_ms) + bytes(rate * 60 // 1000 * 2) for digit in DIGITS) + bytes(rate // 5)
    samples = np.frombuffer(sound, np.int16).astype(float)
    if noise_db is not None:
        samples += np.random.default_rng(3).standard_normal(len(samples)) * 32768 * 10 ** (noise_db / 20)
    return samples.clip(-32768, 32767).astype(np.int16).tobytes()


@pytest.mark.parametrize("rate", [8000, 16000, 48000])
@pytest.mark.parametrize("noise_db", [None, -40, -30, -25])
def test_all_digits_are_found_in_frames_of_20_ms(rate: int, noise_db: float | None) -> None:
    detector = ToneDetector(rate)
    sound = dial(rate, noise_db=noise_db)
    size = rate // 25
    found = [digit for at in range(0, len(sound), size) for digit in detector.feed(sound[at : at + size])]
    assert "".join(digit.digit for digit in found) == DIGITS
    assert all(60 <= digit.duration_ms <= 110 for digit in found)


def test_digits_without_a_gap_are_told_apart() -> None:
    detector = ToneDetector(8000)
    sound = tone("1", 8000, 100) + tone("9", 8000, 100) + bytes(3200)
    assert [digit.digit for digit in detector.feed(sound)] == ["1", "9"]


def test_noise_single_tones_and_music_are_no_digits() -> None:
    rng = np.random.default_rng(9)
    at = np.arange(8000 * 20) / 8000
    for sound in (
        rng.standard_normal(8000 * 120) * 3000,
        8000 * np.sin(2 * np.pi * 770 * at),
        6000 * np.sin(2 * np.pi * 440 * at) + 6000 * np.sin(2 * np.pi * 480 * at),
        sum(3000 * np.sin(2 * np.pi * f * at) for f in (523.25, 659.25, 783.99, 1318.5)),
    ):
        pcm = np.asarray(sound).clip(-32768, 32767).astype(np.int16).tobytes()
        assert ToneDetector(8000).feed(pcm) == ()


def test_an_unknown_digit_has_no_tone() -> None:
    with pytest.raises(InvalidValue):
        tone("w", 8000, 100)
