"""Calls that hear each other: mix-minus, frame by frame."""

from __future__ import annotations

import numpy as np
import pytest

from phoned.audio.tones import sine
from phoned.media.bridge import Bridge
from phoned.media.graph import AudioGraph, CallableSink, CallableSource
from tests.support.media import frequency, level_dbov


def frame(value: int, rate: int = 16_000) -> bytes:
    return np.full(rate // 50, value, np.int16).tobytes()


def tick(graph: AudioGraph, heard: bytes | None) -> bytes | None:
    """20 ms of one call, as its stream does them."""
    said = graph.outgoing()
    graph.incoming(heard)
    return said


def round_(graphs: list[AudioGraph], *heard: int | None) -> list[bytes | None]:
    """20 ms of all calls, twice: what each says the second time."""
    frames = [None if value is None else frame(value, graph.rate) for graph, value in zip(graphs, heard, strict=True)]
    for graph, each in zip(graphs, frames, strict=True):
        tick(graph, each)
    return [tick(graph, each) for graph, each in zip(graphs, frames, strict=True)]


def bridged(count: int, rate: int = 16_000) -> tuple[Bridge, list[AudioGraph]]:
    bridge = Bridge()
    graphs = [AudioGraph(rate) for _ in range(count)]
    for graph in graphs:
        bridge.join(graph)
    return bridge, graphs


def test_each_hears_the_sum_of_the_others_and_never_itself() -> None:
    _, graphs = bridged(3)
    assert round_(graphs, 1, 10, 100) == [frame(110), frame(101), frame(11)]


def test_nobody_waits_longer_than_one_tick_and_nothing_queues_up() -> None:
    _, (first, second) = bridged(2)
    assert tick(first, frame(1)) is None
    assert tick(second, frame(2)) == frame(1), "it ticks after the first: no delay at all"
    assert tick(first, frame(3)) == frame(2), "it ticks before the second: one tick"
    for value in range(10, 20):
        tick(second, frame(value))
    assert tick(first, None) == frame(19), "what could not be said in time is gone"
    assert tick(first, None) is None, "who does not tick is silent, and not repeated"


def test_the_sum_is_clipped_and_silence_costs_nothing() -> None:
    _, graphs = bridged(3)
    assert round_(graphs, 30_000, 30_000, 30_000)[0] == frame(32_767)
    assert round_(graphs, None, None, None) == [None, None, None]


def test_what_is_played_to_one_is_heard_beside_the_others_by_that_one_alone() -> None:
    _, (first, second) = bridged(2)
    first.overlays.append(CallableSource(lambda: frame(5)))
    first.sources.append(CallableSource(lambda: frame(1_000)))
    tick(first, frame(1))
    assert tick(second, frame(2)) == frame(1)
    assert tick(first, frame(1)) == frame(7)


def test_who_speaks_at_this_phone_is_heard_by_all_and_hears_all() -> None:
    _, graphs = bridged(3)
    ear: list[bytes] = []
    graphs[0].room, graphs[0].ear = CallableSource(lambda: frame(1_000)), CallableSink(ear.append)
    assert round_(graphs, 1, 10, 100) == [frame(1_110), frame(1_101), frame(1_011)]
    assert ear[-1] == frame(111)
    graphs[0].overlays.append(CallableSource(lambda: frame(5_000)))
    assert round_(graphs, 1, 10, 100) == [frame(5_110), frame(1_101), frame(1_011)], "an announcement for one alone"
    graphs[0].overlays.clear()
    graphs[0].muted = True
    assert round_(graphs, 1, 10, 100) == [None, frame(101), frame(11)]
    assert ear[-1] == frame(111)
    graphs[0].held = True
    assert round_(graphs, 1, 10, 100) == [None, frame(100), frame(10)]
    assert ear[-1] == bytes(640)


def test_who_speaks_at_this_phone_is_not_heard_by_who_has_left() -> None:
    bridge, graphs = bridged(1)
    seat = bridge.join(second := AudioGraph(48_000))
    ear: list[bytes] = []
    graphs[0].room, graphs[0].ear = CallableSource(lambda: frame(1_000)), CallableSink(ear.append)
    tick(graphs[0], None)
    bridge.leave(seat)
    assert tick(second, frame(3, 48_000)) is None
    assert tick(graphs[0], frame(2)) == frame(1_000)
    assert ear == [bytes(640), frame(2)]


def test_hold_and_mute_are_heeded() -> None:
    _, graphs = bridged(3)
    graphs[0].held = True
    assert round_(graphs, 1, 10, 100) == [None, frame(100), frame(10)]
    graphs[0].held, graphs[0].muted = False, True
    assert round_(graphs, 1, 10, 100) == [None, frame(101), frame(11)], "muted: it hears nothing, and is heard"


def test_one_that_is_aside_listens() -> None:
    bridge, graphs = bridged(2)
    graphs.append(AudioGraph(16_000))
    bridge.join(graphs[2]).aside = True
    assert round_(graphs, 1, 10, 100) == [frame(10), frame(1), frame(11)]


def test_who_leaves_is_not_heard_any_more_and_hears_nobody() -> None:
    bridge, graphs = bridged(2)
    graphs.append(AudioGraph(16_000))
    seat = bridge.join(graphs[2])
    round_(graphs, 1, 10, 100)
    bridge.leave(seat)
    assert [graph.outgoing() for graph in graphs] == [frame(10), None, None], "nor what it had said before"
    assert round_(graphs, 1, 10, 100) == [frame(10), frame(1), None]


@pytest.mark.parametrize("rate", [8_000, 48_000])
def test_other_rates_are_resampled(rate: int) -> None:
    bridge = Bridge()
    wide, other = AudioGraph(16_000), AudioGraph(rate)
    bridge.join(wide)
    bridge.join(other)
    heard_by_other, heard_by_wide = [], []
    high, low = sine((1_000,), 16_000, 1_000), sine((700,), rate, 1_000)
    for at in range(50):
        heard_by_wide.append(tick(wide, high[at * 640 : (at + 1) * 640]))
        heard_by_other.append(tick(other, low[at * rate // 25 : (at + 1) * rate // 25]))
    for frames, pitch, at_rate in ((heard_by_wide, 700, 16_000), (heard_by_other, 1_000, rate)):
        samples = np.frombuffer(b"".join(filter(None, frames[10:])), np.int16)
        assert len(samples) == 40 * at_rate // 50
        assert frequency(samples, at_rate) == pytest.approx(pitch, abs=5)
        assert level_dbov(samples) == pytest.approx(-15.05, abs=0.5)


def test_a_recording_has_what_its_party_said_and_heard() -> None:
    _, (first, second) = bridged(2)
    pairs: list[tuple[bytes, bytes | None]] = []

    class Recorder:
        def write(self, near: bytes, far: bytes | None) -> None:
            pairs.append((near, far))

    first.witnesses.append(Recorder())
    tick(first, frame(1))
    tick(second, frame(2))
    tick(first, frame(3))
    assert pairs == [(bytes(640), frame(1)), (frame(2), frame(3))]
