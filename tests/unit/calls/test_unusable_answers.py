"""A 200 to our re-INVITE whose description is of no use: as good as a refusal, and no end of a call that talks."""

from __future__ import annotations

import asyncio

import pytest

from phoned.calls.call import Call
from phoned.errors import DescriptionError, Refused
from phoned.model import CallState, EndCause, MediaState
from phoned.sip import events as sip
from phoned.tasks import Tasks
from tests.support.calls import CallWorld, raised, settle, virtual
from tests.support.repair import Scene

HOLD, RECOVERY, MEDIA = sip.ModifyCause.HOLD, sip.ModifyCause.RECOVERY, sip.ModifyCause.MEDIA


async def torn(world: CallWorld, call: Call, *causes: sip.ModifyCause) -> None:
    """Our offer is made, and the far end's 200 to it brings something that is no answer."""
    world.wants_offer(call, "t1", *causes)
    await settle()
    world.media[call.id].errors["accept"] = [DescriptionError("torn")]
    world.tell(sip.AnswerReceived(session=call.session or "", token="t1", description=b"torn", early=False, fork="r"))
    world.modified(call, *causes)
    await settle()


@virtual
async def test_a_hold_whose_answer_is_of_no_use_is_refused_and_the_call_goes_on() -> None:
    world = CallWorld()
    call = await world.active()
    holding = Tasks("t", lambda name, error: None).spawn("h", raised(call.hold(True)))
    await settle()
    await torn(world, call, HOLD)
    refusal = await holding
    assert isinstance(refusal, Refused)
    assert refusal.status == 200
    assert (call.state, call.view().hold.local, world.media[call.id].held) == (CallState.ACTIVE, False, False)
    assert world.media[call.id].log[-1] == "rollback"
    assert "call.held" not in await world.types()


@pytest.mark.behaviour("W23")
@virtual
async def test_a_repair_whose_answer_is_of_no_use_is_abandoned_while_the_old_path_talks() -> None:
    scene = await Scene.set_up()
    scene.world.manager.on_network_moved(frozenset(), forced=True)
    await torn(scene.world, scene.call, MEDIA)
    assert (scene.said, scene.state(), scene.call.state) == (["media"], MediaState.FLOWING, CallState.ACTIVE)
    assert "rollback" in scene.media.log
    assert len(await scene.told("call.reconnected")) == 1


@virtual
async def test_a_repair_of_a_dead_path_whose_answer_is_of_no_use_climbs_at_once() -> None:
    scene = await Scene.set_up()
    scene.silence()
    await asyncio.sleep(1)
    await torn(scene.world, scene.call, MEDIA)
    assert (scene.said, scene.state()) == (["media", "media"], MediaState.REBUILDING)


@virtual
async def test_a_new_flow_whose_answer_is_of_no_use_is_verified_all_the_same() -> None:
    scene = await Scene.set_up()
    scene.world.manager.on_flow_ready("a")
    await torn(scene.world, scene.call, RECOVERY)
    assert (scene.state(), scene.call.view().recovering) == (MediaState.FLOWING, None)


@virtual
async def test_an_outcome_that_comes_after_the_end_is_nothing() -> None:
    scene = await Scene.set_up()
    scene.world.manager.on_flow_ready("a")
    scene.world.wants_offer(scene.call, "t1", RECOVERY)
    await settle()
    session = scene.call.session or ""
    scene.world.tell(sip.AnswerReceived(session=session, token="t1", description=b"x", early=False, fork="r"))
    scene.world.modified(scene.call, RECOVERY)
    scene.world.ended(scene.call)
    await settle()
    assert (await scene.world.types())[-1] == "call.ended"


@virtual
async def test_a_first_answer_that_is_of_no_use_is_still_the_end() -> None:
    world = CallWorld()
    call = await world.place()
    world.wants_offer(call, "t1")
    await settle()
    world.media[call.id].errors["accept"] = [DescriptionError("torn")]
    world.tell(sip.AnswerReceived(session=call.session or "", token="t1", description=b"torn", early=False, fork="r"))
    world.answer(call)
    await settle()
    end = call.view().end
    assert end is not None
    assert end.cause is EndCause.MEDIA_FAILED
