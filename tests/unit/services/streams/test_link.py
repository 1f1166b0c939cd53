"""A link on virtual time: when it dials again, when it gives up, what it does to the call, and what it never does."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from typing import Any, Literal

import pytest

from phoned.audio.port import AudioPort
from phoned.events import Event, EventBus, MemoryEventLog
from phoned.model import CallState, CallView, OnClose, StreamRequest
from phoned.services.streams.bot import MAX_NAMES, MAX_NEWS
from phoned.services.streams.config import Timing
from phoned.services.streams.link import Link
from phoned.services.streams.protocol import StreamInfo
from phoned.services.streams.protocols import new_protocol
from phoned.services.streams.socket import Lost
from phoned.stream import MAX_MARKS
from tests.support.calls import virtual
from tests.support.fake_phone import FakePhone

ID = "str_" + "1" * 32
SID = "MZ" + "1" * 32


async def settle() -> None:
    """Let everything happen that is due now."""
    await asyncio.sleep(0.001)


class Line:
    """A connection whose other end is the test."""

    def __init__(self) -> None:
        self.said: list[str | bytes] = []
        self.coming: deque[str | bytes | Lost] = deque()
        self.closed: int | str | None = None
        self.stuck = False
        self._news = asyncio.Event()

    def come(self, what: str | bytes | Lost) -> None:
        self.coming.append(what)
        self._news.set()

    async def send(self, message: str | bytes) -> None:
        if self.stuck:
            await asyncio.Event().wait()
        self.said.append(message)

    async def receive(self) -> str | bytes:
        while not self.coming:
            self._news.clear()
            await self._news.wait()
        what = self.coming.popleft()
        if isinstance(what, Lost):
            raise what
        return what

    async def close(self, code: int) -> None:
        self.closed = code
        self.come(Lost("closed"))

    def abort(self) -> None:
        if self.closed is None:
            self.closed = "aborted"
            self.come(Lost("aborted"))


class World:
    """``dials``: what becomes of each dial; the last one stays."""

    def __init__(self, *dials: Lost | float | None, on_close: OnClose = "hangup") -> None:
        self.bus = EventBus(MemoryEventLog(), node="n")
        self.phone = FakePhone(self.bus)
        self.port = AudioPort(16000, 8000)
        self.dials = deque(dials or (None,))
        self.dialled: list[float] = []
        self.lines: list[Line] = []
        self.over = 0
        self.presence: list[bool] = []
        self.request = StreamRequest(url="wss://bot/ws?token=secret", on_close=on_close, id=ID)
        self.link: Link = None  # type: ignore[assignment]

    async def begin(self, timing: Timing | None = None) -> None:
        call = await self.phone.remote_calls()
        await self.phone.answer(call.id)
        self.call = call.id
        self.link = Link(
            self.request,
            call,
            self.port,
            info=StreamInfo(id=ID, call=call.id, account="front", direction="in", from_number="1", to_number="2"),
            protocol=lambda: new_protocol("twilio"),
            dial=self.dial,
            phone=self.phone,
            bus=self.bus,
            on_change=self.on_change,
            timing=timing or Timing(),
        )
        self.link.start()
        await settle()

    def on_change(self) -> None:
        self.over += self.link.over
        self.presence.append(self.link.present)

    async def dial(self, request: StreamRequest, deadline_s: float) -> Line:
        self.dialled.append(asyncio.get_running_loop().time())
        fate = self.dials.popleft() if len(self.dials) > 1 else self.dials[0]
        if isinstance(fate, Lost):
            raise fate
        await asyncio.sleep(fate or 0)
        self.lines.append(Line())
        return self.lines[-1]

    def view(self) -> CallView:
        return self.phone.call(self.call)

    async def tick(self, count: int = 1) -> None:
        for _ in range(count):
            self.port.plug.read()
            self.port.plug.write(bytes(640))
            await settle()

    async def events(self) -> list[Event]:
        await self.bus.flush()
        found = await self.bus.log.after(0, 10_000)
        assert found is not None
        return [event for event in found if event.type.startswith("stream.")]

    async def types(self) -> list[str]:
        return [event.type.removeprefix("stream.") for event in await self.events()]


@virtual
async def test_a_bot_is_told_what_is_heard_and_what_is_pressed_and_of_the_end() -> None:
    world = World()
    await world.begin()
    await world.tick(2)
    world.link.dtmf("5", 100)
    await world.tick()
    kinds = [str(said).split('"')[3] for said in world.lines[0].said]
    assert kinds == ["connected", "start", "media", "media", "dtmf", "media"]
    view = world.link.view()
    assert (view.state, view.sent_ms, view.url) == ("started", 60, "wss://bot/ws")
    await world.phone.hangup(world.call)
    world.port.close()
    await settle()
    assert '"stop"' in str(world.lines[0].said[-1])
    assert world.lines[0].closed == 1000
    assert await world.types() == ["connecting", "started", "stopped"]
    assert world.over == 1
    world.link.dtmf("6", 100)
    world.link.stop()
    await world.link.closed()
    await world.link.abandon()


@virtual
async def test_a_call_that_goes_on_elsewhere_takes_its_bot_along() -> None:
    world = World()
    await world.begin()
    world.port.close()
    await settle()
    assert world.lines[0].closed == 1012
    assert '"stop"' not in str(world.lines[0].said[-1])
    assert await world.types() == ["connecting", "started"]
    assert world.over == 0  # it is still to be dialled


@pytest.mark.parametrize(
    ("on_close", "state"), [("hangup", CallState.ENDED), ("keep", CallState.ACTIVE), ("reconnect", CallState.ENDED)]
)
def test_a_bot_that_cannot_be_reached_is_dialled_after_1_2_4_seconds_for_30(
    on_close: OnClose, state: CallState
) -> None:
    @virtual
    async def run() -> None:
        world = World(Lost("nobody"), on_close=on_close)
        await world.begin()
        began = world.dialled[0]
        await asyncio.sleep(60)
        assert [round(at - began) for at in world.dialled] == [0, 1, 3, 7, 11, 15, 19, 23, 27]
        assert (await world.types())[-2:] == ["reconnecting", "failed"]
        assert world.view().state is state
        assert world.port.closed
        assert world.over == 1

    run()


@virtual
async def test_a_bot_that_stayed_for_a_while_gets_a_new_budget() -> None:
    world = World(on_close="keep")
    await world.begin()
    for number in range(5):
        await asyncio.sleep(20)
        world.lines[number].come(Lost("broken"))
        await asyncio.sleep(1.5)
    assert len(world.lines) == 6
    assert [event.data["n"] for event in await world.events() if event.type == "stream.reconnecting"] == [1] * 5


@virtual
async def test_a_bot_that_breaks_at_once_each_time_is_given_up_after_the_budget() -> None:
    world = World(on_close="reconnect")
    await world.begin()
    began = asyncio.get_running_loop().time()
    while not world.link.over:
        world.lines[-1].come(Lost("bye", clean=True))
        await asyncio.sleep(0.5)
        assert asyncio.get_running_loop().time() - began < 35
    assert world.link.view().state == "failed"
    assert world.view().state is CallState.ENDED


@virtual
async def test_nothing_is_said_while_the_bot_is_away_and_frames_are_dropped() -> None:
    world = World(on_close="keep")
    await world.begin()
    world.port.write(bytes(160_000))
    world.lines[0].come(Lost("broken"))
    await settle()
    assert world.link.view().queued_ms == 0
    view = world.link.view()
    assert (view.state, view.detail) == ("reconnecting", "broken")
    assert world.presence == [True, False]
    await world.tick(10)
    world.link.dtmf("1", 100)
    await asyncio.sleep(1.5)
    assert [str(said).split('"')[3] for said in world.lines[1].said] == ["connected", "start"]
    assert world.link.view().detail is None


@virtual
async def test_no_second_dial_where_it_is_of_no_use() -> None:
    world = World(Lost("HTTP 403", final=True))
    await world.begin()
    await asyncio.sleep(60)
    assert len(world.dialled) == 1
    assert (await world.types()) == ["connecting", "failed"]
    assert world.view().state is CallState.ENDED


@virtual
async def test_the_end_of_the_call_ends_a_dial_and_a_wait() -> None:
    for dials in ((1000.0,), (Lost("nobody"),)):
        world = World(*dials)
        await world.begin()
        await world.phone.hangup(world.call)
        world.port.close()
        await asyncio.sleep(60)
        assert len(world.dialled) == 1
        assert (await world.types())[-1] == "stopped"


@virtual
async def test_a_bot_that_does_not_read_is_left_and_hears_of_what_it_missed_when_it_does() -> None:
    world = World(on_close="keep")
    await world.begin()
    world.lines[0].stuck = True
    await world.tick()
    for _ in range(110):
        world.port.plug.write(bytes(640))
    world.lines[0].stuck = False
    await asyncio.sleep(6)
    assert world.lines[0].closed == "aborted"
    assert (await world.types())[:3] == ["connecting", "started", "reconnecting"]


@virtual
async def test_a_bot_that_was_slow_is_told_the_right_time() -> None:
    world = World()
    await world.begin()
    for _ in range(105):
        world.port.plug.write(bytes(640))  # before it could take one
    await settle()
    await world.tick()
    assert await world.types() == ["connecting", "started", "overflow"]
    last = str(world.lines[0].said[-1])
    assert '"timestamp": "2100"' in last or '"timestamp":"2100"' in last


def media(size: int) -> str:
    return f'{{"event":"media","streamSid":"{SID}","media":{{"payload":"{"////" * (size // 3)}"}}}}'


@virtual
async def test_marks_and_clear_come_back_in_their_order() -> None:
    world = World()
    await world.begin()
    line = world.lines[0]
    line.come(media(480))
    for name in ("a", "b"):
        line.come(f'{{"event":"mark","streamSid":"{SID}","mark":{{"name":"{name}"}}}}')
    await settle()
    await world.tick(2)
    assert '"mark"' not in "".join(map(str, line.said))
    line.come(f'{{"event":"clear","streamSid":"{SID}"}}')
    await settle()
    await world.tick(2)
    marks = [said for said in map(str, line.said) if '"mark"' in said]
    assert ["a" in mark.split("name")[1] for mark in marks] == [True, False]
    told = [event.data for event in await world.events() if event.type == "stream.mark"]
    assert [(data["name"], data["played"]) for data in told] == [("a", False), ("b", False)]


def mark(name: str) -> str:
    return f'{{"event":"mark","streamSid":"{SID}","mark":{{"name":"{name}"}}}}'


def marks_of(line: Line) -> list[str]:
    return [json.loads(said)["mark"]["name"] for said in line.said if '"mark"' in str(said)]


@virtual
async def test_as_many_marks_as_a_full_queue_has_come_back_once_in_their_order_and_one_too_many_is_told() -> None:
    world = World()
    await world.begin()
    line = world.lines[0]
    line.come(media(480))
    for number in range(MAX_MARKS + 1):
        line.come(mark(str(number)))
    await asyncio.sleep(60)
    [overflow] = [event.data for event in await world.events() if event.type == "stream.overflow"]
    assert (overflow["direction"], overflow["dropped_ms"], overflow["dropped_marks"]) == ("from_bot", 0, 1)
    line.come(f'{{"event":"clear","streamSid":"{SID}"}}')
    line.come(mark("new"))
    await settle()
    await world.tick()
    assert 100 < len(marks_of(line)) < 1000, "no more at once than others can wait for"
    await world.tick(99)
    assert marks_of(line) == [*map(str, range(MAX_MARKS)), "new"]
    assert line.closed is None


@virtual
async def test_marks_that_wait_at_the_end_of_the_call_are_told_before_it() -> None:
    world = World()
    await world.begin()
    line = world.lines[0]
    line.come(media(48_000))
    names = [str(number) for number in range(1500)]
    for name in names:
        line.come(mark(name))
    await settle()
    await world.phone.hangup(world.call)
    world.port.close()
    await settle()
    assert marks_of(line) == names
    assert '"stop"' in str(line.said[-1])
    assert line.closed == 1000


@virtual
async def test_a_flood_of_marks_with_long_names_is_refused_and_told_now_and_then() -> None:
    world = World()
    await world.begin()
    line = world.lines[0]
    line.come(media(48_000))
    for _ in range(4500):
        line.come(mark("x" * 4096))
    await asyncio.sleep(60)
    told = [event.data["dropped_marks"] for event in await world.events() if event.type == "stream.overflow"]
    assert told[0] == 1
    assert 2 <= len(told) <= 5
    assert sum(told) <= 4500 - MAX_NAMES // 4096
    await world.tick(2)
    assert len(marks_of(line)) == 0
    world.port.clear()
    await world.tick(10)
    assert len(marks_of(line)) == MAX_NAMES // 4096


@virtual
async def test_too_much_sound_is_refused_and_told_now_and_then() -> None:
    world = World()
    await world.begin()
    for _ in range(130):
        world.lines[0].come(media(36_000))
    await asyncio.sleep(20)
    overflows = [event for event in await world.events() if event.type == "stream.overflow"]
    assert 1 <= len(overflows) <= 2
    assert overflows[0].data["direction"] == "from_bot"
    assert overflows[0].data["dropped_ms"] > 0


@virtual
async def test_a_bot_that_asks_for_much_and_hears_nothing_is_left() -> None:
    world = World(on_close="keep")
    await world.begin()
    for _ in range(MAX_NEWS + 1):
        world.link.dtmf("1", 100)
    assert world.lines[0].closed == "aborted"


@virtual
async def test_a_bot_that_stops_reading_at_the_greeting_is_lost() -> None:
    world = World(on_close="keep")

    class Deaf(Line):
        def __init__(self) -> None:
            super().__init__()
            self.stuck = True

    async def dial(request: StreamRequest, deadline_s: float) -> Line:
        world.lines.append(Deaf())
        return world.lines[-1]

    world.dial = dial  # type: ignore[method-assign]
    await world.begin()
    await asyncio.sleep(6)
    assert (await world.types())[:2] == ["connecting", "reconnecting"]
    assert world.lines[0].closed == "aborted"


@pytest.mark.parametrize("where", ["dial", "pump"])
def test_a_fault_of_ours_ends_the_stream_and_with_it_the_call(where: Literal["dial", "pump"]) -> None:
    @virtual
    async def run() -> None:
        world = World()

        async def broken(*_: Any) -> Any:
            raise ZeroDivisionError

        if where == "dial":
            world.dial = broken  # type: ignore[method-assign, assignment]
        await world.begin()
        if where == "pump":
            world.lines[0].send = broken  # type: ignore[method-assign, assignment]
            await world.tick()
        await settle()
        assert world.link.view().state == "failed"
        assert world.view().state is CallState.ENDED
        assert world.over == 1

    run()


@virtual
async def test_stopping_leaves_the_call() -> None:
    world = World()
    await world.begin()
    assert world.presence == [True]
    world.link.stop()
    view = world.link.view()
    assert (view.state, view.detail) == ("stopped", "it was asked for"), "at once, whatever the bot says to it"
    await settle()
    assert world.link.view() == view
    assert world.presence == [True, False]
    assert world.view().state is CallState.ACTIVE
    assert world.lines[0].closed == 1000
