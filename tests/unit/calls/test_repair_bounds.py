"""What bounds a repair that has to be said again: the time of its tier, and the guard against storms."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from phoned.media import events as media
from phoned.model import AccountState, MediaState
from phoned.sip import events as sip
from tests.support.calls import virtual
from tests.support.repair import Scene

MEDIA, RECOVERY = sip.ModifyCause.MEDIA, sip.ModifyCause.RECOVERY


@virtual
async def test_a_world_that_moves_during_a_repair_counts_for_the_storm_and_gives_its_tier_no_more_time() -> None:
    scene = await Scene.set_up()
    scene.silence()
    for _ in range(6):
        scene.world.manager.on_network_moved(frozenset(), forced=True)
        scene.world.modified(scene.call, MEDIA)
        await asyncio.sleep(0.6)
    assert (len(scene.said), scene.state()) == (3, MediaState.RESTARTING)
    await asyncio.sleep(0.5)
    assert (len(scene.said), scene.state()) == (4, MediaState.REBUILDING)
    scene.world.modified(scene.call, MEDIA)
    scene.world.manager.on_network_moved(frozenset(), forced=True)
    await asyncio.sleep(9.5)
    assert len(scene.said) == 4
    await asyncio.sleep(1)
    assert len(scene.said) == 5, "ten seconds after the one that took the moves along"


@virtual
async def test_an_offer_repeated_for_the_new_pair_gives_its_tier_no_more_time() -> None:
    scene = await Scene.set_up()
    scene.world.manager.on_network_moved(frozenset(), forced=True)
    scene.silence()
    await asyncio.sleep(3)
    scene.world.modified(scene.call, MEDIA)
    scene.media.beat = replace(scene.media.beat, ice_generation=2, heard_here=False)
    scene.media.emit(media.PathChanged(local="l", remote="r", ice_generation=2))
    await asyncio.sleep(0.5)
    assert (len(scene.said), scene.state()) == (2, MediaState.RESTARTING)
    scene.world.modified(scene.call, MEDIA)
    await asyncio.sleep(1)
    assert (len(scene.said), scene.state()) == (3, MediaState.REBUILDING)


@virtual
async def test_a_new_flow_gives_the_tier_under_way_its_time_again() -> None:
    scene = await Scene.set_up()
    scene.silence()
    await asyncio.sleep(1)
    scene.world.account.settled = scene.world.account.online = False
    scene.world.account.state = AccountState.CONNECTING
    await asyncio.sleep(30)
    assert scene.said == ["media"]
    scene.world.account.settled = scene.world.account.online = True
    scene.world.account.state = AccountState.ONLINE
    scene.world.manager.on_flow_ready("a")
    scene.world.modified(scene.call, RECOVERY)
    await asyncio.sleep(3.5)
    assert (scene.said, scene.state()) == (["media", "recovery"], MediaState.RESTARTING)
    await asyncio.sleep(1)
    assert (len(scene.said), scene.state()) == (3, MediaState.REBUILDING)


@virtual
async def test_the_time_for_which_a_repair_is_put_off_is_not_taken_from_its_tier() -> None:
    scene = await Scene.set_up()
    scene.silence()
    await asyncio.sleep(1)
    scene.put_off(30, MEDIA)
    await asyncio.sleep(30.1)
    assert (scene.said, scene.state()) == (["media"], MediaState.RESTARTING)
    scene.world.modified(scene.call, MEDIA)
    await asyncio.sleep(2)
    assert (scene.said, scene.state()) == (["media"], MediaState.RESTARTING)
    await asyncio.sleep(2)
    assert (len(scene.said), scene.state()) == (2, MediaState.REBUILDING)


@virtual
async def test_a_new_flow_is_not_told_to_be_good_while_its_reinvite_is_put_off() -> None:
    scene = await Scene.set_up()
    scene.world.manager.on_flow_ready("a")
    scene.put_off(3, RECOVERY)
    await asyncio.sleep(4)
    assert await scene.told("call.reconnected") == []
    scene.world.modified(scene.call, RECOVERY)
    assert len(await scene.told("call.reconnected")) == 1
    assert (scene.said, scene.state()) == (["recovery"], MediaState.FLOWING)
