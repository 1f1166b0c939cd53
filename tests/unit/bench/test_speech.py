"""The sound that benches say."""

from __future__ import annotations

import numpy as np
import pytest

from tests.bench.speech import SECONDS, frames, speech, start_of


@pytest.mark.parametrize("rate", [8_000, 16_000, 48_000])
def test_speech_is_as_loud_as_speech_with_pauses_and_is_never_clipped(rate: int) -> None:
    samples = np.frombuffer(speech(rate), np.int16).astype(np.float64)
    assert len(samples) == SECONDS * rate
    assert 3000 < np.abs(samples).max() < 32767
    loud = np.sqrt(np.mean(samples.reshape(-1, rate // 50) ** 2, axis=1))
    assert 0.15 < np.mean(loud < 50) < 0.4


def test_speech_is_the_same_at_every_rate() -> None:
    slow, fast = (np.frombuffer(speech(rate), np.int16).astype(np.float64) for rate in (8_000, 16_000))
    assert np.corrcoef(slow, fast[::2])[0, 1] > 0.9


def test_frames_are_the_whole_of_it_and_calls_begin_at_different_ones() -> None:
    assert b"".join(frames(8_000)) == speech(8_000)
    assert len({start_of(call) for call in range(SECONDS * 50)}) == SECONDS * 50
