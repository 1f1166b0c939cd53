"""All calls: who may come, who may go, what is remembered."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from phoned.calls import ended
from phoned.calls import manager as managing
from phoned.config.schema import DialConfig, IncomingRule
from phoned.errors import (
    AtCapacity,
    DeadlineExceeded,
    Denied,
    Draining,
    InvalidValue,
    NotFound,
    NotRegistered,
    PhonedError,
    Refused,
)
from phoned.model import CallRequest, CallState, EndCause, MediaView, PlayRequest, RecordRequest, StatsView
from phoned.sip import events as sip
from phoned.tasks import Tasks
from tests.support.calls import CallWorld, raised, settle, virtual

C = CallState


def spawner() -> Tasks:
    return Tasks("t", lambda name, error: None)


@virtual
async def test_what_cannot_be_placed_is_refused_before_anything_is_sent() -> None:
    world = CallWorld(dial=DialConfig(max_concurrent=1))
    place = world.manager.place
    cases: list[tuple[CallRequest, type[PhonedError]]] = [
        (CallRequest(account="b", to="x"), NotFound),
        (CallRequest(account="a", to=""), InvalidValue),
        (CallRequest(account="a", to="x", headers={"Via": "x"}), InvalidValue),
        (CallRequest(account="a", to="911"), Denied),
    ]
    for request, error in cases:
        assert type(await raised(place(request, "none"))) is error
    await world.place()
    assert type(await raised(place(CallRequest(account="a", to="x"), "none"))) is AtCapacity
    world.account.online = False
    assert type(await raised(place(CallRequest(account="a", to="x"), "none"))) is NotRegistered
    world.manager.draining = True
    assert type(await raised(place(CallRequest(account="a", to="x"), "none"))) is Draining
    assert len(world.core.said) == 1
    assert world.manager.capacity == 1


@virtual
async def test_waiting_for_the_answer_ends_with_it_with_a_refusal_or_in_time() -> None:
    world = CallWorld()
    tasks = spawner()

    def place(wait: str) -> asyncio.Task[object]:
        request = CallRequest(account="a", to="bob", timeout_s=30)
        return tasks.spawn("p", world.manager.place(request, "ringing" if wait == "ringing" else "answered"))

    answered, ringing, refused, silent, gone = (
        place(wait) for wait in ("answered", "ringing", "answered", "answered", "answered")
    )
    await settle()
    found = [world.manager.find(call) for call in world.media]
    first, second, third, _, fifth = (call for call in found if call is not None)
    world.answer(first)
    progress = sip.Progress(
        session=second.session or "", status=180, reason="", fork="f", reliable=False, early_media=False
    )
    world.tell(progress)
    world.ended(third, sip.EndCause.REFUSED, status=486, reason="Busy Here")
    world.answer(fifth)
    world.ended(fifth)
    assert (await answered).state is C.ACTIVE  # type: ignore[attr-defined]  # a view
    assert (await ringing).state is C.RINGING  # type: ignore[attr-defined]  # a view
    assert (await gone).state is C.ENDED  # type: ignore[attr-defined]  # a view
    assert isinstance(await raised(refused), Refused)
    assert isinstance(await raised(silent), DeadlineExceeded)


@virtual
async def test_a_client_that_goes_away_leaves_the_call_and_nothing_else() -> None:
    world = CallWorld()
    waiting = spawner().spawn("p", world.manager.place(CallRequest(account="a", to="bob"), "answered"))
    await settle()
    waiting.cancel()
    await asyncio.wait({waiting})
    (view,) = world.manager.views()
    call = world.manager.find(view.id)
    assert call is not None
    world.answer(call)
    world.ended(call)
    await settle()
    assert world.manager.active() == 0


@virtual
async def test_an_id_of_the_clients_own_names_one_call_for_ever() -> None:
    world = CallWorld()
    call = await world.place(id="call_mine")
    again = await world.place(to="carol", id="call_mine")
    assert again is call
    waiting = spawner().spawn("p", world.manager.place(CallRequest(account="a", to="bob", id="call_mine"), "answered"))
    await settle()
    world.answer(call)
    assert (await waiting).state is C.ACTIVE
    world.ended(call)
    await settle()
    ended = await world.manager.place(CallRequest(account="a", to="bob", id="call_mine"), "answered")
    assert ended.state is C.ENDED
    assert len(world.core.of("invite")) == 1


@virtual
async def test_a_call_waits_for_a_flow_that_is_being_repaired() -> None:
    world = CallWorld()
    world.account.online, world.account.repairing = False, True
    call, other = await world.place(), await world.place()
    await asyncio.sleep(2)
    assert call.state is C.QUEUED
    other.hangup()
    world.account.online = True
    world.manager.on_registered("a")
    world.manager.on_registered("b")
    await settle()
    assert (call.state, other.state) == (C.DIALING, C.ENDED)
    assert len(world.core.of("invite")) == 1


@pytest.mark.behaviour("P1")
@virtual
async def test_a_call_wakes_an_account_on_demand_and_waits_for_it() -> None:
    world = CallWorld()
    world.account.online, world.account.on_demand = False, True
    call = await world.place()
    assert (call.state, world.account.woken) == (C.QUEUED, 1)
    world.account.online = True
    world.manager.on_registered("a")
    await settle()
    assert call.state is C.DIALING


@virtual
async def test_a_queued_call_waits_five_seconds_and_then_its_media_is_gone_too() -> None:
    world = CallWorld()
    world.account.online, world.account.repairing = False, True
    loop = asyncio.get_running_loop()
    before = loop.time()
    error = await raised(world.manager.place(CallRequest(account="a", to="bob"), "answered"))
    assert isinstance(error, NotRegistered)
    assert loop.time() - before == pytest.approx(managing.QUEUE_S)
    (view,) = world.manager.views()
    assert view.end is not None
    assert (view.end.cause, view.end.by) == (EndCause.UNREACHABLE, "system")
    await settle()
    assert world.media[view.id].closed == 1


@virtual
async def test_an_incoming_call_rings_and_tells_no_header_of_the_wire() -> None:
    world = CallWorld()
    call = world.incoming()
    assert call is not None
    assert call.state is C.RINGING
    assert dict(call.view().headers) == {"X-A": "1"}
    assert (call.view().peer.number, call.view().peer.display_name) == ("bob", "Bob")
    assert world.core.said == [("ring", "in1")]
    assert await world.types() == ["call.incoming"]
    assert world.account.changes == 1
    strange = world.incoming("in2", from_uri="not a uri")
    assert strange is not None
    assert strange.view().peer.number is None


@virtual
async def test_rules_decide_before_anything_rings() -> None:
    rules = (
        IncomingRule(match="sip:spam*", action="reject", code=603),
        IncomingRule(match="sip:door*", action="answer", after_s=2),
    )
    world = CallWorld(rules=rules)
    assert world.incoming("in1", from_uri="sip:spam@x") is None
    assert world.core.said == [("reject", "in1", "603")]
    world.incoming("in2", from_uri="sip:door@x")
    await asyncio.sleep(1.9)
    assert not world.core.of("answer")
    await asyncio.sleep(0.2)
    assert world.core.of("answer") == [("in2",)]
    assert await world.types() == ["call.incoming"]


@virtual
async def test_a_full_a_draining_and_a_broken_phone_refuse_in_their_own_ways() -> None:
    world = CallWorld(dial=DialConfig(max_concurrent=1))
    await world.place()
    world.incoming("in1")
    world.manager.draining = True
    world.incoming("in2")
    world.manager.draining = False
    world.dial = DialConfig()
    broken = CallWorld(make_error=RuntimeError("no media engine"))
    broken.incoming("in3")
    assert world.core.of("reject") == [("in1", "486"), ("in2", "503")]
    assert broken.core.of("reject") == [("in3", "500")]
    assert broken.manager.active() == 0


@virtual
async def test_everything_is_told_newest_first_and_found_after_the_end() -> None:
    world = CallWorld()
    first, second = await world.active(), await world.active()
    fake = world.media[first.id]
    fake.numbers = StatsView(packets_sent=3)
    playback = await first.audio.play(PlayRequest(tone="440"))
    recording = await first.audio.record(RecordRequest())
    assert world.manager.playback(playback.id)[1] is first
    assert [(view.id, call) for view, call in world.manager.recordings()] == [(recording.id, first)]
    world.ended(first)
    await settle()
    assert [view.id for view in world.manager.views()] == [second.id, first.id]
    assert world.manager.view(first.id).state is C.ENDED
    assert world.manager.view(second.id).state is C.ACTIVE
    assert world.manager.stats(first.id).packets_sent == 3
    assert world.manager.stats(second.id).packets_sent == 0
    assert [(view.id, view.state, call) for view, call in world.manager.recordings()] == [
        (recording.id, "finished", None)
    ]
    assert (await world.types())[-1] == "recording.finished"
    world.manager.forget_recording("rec_none")
    assert len(world.manager.recordings()) == 1
    world.manager.forget_recording(recording.id)
    assert world.manager.recordings() == ()
    for look in (world.manager.view, world.manager.stats, world.manager.playback):
        with pytest.raises(NotFound):
            look("none")


@virtual
async def test_ended_calls_are_remembered_for_a_day_or_ten_thousand() -> None:
    now = [datetime(2026, 1, 1, tzinfo=UTC)]
    world = CallWorld(clock=lambda: now[0])
    call = await world.place()
    call.hangup()
    await settle()
    now[0] += timedelta(hours=23)
    assert world.manager.view(call.id)
    now[0] += timedelta(hours=2)
    with pytest.raises(NotFound):
        world.manager.view(call.id)
    assert world.manager.views() == ()


@virtual
async def test_no_more_than_a_number_of_ended_calls_is_remembered() -> None:
    world = CallWorld(keep_ended=3)
    calls = [await world.place() for _ in range(5)]
    for call in calls:
        call.hangup()
        await settle()
    assert {view.id for view in world.manager.views()} == {call.id for call in calls[2:]}
    assert ended.KEEP_ENDED == 10_000


@virtual
async def test_each_call_that_is_up_gets_one_repair_after_a_new_flow() -> None:
    world = CallWorld()
    up, ringing = await world.active(), await world.place()
    assert ringing.session == "s2"
    world.manager.on_flow_ready("b")
    world.manager.on_flow_ready("a")
    world.manager.on_registered("a")
    assert world.core.of("reinvite") == [(up.session, "recovery")]
    world.modified(up, sip.ModifyCause.RECOVERY)
    assert (await world.types())[-2:] == ["call.dialog_verified", "call.reconnected"]


@virtual
async def test_quality_is_told_each_five_seconds_of_calls_that_are_up() -> None:
    world = CallWorld()
    call, silent = await world.active(), await world.active()
    world.media[call.id].numbers = StatsView(mos=4.2, jitter_ms=1.0, loss_pct=0.5, rtt_ms=20.0, packets_received=9)
    world.media[silent.id].numbers = StatsView(packets_received=1)
    await asyncio.sleep(16)
    told = [event.data for event in await world.events() if event.type == "call.quality"]
    assert [data["call"].id for data in told] == [call.id] * 3
    assert {key: told[0][key] for key in ("mos", "jitter_ms", "loss_pct", "rtt_ms")} == {
        "mos": 4.2,
        "jitter_ms": 1.0,
        "loss_pct": 0.5,
        "rtt_ms": 20.0,
    }
    world.ended(call)
    world.ended(silent)
    await asyncio.sleep(60)
    again = await world.active()
    world.media[again.id].numbers = StatsView(mos=4.0)
    await asyncio.sleep(6)
    assert len([type_ for type_ in await world.types() if type_ == "call.quality"]) == 4
    series = world.manager.quality.series(call.id)
    assert [(sample.mos, sample.packets_received) for sample in series] == [(4.2, 9)] * 3, "kept after the end"
    assert world.manager.quality.series(silent.id) == ()


@virtual
async def test_the_series_of_calls_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("phoned.calls.quality.KEPT_CALLS", 2)
    monkeypatch.setattr("phoned.calls.quality.KEPT_SAMPLES", 3)
    world = CallWorld()
    calls = [await world.active() for _ in range(3)]
    for call in calls:
        world.media[call.id].numbers = StatsView(mos=4.0)
    await asyncio.sleep(60)
    kept = [len(world.manager.quality.series(call.id)) for call in calls]
    assert max(kept) <= 3
    assert sum(count > 0 for count in kept) == 2


@virtual
async def test_the_end_of_everything_hangs_up_and_waits() -> None:
    world = CallWorld()
    up, placed, rings = await world.active(), await world.place(), world.incoming()
    world.account.online, world.account.repairing = False, True
    queued = await world.place()
    await world.manager.end_all(3)
    assert rings is not None
    for call in (up, placed, rings, queued):
        end = call.view().end
        assert end is not None
        assert (end.cause, end.by) == (EndCause.SHUTDOWN, "system")
        assert world.media[call.id].closed == 1
    assert (await world.types()).count("call.ended") == 4
    assert isinstance(await raised(world.manager.place(CallRequest(account="a", to="x"), "none")), Draining)


@virtual
async def test_a_far_end_that_does_not_answer_its_cancel_cannot_hold_up_the_end() -> None:
    world = CallWorld()
    call = await world.place()
    world.core.slow = True
    loop = asyncio.get_running_loop()
    before = loop.time()
    await world.manager.end_all(3)
    assert loop.time() - before <= 3
    assert call.ended
    assert world.media[call.id].closed == 1
    world.ended(call, sip.EndCause.CANCELED)
    assert (await world.types()).count("call.ended") == 1


@virtual
async def test_what_is_no_calls_business_is_told_or_ignored() -> None:
    world = CallWorld()
    world.tell(
        sip.MessageReceived(
            account="a",
            session=None,
            from_uri="sip:b@x",
            from_display_name=None,
            content_type="text/plain",
            body=b"hi\xff",
            headers=(),
        )
    )
    world.tell(
        sip.RequestAnswered(account="a", session=None, token="t", method="OPTIONS", status=200, reason="OK", headers=())
    )
    world.tell(sip.DialogChanged(session="unknown"))
    (event,) = await world.events()
    assert event.type == "message.received"
    assert event.data["message"].body == "hi\N{REPLACEMENT CHARACTER}"


@virtual
async def test_a_crash_while_queued_is_contained() -> None:
    world = CallWorld()
    world.account.online, world.account.repairing = False, True
    call = await world.place()
    world.account.online = True
    world.core.errors["invite"] = RuntimeError("bug")
    world.manager.on_registered("a")
    await settle()
    assert call.ended
    assert world.media[call.id].closed == 1


@virtual
async def test_calls_whose_address_is_gone_restart_ice_and_the_others_stay() -> None:
    world = CallWorld()
    gone, stays, placed = await world.active(), await world.active(), await world.place()
    for call in (gone, stays):
        world.flowing(call)
    world.media[gone.id].state = MediaView(local="10.0.0.1:4000", remote="192.0.2.1:1")
    world.media[stays.id].state = MediaView(local="[2001:db8::1]:4000", remote="192.0.2.1:2")
    assert len(world.manager.media_pairs()) == 2
    world.manager.on_network_moved(frozenset({"10.0.0.1"}), forced=False)
    assert world.core.of("reinvite") == [(gone.session, "media")]
    world.account.settled = False  # the flow is being replaced: its repair takes the restart along
    world.manager.on_network_moved(frozenset({"2001:db8::1"}), forced=False)
    assert len(world.core.of("reinvite")) == 1
    world.manager.on_flow_ready("a")
    assert world.core.of("reinvite")[1:] == [(gone.session, "recovery"), (stays.session, "recovery")]
    world.wants_offer(stays, "t", sip.ModifyCause.RECOVERY)
    await settle()
    assert ("offer", "ice", "pause") in world.media[stays.id].log
    assert placed.session not in [said[0] for said in world.core.of("reinvite")]
