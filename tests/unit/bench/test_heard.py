"""What the quality bench reads out of a sound."""

from __future__ import annotations

import numpy as np
import pytest

from tests.bench import heard
from tests.bench.end_aiortc import played
from tests.bench.heard import LOOP, RATE, Samples


def said(seconds: float, start: int = 12_345) -> Samples:
    return np.take(heard.reference(), range(start, start + int(seconds * RATE)), mode="wrap")


def test_what_was_said_is_heard_without_fault() -> None:
    quality = heard.measure(said(8))
    assert quality.place == 12_345
    assert quality.delay_ms == [0, 0, 0, 0]
    assert quality.level_db == pytest.approx([0, 0, 0, 0])
    assert quality.gap_ms == []
    assert quality.gap_ms_per_s == quality.longest_gap_ms == 0


def test_missing_speech_is_found_and_a_pause_is_none() -> None:
    sound = said(8, 0).copy()
    sound[800:4_800] = 0  # 250 ms from within the first syllables
    quality = heard.measure(sound)
    assert 100 <= sum(quality.gap_ms) <= 250
    assert quality.longest_gap_ms <= 250


def test_a_delay_that_grows_is_seen_and_is_no_gap() -> None:
    sound = np.concatenate((said(4, 0), np.zeros(1_600, np.int16), said(4, 4 * RATE)))
    quality = heard.measure(sound)
    assert quality.delay_ms[0] == 0
    assert quality.delay_ms[-1] == pytest.approx(100)


def test_a_softer_sound_has_a_lower_level() -> None:
    assert heard.measure((said(4) // 2).astype(np.int16)).level_db == pytest.approx([-6, -6], abs=0.1)


def test_too_little_is_refused() -> None:
    with pytest.raises(ValueError, match=r"0\.0 s were heard"):
        heard.measure(heard.at_16000(b"", 48_000))


def test_another_rate_is_the_same_sound() -> None:
    from tests.bench.speech import speech

    sound = heard.at_16000(speech(48_000), 48_000)
    assert len(sound) == LOOP
    assert heard.measure(sound).place == 0


def test_a_sound_card_that_is_given_nothing_plays_silence() -> None:
    one, two = b"\1\0" * 4, b"\2\0" * 4
    on_time = [(0.02 * n, one) for n in range(5)]
    assert played(on_time) == one * 5
    late = [(0.0, one), (0.02, one), (0.1, two), (0.1, two), (0.12, two)]
    assert played(late) == one * 2 + bytes(8) * 2 + two * 3
    assert played(on_time[:2]) == b""
