"""Many idle accounts of one process and a server that is away for a second."""

from __future__ import annotations

import asyncio

from phoned.model import AccountState
from tests.support.calls import virtual
from tests.support.simulated_wire import Health
from tests.support.world import PRIMARY, World

ACCOUNTS = 500


@virtual
async def test_five_hundred_accounts_are_back_within_five_seconds_of_a_second_without_a_server() -> None:
    world = World(1, names={f"user{number}": False for number in range(ACCOUNTS)})
    await world.start()
    await asyncio.sleep(30.0)
    assert world.unsettled() == []
    lost_at = world.loop.time()
    world.wire.edges = {PRIMARY: Health.REFUSES}
    world.wire.server_gone()
    world.exchange.restart()
    await asyncio.sleep(1.0)
    world.wire.edges.clear()
    await asyncio.sleep(5.0)
    assert {account.state for account in world.phone.accounts()} == {AccountState.ONLINE}
    for spans in world.wire.dials.values():
        began = [span.began for span in spans if span.began >= lost_at]
        assert max(sum(first <= time < first + 3.0 for time in began) for first in began) <= 3
    assert world.unsettled() == []
    await world.stop()
    assert await world.left_behind() == []
    assert world.broken() == []
