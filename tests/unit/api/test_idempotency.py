from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from api.errors import ProblemError
from api.idempotency import Idempotency
from phoned import errors


def places(*calls: str) -> Callable[[], Awaitable[str]]:
    left = list(calls)

    async def place() -> str:
        await asyncio.sleep(0)
        return left.pop(0)

    return place


def fails(error: BaseException) -> Callable[[], Awaitable[str]]:
    async def place() -> str:
        raise error

    return place


async def test_a_repeated_key_gives_the_same_call() -> None:
    known, place = Idempotency(), places("call_1", "call_2")
    assert await known.once("me", "k", b"body", place) == ("call_1", False)
    assert await known.once("me", "k", b"body", place) == ("call_1", True)
    assert await known.once("me", "other", b"body", place) == ("call_2", False)


async def test_requests_at_once_share_one_call() -> None:
    known, place = Idempotency(), places("call_1", "call_2")
    both = await asyncio.gather(*(known.once("me", "k", b"body", place) for _ in range(2)))
    assert sorted(both) == [("call_1", False), ("call_1", True)]


async def test_another_body_is_a_mismatch() -> None:
    known = Idempotency()
    await known.once("me", "k", b"body", places("call_1"))
    with pytest.raises(ProblemError) as caught:
        await known.once("me", "k", b"other", places("call_2"))
    assert caught.value.problem.code == "idempotency_mismatch"


@pytest.mark.parametrize("error", [errors.Refused(486), errors.DeadlineExceeded("no answer")])
async def test_an_outcome_of_a_call_that_was_sent_is_kept(error: errors.PhonedError) -> None:
    known = Idempotency()
    with pytest.raises(type(error)):
        await known.once("me", "k", b"body", fails(error))
    with pytest.raises(type(error)):
        await known.once("me", "k", b"body", places("call_2"))


@pytest.mark.parametrize("error", [errors.NotRegistered("x"), errors.Denied("x"), RuntimeError("a bug")])
async def test_a_failure_before_sending_may_be_tried_again(error: Exception) -> None:
    known = Idempotency()
    with pytest.raises(type(error)):
        await known.once("me", "k", b"body", fails(error))
    assert await known.once("me", "k", b"body", places("call_2")) == ("call_2", False)


async def test_a_request_that_was_cut_off_leaves_its_key_free() -> None:
    known = Idempotency()

    async def for_ever() -> str:
        await asyncio.Event().wait()
        return "never"

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await known.once("me", "k", b"body", for_ever)
    assert await known.once("me", "k", b"body", places("call_2")) == ("call_2", False)


async def test_keys_are_forgotten_after_their_time() -> None:
    known = Idempotency(kept_s=-1.0)
    await known.once("me", "k", b"body", places("call_1"))
    assert await known.once("me", "k", b"other", places("call_2")) == ("call_2", False)


async def test_memory_is_bounded() -> None:
    known = Idempotency(kept=3)
    for number in range(10):
        await known.once("me", str(number), b"body", places(f"call_{number}"))
    assert len(known._entries) <= 4
    assert await known.once("me", "9", b"body", places("new")) == ("call_9", True)
    assert await known.once("me", "0", b"body", places("new")) == ("new", False)


@pytest.mark.parametrize("key", ["", " ", "a b", "é", "k" * 256, "\x00"])
async def test_keys_are_short_visible_texts(key: str) -> None:
    with pytest.raises(errors.InvalidValue):
        await Idempotency().once("me", key, b"", places("call_1"))
