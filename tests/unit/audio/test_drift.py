"""Two clocks that differ: the buffer between them stays where it should be, and nobody hears it."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from phoned.audio.drift import MAX_CORRECTION, DriftControl, Stretcher

HOUR_FRAMES = 180_000


def sine(hertz: float, rate: int, seconds: float, level: float = 10_000) -> NDArray[np.int16]:
    return np.asarray(level * np.sin(2 * np.pi * hertz * np.arange(int(rate * seconds)) / rate), np.int16)


def pitch(samples: NDArray[np.int16], rate: int) -> float:
    """By the phase of its analytic signal: far finer than a spectrum's lines."""
    spectrum = np.fft.fft(samples.astype(float) * np.hanning(len(samples)))
    spectrum[len(samples) // 2 :] = 0
    phase = np.unwrap(np.angle(np.fft.ifft(spectrum)))
    middle = slice(len(samples) // 4, 3 * len(samples) // 4)
    return float(np.polyfit(np.arange(len(samples))[middle] / rate, phase[middle], 1)[0] / (2 * np.pi))


@pytest.mark.parametrize("ppm", [-200.0, 200.0, 0.0, 500.0])
def test_an_hour_of_drift_leaves_the_fill_where_it_should_be(ppm: float) -> None:
    control, fill, worst, largest = DriftControl(), 0.035, 0.0, 0.0
    blocks = 0.0
    for frame in range(HOUR_FRAMES):
        came = (frame + 1) * 0.02 * (1 + ppm * 1e-6)
        arrived = came - came % 0.01  # the card gives 10 ms at once
        fill += arrived - blocks
        blocks = arrived
        correction = control.update(fill - 0.035)
        fill -= 0.02 * (1 + correction)
        if frame > 1500:  # half a minute to learn the clocks
            worst = max(worst, abs(fill + 0.02 - 0.035))
            largest = max(largest, abs(correction - ppm * 1e-6))
    assert worst < 0.012  # a block, and little more
    assert largest < 0.0006  # of the pitch: well below what is heard, although blocks beat against frames


def test_no_correction_is_ever_heard() -> None:
    control = DriftControl()
    assert all(abs(control.update(excess)) <= MAX_CORRECTION for excess in (10.0, -10.0) for _ in range(1000))
    assert MAX_CORRECTION < 0.001


@pytest.mark.parametrize(("source", "target"), [(48_000, 16_000), (16_000, 48_000), (44_100, 16_000), (16_000, 16_000)])
def test_a_tone_keeps_its_pitch_and_level_over_any_ratio(source: int, target: int) -> None:
    stretcher = Stretcher(source, target)
    out: list[NDArray[np.int16]] = []
    for block in np.array_split(sine(1000, source, 2.0), 200):
        stretcher.feed(block)
        out.append(stretcher.drain())
    heard = np.concatenate(out)
    assert abs(len(heard) - 2 * target) < target / 200
    assert pitch(heard, target) == pytest.approx(1000, abs=0.05)
    assert np.sqrt(np.mean(heard[1000:-1000].astype(float) ** 2)) == pytest.approx(10_000 / np.sqrt(2), rel=0.005)


def test_what_would_be_an_image_or_an_alias_is_far_down() -> None:
    down = Stretcher(48_000, 16_000)
    down.feed(sine(11_000, 48_000, 1.0))
    assert np.abs(down.drain()[200:-200].astype(int)).max() < 32  # 50 dB
    up = Stretcher(16_000, 48_000)
    up.feed(sine(3_000, 16_000, 1.0))
    made = up.drain()[1000:-1000]
    spectrum = np.abs(np.fft.rfft(made * np.hanning(len(made))))
    lines = np.fft.rfftfreq(len(made), 1 / 48_000)
    assert spectrum[lines > 8_500].max() < spectrum.max() / 500


def test_a_correction_moves_the_pitch_by_just_that() -> None:
    stretcher = Stretcher(48_000, 16_000)
    stretcher.feed(sine(1000, 48_000, 3.0))
    assert pitch(stretcher.drain(500e-6), 16_000) == pytest.approx(1000.5, abs=0.02)


def test_frames_are_exact_or_not_given() -> None:
    stretcher = Stretcher(48_000, 16_000)
    stretcher.feed(np.zeros(960, np.int16))
    assert stretcher.take(320) is None  # the filter looks ahead
    stretcher.feed(np.zeros(960, np.int16))
    frame = stretcher.take(320)
    assert frame is not None
    assert len(frame) == 320
    before = stretcher.backlog
    stretcher.discard(100)
    assert stretcher.backlog == pytest.approx(before - 100)
    stretcher.discard(1e9)
    assert stretcher.backlog <= 1
    assert len(stretcher.drain()) <= 1
