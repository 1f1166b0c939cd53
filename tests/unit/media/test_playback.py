"""What plays into a call: how long, and how it stands."""

from __future__ import annotations

import pytest

from phoned.audio.tones import tone_source
from phoned.media.playback import Playback
from phoned.model import PlayRequest


def playback(request: PlayRequest, ended: list[bool]) -> Playback:
    source = tone_source(request.tone or "", 8000, rounds=None if request.duration_ms else request.rounds)
    return Playback("pb_1", "call_1", request, source, lambda: ended.append(True))


@pytest.mark.parametrize(("duration_ms", "frames"), [(20, 1), (30, 2), (7000, 350)])
def test_it_ends_after_its_time_and_says_so_once(duration_ms: int, frames: int) -> None:
    ended: list[bool] = []
    made = playback(PlayRequest(tone="440", duration_ms=duration_ms), ended)
    assert sum(made.read() is not None for _ in range(frames)) == frames
    assert ended == []
    assert made.read() is None
    assert ended == [True]
    assert made.view("finished").position_s == pytest.approx(frames / 50)


def test_it_ends_by_itself_before_its_time() -> None:
    ended: list[bool] = []
    made = playback(PlayRequest(tone="busy"), ended)
    assert sum(made.read() is not None for _ in range(49)) == 48
    assert ended == [True]


def test_a_pause_takes_no_time() -> None:
    ended: list[bool] = []
    made = playback(PlayRequest(tone="440", duration_ms=40), ended)
    made.read()
    made.pause(True)
    assert made.view().state == "paused"
    assert [made.read() for _ in range(5)] == [None] * 5
    made.pause(False)
    assert made.view().state == "playing"
    assert made.read() is not None
    made.read()
    assert ended == [True]


@pytest.mark.parametrize(("loop", "rounds"), [(False, 1), (True, None), (1, 1), (3, 3), (0, 1)])
def test_loops_are_counted(loop: bool | int, rounds: int | None) -> None:
    assert PlayRequest(tone="440", loop=loop).rounds == rounds
