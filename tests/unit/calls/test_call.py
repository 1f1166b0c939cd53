"""One call: every verb in every state, and exactly one end whatever crosses."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from phoned.calls.call import Call
from phoned.calls.states import LEGAL
from phoned.errors import DeadlineExceeded, Gone, InternalError, NotRegistered, Refused, WrongState
from phoned.media import events as media
from phoned.model import CallState, DtmfRequest, EndCause, MediaState, PlayRequest, RecordRequest, StatsView
from phoned.sip import events as sip
from phoned.tasks import Tasks
from tests.support.calls import CallWorld, raised, settle, virtual

C = CallState

VERBS: dict[str, Callable[[Call], Any]] = {
    "answer": lambda call: call.answer(),
    "reject": lambda call: call.reject(486, None),
    "hold": lambda call: call.hold(True),
    "unhold": lambda call: call.hold(False),
    "reinvite": lambda call: call.reinvite(ice_restart=True),
    "mute": lambda call: call.mute(True),
    "dtmf": lambda call: call.audio.dtmf(DtmfRequest(digits="1")),
    "play": lambda call: call.audio.play(PlayRequest(tone="440")),
    "record": lambda call: call.audio.record(RecordRequest()),
    "tag": lambda call: call.tag({"a": "b"}),
    "hangup": lambda call: call.hangup(),
}
ALLOWED = {
    "queued": {"mute", "tag", "hangup"},
    "dialing": {"mute", "tag", "hangup"},
    "ringing": {"mute", "tag", "hangup"},
    "incoming": {"mute", "tag", "hangup", "answer", "reject"},
    "early_media": {"mute", "tag", "hangup", "dtmf", "play", "record"},
    "active": {"mute", "tag", "hangup", "dtmf", "play", "record", "hold", "unhold", "reinvite"},
    "ended": {"hangup"},
}


async def in_state(world: CallWorld, state: str) -> Call:
    if state == "incoming":
        call = world.incoming()
        assert call is not None
        return call
    if state == "queued":
        world.account.online, world.account.repairing = False, True
        return await world.place()
    call = await world.place()
    session = call.session or ""
    if state in ("ringing", "early_media"):
        world.tell(
            sip.Progress(
                session=session, status=180, reason="", fork="f", reliable=False, early_media=state == "early_media"
            )
        )
    elif state in ("active", "ended"):
        world.answer(call)
    if state == "ended":
        world.core.slow = True
        world.ended(call)
    return call


async def verdict(outcome: Any) -> type[Exception] | None:
    """What became of a verb, without waiting for a far end."""
    try:
        if isinstance(outcome, Awaitable):
            async with asyncio.timeout(0.5):
                await outcome
    except TimeoutError:
        return None
    except (WrongState, Gone) as error:
        return type(error)
    return None


@pytest.mark.parametrize("state", ALLOWED)
@pytest.mark.parametrize("verb", VERBS)
@virtual
async def test_a_verb_fits_its_states_and_no_other(state: str, verb: str) -> None:
    world = CallWorld()
    call = await in_state(world, state)
    assert str(call.state) == {"incoming": "ringing"}.get(state, state)
    try:
        got = await verdict(VERBS[verb](call))
    except (WrongState, Gone) as error:
        got = type(error)
    expected = None if verb in ALLOWED[state] else Gone if state == "ended" else WrongState
    assert got is expected
    if not call.ended:
        call.hangup()
    await settle()
    assert (await world.types()).count("call.ended") == 1
    assert world.media[call.id].closed == 1


def test_every_state_leads_to_the_end() -> None:
    assert all(C.ENDED in LEGAL[state] for state in C if state is not C.ENDED)
    assert not LEGAL[C.ENDED]


@virtual
async def test_a_call_is_told_step_by_step() -> None:
    world = CallWorld()
    call = await in_state(world, "ringing")
    world.tell(
        sip.Progress(session=call.session or "", status=180, reason="", fork="f", reliable=False, early_media=False)
    )
    world.tell(
        sip.Progress(session=call.session or "", status=183, reason="", fork="f", reliable=False, early_media=True)
    )
    world.answer(call)
    world.tell(sip.Confirmed(session=call.session or ""))
    call.mute(True)
    call.mute(True)
    call.mute(False)
    call.tag({"k": "v"})
    world.ended(call, reasons=('Q.850;cause=16;text="x"',))
    types = await world.types()
    assert types == [
        *("call.created", "call.dialing", "call.ringing", "call.early_media", "call.answered"),
        *("call.muted", "call.unmuted", "call.updated", "call.ended"),
    ]
    view = call.view()
    assert view.end is not None
    assert (view.end.cause, view.end.by, view.end.q850) == (EndCause.COMPLETED, "remote", 16)
    assert (view.sip_call_id, dict(view.tags)) == ("cid", {"k": "v"})
    assert view.ringing_at is not None
    assert view.answered_at is not None
    assert view.ended_at is not None


@virtual
async def test_an_illegal_transition_is_a_bug_that_ends_the_call_and_no_other() -> None:
    world = CallWorld()
    call, other = await world.active(), await world.active(to="carol")
    world.answer(call)
    await settle()
    assert call.view().end is not None
    assert [event.data["call"].end.cause for event in await world.events() if event.type == "call.ended"] == [
        EndCause.FAILED
    ]
    assert other.state is C.ACTIVE


@virtual
async def test_answering_returns_once_the_200_is_sent() -> None:
    world = CallWorld()
    call = world.incoming()
    assert call is not None
    tasks = Tasks("t", lambda name, error: None)
    first, second = tasks.spawn("a", call.answer()), tasks.spawn("b", call.answer())
    await settle()
    assert not first.done()
    world.answer(call)
    assert (await first).state is C.ACTIVE
    assert (await second).state is C.ACTIVE


@virtual
async def test_a_caller_who_gives_up_while_we_answer_ends_it_once() -> None:
    world = CallWorld()
    call = world.incoming()
    assert call is not None
    tasks = Tasks("t", lambda name, error: None)
    answering = tasks.spawn("a", raised(call.answer()))
    await settle()
    world.ended(call, sip.EndCause.CANCELED, status=487)
    assert isinstance(await answering, Refused)
    await settle()
    assert (await world.types()).count("call.ended") == 1


@virtual
async def test_a_bye_right_behind_the_answer_is_an_answered_call() -> None:
    world = CallWorld()
    call = world.incoming()
    assert call is not None
    tasks = Tasks("t", lambda name, error: None)
    answering = tasks.spawn("a", call.answer())
    await settle()
    world.answer(call)
    world.ended(call)
    assert (await answering).state is C.ENDED


@virtual
async def test_an_answer_that_never_leaves_has_a_deadline() -> None:
    world = CallWorld()
    call = world.incoming()
    assert call is not None
    with pytest.raises(DeadlineExceeded):
        await call.answer()
    assert call.state is C.RINGING


@virtual
async def test_a_refusal_with_an_impossible_status_leaves_the_call_ringing() -> None:
    world = CallWorld()
    call = world.incoming()
    assert call is not None
    world.core.errors["reject"] = InternalError("status 200")
    with pytest.raises(InternalError):
        call.reject(200, None)
    world.ended(call, sip.EndCause.CANCELED)
    end = call.view().end
    assert end is not None
    assert end.cause is EndCause.CANCELED


@virtual
async def test_the_first_decision_to_end_is_the_one_that_is_told() -> None:
    world = CallWorld()
    call = await world.place(timeout_s=5)
    world.core.slow = True
    call.hangup()
    await asyncio.sleep(10)  # the ring time runs out while the CANCEL is on its way
    world.ended(call, sip.EndCause.CANCELED, by=sip.Party.LOCAL, status=487)
    end = call.view().end
    assert end is not None
    assert (end.cause, end.by) == (EndCause.CANCELED, "local")


@virtual
async def test_a_call_that_cannot_be_sent_ends_at_once() -> None:
    world = CallWorld()
    world.core.errors["invite"] = NotRegistered("no flow")
    call = await world.place()
    assert call.ended
    await settle()
    assert world.media[call.id].closed == 1
    assert (await world.types())[-1] == "call.ended"


@virtual
async def test_ringing_for_too_long_is_no_answer() -> None:
    world = CallWorld()
    call = await world.place(timeout_s=30)
    await asyncio.sleep(29)
    assert not call.ended
    await asyncio.sleep(2)
    end = call.view().end
    assert end is not None
    assert (end.cause, end.by) == (EndCause.NO_ANSWER, "system")


@virtual
async def test_the_longest_duration_counts_from_the_answer() -> None:
    world = CallWorld()
    call = await world.place(max_duration_s=100)
    await asyncio.sleep(50)
    world.answer(call)
    await asyncio.sleep(99)
    assert call.state is C.ACTIVE
    await asyncio.sleep(2)
    end = call.view().end
    assert end is not None
    assert (end.cause, end.by) == (EndCause.COMPLETED, "system")
    assert world.core.of("hangup") == [("s1", 'SIP;cause=200;text="maximum duration"')]


@virtual
async def test_a_reason_cannot_break_out_of_its_quotes() -> None:
    world = CallWorld()
    call = await world.active()
    call.hangup('a"\r\nVia: x\\' + "y" * 200)
    said = world.core.of("hangup")[0][1]
    assert said.startswith('SIP;cause=200;text="aVia: xyyy')
    assert said.count('"') == 2
    assert len(said) < 150


@virtual
async def test_silence_after_the_answer_is_said_once() -> None:
    world = CallWorld()
    mute, talking, held = await world.active(), await world.active(), await world.active()
    world.media[talking.id].numbers = StatsView(packets_received=1)
    world.media[held.id].emit(media.RemoteHold(on=True))
    await asyncio.sleep(3.9)
    assert "call.no_inbound_audio" not in await world.types()
    await asyncio.sleep(60)
    told = [event.data["call"].id for event in await world.events() if event.type == "call.no_inbound_audio"]
    assert told == [mute.id]


@virtual
async def test_a_call_that_ends_early_says_nothing_about_silence() -> None:
    world = CallWorld()
    call = await world.active()
    call.hangup()
    await asyncio.sleep(10)
    assert "call.no_inbound_audio" not in await world.types()


@pytest.mark.behaviour("W19")
@virtual
async def test_a_lost_dialog_is_told_before_the_end() -> None:
    world = CallWorld()
    call = await world.active()
    world.ended(call, sip.EndCause.DIALOG_GONE, status=481)
    events = await world.events()
    assert [event.type for event in events[-2:]] == ["call.lost", "call.ended"]
    assert events[-2].data["reason"] == "dialog_gone"
    assert events[-1].data["call"].end.cause is EndCause.LOST


@virtual
async def test_failed_media_is_rebuilt_once_and_then_ends_the_call() -> None:
    world = CallWorld()
    call = await world.active()
    world.media[call.id].emit(media.MediaFailed(cause=media.MediaFailure.ICE))
    assert world.core.of("reinvite") == [("s1", "media")]
    assert call.state is C.ACTIVE
    world.modified(call, sip.ModifyCause.MEDIA)
    world.media[call.id].emit(media.MediaFailed(cause=media.MediaFailure.DTLS))
    end = call.view().end
    assert end is not None
    assert (end.cause, end.by) == (EndCause.MEDIA_FAILED, "system")
    told = [event.data["local"] for event in await world.events() if event.type == "call.media_failed"]
    assert told == [False, False]


@virtual
async def test_media_that_fails_while_the_call_ends_changes_nothing() -> None:
    world = CallWorld()
    call = await world.active()
    call.hangup()
    world.media[call.id].emit(media.MediaFailed(cause=media.MediaFailure.ICE))
    world.ended(call)
    await settle()
    assert (await world.types()).count("call.ended") == 1
    assert "call.media_failed" not in await world.types()


@virtual
async def test_media_that_fails_before_the_answer_ends_the_call() -> None:
    world = CallWorld()
    call = await in_state(world, "early_media")
    world.media[call.id].emit(media.MediaFailed(cause=media.MediaFailure.DTLS, detail="x"))
    assert call.ended


@virtual
async def test_media_may_ask_for_an_offer_of_a_call_that_is_up() -> None:
    world = CallWorld()
    early = await in_state(world, "ringing")
    wanted = media.OfferWanted(reason=media.OfferReason.REMOTE_CHANGED, ice_restart=True)
    world.media[early.id].emit(wanted)
    assert not world.core.of("reinvite")
    call = await world.active()
    world.media[call.id].emit(wanted)
    world.wants_offer(call, "t", sip.ModifyCause.MEDIA)
    await settle()
    assert ("offer", "ice") in world.media[call.id].log


@virtual
async def test_what_cannot_be_closed_does_not_keep_the_rest_open() -> None:
    world = CallWorld()
    call = await world.active()
    fake = world.media[call.id]
    await call.audio.record(RecordRequest())
    fake.errors["stop_recording"] = [OSError("disk")]
    fake.errors["close"] = [OSError("socket")]
    call.hangup()
    assert await call.closed(30)
    assert fake.closed == 1
    assert world.manager.find(call.id) is None


@virtual
async def test_a_crash_of_a_task_ends_the_call() -> None:
    world = CallWorld()
    call = await world.active()
    world.media[call.id].errors["offer"] = [RuntimeError("bug")]
    world.wants_offer(call, "t")
    await settle()
    assert [event.data["call"].end.cause for event in await world.events() if event.type == "call.ended"] == [
        EndCause.FAILED
    ]
    assert world.media[call.id].closed == 1


@virtual
async def test_a_session_that_cannot_even_be_hung_up_still_ends_the_call() -> None:
    world = CallWorld()
    call = await world.active()
    world.core.errors["hangup"] = RuntimeError("bug")
    call.give_up(EndCause.FAILED)
    assert call.ended
    assert await call.closed(5)


@virtual
async def test_stats_outlive_the_call() -> None:
    world = CallWorld()
    call = await world.active()
    world.media[call.id].numbers = StatsView(packets_sent=7)
    assert call.stats().packets_sent == 7
    call.hangup()
    world.media[call.id].numbers = StatsView()
    assert call.stats().packets_sent == 7


@virtual
async def test_a_verb_before_there_is_a_session_is_refused() -> None:
    world = CallWorld()
    call = await in_state(world, "incoming")
    call.session = None
    with pytest.raises(WrongState):
        await call.answer()


@virtual
async def test_a_rule_answers_unless_that_has_become_impossible() -> None:
    world = CallWorld()
    call = await in_state(world, "incoming")
    call.answer_later(2)
    await asyncio.sleep(3)
    assert world.core.of("answer") == [("in1",)]
    world.core.errors["answer"] = WrongState("no", state="x")
    call.answer_later(2)
    await asyncio.sleep(3)
    assert call.state is C.RINGING


@virtual
async def test_media_states_are_told() -> None:
    world = CallWorld()
    call = await world.active()
    emit = world.media[call.id].emit
    emit(media.MediaStateChanged(old=MediaState.CONNECTING_MEDIA, new=MediaState.FLOWING, cause="x"))
    emit(media.MediaStateChanged(old=MediaState.FLOWING, new=MediaState.STALLED, cause="x"))
    emit(media.CodecChanged(codec="opus"))
    emit(media.PathTrouble(kind="socket", detail="x"))
    assert (await world.types())[-3:] == ["call.answered", "call.updated", "call.updated"]


@virtual
async def test_an_incoming_call_that_stops_ringing_by_itself_is_no_answer() -> None:
    world = CallWorld()
    call = await in_state(world, "incoming")
    world.ended(call, sip.EndCause.NO_ANSWER, by=sip.Party.SYSTEM, status=480)
    end = call.view().end
    assert end is not None
    assert (end.cause, end.by, end.sip_code) == (EndCause.NO_ANSWER, "system", 480)


@virtual
async def test_a_hangup_while_an_offer_is_being_made_ends_once_and_closes_media() -> None:
    world = CallWorld()
    call = await world.active()
    fake = world.media[call.id]
    fake.work_s = 3.0
    world.wants_offer(call, "t", sip.ModifyCause.RECOVERY)
    await settle()
    call.hangup()
    world.tell(sip.DescriptionExpired(session=call.session or "", token="t"))
    await asyncio.sleep(10)
    assert (await world.types()).count("call.ended") == 1
    assert fake.log == ["close"]
    assert not world.core.of("supply")


@virtual
async def test_media_that_never_closes_has_a_deadline() -> None:
    world = CallWorld()
    call = await world.active()
    blocked = asyncio.Event()
    fake = world.media[call.id]
    fake.close_waits_for = blocked
    call.hangup()
    assert await call.closed(6)
    assert world.manager.find(call.id) is None


@virtual
async def test_hanging_up_a_call_that_rings_here_is_rejecting_it() -> None:
    world = CallWorld()
    call = await in_state(world, "incoming")
    world.core.slow = True
    call.hangup()
    world.ended(call, sip.EndCause.REFUSED, by=sip.Party.LOCAL, status=480)
    end = call.view().end
    assert end is not None
    assert (end.cause, end.by) == (EndCause.REJECTED, "local")
