"""Voice activity: what begins it, what does not, and when it has ended."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pytest

from phoned.audio.tones import sine
from phoned.media.voice import VoiceDetector

RATE = 16_000
FRAME = RATE // 50


def noise(dbov: float, seconds: float, seed: int = 1) -> list[bytes | None]:
    """White noise."""
    samples = np.random.default_rng(seed).standard_normal(round(seconds * RATE)) * 32768 * 10 ** (dbov / 20)
    return framed(samples)


def speech(dbov: float, seconds: float, background: float = -70.0) -> list[bytes | None]:
    """Syllables: 4 a second of a buzz, with gaps between them, over noise."""
    time = np.arange(round(seconds * RATE)) / RATE
    buzz = np.sign(np.sin(2 * np.pi * 140 * time)) * np.maximum(0, np.sin(2 * np.pi * 4 * time)) ** 2
    hiss = np.random.default_rng(2).standard_normal(len(time)) * 32768 * 10 ** (background / 20)
    return framed(buzz * 32768 * 10 ** (dbov / 20) * 1.6 + hiss)


def tone(seconds: float) -> list[bytes | None]:
    return framed(np.frombuffer(sine((1_004,), RATE, round(seconds * 1000)), np.int16))


def silence(seconds: float) -> list[bytes | None]:
    return [bytes(FRAME * 2)] * round(seconds * 50)


def nothing(seconds: float) -> list[bytes | None]:
    return [None] * round(seconds * 50)


def framed(
    samples: np.ndarray[tuple[int], np.dtype[np.float64]] | np.ndarray[tuple[int], np.dtype[np.int16]],
) -> list[bytes | None]:
    pcm = np.clip(samples, -32768, 32767).astype(np.int16).tobytes()
    return [pcm[at : at + FRAME * 2] for at in range(0, len(pcm), FRAME * 2)]


def turns(*parts: Iterable[bytes | None]) -> list[tuple[float, bool]]:
    """When a voice began (True) and ended, in seconds."""
    detector = VoiceDetector()
    found = []
    for number, frame in enumerate((frame for part in parts for frame in part), 1):
        turned = detector.feed(frame)
        if turned is not None:
            assert turned is detector.speaking
            found.append((number / 50, turned))
    return found


@pytest.mark.parametrize("level", [-12.0, -25.0, -38.0])
@pytest.mark.parametrize("background", [-75.0, -55.0])
def test_speech_begins_and_ends_once_with_a_hangover(level: float, background: float) -> None:
    (began, on), (ended, off) = turns(
        noise(background, 2.0), speech(level, 3.0, background), noise(background, 2.0, seed=3)
    )
    assert (on, off) == (True, False)
    assert 2.0 < began < 2.35
    assert 5.3 < ended < 5.75


def test_two_sentences_are_told_apart_by_a_pause_and_not_by_a_breath() -> None:
    said = turns(
        speech(-20, 2.0), noise(-70, 0.3), speech(-20, 2.0), noise(-70, 1.5), speech(-20, 1.0), noise(-70, 1.0)
    )
    assert [on for _, on in said] == [True, False, True, False]


@pytest.mark.parametrize("quiet", [nothing(3.0), silence(3.0), noise(-75, 3.0), noise(-52, 3.0)])
def test_a_quiet_line_is_no_voice(quiet: list[bytes | None]) -> None:
    assert turns(quiet) == []


def test_a_click_is_no_voice() -> None:
    assert turns(noise(-70, 1.0), tone(0.02), noise(-70, 1.0)) == []


def test_a_tone_counts_and_becomes_background_when_it_goes_on() -> None:
    (began, _), (ended, _) = turns(silence(1.0), tone(30.0))
    assert began == pytest.approx(1.08, abs=0.04)
    assert 8.0 < ended < 16.0


def test_noise_that_sets_in_is_background_within_seconds_and_speech_is_heard_above_it() -> None:
    said = turns(noise(-70, 1.0), noise(-42, 8.0), speech(-22, 2.0, -42), noise(-42, 2.0, seed=5))
    assert [on for _, on in said] == [True, False, True, False]
    assert said[1][0] < 8.0
    assert 9.0 < said[2][0] < 9.4


def test_silence_that_was_made_up_does_not_make_the_background_a_voice() -> None:
    said = turns(noise(-45, 8.0), silence(1.0), nothing(0.5), noise(-45, 3.0, seed=7))
    assert [on for _, on in said] == [True, False]
    assert said[1][0] < 8.0


def test_a_voice_that_is_cut_off_has_ended() -> None:
    (began, _), (ended, on) = turns(speech(-20, 1.0), nothing(2.0))
    assert not on
    assert began < 0.4
    assert 1.4 < ended < 1.7


def test_half_a_window_is_looked_at_too() -> None:
    frames = tone(1.0)
    frames[::2] = [None] * 25
    assert turns(silence(1.0), frames)[0][1]
