"""What a bot can do with its call."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest

from phoned import errors
from phoned.bots import BotCall, BotConfig
from phoned.bots.door import AT_ONCE
from phoned.model import CallView, CollectRequest, PlaybackView
from tests.support.bots import BotWorld, bot_world
from tests.support.media import until


class Scene:
    """One call that a bot has, and what the bot notes."""

    def __init__(self, world: BotWorld, view: CallView, noted: list[Any]) -> None:
        self.world, self.view, self.noted = world, view, noted

    async def press(self, digits: str) -> None:
        await self.world.press(self.view.id, digits)

    async def up(self) -> None:
        """It was answered."""
        await until(lambda: self.world.phone.call(self.view.id).answered_at is not None)

    async def noted_are(self, *things: Any) -> None:
        await until(lambda: self.noted == list(things))

    def playbacks(self) -> list[PlaybackView]:
        return [view for view in self.world.phone._playbacks.values() if view.call == self.view.id]


class Scenes:
    def __init__(self, stack: AsyncExitStack) -> None:
        self._stack = stack

    async def __call__(self, script: Callable[[BotCall, list[Any]], Awaitable[None]]) -> Scene:
        noted: list[Any] = []

        async def talk(call: BotCall, config: BotConfig) -> None:
            await call.answer()
            try:
                await script(call, noted)
            except errors.PhonedError as error:
                noted.append(type(error))

        world = await self._stack.enter_async_context(bot_world(talk))
        return Scene(world, await world.phone.remote_calls(), noted)


@pytest.fixture
async def scene() -> Any:
    async with AsyncExitStack() as stack:
        yield Scenes(stack)


async def test_digits_are_counted_ended_and_waited_for_in_vain(scene: Scenes) -> None:
    async def script(call: BotCall, noted: list[Any]) -> None:
        for count, timeout_s in ((2, 5.0), (9, 5.0), (3, 0.05)):
            noted.append(await call.digits(count, timeout_s=timeout_s))

    on = await scene(script)
    await on.up()
    await on.press("12345#6")
    await on.noted_are("12", "345", "6")


async def test_a_question_that_is_given_up_takes_no_key_away_and_does_not_stand_in_the_way(scene: Scenes) -> None:
    async def script(call: BotCall, noted: list[Any]) -> None:
        try:
            async with asyncio.timeout(0.05):
                await call.digits(9)
        except TimeoutError:
            noted.append("given up")
        await call.play(tone="440", stop_at_digit=True)
        noted.append(await call.digits(3))
        await call.play(tone="440", stop_at_digit=True)
        noted.append("cut short")

    on = await scene(script)
    await on.up()
    await on.press("12")
    await on.noted_are("given up")
    await on.press("3")
    await on.noted_are("given up", "123")
    await on.press("4")
    await on.noted_are("given up", "123", "cut short")
    assert [view.state for view in on.playbacks()] == ["finished", "finished"]


async def test_two_who_ask_at_the_same_time(scene: Scenes) -> None:
    async def script(call: BotCall, noted: list[Any]) -> None:
        await call.digits()

    on = await scene(script)
    await on.up()
    asking = on.world.phone.collect(on.view.id, CollectRequest(type_ahead=True))
    await asyncio.sleep(0.05)
    with pytest.raises(errors.WrongState):
        await asking


async def test_a_playback_is_waited_for_and_a_key_cuts_it_off(scene: Scenes) -> None:
    async def script(call: BotCall, noted: list[Any]) -> None:
        await call.play("one.wav")
        noted.append("one")
        await call.play(tone="440", stop_at_digit=True)
        noted.append(await call.digits())

    on = await scene(script)
    await until(lambda: len(on.playbacks()) == 1)
    (first,) = on.playbacks()
    on.world.bus.publish("playback.finished", playback=first)
    await on.noted_are("one")
    await until(lambda: len(on.playbacks()) == 2)
    await on.press("5")
    await on.noted_are("one", "5")
    assert on.playbacks()[1].state == "finished"


async def test_every_wait_ends_with_the_call(scene: Scenes) -> None:
    async def script(call: BotCall, noted: list[Any]) -> None:
        for wait in (call.digits, lambda: call.play(tone="440")):
            try:
                await wait()
            except errors.Gone:
                noted.append("gone")
        await call.over()
        noted.append(call.ended)
        await call.digits()

    on = await scene(script)
    await until(lambda: on.world.phone.call(on.view.id).answered_at is not None)
    await on.world.phone.remote_hangs_up(on.view.id)
    await on.noted_are("gone", "gone", True, errors.Gone)


async def test_verbs_go_to_the_phone_and_what_they_raise_comes_back(scene: Scenes) -> None:
    async def script(call: BotCall, noted: list[Any]) -> None:
        noted.append((await call.do(lambda phone: phone.hold(call.id))).hold.local)
        await call.transfer("300")
        try:
            await call.play("missing.wav")
        except errors.InvalidValue as error:
            noted.append(error.pointer)
        await call.hangup("bye")

    on = await scene(script)
    await on.noted_are(True, "/file")
    await until(lambda: on.world.phone.call(on.view.id).end is not None)
    end = on.world.phone.call(on.view.id).end
    assert end is not None
    assert end.sip_reason == "bye"


async def test_it_may_not_flood_the_phone_and_a_cancelled_verb_is_no_trouble(scene: Scenes) -> None:
    async def script(call: BotCall, noted: list[Any]) -> None:
        async def wait(phone: Any) -> None:
            await asyncio.sleep(60)

        tasks = [asyncio.ensure_future(call.do(wait)) for _ in range(AT_ONCE)]  # noqa: TID251 - a bot is no part of phoned
        await asyncio.sleep(0)
        try:
            await call.do(wait)
        except errors.AtCapacity:
            noted.append("at capacity")
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        noted.append((await call.do(lambda phone: phone.mute(call.id, True))).muted)

    on = await scene(script)
    await on.noted_are("at capacity", True)


async def test_a_verb_that_the_phone_does_not_live_to_carry_out(scene: Scenes) -> None:
    async def script(call: BotCall, noted: list[Any]) -> None:
        async def wait(phone: Any) -> None:
            noted.append("waits")
            await asyncio.sleep(60)

        await call.do(wait)

    on = await scene(script)
    await on.noted_are("waits")
    await on.world.runner._tasks.close()
    await on.noted_are("waits", errors.Draining)
