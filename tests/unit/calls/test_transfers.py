"""Transfers as the calls see them: who is told what, and which call ends as what."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from phoned.calls.call import Call
from phoned.calls.transfers import ANSWER_S, LEAVE_S, REPLACES, TRANSFER_OF
from phoned.config.schema import DialConfig
from phoned.errors import DeadlineExceeded, Denied, Gone, InvalidValue, Refused, WrongState
from phoned.model import CallState, EndCause
from phoned.sip import events as sip
from phoned.tasks import Tasks
from tests.support.calls import CallWorld, settle, virtual


async def asked(
    world: CallWorld, call: Call, to: str | None = "carol", other: Call | None = None
) -> asyncio.Task[None]:
    """A transfer whose REFER is out."""
    tasks = Tasks("t", lambda name, error: None)
    task = tasks.spawn("t", world.manager.transfers.transfer(call, to=to, other=other))
    await asyncio.sleep(0)
    return task


def accepted(world: CallWorld, call: Call, token: str = "r1") -> None:
    world.tell(sip.ReferAccepted(session=call.session or "", token=token))


def outcome(
    world: CallWorld, call: Call, status: int, reason: str = "", token: str = "r1", *, final: bool = True
) -> None:
    world.tell(sip.ReferProgress(session=call.session or "", token=token, status=status, reason=reason, final=final))


async def own(world: CallWorld, *names: str) -> list[dict[str, Any]]:
    """The facts of the events ``call.transfer_...`` with these endings."""
    told = [event for event in await world.events() if event.type in {f"call.transfer_{name}" for name in names}]
    return [{key: value for key, value in event.data.items() if key != "call"} for event in told]


@virtual
async def test_a_transfer_that_succeeds_ends_the_call_as_transferred() -> None:
    world = CallWorld()
    call = await world.active()
    task = await asked(world, call)
    assert world.core.of("refer") == [(call.session, "sip:carol@example.org")]
    assert not task.done()
    accepted(world, call)
    await task
    outcome(world, call, 180, "Ringing", final=False)
    assert not call.ended
    outcome(world, call, 200, "OK")
    end = call.view().end
    assert end is not None
    assert (end.cause, end.by) == (EndCause.TRANSFERRED, "local")
    assert await own(world, "started") == [{"to": "carol", "replaces": None}]
    assert await own(world, "accepted", "completed") == [{}, {"sip_code": 200}]


@virtual
async def test_a_transfer_that_is_refused_leaves_the_call_as_it_was() -> None:
    world = CallWorld()
    call = await world.active()
    task = await asked(world, call)
    outcome(world, call, 603, "Decline")
    with pytest.raises(Refused) as refused:
        await task
    assert (refused.value.status, call.state) == (603, CallState.ACTIVE)
    assert await own(world, "failed") == [{"sip_code": 603, "reason": "Decline"}]
    world.core.answered.add(call.session or "")
    call.hangup()
    assert (end := call.view().end) is not None
    assert end.cause is EndCause.COMPLETED


@virtual
async def test_a_transfer_that_fails_later_is_told_by_an_event_and_the_call_goes_on() -> None:
    world = CallWorld()
    call = await world.active()
    task = await asked(world, call)
    accepted(world, call)
    await task
    outcome(world, call, 486, "Busy Here")
    assert call.state is CallState.ACTIVE
    assert await own(world, "failed") == [{"sip_code": 486, "reason": "Busy Here"}]
    world.tell(sip.Ended(session=call.session or "", cause=sip.EndCause.BYE, by=sip.Party.REMOTE))
    assert (end := call.view().end) is not None
    assert (end.cause, end.by) == (EndCause.COMPLETED, "remote")


@virtual
async def test_a_far_end_that_says_nothing_is_a_deadline() -> None:
    world = CallWorld()
    call = await world.active()
    task = await asked(world, call)
    with pytest.raises(DeadlineExceeded):
        await asyncio.wait_for(task, ANSWER_S + 1)
    outcome(world, call, 0)
    assert await own(world, "failed") == [{"sip_code": None, "reason": None}]
    again = await asked(world, call)
    outcome(world, call, 0, token="r2")
    with pytest.raises(DeadlineExceeded):
        await again


@virtual
async def test_a_far_end_that_hangs_up_once_it_has_taken_it_on_has_moved() -> None:
    world = CallWorld()
    call = await world.active()
    task = await asked(world, call)
    accepted(world, call)
    await task
    world.tell(sip.Ended(session=call.session or "", cause=sip.EndCause.BYE, by=sip.Party.REMOTE))
    assert (end := call.view().end) is not None
    assert (end.cause, end.by) == (EndCause.TRANSFERRED, "remote")
    assert await own(world, "completed") == [{"sip_code": None}]
    types = await world.types()
    assert types.index("call.transfer_completed") < types.index("call.ended")


@virtual
async def test_a_call_that_ends_before_an_answer_fails_its_transfer() -> None:
    world = CallWorld()
    call, bystander = await world.active(), await world.active()
    other = await asked(world, bystander)
    task = await asked(world, call)
    world.tell(sip.Ended(session=call.session or "", cause=sip.EndCause.BYE, by=sip.Party.REMOTE))
    with pytest.raises(DeadlineExceeded):
        await task
    assert await own(world, "failed") == [{"sip_code": None, "reason": "the call has ended"}]
    assert not other.done()
    other.cancel()


@virtual
async def test_hanging_up_meanwhile_is_a_hangup() -> None:
    world = CallWorld()
    call = await world.active()
    task = await asked(world, call)
    accepted(world, call)
    await task
    call.hangup()
    assert (end := call.view().end) is not None
    assert (end.cause, end.by) == (EndCause.COMPLETED, "local")


@virtual
async def test_an_attended_transfer_ends_both_calls() -> None:
    world = CallWorld()
    call, other = await world.active(), await world.active()
    task = await asked(world, call, None, other)
    assert world.core.of("refer") == [(call.session, f"instead of {other.session}")]
    accepted(world, call)
    await task
    outcome(world, call, 200, "OK")
    assert await own(world, "started") == [{"to": None, "replaces": other.id}]
    assert (call.ended, other.ended) == (True, False)
    world.tell(sip.Ended(session=other.session or "", cause=sip.EndCause.BYE, by=sip.Party.REMOTE))
    assert (end := other.view().end) is not None
    assert (end.cause, end.by) == (EndCause.TRANSFERRED, "remote")


@virtual
async def test_a_far_end_that_does_not_leave_the_other_call_is_left() -> None:
    world = CallWorld()
    call, other = await world.active(), await world.active()
    task = await asked(world, call, None, other)
    accepted(world, call)
    await task
    outcome(world, call, 200, "OK")
    await asyncio.sleep(LEAVE_S + 1)
    assert (end := other.view().end) is not None
    assert (end.cause, end.by) == (EndCause.TRANSFERRED, "local")


@virtual
async def test_an_attended_transfer_that_fails_keeps_both_calls() -> None:
    world = CallWorld()
    call, other = await world.active(), await world.active()
    task = await asked(world, call, None, other)
    outcome(world, call, 500)
    with pytest.raises(Refused):
        await task
    assert not call.ended
    assert not other.ended


@virtual
async def test_what_cannot_be_transferred_is_said_before_anything_is_sent() -> None:
    world = CallWorld(dial=DialConfig(deny=["*900*"]))
    call, ringing = await world.active(), await world.place()
    transfers = world.manager.transfers
    with pytest.raises(Denied):
        await transfers.transfer(call, to="900123", other=None)
    with pytest.raises(InvalidValue):
        await transfers.transfer(call, to="not a name@", other=None)
    with pytest.raises(InvalidValue):
        await transfers.transfer(call, to=None, other=None)
    with pytest.raises(InvalidValue):
        await transfers.transfer(call, to=None, other=call)
    with pytest.raises(WrongState):
        await transfers.transfer(call, to=None, other=ringing)
    with pytest.raises(WrongState):
        await transfers.transfer(ringing, to="carol", other=None)
    assert world.core.of("refer") == []


@virtual
async def test_news_of_a_transfer_that_nobody_knows_change_nothing() -> None:
    world = CallWorld()
    call = await world.active()
    accepted(world, call, "stale")
    outcome(world, call, 200, token="stale")
    assert call.state is CallState.ACTIVE


# --- a far end that is moved by another


async def referred(world: CallWorld, call: Call, target: str = "sip:carol@example.org", **facts: Any) -> Call | None:
    """The far end asks us to call somebody."""
    before = {view.id for view in world.manager.views()}
    event = sip.Referred(session=call.session or "", token="t", target=target, replaces=None, referred_by=None)
    world.tell(sip.Referred(**{name: facts.get(name, getattr(event, name)) for name in event.__slots__}))
    new = {view.id for view in world.manager.views()} - before
    return world.manager.find(new.pop()) if new else None


@virtual
async def test_a_far_end_may_send_us_to_somebody_and_hears_how_it_goes() -> None:
    world = CallWorld()
    call = await world.active()
    placed = await referred(world, call, referred_by="sip:bob@example.org", replaces="c;to-tag=1;from-tag=2")
    assert placed is not None
    assert placed.view().tags == {TRANSFER_OF: call.id}
    assert world.core.headers == (("Referred-By", "<sip:bob@example.org>"), ("Replaces", "c;to-tag=1;from-tag=2"))
    assert world.core.of("accept_refer") == [(call.session,)]
    (told,) = await own(world, "requested")
    assert told == {"to": "sip:carol@example.org", "referred_by": "sip:bob@example.org", "call_placed": placed.id}
    for status in (100, 180):
        world.tell(
            sip.Progress(
                session=placed.session or "", status=status, reason="R", fork=None, reliable=False, early_media=False
            )
        )
    world.answer(placed)
    assert world.core.of("notify_refer") == [(call.session, "180 R"), (call.session, "200 OK")]
    world.tell(sip.Ended(session=call.session or "", cause=sip.EndCause.BYE, by=sip.Party.REMOTE))
    assert (end := call.view().end) is not None
    assert (end.cause, end.by) == (EndCause.TRANSFERRED, "remote")
    assert not placed.ended


@virtual
async def test_a_far_end_that_does_not_leave_after_it_moved_us_is_left() -> None:
    world = CallWorld()
    call = await world.active()
    placed = await referred(world, call)
    assert placed is not None
    world.answer(placed)
    await asyncio.sleep(LEAVE_S + 1)
    assert (end := call.view().end) is not None
    assert (end.cause, end.by) == (EndCause.TRANSFERRED, "local")


@virtual
async def test_a_far_end_that_left_early_is_told_nothing() -> None:
    world = CallWorld()
    call = await world.active()
    placed = await referred(world, call)
    assert placed is not None
    world.tell(sip.Ended(session=call.session or "", cause=sip.EndCause.BYE, by=sip.Party.REMOTE))
    await settle()
    world.answer(placed)
    assert world.core.of("notify_refer") == []
    assert placed.state is CallState.ACTIVE


@virtual
async def test_a_far_end_whose_subscription_is_gone_does_no_harm() -> None:
    world = CallWorld()
    call = await world.active()
    placed = await referred(world, call)
    assert placed is not None
    world.core.errors["notify_refer"] = Gone("settled")
    world.answer(placed)
    assert placed.state is CallState.ACTIVE


@pytest.mark.parametrize(("status", "told"), [(486, "486 Busy Here"), (None, "487 Not Connected")])
@virtual
async def test_a_call_that_cannot_be_had_leaves_the_first_as_it_was(status: int | None, told: str) -> None:
    world = CallWorld()
    call = await world.active()
    placed = await referred(world, call)
    assert placed is not None
    cause = sip.EndCause.REFUSED if status else sip.EndCause.UNREACHABLE
    reason = "Busy Here" if status else ""
    event = sip.Ended(session=placed.session or "", cause=cause, by=sip.Party.REMOTE, status=status, reason=reason)
    world.tell(event)
    if status is None:
        placed.hangup()  # it would be dialled again
    assert world.core.of("notify_refer") == [(call.session, told)]
    assert call.state is CallState.ACTIVE
    world.tell(sip.Ended(session=call.session or "", cause=sip.EndCause.BYE, by=sip.Party.REMOTE))
    assert (end := call.view().end) is not None
    assert end.cause is EndCause.COMPLETED


@pytest.mark.parametrize(
    ("dial", "status"),
    [({"deny": ["*carol*"]}, "603"), ({"max_concurrent": 1}, "486"), ({"max_per_minute": 1}, "603")],
)
@virtual
async def test_what_we_may_not_call_nobody_else_makes_us_call(dial: dict[str, Any], status: str) -> None:
    world = CallWorld(dial=DialConfig(**dial))
    call = await world.active()
    assert await referred(world, call) is None
    assert world.core.of("refuse_refer") == [(call.session, status)]
    assert (await own(world, "requested"))[0]["call_placed"] is None
    assert call.state is CallState.ACTIVE


@virtual
async def test_a_draining_phone_is_not_moved() -> None:
    world = CallWorld()
    call = await world.active()
    world.manager.draining = True
    assert await referred(world, call) is None
    assert world.core.of("refuse_refer") == [(call.session, "480")]


# --- in the place of a call


@virtual
async def test_a_call_in_the_place_of_another_is_answered_and_then_that_one_ends() -> None:
    world = CallWorld()
    old = await world.active()
    world.manager.draining = True  # no new call is taken, this is none
    new = world.incoming(replaces=old.session)
    assert new is not None
    assert new.view().tags == {REPLACES: old.id}
    assert world.core.of("answer") == [("in1",)]
    assert not old.ended
    world.answer(new)
    assert (end := old.view().end) is not None
    assert (end.cause, end.by) == (EndCause.REPLACED, "remote")
    assert new.state is CallState.ACTIVE


@virtual
async def test_a_call_that_would_take_a_place_and_fails_leaves_it() -> None:
    world = CallWorld()
    old = await world.active()
    new = world.incoming(replaces=old.session)
    assert new is not None
    world.tell(sip.Ended(session="in1", cause=sip.EndCause.DESCRIPTION_FAILED, by=sip.Party.LOCAL, status=488))
    assert new.ended
    assert not old.ended
