"""The examples as they would be installed: found by their entry points, in a daemon, on a real call."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from phoned.audio.tones import sine
from phoned.bots import Bot, BotCall, BotConfig
from phoned.daemon import Daemon
from phoned.model import CallRequest, CallState, DtmfRequest, PlayRequest, RecordRequest
from phoned.sandbox.measure import echo_of, melody, read_stereo, write_wav
from phoned.service import ServicePlugin, installed_services
from tests.support.phones import Phones, Watch


@pytest.fixture
async def phones(tmp_path: Path) -> AsyncIterator[Phones]:
    async with Phones(tmp_path) as running:
        yield running


def example(name: str) -> dict[str, ServicePlugin]:
    return {name: installed_services()[name]}


async def call_bob(alice: Daemon, watch: Watch, **more: Any) -> str:
    view = await alice.phone.place_call(CallRequest(account="alice", to="bob", **more), wait="answered")
    await watch.until("call.updated", lambda data: data["call"].media.state == "flowing")
    return view.id


def flowing(call: str) -> Callable[[Any], bool]:
    return lambda data: data["call"].id == call and data["call"].media.state == "flowing"


async def test_the_echo_bot_says_back_what_it_hears(phones: Phones, tmp_path: Path) -> None:
    bob, his = await phones.online("bob", extra="[echo_bot]\n", plugins=example("echo_bot"))
    alice, watch = await phones.online()
    write_wav(tmp_path / "alice" / "state" / "media" / "tune.wav", melody(16_000, 2.0), 16_000)
    call = await call_bob(alice, watch)
    recording = await alice.phone.record(call, RecordRequest())
    await alice.phone.play(call, PlayRequest(file="tune.wav"))
    await watch.until("playback.finished")
    await alice.phone.control_recording(recording.id, "stop")
    said, heard, rate = read_stereo(alice.phone.recording_path(recording.id))
    assert echo_of(said, heard, rate).correlation > 0.8
    assert bob.phone.calls()[0].tags == {"bot": "echo_bot"}
    await alice.phone.hangup(call)
    await his.until("call.ended")


async def test_the_ivr_plays_its_menu_takes_a_key_and_hands_the_caller_over(phones: Phones, tmp_path: Path) -> None:
    table = '[ivr]\nextensions = { 1 = "nobody", 2 = "milliwatt" }\n'
    bob, his = await phones.online("bob", extra=table, plugins=example("ivr"))
    alice, watch = await phones.online(extra="[transfer]\nallow_refer = true\n")
    media = tmp_path / "bob" / "state" / "media"
    for name, seconds in (("menu", 30), ("sorry", 1)):
        write_wav(media / f"{name}.wav", sine((600,), 16_000, seconds * 1_000), 16_000)
    call = await call_bob(alice, watch)

    async def press(digit: str) -> None:
        await his.until("playback.started", lambda data: data["playback"].file == "menu.wav")
        await alice.phone.dtmf(call, DtmfRequest(digits=digit))

    await press("7")
    await his.until("playback.finished", lambda data: data["playback"].file == "menu.wav")  # cut off by the key
    await his.until("playback.finished", lambda data: data["playback"].file == "sorry.wav")
    await press("2")
    await his.until("call.transfer_completed")
    ended = (await his.until("call.ended")).data["call"]
    assert ended.end.cause == "transferred"
    await watch.until("call.ended")
    (moved,) = [view for view in alice.phone.calls() if view.state is CallState.ACTIVE]
    assert moved.tags["transfer_of"] == call
    assert bob.phone.calls()[0].state is CallState.ENDED


async def test_bots_that_block_never_read_or_crash_cost_neither_their_calls_nor_others_their_sound(
    phones: Phones,
) -> None:
    release, reached = threading.Event(), {name: threading.Event() for name in ("blocks", "deaf", "crashes", "good")}
    heard: list[int] = []

    async def blocks(call: BotCall, config: BotConfig) -> None:
        await call.answer()
        reached["blocks"].set()
        release.wait(30)

    async def deaf(call: BotCall, config: BotConfig) -> None:
        await call.answer()
        audio = await call.audio(8_000)
        while audio.write(bytes(1 << 20)):
            pass  # until it is full
        reached["deaf"].set()
        await call.over()

    async def crashes(call: BotCall, config: BotConfig) -> None:
        reached["crashes"].set()
        raise ZeroDivisionError("a bug")

    async def good(call: BotCall, config: BotConfig) -> None:
        await call.answer()
        async for frame in await call.audio(8_000):
            heard.append(len(frame.heard))
            if len(heard) == 25:
                reached["good"].set()

    talks: dict[str, Callable[[BotCall, Any], Awaitable[None]]]
    talks = {"blocks": blocks, "deaf": deaf, "crashes": crashes, "good": good}
    plugins = {name: Bot(name, talk) for name, talk in talks.items()}
    tables = "".join(f'[{name}]\non_close = "keep"\nmatch = "nobody"\n' for name in talks)
    alice, watch = await phones.online(extra=tables, plugins=plugins)
    calls = []
    for name in talks:
        request = CallRequest(account="alice", to="milliwatt", tags={"bot": name})
        calls.append((await alice.phone.place_call(request, wait="answered")).id)
        await watch.until("call.updated", flowing(calls[-1]))
    for event in reached.values():
        assert await asyncio.to_thread(event.wait, 10)
    before = [alice.phone.stats(call) for call in calls]
    began = time.monotonic()
    await asyncio.sleep(0.5)  # that sound flows is measured, not waited for
    ticks = (time.monotonic() - began) * 50
    for call, was in zip(calls, before, strict=True):
        now = alice.phone.stats(call)
        assert alice.phone.call(call).state is CallState.ACTIVE
        assert now.packets_sent - was.packets_sent > ticks * 0.8
        assert now.packets_received - was.packets_received > ticks * 0.8
    assert set(heard) == {320}
    release.set()
