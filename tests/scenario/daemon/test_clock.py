"""Somebody sets the machine's clock, back and forth, while a call is up and the network moves."""

from __future__ import annotations

import asyncio

import pytest

from phoned.model import AccountState, CallRequest, CallState
from tests.support.calls import virtual
from tests.support.world import World

DAY_S = 86_400.0


@pytest.mark.parametrize("jumps", [(-DAY_S, 2 * DAY_S), (400 * DAY_S, -800 * DAY_S), (3.0, -3.0, 3.0)])
@virtual
async def test_a_clock_that_is_set_costs_no_call_and_no_registration(jumps: tuple[float, ...]) -> None:
    world = World(5)
    await world.start()
    await asyncio.sleep(30.0)
    call = await world.phone.place_call(CallRequest(account="ann", to="echo"), wait="answered")
    registers = sum(map(len, world.exchange.seen.values()))
    for number, jump_s in enumerate(jumps):
        world.set_by_s += jump_s
        await asyncio.sleep(20.0)
        world.move(("10.0.2.2", "10.0.1.2")[number % 2])
        await asyncio.sleep(40.0)
        view = world.phone.call(call.id)
        assert view.state is CallState.ACTIVE
        assert view.recovering is None
        assert view.duration_s >= 0
    minutes = len(jumps)
    assert sum(map(len, world.exchange.seen.values())) - registers <= 2 * (2 * minutes + 2), "no burst of REGISTERs"
    assert {account.state for account in world.phone.accounts()} == {AccountState.ONLINE}
    assert world.unsettled() == []
    world.set_by_s -= DAY_S
    await world.stop()
    assert await world.left_behind() == []
    assert world.broken() == []
