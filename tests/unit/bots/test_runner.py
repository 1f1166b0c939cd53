"""Which calls a bot gets, and what becomes of them when it is done, has crashed, or hangs."""

from __future__ import annotations

import asyncio
import logging
import threading

import pytest

from phoned import errors
from phoned.bots import Bot, BotCall, BotConfig
from phoned.events import EventBus, MemoryEventLog
from phoned.model import CallRequest, CallState
from phoned.service import ServicePlugin
from tests.support.bots import bot_world
from tests.support.fake_phone import FakePhone
from tests.support.media import until

ACTIVE, ENDED, RINGING = CallState.ACTIVE, CallState.ENDED, CallState.RINGING


async def answer(call: BotCall, config: BotConfig) -> None:
    await call.answer()
    await call.over()


async def test_it_takes_the_calls_that_its_table_admits() -> None:
    async with bot_world(answer, match="*@EXAMPLE.org", account="fr*") as world:
        other = await world.phone.remote_calls("sip:200@elsewhere.org")
        front = await world.phone.remote_calls()
        await world.call(lambda view: view.tags == {"bot": "doorman"}, front)
        assert world.phone.call(front.id).state is ACTIVE
        assert world.phone.call(other.id).state is RINGING


async def test_calls_beyond_its_number_are_left_to_others(caplog: pytest.LogCaptureFixture) -> None:
    async with bot_world(answer, at_once=1) as world:
        first, second = await world.phone.remote_calls(), await world.phone.remote_calls()
        await world.call(lambda view: view.state is ACTIVE, first)
        await until(lambda: "left to others" in caplog.text)
        await world.phone.remote_hangs_up(first.id)
        await until(lambda: not world.runner._calls)
        third = await world.phone.remote_calls()
        await world.call(lambda view: view.state is ACTIVE, third)
        assert world.phone.call(second.id).state is RINGING


async def test_an_outgoing_call_names_it_by_a_tag() -> None:
    said: list[str] = []

    async def talk(call: BotCall, config: BotConfig) -> None:
        await call.answer()
        said.append(call.view.state)

    async with bot_world(talk) as world:
        plain = await world.phone.place_call(CallRequest(account="front", to="1"))
        ours = await world.phone.place_call(CallRequest(account="front", to="2", tags={"bot": "doorman"}))
        for view in (plain, ours):
            await world.phone.remote_answers(view.id)
        await world.call(lambda view: view.state is ENDED, ours)
        assert said == ["active"]
        assert world.phone.call(plain.id).state is ACTIVE


async def test_calls_that_came_over_a_restart_are_taken_again() -> None:
    bus = EventBus(MemoryEventLog(), node="n")
    phone = FakePhone(bus)
    before = await phone.remote_calls()
    await phone.answer(before.id)
    await phone.tag(before.id, {"bot": "doorman"})
    taken: list[str] = []

    async def talk(call: BotCall, config: BotConfig) -> None:
        await call.answer()
        taken.append(call.id)

    async with bot_world(talk, phone=phone) as world:
        await world.call(lambda view: view.state is ENDED, before)
        assert taken == [before.id]


@pytest.mark.parametrize(("on_close", "state"), [("hangup", ENDED), ("keep", ACTIVE)])
async def test_a_crash_ends_the_conversation_and_nothing_else(
    on_close: str, state: CallState, caplog: pytest.LogCaptureFixture
) -> None:
    async def talk(call: BotCall, config: BotConfig) -> None:
        await call.answer()
        raise ZeroDivisionError("a bug")

    async with bot_world(talk, on_close=on_close) as world:
        first, second = await world.phone.remote_calls(), await world.phone.remote_calls()
        for view in (first, second):
            await until(lambda view=view: f"crashed in {view.id}" in caplog.text)  # type: ignore[misc]
            await world.call(lambda view: view.state is state, view)


async def test_a_call_that_it_did_not_answer_goes_on_ringing() -> None:
    left = threading.Event()

    async def talk(call: BotCall, config: BotConfig) -> None:
        left.set()

    async with bot_world(talk) as world:
        view = await world.phone.remote_calls()
        await until(left.is_set)
        await world.phone.answer(view.id)
        await until(lambda: not world.runner._calls)
        assert world.phone.call(view.id).state is ACTIVE
        assert world.phone.call(view.id).tags == {}, "it is no bot's"


async def test_a_call_that_somebody_else_answered_is_not_hung_up() -> None:
    done = threading.Event()

    async def talk(call: BotCall, config: BotConfig) -> None:
        try:
            with pytest.raises(errors.WrongState):
                await call.do(lambda phone: phone.answer(call.id))
        finally:
            done.set()

    phone = FakePhone(EventBus(MemoryEventLog(), node="n"))
    async with bot_world(talk, phone=phone) as world:
        view = await phone.remote_calls()
        await phone.answer(view.id)
        await until(done.is_set)
        await until(lambda: not world.runner._calls)
        assert phone.call(view.id).state is ACTIVE


async def test_an_outgoing_call_is_given_up_with_its_bot() -> None:
    async def talk(call: BotCall, config: BotConfig) -> None:
        raise ZeroDivisionError("a bug")

    async with bot_world(talk) as world:
        request = CallRequest(account="front", to="2", tags={"bot": "doorman"})
        await world.call(lambda view: view.state is ENDED, await world.phone.place_call(request))


async def test_it_can_leave_a_call_up() -> None:
    async def talk(call: BotCall, config: BotConfig) -> None:
        await call.answer()
        call.keep()
        raise errors.Gone("of something else")

    async with bot_world(talk) as world:
        view = await world.phone.remote_calls()
        await world.call(lambda view: view.tags == {"bot": ""}, view)
    assert world.phone.call(view.id).state is ACTIVE


async def test_after_the_call_it_may_finish_for_a_while_and_not_for_ever() -> None:
    told: list[str] = []

    async def talk(call: BotCall, config: BotConfig) -> None:
        try:
            await call.answer()
            await call.over()
            told.append("over")
            await asyncio.sleep(60)
        finally:
            told.append("cut off")

    async with bot_world(talk, finish_s=0.05) as world:
        view = await world.phone.remote_calls()
        await world.call(lambda view: view.state is ACTIVE, view)
        await world.phone.remote_hangs_up(view.id)
        await until(lambda: told == ["over", "cut off"])


async def test_one_that_blocks_its_thread_is_left_behind(caplog: pytest.LogCaptureFixture) -> None:
    release, blocked = threading.Event(), threading.Event()

    async def talk(call: BotCall, config: BotConfig) -> None:
        blocked.set()
        release.wait(10)

    async with bot_world(talk) as world:
        view = await world.phone.remote_calls()
        await until(blocked.is_set)
        for _ in range(1_000):
            world.bus.publish("call.updated", call=world.phone.call(view.id))
        await world.bus.flush()
        with caplog.at_level(logging.WARNING):
            await world.runner.stop(1.1)
        assert "blocks its thread" in caplog.text
        await world.runner.stop(1.0)
        release.set()
        await until(lambda: not [thread for thread in threading.enumerate() if thread.name == "bot-doorman"])


async def test_events_that_it_lost_do_not_stop_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("phoned.bots.plugin.BACKLOG", 1)
    async with bot_world(answer) as world:
        for _ in range(3):
            world.bus.publish("system.started")
        await world.bus.flush()
        await asyncio.sleep(0.01)
        view = await world.phone.remote_calls()
        await world.call(lambda view: view.state is ACTIVE, view)


def test_a_bot_is_a_plug_in() -> None:
    plugin: ServicePlugin = Bot("doorman", answer)
    assert isinstance(plugin, ServicePlugin)
    assert (plugin.name, plugin.config_model, plugin.default) == ("doorman", BotConfig, False)
