from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

import pytest

from api.errors import ProblemError
from api.idempotency import DROPPED, Idempotency
from phoned import errors
from phoned.store.database import StoreFailed
from tests.support.keys import MemoryKeys

Place = Callable[[str], Awaitable[str]]


class World:
    """A phone's calls, its disk and its clock; `keeper` is one process."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.keys = MemoryKeys()
        self.now = datetime(2026, 1, 1, tzinfo=UTC)

    def keeper(self, kept: int = 10_000) -> Idempotency:
        return Idempotency(self.keys, self.calls.__contains__, clock=lambda: self.now, kept=kept)

    async def restarted(self) -> Idempotency:
        """The next process, on the same disk."""
        keeper = self.keeper()
        await keeper.load()
        return keeper

    async def place(self, call: str) -> str:
        await asyncio.sleep(0)
        if call not in self.calls:
            self.calls.append(call)
        return call

    def fails(self, error: BaseException, *, sent: bool = False) -> Place:
        async def place(call: str) -> str:
            if sent:
                await self.place(call)
            raise error

        return place


@pytest.fixture
def world() -> World:
    return World()


async def test_a_repeated_key_gives_the_same_call(world: World) -> None:
    keeper = world.keeper()
    assert await keeper.once("me", "k", b"body", "call_1", world.place) == ("call_1", False)
    assert await keeper.once("me", "k", b"body", "call_2", world.place) == ("call_1", True)
    assert await keeper.once("me", "other", b"body", "call_2", world.place) == ("call_2", False)
    assert await keeper.once("you", "k", b"body", "call_3", world.place) == ("call_3", False)


async def test_requests_at_once_share_one_call(world: World) -> None:
    keeper = world.keeper()
    both = await asyncio.gather(*(keeper.once("me", "k", b"body", f"call_{n}", world.place) for n in range(2)))
    assert sorted(both) == [("call_0", False), ("call_0", True)]


async def test_another_body_is_a_mismatch(world: World) -> None:
    keeper = world.keeper()
    await keeper.once("me", "k", b"body", "call_1", world.place)
    for known in (keeper, await world.restarted()):
        with pytest.raises(ProblemError) as caught:
            await known.once("me", "k", b"other", "call_2", world.place)
        assert caught.value.problem.code == "idempotency_mismatch"


async def test_the_id_of_a_call_that_came_about_otherwise_is_a_mismatch(world: World) -> None:
    await world.place("call_in")
    with pytest.raises(ProblemError):
        await world.keeper().once("", "call_in", b"body", "call_in", world.place)


@pytest.mark.parametrize(
    "error", [errors.Refused(486, "Busy Here"), errors.DeadlineExceeded("no answer"), errors.RemoteError("odd")]
)
async def test_an_outcome_of_a_call_that_was_sent_is_kept_even_over_a_restart(
    world: World, error: errors.PhonedError
) -> None:
    keeper = world.keeper()
    with pytest.raises(type(error)):
        await keeper.once("me", "k", b"body", "call_1", world.fails(error))
    for known in (keeper, await world.restarted()):
        with pytest.raises(type(error)) as caught:
            await known.once("me", "k", b"body", "call_2", world.place)
        assert caught.value.detail == error.detail
        if isinstance(error, errors.Refused):
            assert isinstance(caught.value, errors.Refused)
            assert (caught.value.status, caught.value.reason) == (486, "Busy Here")


@pytest.mark.parametrize("error", [errors.NotRegistered("x"), errors.Denied("x"), RuntimeError("a bug")])
async def test_a_failure_before_sending_may_be_tried_again(world: World, error: Exception) -> None:
    keeper = world.keeper()
    with pytest.raises(type(error)):
        await keeper.once("me", "k", b"body", "call_1", world.fails(error))
    assert not world.keys.values
    assert await keeper.once("me", "k", b"other body", "call_2", world.place) == ("call_2", False)


async def test_who_waits_for_a_request_that_fails_places_its_own_call_under_the_key(world: World) -> None:
    keeper = world.keeper()
    first = keeper.once("me", "k", b"body", "call_1", world.fails(errors.NotRegistered("x")))
    second = keeper.once("me", "k", b"body", "call_2", world.place)
    failed, placed = await asyncio.gather(first, second, return_exceptions=True)
    assert isinstance(failed, errors.NotRegistered)
    assert placed == ("call_2", False)
    assert await keeper.once("me", "k", b"body", "call_3", world.place) == ("call_2", True)


async def test_a_request_that_was_cut_off_before_its_call_leaves_its_key_free(world: World) -> None:
    keeper = world.keeper()

    async def for_ever(call: str) -> str:
        await asyncio.Event().wait()
        return "never"

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await keeper.once("me", "k", b"body", "call_1", for_ever)
    assert await keeper.once("me", "k", b"body", "call_2", world.place) == ("call_2", False)


async def test_a_request_that_was_cut_off_while_its_call_rang_finds_that_call_again(world: World) -> None:
    keeper = world.keeper()
    with pytest.raises(asyncio.CancelledError):
        await keeper.once("me", "k", b"body", "call_1", world.fails(asyncio.CancelledError(), sent=True))
    for known in (keeper, await world.restarted()):
        assert await known.once("me", "k", b"body", "call_2", world.place) == ("call_1", True)
    assert world.calls == ["call_1"]


async def test_a_key_is_its_calls_over_a_restart(world: World) -> None:
    await world.keeper().once("me", "secret-order-7", b"body", "call_1", world.place)
    assert await (await world.restarted()).once("me", "secret-order-7", b"body", "x", world.place) == ("call_1", True)
    assert "secret-order-7" not in str(world.keys.values)


async def test_a_process_that_died_before_it_placed_the_call_leaves_the_key_to_the_next(world: World) -> None:
    on_disk: dict[str, bytes] = {}

    async def dies(call: str) -> str:
        on_disk.update(world.keys.values)
        raise RuntimeError

    with pytest.raises(RuntimeError):
        await world.keeper().once("me", "k", b"body", "call_1", dies)
    world.keys.values = on_disk
    assert await (await world.restarted()).once("me", "k", b"body", "call_2", world.place) == ("call_1", False)


async def test_keys_are_forgotten_after_their_time_in_memory_and_on_the_disk(world: World) -> None:
    keeper = world.keeper()
    for number in range(2 * DROPPED):
        await keeper.once("me", str(number), b"body", f"call_{number}", world.place)
    world.now += timedelta(hours=24, seconds=1)
    assert await keeper.once("me", "0", b"other", "call_new", world.place) == ("call_new", False)
    assert len(world.keys.values) == DROPPED
    await world.restarted()
    assert len(world.keys.values) == 1


async def test_memory_is_bounded(world: World) -> None:
    keeper = world.keeper(kept=3)
    for number in range(10):
        await keeper.once("me", str(number), b"body", f"call_{number}", world.place)
    assert len(keeper._entries) <= 4
    assert len(world.keys.values) <= 4
    assert await keeper.once("me", "9", b"body", "new", world.place) == ("call_9", True)
    assert await keeper.once("me", "0", b"body", "new", world.place) == ("new", False)


async def test_a_sick_disk_costs_the_memory_over_a_restart_and_nothing_else(world: World) -> None:
    keeper = world.keeper()
    world.keys.broken = StoreFailed("disk full")
    await keeper.load()
    assert await keeper.once("me", "k", b"body", "call_1", world.place) == ("call_1", False)
    assert await keeper.once("me", "k", b"body", "call_2", world.place) == ("call_1", True)
    with pytest.raises(errors.NotRegistered):
        await keeper.once("me", "other", b"body", "call_3", world.fails(errors.NotRegistered("x")))


@pytest.mark.parametrize("value", [b"", b"{", b"[]", b'{"digest":1}', b'{"digest":"","call":"","until":"x","done":1}'])
async def test_what_cannot_be_read_is_dropped(world: World, value: bytes) -> None:
    await world.keeper().once("me", "good", b"body", "call_1", world.place)
    world.keys.values["idempotency/bad"] = value
    keeper = await world.restarted()
    assert "idempotency/bad" not in world.keys.values
    assert await keeper.once("me", "good", b"body", "call_2", world.place) == ("call_1", True)


@pytest.mark.parametrize("key", ["", " ", "a b", "é", "k" * 256, "\x00"])
async def test_keys_are_short_visible_texts(world: World, key: str) -> None:
    with pytest.raises(errors.InvalidValue):
        await world.keeper().once("me", key, b"", "call_1", world.place)
