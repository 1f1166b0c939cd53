"""The bots of a call on virtual time: over a restart, and what the far end hears while they are away."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest

from phoned.calls.call import Call
from phoned.calls.entry import decode, encode
from phoned.calls.streams import MAX_KNOWN, MAX_RUNNING, MUSIC_AFTER_S, PATIENCE_S
from phoned.errors import AtCapacity, InvalidValue, NotFound
from phoned.media.events import Flowing
from phoned.model import CallView, RecordRequest, StreamRequest, StreamState, StreamView
from phoned.sip import events as sip
from phoned.stream import AudioPort
from tests.support.calls import CallWorld, settle, virtual
from tests.unit.calls.test_restore import ENTRY, restored

FLOWING = Flowing(codec="opus", ssrc=1, ice_generation=1, dtls_generation=1)
KEPT = StreamRequest(url="wss://bot/ws?token=hush", id="str_1", headers={"Authorization": "hush"})


@dataclass
class Link:
    """`StreamLink`, whose bot comes and goes as the test says."""

    request: StreamRequest
    call: str
    port: AudioPort
    on_change: Callable[[], None]
    state: StreamState = "connecting"

    @property
    def present(self) -> bool:
        return self.state == "started"

    @property
    def over(self) -> bool:
        return self.state in ("stopped", "failed")

    def view(self) -> StreamView:
        return StreamView(
            id=self.request.id or "",
            call=self.call,
            url=self.request.shown_url,
            protocol="twilio",
            sample_rate=8000,
            state=self.state,
        )

    def dtmf(self, digit: str, duration_ms: int) -> None: ...

    def stop(self) -> None:
        self.turn("stopped")

    def turn(self, state: StreamState) -> None:
        self.state = state
        self.on_change()


class Runtime:
    """`StreamRuntime`: remembers what was asked for."""

    def __init__(self) -> None:
        self.links: list[Link] = []
        self.checked = 0

    async def check(self, request: StreamRequest) -> None:
        self.checked += 1

    async def ready(self) -> None: ...

    def open(self, request: StreamRequest, call: CallView, port: AudioPort, on_change: Callable[[], None]) -> Link:
        self.links.append(Link(request, call.id, port, on_change))
        return self.links[-1]


async def bot_back(request: StreamRequest = KEPT, *, offered: bool = True) -> tuple[CallWorld, Call, Runtime]:
    """A call of an earlier process that had a bot."""
    world, call = await restored(replace(ENTRY, streams=(request,)))
    assert call is not None
    runtime = Runtime()
    if offered:
        world.manager.streams.offer(runtime)
    world.core.answered.add(call.session or "")
    return world, call, runtime


async def streams_told(world: CallWorld) -> list[tuple[str, str, str | None]]:
    found = [event for event in await world.events() if event.type.startswith("stream.")]
    return [(event.type, event.data["stream"].id, event.data.get("detail")) for event in found]


@virtual
async def test_a_bot_is_dialled_again_once_under_its_id_when_the_sound_is_back() -> None:
    world, call, runtime = await bot_back()
    assert call.view().streams == ("str_1",)
    [waiting] = world.manager.streams.views()
    assert (waiting.state, waiting.url, waiting.call) == ("reconnecting", "wss://bot/ws", call.id)
    world.modified(call, sip.ModifyCause.RECOVERY)
    await settle()
    assert runtime.links == []
    for _ in range(2):
        world.media[call.id].emit(FLOWING)
        await settle()
    assert [link.request for link in runtime.links] == [KEPT]
    assert runtime.checked == 0, "it was looked at when it was asked for"
    assert call.view().streams == ("str_1",)
    assert world.manager.streams.link("str_1") is runtime.links[0]
    assert await streams_told(world) == []
    assert call.audio.streams.running() == (KEPT,)


@virtual
async def test_a_held_call_gets_its_bot_back_although_nothing_is_heard() -> None:
    world, call = await restored(replace(ENTRY, streams=(KEPT,), held=True, holding=True))
    assert call is not None
    runtime = Runtime()
    world.manager.streams.offer(runtime)
    world.core.answered.add(call.session or "")
    world.modified(call, sip.ModifyCause.RECOVERY)
    await settle()
    assert len(runtime.links) == 1
    assert "record" in world.media[call.id].log


@virtual
async def test_what_has_not_come_back_yet_is_not_lost_with_the_next_process_either() -> None:
    world, call, _ = await bot_back()
    call.publish("call.updated")
    await world.manager.journal.settled()
    kept = decode(world.journal.entries[call.id])
    assert kept.streams == (KEPT,)
    assert kept.recording == ENTRY.recording
    world.media[call.id].errors["record"] = [InvalidValue("the disk is away")]
    world.media[call.id].emit(FLOWING)
    await settle()
    await world.manager.journal.settled()
    assert decode(world.journal.entries[call.id]).recording == (RecordRequest(),), "one of two goes on"


@virtual
async def test_a_bot_may_be_stopped_before_it_is_dialled_again() -> None:
    world, call, runtime = await bot_back()
    link = world.manager.streams.link("str_1")
    link.dtmf("1", 100)
    link.stop()
    link.stop()
    world.media[call.id].emit(FLOWING)
    await settle()
    assert runtime.links == []
    assert await streams_told(world) == [("stream.stopped", "str_1", "it was asked for")]
    await world.manager.journal.settled()
    assert decode(world.journal.entries[call.id]).streams == ()
    assert not call.ended


@virtual
async def test_a_call_that_does_not_come_back_ends_its_streams_once() -> None:
    world, call, _ = await bot_back()
    world.ended(call, sip.EndCause.DIALOG_GONE, status=481)
    await settle()
    assert await streams_told(world) == [("stream.stopped", "str_1", "the call ended")]
    old, lost = await restored(replace(ENTRY, streams=(KEPT,)), away_s=301)
    assert lost is not None
    await settle()
    assert [type_ for type_, *_ in await streams_told(old)] == ["stream.stopped"]


@pytest.mark.parametrize("on_close", ["hangup", "keep", "reconnect"])
def test_a_bot_that_cannot_be_dialled_again_has_ended_and_on_close_says_what_that_means(on_close: str) -> None:
    @virtual
    async def run() -> None:
        world, call, _ = await bot_back(replace(KEPT, on_close=on_close), offered=False)  # type: ignore[arg-type]
        world.media[call.id].emit(FLOWING)
        await asyncio.sleep(PATIENCE_S + 1)
        [(type_, _, detail)] = await streams_told(world)
        assert (type_, detail) == ("stream.failed", "the streams service does not run")
        assert call.ended is (on_close != "keep")
        assert world.manager.streams.link("str_1").view().state == "failed"

    run()


@pytest.mark.parametrize("on_close", ["hangup", "keep"])
def test_a_step_that_finds_nobody_who_dials_ends_as_a_bot_that_cannot_be_reached(on_close: str) -> None:
    @virtual
    async def run() -> None:
        world = CallWorld()
        call = await world.active(on_answer=(StreamRequest(url="wss://bot", on_close=on_close),))  # type: ignore[arg-type]
        world.core.answered.add(call.session or "")
        world.media[call.id].emit(FLOWING)
        await asyncio.sleep(PATIENCE_S + 1)
        told = [event.data.get("on_answer_failed") for event in await world.events()]
        assert "the streams service does not run" in told
        assert call.ended is (on_close == "hangup")

    run()


@virtual
async def test_music_plays_while_the_bot_is_away_and_not_for_a_moment() -> None:
    world = CallWorld()
    runtime = Runtime()
    world.manager.streams.offer(runtime)
    call = await world.active()
    fake = world.media[call.id]
    view = await call.audio.streams.start(StreamRequest(url="wss://bot", while_away="music"))
    [link] = runtime.links

    def played() -> list[bool]:
        return [what[1] for what in fake.log if what[0] == "pastime"]

    await asyncio.sleep(MUSIC_AFTER_S / 2)
    link.turn("started")
    await asyncio.sleep(MUSIC_AFTER_S)
    assert True not in played(), "it was there in time"
    link.turn("reconnecting")
    await asyncio.sleep(MUSIC_AFTER_S * 1.5)
    assert played()[-1] is True
    link.turn("reconnecting")
    other = await call.audio.streams.start(StreamRequest(url="wss://other"))
    runtime.links[1].turn("started")
    assert played()[-1] is False, "somebody else talks"
    world.manager.streams.link(other.id).stop()
    await asyncio.sleep(MUSIC_AFTER_S * 1.5)
    assert played()[-1] is True
    world.manager.streams.link(view.id).stop()
    assert played()[-1] is False
    assert played().count(True) == 2
    call.hangup()
    await settle()


@virtual
async def test_silence_is_what_is_heard_unless_music_was_asked_for() -> None:
    world = CallWorld()
    runtime = Runtime()
    world.manager.streams.offer(runtime)
    call = await world.active()
    await call.audio.streams.start(StreamRequest(url="wss://bot"))
    await asyncio.sleep(60)
    assert not [what for what in world.media[call.id].log if what[0] == "pastime"]
    for _ in range(MAX_RUNNING - 1):
        await call.audio.streams.start(StreamRequest(url="wss://bot"))
    with pytest.raises(AtCapacity):
        await call.audio.streams.start(StreamRequest(url="wss://bot"))
    assert len(world.manager.streams.views()) == MAX_RUNNING
    with pytest.raises(NotFound):
        world.manager.streams.link("str_none")


@virtual
async def test_a_call_remembers_so_many_streams_the_newest() -> None:
    world = CallWorld()
    runtime = Runtime()
    world.manager.streams.offer(runtime)
    call = await world.active()
    made = []
    for number in range(MAX_KNOWN + 3):
        made.append((await call.audio.streams.start(StreamRequest(url="wss://bot"))).id)
        assert call.audio.streams.ids == tuple(made[-MAX_KNOWN:]), number
        runtime.links[-1].turn("stopped")
    assert [view.id for view in world.manager.streams.views()] == made[::-1], "the phone has them still"


@virtual
async def test_an_entry_of_before_there_was_music_means_silence() -> None:
    entry = replace(ENTRY, streams=(replace(KEPT, while_away="music"),))
    assert decode(encode(entry)) == entry
    old = encode(entry).replace('"while_away":"music",', "").replace(',"while_away":"music"', "")
    assert decode(old).streams == (KEPT,)
