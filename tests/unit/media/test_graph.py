"""The audio graph: what is said, what is heard, what is witnessed."""

from __future__ import annotations

import numpy as np
import pytest

from phoned.audio.tones import sine
from phoned.media.graph import SILENCE_DBOV, AudioGraph, CallableSink, CallableSource, LevelMeter, mix

SIZE = 640


def frame(value: int) -> bytes:
    return np.full(SIZE // 2, value, np.int16).tobytes()


class Log:
    def __init__(self) -> None:
        self.pairs: list[tuple[bytes, bytes | None]] = []

    def write(self, near: bytes, far: bytes | None) -> None:
        self.pairs.append((near, far))


def test_without_a_source_there_is_nothing_to_say() -> None:
    assert AudioGraph(16000).outgoing() is None


def test_sources_are_mixed_and_clipped() -> None:
    graph = AudioGraph(16000)
    graph.sources += [CallableSource(lambda: frame(30_000)), CallableSource(lambda: frame(10_000))]
    assert graph.outgoing() == frame(32_767)
    assert mix([frame(-30_000), frame(-10_000), frame(1)]) == frame(-32_768)
    assert mix([frame(5)]) == frame(5)


def test_an_overlay_silences_the_sources_and_what_they_said_meanwhile_is_gone() -> None:
    graph = AudioGraph(16000)
    base: list[bytes | None] = [frame(0), frame(1)]
    graph.sources.append(CallableSource(lambda: base.pop(0)))
    over: list[bytes | None] = [frame(2), None]
    graph.overlays.append(CallableSource(lambda: over.pop(0)))
    assert graph.outgoing() == frame(2)
    assert graph.outgoing() == frame(1)
    assert base == []


def test_muting_and_holding_silence_whatever_speaks() -> None:
    graph = AudioGraph(16000)
    graph.sources.append(CallableSource(lambda: frame(1)))
    graph.muted = True
    assert graph.outgoing() is None
    graph.muted, graph.held = False, True
    assert graph.outgoing() is None
    graph.overlays.append(CallableSource(lambda: frame(3)))
    assert graph.outgoing() is None
    graph.held = False
    assert graph.outgoing() == frame(3)


def test_a_held_far_end_hears_the_music_and_nothing_else_of_us() -> None:
    graph = AudioGraph(16000)
    graph.sources.append(CallableSource(lambda: frame(1)))
    music: list[bytes | None] = [frame(5), None, frame(6), frame(7)]
    graph.music = CallableSource(lambda: music.pop(0))
    assert graph.outgoing() == frame(1)
    graph.held = True
    assert graph.outgoing() == frame(5)
    assert graph.outgoing() is None
    graph.muted = True
    assert graph.outgoing() == frame(6), "to be muted is about what we say"


def test_sinks_hear_silence_where_nothing_came_and_on_hold() -> None:
    graph = AudioGraph(8000)
    heard: list[bytes] = []
    graph.sinks.append(CallableSink(heard.append))
    graph.incoming(None)
    graph.incoming(frame(1))
    graph.held = True
    graph.incoming(frame(2))
    assert heard == [bytes(320), frame(1), bytes(320)]  # their clock never stops


def test_witnesses_get_both_directions_and_see_a_gap_only_where_sound_was_expected() -> None:
    graph = AudioGraph(16000)
    log = Log()
    graph.witnesses.append(log)
    graph.sources.append(CallableSource(lambda: frame(7)))
    graph.incoming(None)
    graph.expecting = True
    graph.outgoing()
    graph.incoming(None)
    graph.incoming(frame(9))
    graph.held = True
    graph.outgoing()
    graph.incoming(None)
    assert log.pairs == [
        (bytes(SIZE), bytes(SIZE)),
        (frame(7), None),
        (frame(7), frame(9)),
        (bytes(SIZE), bytes(SIZE)),
    ]


def test_the_level_meter_is_right_for_a_sine_and_falls_to_silence() -> None:
    meter = LevelMeter()
    assert meter.dbov == SILENCE_DBOV
    tone = sine((1000,), 16000, 20, level=0.5)
    for _ in range(100):
        meter.add(tone)
    assert meter.dbov == pytest.approx(-9.03, abs=0.2)
    for _ in range(400):
        meter.silent()
    assert meter.dbov == SILENCE_DBOV


def test_a_notice_is_heard_with_whatever_speaks_and_when_muted_but_not_on_hold() -> None:
    graph = AudioGraph(16000)
    notices: list[bytes | None] = [frame(5), frame(5), None, frame(5)]
    graph.notices.append(CallableSource(lambda: notices.pop(0)))
    assert graph.outgoing() == frame(5)
    graph.overlays.append(CallableSource(lambda: frame(3)))
    assert graph.outgoing() == frame(8)
    assert graph.outgoing() == frame(3)
    graph.held = True
    assert graph.outgoing() is None
    graph.held, graph.muted = False, True
    notices.append(frame(7))
    assert graph.outgoing() == frame(7)
