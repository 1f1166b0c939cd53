from __future__ import annotations

import pytest

from phoned.errors import AtCapacity
from phoned.media.dtmf import Digit
from phoned.media.inband import MAX_QUEUE, InbandDigits
from phoned.media.tones import ToneDetector

RATES = pytest.mark.parametrize("rate", [8000, 16000, 48000])


class Keys:
    def __init__(self, rate: int) -> None:
        self.events: list[str] = []
        self.rate = rate
        self.source = InbandDigits(rate, sent=self.events.append, silent=lambda: self.events.append("silent"))

    def sound(self) -> bytes:
        """All of it."""
        frames = []
        while (frame := self.source.read()) is not None:
            assert len(frame) == self.rate // 50 * 2
            frames.append(frame)
        return b"".join(frames)


@RATES
def test_digits_sound_one_after_the_other_also_those_of_two_orders(rate: int) -> None:
    keys = Keys(rate)
    keys.source.send("15", 100, 60)
    keys.source.send("96", 70, 45)
    sound = keys.sound()
    heard = ToneDetector(rate).feed(sound + bytes(rate // 5 * 2))
    assert [digit.digit for digit in heard] == list("1596")
    assert keys.events == ["1", "5", "9", "6", "silent"]
    assert len(sound) // 2 / rate == pytest.approx(2 * 0.16 + 2 * 0.115, abs=0.02)


@RATES
def test_a_long_digit_is_one_steady_tone(rate: int) -> None:
    keys = Keys(rate)
    keys.source.send("#", 4000, 40)
    (digit,) = ToneDetector(rate).feed(keys.sound() + bytes(rate // 5 * 2))
    assert digit == Digit("#", pytest.approx(4000, abs=30))  # type: ignore[arg-type]  # compares like one


def test_a_pause_is_half_a_second_of_silence_and_no_digit() -> None:
    keys = Keys(8000)
    keys.source.send("ww", 100, 60)
    assert keys.sound() == bytes(8000 * 2)
    assert keys.events == ["silent"]


def test_too_many_are_refused_as_a_whole() -> None:
    keys = Keys(8000)
    keys.source.send("1" * MAX_QUEUE, 40, 40)
    with pytest.raises(AtCapacity):
        keys.source.send("2", 40, 40)
    keys.sound()
    assert keys.events == [*"1" * MAX_QUEUE, "silent"]
