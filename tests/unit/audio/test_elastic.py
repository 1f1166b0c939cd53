"""The buffers between a card and the 20 ms clock, with clocks that drift, blocks that are late and loops that stand."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from phoned.audio.elastic import MAX_RESERVE_S, RESERVE_S, Intake, Outlet
from tests.unit.audio.test_drift import pitch, sine

CARD, GRAPH = 48_000, 16_000


class Microphone:
    """A card with a clock of its own that says a tone, in blocks of 10 ms."""

    def __init__(self, ppm: float, hertz: float = 1000.0, rate: int = CARD) -> None:
        self._rate = rate * (1 + ppm * 1e-6)
        self._block = rate // 100
        self._step = 2 * np.pi * hertz / self._rate
        self._made = 0

    def until(self, seconds: float) -> list[bytes]:
        """The blocks that are complete by then."""
        blocks = []
        while (self._made + self._block) / self._rate <= seconds:
            at = np.arange(self._made, self._made + self._block)
            blocks.append(np.asarray(8000 * np.sin(at * self._step), np.int16).tobytes())
            self._made += self._block
        return blocks


class Card:
    """The other end of an outlet: plays 10 ms at a time, by a clock of its own."""

    def __init__(self, outlet: Outlet, ppm: float = 0.0) -> None:
        self._outlet = outlet
        self._rate = CARD * (1 + ppm * 1e-6)
        self._waiting = b""
        self._played = 0
        self.sound: list[bytes] = []

    def take(self, data: bytes) -> None:
        self._waiting += data

    def until(self, seconds: float) -> None:
        while (self._played + 480) / self._rate <= seconds:
            block, self._waiting = self._waiting[:960], self._waiting[960:]
            self._outlet.played(len(block) // 2, 480 - len(block) // 2)
            self.sound.append(block + bytes(960 - len(block)))
            self._played += 480


@pytest.mark.parametrize("ppm", [-200.0, 200.0])
def test_half_a_minute_of_a_drifting_microphone_has_no_gap_and_true_pitch(ppm: float) -> None:
    card, intake, frames, fills = Microphone(ppm), Intake(CARD, GRAPH), [], []
    for tick in range(1250):
        for block in card.until(tick * 0.02):
            intake.push(block)
        frame = intake.read()
        if frame is not None:
            frames.append(frame)
        fills.append(intake.fill_s)
    assert intake.wants == intake.cuts == 0
    assert len(frames) >= 1245
    assert max(fills[100:]) < 0.04  # what it adds to the delay
    heard: NDArray[np.int16] = np.concatenate(frames[-500:])
    assert pitch(heard, GRAPH) == pytest.approx(1000, rel=0.001)


@pytest.mark.parametrize("ppm", [-200.0, 200.0])
def test_half_a_minute_of_a_drifting_speaker_has_no_gap_and_true_pitch(ppm: float) -> None:
    outlet, tone = Outlet(GRAPH, CARD), sine(1000, GRAPH, 25.0)
    card = Card(outlet, ppm)
    for tick in range(1250):
        card.until(tick * 0.02)
        card.take(outlet.write(tone[tick * 320 : tick * 320 + 320]))
        assert outlet.fill_s < 0.06
    assert outlet.wants == outlet.cuts == 0
    heard: NDArray[np.int16] = np.frombuffer(b"".join(card.sound[-1000:]), np.int16)
    assert pitch(heard, CARD) == pytest.approx(1000, rel=0.001)


def test_a_microphone_that_pauses_is_silent_and_then_a_little_further_behind() -> None:
    card, intake = Microphone(0.0), Intake(CARD, GRAPH)
    given = []
    for tick in range(400):
        if not 100 <= tick < 105:
            for block in card.until(tick * 0.02):
                intake.push(block)
        elif tick == 104:
            card.until(tick * 0.02)  # lost
        given.append(intake.read() is not None)
    assert intake.wants == 1  # one want for one pause, not one for each frame
    assert all(given[120:])
    assert given[102:104] == [False, False]


def test_after_the_loop_stood_still_the_microphone_is_not_late_for_good() -> None:
    intake = Intake(CARD, GRAPH)
    for _ in range(100):
        intake.push(bytes(960))
    assert intake.cuts >= 1
    assert intake.fill_s < 0.13
    for _ in range(300):
        intake.push(bytes(960))
        intake.push(bytes(960))
        assert intake.read() is not None
    assert intake.wants == 0


def test_a_speaker_that_ran_dry_gets_more_reserve_and_less_again_in_time() -> None:
    outlet = Outlet(GRAPH, CARD)
    silence = np.zeros(320, np.int16)
    assert len(outlet.write(silence)) > 2 * 960  # a reserve before the first frame
    outlet.played(round(outlet.fill_s * CARD), 0)
    for _ in range(40):
        outlet.played(480, 480)
        outlet.write(silence)
        outlet.played(round(outlet.fill_s * CARD), 0)
    assert outlet.wants == 40
    outlet.played(0, 480)
    assert RESERVE_S + 0.02 < len(outlet.write(silence)) / 2 / CARD <= MAX_RESERVE_S + 0.021


def test_a_pause_of_the_calls_is_no_fault_of_the_card() -> None:
    outlet = Outlet(GRAPH, CARD)
    outlet.write(np.zeros(320, np.int16))
    outlet.played(5000, CARD)  # a second without anything to play
    outlet.write(np.zeros(320, np.int16))
    assert outlet.wants == 0


def test_a_card_that_stands_still_is_not_fed_for_ever() -> None:
    outlet = Outlet(GRAPH, CARD)
    for _ in range(500):
        outlet.write(np.zeros(320, np.int16))
    assert outlet.fill_s < 0.15
    assert outlet.cuts > 400


def test_a_calm_minute_brings_the_reserve_down() -> None:
    intake = Intake(CARD, GRAPH)
    intake.push(bytes(960 * 4))
    while intake.read() is not None:
        pass
    assert intake.wants == 1
    intake.push(bytes(960 * 5))
    for _ in range(3001):
        assert intake.read() is not None
        intake.push(bytes(1920))
    assert intake.wants == 1


@pytest.mark.long
@pytest.mark.parametrize("ppm", [-200.0, 200.0])
def test_an_hour_of_a_drifting_microphone_in_full(ppm: float) -> None:
    card, intake = Microphone(ppm, rate=8000), Intake(8000, 8000)
    fills = []
    for tick in range(180_000):
        for block in card.until(tick * 0.02):
            intake.push(block)
        intake.read()
        fills.append(intake.fill_s)
    assert intake.wants == intake.cuts == 0
    assert max(fills[100:]) < 0.04
