"""Hold and re-INVITE: a wish is one thing, what the far end agreed to is another."""

from __future__ import annotations

import asyncio

import pytest

from phoned.errors import DeadlineExceeded, Gone, Refused
from phoned.media import events as media
from phoned.model import HoldView
from phoned.sip import events as sip
from phoned.tasks import Tasks
from tests.support.calls import CallWorld, raised, settle, virtual
from tests.support.repair import Scene

HOLD, RECOVERY, MEDIA, REFRESH = (
    sip.ModifyCause.HOLD,
    sip.ModifyCause.RECOVERY,
    sip.ModifyCause.MEDIA,
    sip.ModifyCause.REFRESH,
)


def spawner() -> Tasks:
    return Tasks("t", lambda name, error: None)


@virtual
async def test_a_call_is_held_once_the_far_end_agrees() -> None:
    world = CallWorld()
    call = await world.active()
    holding = spawner().spawn("h", call.hold(True))
    await settle()
    assert world.core.of("reinvite") == [("s1", "hold")]
    assert not call.view().hold.local
    world.wants_offer(call, "t1", HOLD)
    await settle()
    assert ("offer", "held") in world.media[call.id].log
    assert world.core.of("supply") == [("t1", "offer")]
    world.modified(call, HOLD)
    assert (await holding).hold == HoldView(local=True)
    assert (await call.hold(True)).hold.local
    assert len(world.core.of("reinvite")) == 1
    assert (await world.types())[-1] == "call.held"


@virtual
async def test_a_refused_hold_leaves_everything_as_it_was() -> None:
    world = CallWorld()
    call = await world.active()
    holding = spawner().spawn("h", raised(call.hold(True)))
    await settle()
    world.wants_offer(call, "t1", HOLD)
    await settle()
    world.refused(call, 488, HOLD)
    refusal = await holding
    assert isinstance(refusal, Refused)
    assert refusal.status == 488
    assert not world.media[call.id].held
    assert "rollback" in world.media[call.id].log
    assert not call.view().hold.local
    assert "call.held" not in await world.types()


@virtual
async def test_the_outcome_of_another_reinvite_is_not_taken_for_ones_own() -> None:
    world = CallWorld()
    call = await world.active()
    call.on_flow_ready()
    world.wants_offer(call, "t0", RECOVERY)
    await settle()
    holding = spawner().spawn("h", call.hold(True))
    await settle()
    world.modified(call, RECOVERY)
    await settle()
    assert not holding.done()
    assert not call.view().hold.local
    world.wants_offer(call, "t1", HOLD)
    await settle()
    world.modified(call, HOLD)
    assert (await holding).hold.local
    assert [type_ for type_ in await world.types() if type_ in ("call.dialog_verified", "call.held")] == [
        "call.dialog_verified",
        "call.held",
    ]


@pytest.mark.behaviour("W37")
@virtual
async def test_a_hold_given_while_the_flow_is_away_is_carried_by_the_repair() -> None:
    world = CallWorld()
    call = await world.active()
    holding = spawner().spawn("h", call.hold(True))
    await settle()
    world.refused(call, 0, HOLD)
    await settle()
    assert not holding.done()
    assert world.media[call.id].held
    call.on_flow_ready()
    world.wants_offer(call, "t1", RECOVERY)
    await settle()
    world.modified(call, RECOVERY)
    assert (await holding).hold.local
    assert {"call.held", "call.dialog_verified"} <= set(await world.types())


@virtual
async def test_a_hold_that_nobody_waits_for_any_more_still_comes_true() -> None:
    world = CallWorld()
    call = await world.active()
    with pytest.raises(DeadlineExceeded):
        await call.hold(True)
    assert world.media[call.id].held
    world.wants_offer(call, "t1", HOLD, RECOVERY)
    await settle()
    world.modified(call, HOLD, RECOVERY)
    assert call.view().hold.local
    assert "call.held" in await world.types()


@virtual
async def test_a_client_that_goes_away_does_not_leave_the_hold_half_done() -> None:
    world = CallWorld()
    call = await world.active()
    holding = spawner().spawn("h", call.hold(True))
    await settle()
    world.wants_offer(call, "t1", HOLD)
    await settle()
    holding.cancel()
    await asyncio.wait({holding})
    back = spawner().spawn("u", call.hold(False))
    await settle()
    world.modified(call, HOLD)  # what was on its way is answered first
    assert call.view().hold.local
    await settle()
    assert not back.done()
    world.wants_offer(call, "t2", HOLD)
    await settle()
    world.modified(call, HOLD)
    assert not (await back).hold.local
    held = [type_ for type_ in await world.types() if type_ in ("call.held", "call.unheld")]
    assert held == ["call.held", "call.unheld"]


@virtual
async def test_a_call_that_ends_meanwhile_is_gone_for_who_waits_and_who_queues() -> None:
    world = CallWorld()
    call = await world.active()
    tasks = spawner()
    waiting = [
        tasks.spawn("h", raised(call.hold(True))),
        tasks.spawn("u", raised(call.hold(False))),
        tasks.spawn("r", raised(call.reinvite(ice_restart=False))),
    ]
    await settle()
    world.ended(call)
    assert [type(await waiter) for waiter in waiting] == [Gone, Gone, Gone]


@virtual
async def test_a_reinvite_by_hand_restarts_ice_also_after_glare() -> None:
    world = CallWorld()
    call = await world.active()
    asking = spawner().spawn("r", call.reinvite(ice_restart=True))
    await settle()
    world.wants_offer(call, "t1", RECOVERY)
    await settle()
    # 491: the core takes the offer back and asks again later
    world.tell(sip.DescriptionExpired(session="s1", token="t1"))
    world.wants_offer(call, "t2", RECOVERY)
    await settle()
    world.modified(call, RECOVERY)
    await asking
    log = world.media[call.id].log
    assert [entry for entry in log if entry in (("offer", "ice"), "rollback")] == [
        ("offer", "ice"),
        "rollback",
        ("offer", "ice"),
    ]
    world.wants_offer(call, "t3", MEDIA)
    await settle()
    assert world.media[call.id].log[-1] == "offer"


@virtual
async def test_an_unanswered_reinvite_by_hand_has_a_deadline() -> None:
    world = CallWorld()
    call = await world.active()
    with pytest.raises(DeadlineExceeded):
        await call.reinvite(ice_restart=False)


@virtual
async def test_a_refresh_of_the_session_says_nothing_about_hold() -> None:
    world = CallWorld()
    call = await world.active()
    world.media[call.id].current = b"current"
    world.wants_offer(call, "t1", REFRESH)
    await settle()
    assert world.core.of("supply") == [("t1", "current")]
    world.modified(call, REFRESH)
    world.refused(call, 500, REFRESH)
    assert {"call.held", "call.unheld"}.isdisjoint(await world.types())


@virtual
async def test_the_far_ends_hold_is_beside_ours() -> None:
    world = CallWorld()
    call = await world.active()
    world.media[call.id].emit(media.RemoteHold(on=True))
    assert call.view().hold == HoldView(local=False, remote=True)
    holding = spawner().spawn("h", call.hold(True))
    await settle()
    world.wants_offer(call, "t1", HOLD)
    await settle()
    world.modified(call, HOLD)
    await holding
    assert call.view().hold == HoldView(local=True, remote=True)
    world.media[call.id].emit(media.RemoteHold(on=False))
    assert call.view().hold == HoldView(local=True, remote=False)


@virtual
async def test_a_late_refusal_of_an_older_wish_does_not_refuse_the_newer() -> None:
    world = CallWorld()
    call = await world.active()
    first = spawner().spawn("h", call.hold(True))
    await settle()
    world.wants_offer(call, "t1", HOLD)
    await settle()
    first.cancel()
    await asyncio.wait({first})
    second = spawner().spawn("u", call.hold(False))
    await settle()
    world.refused(call, 488, HOLD)
    await settle()
    assert not second.done()
    world.wants_offer(call, "t2", HOLD)
    await settle()
    world.modified(call, HOLD)
    assert not (await second).hold.local


@virtual
async def test_a_reinvite_by_hand_that_is_put_off_for_long_is_told_so_and_the_repair_goes_on() -> None:
    scene = await Scene.set_up()
    scene.put_off(60, RECOVERY)  # nobody waits for that one
    asking = spawner().spawn("r", raised(scene.call.reinvite(ice_restart=False)))
    await settle()
    scene.put_off(60, MEDIA)
    scene.put_off(5, RECOVERY)
    await asyncio.sleep(5)
    assert not asking.done()
    scene.put_off(60, RECOVERY)
    scene.put_off(60, RECOVERY)
    refusal = await asking
    assert isinstance(refusal, Refused)
    assert (refusal.status, refusal.retry_after_s) == (503, 60)
    scene.world.modified(scene.call, RECOVERY)
    assert len(await scene.told("call.dialog_verified")) == 1
