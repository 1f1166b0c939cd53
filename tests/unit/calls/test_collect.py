"""Digits asked of the far end: prompts, barge-in, terminators and the clock."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, Literal

import pytest

from phoned.calls.call import Call
from phoned.calls.collect import KEPT
from phoned.errors import InvalidValue, WrongState
from phoned.media import events as media
from phoned.model import CollectRequest, CollectView, PlaybackView, PlayRequest
from phoned.tasks import Tasks
from tests.support.call_media import FakeMedia
from tests.support.calls import CallWorld, settle, virtual

PROMPT = PlayRequest(tone="440")


def spawned(asking: Coroutine[Any, Any, CollectView]) -> asyncio.Task[CollectView]:
    return Tasks("test", lambda name, error: None).spawn("ask", asking)


class Asked:
    """A call that is being asked for digits."""

    def __init__(self, world: CallWorld, call: Call, request: CollectRequest) -> None:
        self.world, self.call = world, call
        self.fake: FakeMedia = world.media[call.id]
        self.answer = spawned(call.audio.collect(request))

    def key(self, digits: str, method: Literal["rfc4733", "info", "inband"] = "rfc4733") -> None:
        for digit in digits:
            self.fake.emit(media.DtmfReceived(digit=digit, method=method, duration_ms=100))

    @property
    def prompts(self) -> list[PlaybackView]:
        return [view for view in self.fake.running.values() if isinstance(view, PlaybackView)]

    def prompt_ends(self) -> None:
        (view,) = self.prompts
        del self.fake.running[view.id]
        self.fake.emit(media.PlaybackFinished(playback=view))

    async def told(self) -> list[tuple[str, str]]:
        return [
            (event.data["digits"], event.data["reason"])
            for event in await self.world.events()
            if event.type == "call.digits"
        ]


async def asked(request: CollectRequest) -> Asked:
    world = CallWorld()
    made = Asked(world, await world.active(), request)
    await settle()
    return made


def now() -> float:
    return asyncio.get_running_loop().time()


@virtual
@pytest.mark.parametrize("method", ["rfc4733", "info", "inband"])
async def test_a_key_cuts_the_prompt_short_and_the_terminator_ends_the_input(
    method: Literal["rfc4733", "info", "inband"],
) -> None:
    on = await asked(CollectRequest(play=PROMPT))
    (prompt,) = on.prompts
    on.key("4", method)
    assert on.prompts == []
    on.key("2#9", method)
    view = await on.answer
    assert view == CollectView(call=on.call.id, digits="42", reason="terminator", terminator="#", playback=prompt.id)
    assert await on.told() == [("42", "terminator")]


@virtual
async def test_a_terminator_alone_ends_it_too() -> None:
    on = await asked(CollectRequest(play=PROMPT, terminators="*#"))
    on.key("*")
    view = await on.answer
    assert (view.digits, view.terminator, on.prompts) == ("", "*", [])


@virtual
async def test_so_many_digits_are_enough() -> None:
    on = await asked(CollectRequest(max_digits=3, terminators=""))
    on.key("#*1")
    assert (await on.answer).digits == "#*1"
    assert (await on.answer).reason == "max_digits"


@virtual
async def test_what_is_keyed_into_a_prompt_that_stands_does_not_count() -> None:
    on = await asked(CollectRequest(play=PROMPT, barge_in=False, max_digits=2))
    on.key("99")
    assert len(on.prompts) == 1
    on.prompt_ends()
    on.key("12")
    assert (await on.answer).digits == "12"


@virtual
async def test_the_first_digit_has_its_time_from_the_end_of_the_prompt() -> None:
    on = await asked(CollectRequest(play=PROMPT, first_digit_s=3.0))
    await asyncio.sleep(30)
    assert not on.answer.done()
    on.prompt_ends()
    began = now()
    view = await on.answer
    assert (view.digits, view.reason, round(now() - began)) == ("", "no_digits", 3)
    assert await on.told() == [("", "no_digits")]


@virtual
async def test_each_further_digit_has_its_time_from_the_last() -> None:
    on = await asked(CollectRequest(between_digits_s=2.0, first_digit_s=9.0))
    for digit in "123":
        await asyncio.sleep(1.5)
        on.key(digit)
    began = now()
    view = await on.answer
    assert (view.digits, view.reason, round(now() - began)) == ("123", "timeout", 2)


@virtual
async def test_all_of_it_has_a_limit_also_with_a_prompt_that_never_ends() -> None:
    on = await asked(CollectRequest(play=PlayRequest(tone="440", loop=True), timeout_s=20.0))
    began = now()
    assert (await on.answer).reason == "no_digits"
    assert now() - began == pytest.approx(20, abs=1.1)
    assert on.prompts == []


@virtual
async def test_one_question_at_a_time_and_another_one_after_it() -> None:
    on = await asked(CollectRequest(max_digits=1))
    with pytest.raises(WrongState):
        await on.call.audio.collect(CollectRequest())
    on.key("1")
    await on.answer
    again = spawned(on.call.audio.collect(CollectRequest(max_digits=1)))
    await settle()
    on.key("2")
    assert (await again).digits == "2"


@virtual
async def test_the_end_of_the_call_is_an_answer_and_no_event() -> None:
    on = await asked(CollectRequest(play=PROMPT))
    on.key("7")
    on.world.ended(on.call)
    view = await on.answer
    assert (view.digits, view.reason) == ("7", "call_ended")
    assert await on.told() == []


@virtual
async def test_one_who_does_not_wait_any_more_leaves_the_call_free() -> None:
    on = await asked(CollectRequest(play=PROMPT))
    on.answer.cancel()
    await settle()
    assert on.prompts == []
    on.key("1")
    again = spawned(on.call.audio.collect(CollectRequest(max_digits=1)))
    await settle()
    on.key("2")
    assert (await again).digits == "2"


@virtual
async def test_what_was_keyed_before_counts_for_one_who_wants_it_and_spares_the_prompt() -> None:
    world = CallWorld()
    call = await world.active()
    before = Asked(world, call, CollectRequest())
    await settle()
    before.key("12#345#6")
    assert (await before.answer).digits == "12"
    plain = Asked(world, call, CollectRequest(first_digit_s=1.0))
    await asyncio.sleep(2)
    assert (await plain.answer).reason == "no_digits"
    stubborn = Asked(world, call, CollectRequest(play=PROMPT, barge_in=False, type_ahead=True, max_digits=1))
    await settle()
    stubborn.prompt_ends()
    stubborn.key("9")
    assert (await stubborn.answer).digits == "9"
    on = Asked(world, call, CollectRequest(play=PROMPT, type_ahead=True))
    view = await on.answer
    assert (view.digits, view.terminator, view.playback) == ("345", "#", None)
    again = Asked(world, call, CollectRequest(type_ahead=True, max_digits=2))
    await settle()
    again.key("7")
    assert (await again.answer).digits == "67"


@virtual
async def test_keys_of_one_who_does_not_wait_any_more_are_there_for_the_next() -> None:
    on = await asked(CollectRequest())
    on.key("12")
    on.answer.cancel()
    await settle()
    on.key("3")
    next_ = Asked(on.world, on.call, CollectRequest(type_ahead=True, max_digits=3))
    assert (await next_.answer).digits == "123"


@virtual
async def test_only_so_many_keys_are_kept() -> None:
    world = CallWorld()
    on = Asked(world, await world.active(), CollectRequest(max_digits=1))
    await settle()
    on.key("1" + "2" * KEPT + "3")
    await on.answer
    many = Asked(world, on.call, CollectRequest(type_ahead=True, max_digits=KEPT))
    assert (await many.answer).digits == "2" * (KEPT - 1) + "3"


@virtual
async def test_a_prompt_that_cannot_be_played_is_an_error_and_the_call_is_free() -> None:
    world = CallWorld()
    call = await world.active()
    world.media[call.id].errors["play"] = [InvalidValue("no such file")]
    with pytest.raises(InvalidValue):
        await call.audio.collect(CollectRequest(play=PROMPT))
    on = Asked(world, call, CollectRequest(max_digits=1))
    await settle()
    on.key("5")
    assert (await on.answer).digits == "5"


@virtual
async def test_a_key_that_is_quicker_than_the_file_stops_it_at_once() -> None:
    world = CallWorld()
    call = await world.active()
    fake = world.media[call.id]
    gate = asyncio.Event()
    play = fake.play

    async def slow(request: PlayRequest, playback_id: str | None = None) -> PlaybackView:
        await gate.wait()
        return await play(request, playback_id)

    fake.play = slow  # type: ignore[method-assign]  # a disk that takes its time
    on = Asked(world, call, CollectRequest(play=PROMPT, max_digits=2))
    await settle()
    on.key("1")
    gate.set()
    await settle()
    assert on.prompts == []
    on.key("2")
    assert (await on.answer).digits == "12"


@virtual
async def test_a_prompt_that_ended_just_before_the_key_is_no_trouble() -> None:
    on = await asked(CollectRequest(play=PROMPT, max_digits=1))
    on.fake.running.clear()
    on.key("1")
    assert (await on.answer).digits == "1"
