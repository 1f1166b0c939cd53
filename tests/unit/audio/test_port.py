"""A port: what a program hears and says, its marks, its bounds, and another thread at the other end of it."""

from __future__ import annotations

import asyncio
import threading

import numpy as np
import pytest

from phoned.audio.port import BEGIN_MS, HEARD_FRAMES, AudioPort
from phoned.errors import AtCapacity, InvalidValue
from phoned.model import Frame
from phoned.stream import MAX_MARKS, MAX_QUEUED
from tests.support.calls import virtual

RATES = (8000, 16000, 24000, 48000)
TICK = 320
"""Bytes of a frame at 8 kHz."""


def pcm(value: int, ms: int, rate: int = 8000) -> bytes:
    return np.full(rate // 1000 * ms, value, np.int16).tobytes()


def tone(ms: int, rate: int, hz: int = 1000) -> bytes:
    return (8000 * np.sin(2 * np.pi * hz * np.arange(rate // 1000 * ms) / rate)).astype(np.int16).tobytes()


def port_of(rate: int = 8000, graph_rate: int = 8000, *, begin_ms: int = 0, both: bool = False) -> AudioPort:
    return AudioPort(graph_rate, rate, begin_ms=begin_ms, both=both)


def ticks(port: AudioPort, count: int) -> list[bytes | None]:
    return [port.plug.read() for _ in range(count)]


def said(port: AudioPort, count: int) -> bytes:
    return b"".join(frame for frame in ticks(port, count) if frame is not None)


def test_what_is_written_in_any_pieces_comes_out_in_frames() -> None:
    port = port_of()
    data = np.arange(1, 801, dtype=np.int16).tobytes()
    for at in range(0, len(data), 146):
        assert port.write(data[at : at + 146]) == len(data[at : at + 146])
    assert port.queued_ms == 100
    assert said(port, 5) == data
    assert (port.queued_ms, port.played_ms) == (0, 100)


def test_the_end_of_a_word_is_said_at_once_though_it_is_no_whole_frame() -> None:
    port = port_of()
    port.write(pcm(5, 30))
    assert ticks(port, 3)[1] == pcm(5, 10) + bytes(160)
    assert port.played_ms == 30


def test_a_beginning_waits_to_be_long_enough_but_not_for_ever() -> None:
    port = port_of(begin_ms=BEGIN_MS)
    port.write(pcm(5, 20))
    assert ticks(port, 2) == [None, None]
    assert port.plug.read() == pcm(5, 20)
    assert ticks(port, 2) == [bytes(TICK), None]  # the rest of the filter, then nothing
    port.write(pcm(6, 40))
    assert port.plug.read() == pcm(6, 20)


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("graph_rate", [8000, 16000, 48000])
async def test_sound_keeps_its_pitch_both_ways_at_every_rate(rate: int, graph_rate: int) -> None:
    port = port_of(rate, graph_rate)
    port.write(tone(400, rate))
    out = said(port, 20)
    assert len(out) == graph_rate * 2 * 4 // 10
    for at in range(20):
        port.plug.write(out[at * graph_rate // 25 : (at + 1) * graph_rate // 25])
    heard = b"".join(frame.heard for frame in port.take())
    assert len(heard) == rate * 2 * 4 // 10
    samples = np.frombuffer(heard, np.int16)[rate // 10 : rate // 10 * 3]
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    assert int(spectrum.argmax()) * 5 == 1000
    assert abs(samples).max() == pytest.approx(8000, rel=0.05)


def test_other_rates_and_half_samples_are_refused() -> None:
    with pytest.raises(InvalidValue):
        AudioPort(16000, 44100)
    with pytest.raises(InvalidValue):
        port_of().write(b"abc")


async def test_frames_come_one_by_one_and_end_with_the_port() -> None:
    port = port_of()
    asyncio.get_running_loop().call_soon(port.plug.write, pcm(1, 20))
    assert await anext(port) == Frame(pcm(1, 20))
    port.plug.write(pcm(2, 20))
    asyncio.get_running_loop().call_soon(port.close)
    assert [frame.heard async for frame in port] == [pcm(2, 20)]
    assert port.closed


async def test_a_reader_that_gave_up_loses_no_frame() -> None:
    port = port_of()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await anext(port)
    port.plug.write(pcm(1, 20))
    assert (await anext(port)).heard == pcm(1, 20)


def test_what_nobody_takes_is_dropped_oldest_first_and_counted() -> None:
    port = port_of()
    for value in range(HEARD_FRAMES + 3):
        port.plug.write(pcm(value, 20))
    frames = port.take()
    assert len(frames) == HEARD_FRAMES
    assert frames[0].heard == pcm(3, 20)
    assert port.missed_ms == 60
    assert port.take() == []


def test_both_sides_are_heard_by_those_who_ask() -> None:
    port = port_of(8000, 16000, both=True)
    port.plug.said = lambda: tone(20, 16000)
    port.plug.write(bytes(640))
    (frame,) = port.take()
    assert not any(frame.heard)
    assert frame.said is not None
    assert len(frame.said) == TICK
    assert any(frame.said)


def test_the_queue_holds_minutes_and_refuses_the_rest() -> None:
    port = port_of()
    minutes = bytes(MAX_QUEUED - 1000)
    assert port.write(minutes) == len(minutes)
    assert port.write(bytes(3000)) == 1000
    assert port.write(bytes(16)) == 0
    assert port.queued_ms > 8 * 60_000
    assert port.refused_ms == 2016 // 16


async def test_a_mark_is_reached_when_all_before_it_was_played_and_not_before() -> None:
    port = port_of()
    first = port.mark()
    assert first.result() is True  # nothing is queued
    port.write(pcm(1, 40))
    second = port.mark()
    port.write(pcm(2, 30))
    third = port.mark()
    reached = []
    for _ in range(6):
        port.plug.read()
        reached.append((second.done(), third.done()))
    assert reached == [
        (False, False),
        (False, False),
        (True, False),  # the frame that it ends with has been said
        (True, False),
        (True, True),
        (True, True),
    ]
    assert second.result() is True


async def test_a_mark_waits_for_the_frame_that_is_being_said() -> None:
    port = port_of()
    port.write(pcm(1, 20))
    port.plug.read()
    mark = port.mark()
    assert not mark.done()
    port.plug.read()
    assert mark.result() is True


async def test_clearing_leaves_at_most_the_frame_being_said_and_reports_all_marks_in_order() -> None:
    port = port_of(8000, 16000)
    order: list[int] = []
    port.write(pcm(9000, 500))
    for number in range(5):
        port.mark().add_done_callback(lambda mark, number=number: order.append(number))  # type: ignore[misc]
    ticks(port, 2)
    port.clear()
    assert ticks(port, 3) == [None, None, None]  # not even the rest of the filter
    await asyncio.sleep(0)
    assert order == [0, 1, 2, 3, 4]
    assert port.played_ms == 40
    assert (await port.mark()) is True
    port.write(pcm(0, 100))
    assert not any(said(port, 6))  # nothing old comes with what is new


@virtual
async def test_each_20_ms_of_a_full_queue_may_have_a_mark_and_all_are_reached_in_their_order() -> None:
    port = port_of()
    piece = pcm(1, 20)
    port.write(piece)
    ticks(port, 1)
    marks = [port.mark()]  # behind what is being said
    while port.write(piece):
        marks.append(port.mark())
    assert len(marks) == MAX_MARKS
    with pytest.raises(AtCapacity):
        port.mark()
    ticks(port, 1)
    assert [mark.done() for mark in marks[:2]] == [True, False]
    ticks(port, 1000)
    assert [mark.done() for mark in marks[1000:1002]] == [True, False]
    ticks(port, MAX_MARKS - 1002)
    assert port.queued_ms == 0
    assert [mark.done() for mark in marks].count(False) == 1
    ticks(port, 1)
    assert all(mark.result() for mark in marks)


async def test_closing_answers_every_mark_tells_once_and_takes_no_more() -> None:
    closed: list[AudioPort] = []
    port = AudioPort(16000, on_close=closed.append)
    port.write(pcm(1, 100, 16000))
    mark = port.mark()
    port.close()
    port.close()
    assert closed == [port]
    assert mark.result() is False
    assert port.write(pcm(1, 20, 16000)) == 0
    assert (await port.mark()) is False
    assert port.plug.read() is None
    assert (port.played_ms, port.queued_ms) == (0, 0)
    AudioPort(8000).close()


async def test_a_mark_that_nobody_waits_for_any_more_harms_nobody() -> None:
    port = port_of()
    port.write(pcm(1, 20))
    port.mark().cancel()
    after = port.mark()
    ticks(port, 2)
    assert after.result() is True


async def test_a_program_in_a_thread_of_its_own_hears_speaks_and_is_told_of_its_marks() -> None:
    port = port_of()
    told: list[object] = []
    ready = threading.Event()

    async def bot() -> None:
        port.write(pcm(7, 20))
        mark = port.mark()
        ready.set()
        told.extend([frame.heard async for frame in port])
        told.append(await mark)

    thread = threading.Thread(target=lambda: asyncio.run(bot()))
    thread.start()
    await asyncio.to_thread(ready.wait, 5)
    assert port.plug.read() == pcm(7, 20)
    port.plug.write(pcm(3, 20))
    port.plug.read()
    port.close()
    await asyncio.to_thread(thread.join, 5)
    assert told == [pcm(3, 20), True]


async def test_a_program_whose_loop_is_gone_harms_nobody() -> None:
    port = port_of()

    async def bot() -> None:
        port.write(pcm(7, 20))
        port.mark()

    await asyncio.to_thread(lambda: asyncio.run(bot()))
    ticks(port, 3)
    assert port.played_ms == 20
