"""Unanswered outgoing calls whose flow broke: dialled again under the same id."""

from __future__ import annotations

import asyncio

import pytest

from phoned.model import CallState, EndCause
from phoned.sip import events as sip
from tests.support.calls import CallWorld, settle, virtual


@pytest.mark.behaviour("L3")
@virtual
async def test_a_call_that_rang_when_its_flow_broke_is_dialled_again_under_its_id() -> None:
    world = CallWorld()
    call = await world.place()
    world.tell(sip.Progress(session="s1", status=180, reason="Ringing", fork="f", reliable=False, early_media=False))
    world.account.online = world.account.settled = False
    world.ended(call, sip.EndCause.UNREACHABLE, by=sip.Party.SYSTEM)
    assert not call.ended
    recovering = call.view().recovering
    assert recovering is not None
    assert recovering.plane == "signalling"
    world.account.online = world.account.settled = True
    world.manager.on_registered("a")
    assert world.core.of("invite") == [("sip:bob@example.org",), ("sip:bob@example.org",)]
    world.ended(call, sip.EndCause.REFUSED, status=486)  # the far end has not seen our CANCEL yet
    assert not call.ended
    await asyncio.sleep(1.1)
    assert len(world.core.of("invite")) == 3
    world.tell(sip.Progress(session="s3", status=180, reason="Ringing", fork="f", reliable=False, early_media=False))
    assert call.view().recovering is None
    world.answer(call)
    assert call.state is CallState.ACTIVE
    types = await world.types()
    assert types.count("call.ringing") == types.count("call.reconnecting") == types.count("call.reconnected") == 1


@pytest.mark.behaviour("L3")
@virtual
async def test_a_second_busy_is_believed() -> None:
    world = CallWorld()
    call = await world.place()
    world.ended(call, sip.EndCause.UNREACHABLE, by=sip.Party.SYSTEM)
    await asyncio.sleep(0.1)  # there is a flow already
    assert len(world.core.of("invite")) == 2
    world.ended(call, sip.EndCause.REFUSED, status=486)
    await asyncio.sleep(1.1)
    world.ended(call, sip.EndCause.REFUSED, status=486)
    end = call.view().end
    assert end is not None
    assert end.cause is EndCause.BUSY


@virtual
async def test_a_call_for_which_no_flow_comes_is_unreachable_in_the_end() -> None:
    world = CallWorld()
    call = await world.place(timeout_s=20)
    world.account.online = world.account.settled = False
    world.ended(call, sip.EndCause.UNREACHABLE, by=sip.Party.SYSTEM)
    await asyncio.sleep(21)
    end = call.view().end
    assert end is not None
    assert end.cause is EndCause.UNREACHABLE
    world.account.online = True
    world.manager.on_registered("a")
    assert len(world.core.of("invite")) == 1


@pytest.mark.behaviour("L3")
@virtual
async def test_nobody_is_dialled_again_for_somebody_who_has_given_up() -> None:
    world = CallWorld()
    waiting, going = await world.place(), await world.place()
    world.account.online = world.account.settled = False
    world.ended(waiting, sip.EndCause.UNREACHABLE, by=sip.Party.SYSTEM)
    waiting.hangup()
    world.core.slow = True
    going.hangup()
    world.ended(going, sip.EndCause.UNREACHABLE, by=sip.Party.SYSTEM)
    assert waiting.ended
    assert going.ended
    world.account.online = True
    world.manager.on_registered("a")
    assert len(world.core.of("invite")) == 2


@virtual
async def test_early_media_is_built_anew_with_the_second_invite() -> None:
    world = CallWorld()
    call = await world.place()
    world.media[call.id].current = b"offer"
    world.tell(sip.Progress(session="s1", status=183, reason="", fork="f", reliable=False, early_media=True))
    world.ended(call, sip.EndCause.UNREACHABLE, by=sip.Party.SYSTEM)
    await asyncio.sleep(0.1)
    world.wants_offer(call, "t")
    await settle()
    assert ("offer", "rebuild") in world.media[call.id].log
