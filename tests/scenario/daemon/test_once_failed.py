"""What random schedules of the composed daemon have shown, each in the smallest setting that shows it."""

from __future__ import annotations

import asyncio

from phoned.model import AccountState, CallRequest, CallState, EndCause
from tests.support.calls import virtual
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
