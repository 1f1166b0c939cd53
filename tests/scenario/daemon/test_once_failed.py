"""What random schedules of the composed daemon have shown, each in the smallest setting that shows it."""

from __future__ import annotations

import asyncio

import pytest

from phoned.model import AccountState, CallRequest, CallState, EndCause
from tests.support.calls import virtual
from tests.support.loop import run_virtual
from tests.support.simulated_wire import Health
from tests.support.world import BACKUP, PRIMARY, World


@virtual
async def test_two_dead_proxies_are_not_played_against_each_other() -> None:
    # seeds 19 and 45: each refusal moved the account to the other proxy at once, as fast as dials can fail
    world = World(1)
    await world.start()
    await asyncio.sleep(1.0)
    world.wire.edges = {PRIMARY: Health.REFUSES, BACKUP: Health.REFUSES}
    world.wire.cut()
    await asyncio.sleep(60.0)
    dials = world.wire.dials["ben"]
    assert {span.host for span in dials} == {PRIMARY, BACKUP}
    assert len(dials) < 30
    assert world.hammered(dials_per_s=3, registers_per_s=3, excused=[1000.0]) == []
    world.heal()
    await asyncio.sleep(61.0)
    assert world.phone.account("ben").state is AccountState.ONLINE
    await world.stop()
    assert await world.left_behind() == []


@virtual
async def test_a_dead_primary_is_left_at_once() -> None:
    world = World(1)
    world.wire.edges = {PRIMARY: Health.REFUSES}
    await world.start()
    await asyncio.sleep(1.0)
    assert world.phone.account("ben").state is AccountState.ONLINE
    assert [span.host for span in world.wire.dials["ben"]] == [PRIMARY, BACKUP]
    await world.stop()


@virtual
async def test_media_that_never_connects_is_told_before_the_end_of_the_call() -> None:
    # seed 21: call.media_failed came after call.ended
    world = World(1)
    await world.start()
    await asyncio.sleep(1.0)
    world.path.up = False
    call = (await world.phone.place_call(CallRequest(account="ann", to="echo"))).id
    await asyncio.sleep(60.0)
    view = world.phone.call(call)
    assert view.state is CallState.ENDED
    assert view.end is not None
    assert view.end.cause is EndCause.MEDIA_FAILED
    types = [event.type for event in await world.events() if event.type.startswith("call.")]
    assert "call.media_failed" in types
    assert types[-1] == "call.ended"
    await world.stop()
    assert await world.told_wrong() == []


@pytest.mark.parametrize("ever_registered", [True, False])
@pytest.mark.parametrize("state", [AccountState.BACKOFF, AccountState.CONNECTING])
def test_another_network_is_tried_at_once_also_by_an_account_without_a_flow(
    ever_registered: bool, state: AccountState
) -> None:
    # an account in its back-off had no way to its proxy to watch, so that a new one was not heard of for a minute; and
    # one that dialled waited for the end of that
    async def main() -> None:
        world = World(1)
        if ever_registered:
            await world.start()
            await asyncio.sleep(5.0)
        world.wire.edges = {PRIMARY: Health.SILENT, BACKUP: Health.SILENT}
        world.wire.cut()
        if not ever_registered:
            await world.start()
        await asyncio.sleep(60.0)
        for _ in range(600):
            if world.phone.account("ann").state is state:
                break
            await asyncio.sleep(0.1)
        world.wire.edges.clear()
        world.move("10.0.2.2")
        await asyncio.sleep(1.0)
        assert {account.state for account in world.phone.accounts()} == {AccountState.ONLINE}
        assert world.hammered(dials_per_s=2, registers_per_s=4, excused=[]) == []
        await world.stop()

    run_virtual(main())


@virtual
async def test_an_account_that_has_no_flow_says_that_there_is_no_network() -> None:
    world = World(1)
    await world.start()
    await asyncio.sleep(5.0)
    world.wire.edges = {PRIMARY: Health.SILENT}
    world.wire.cut()
    await asyncio.sleep(60.0)
    world.move(None)
    await asyncio.sleep(6.0)
    assert world.phone.account("ann").state is AccountState.NET_DOWN
    dialled = len(world.wire.dials["ann"])
    await asyncio.sleep(60.0)
    assert len(world.wire.dials["ann"]) == dialled
    await world.stop()
