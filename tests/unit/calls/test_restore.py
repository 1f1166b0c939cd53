"""Calls that an earlier process has left, on virtual time: taken up, verified, heard, refused, given up."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

from phoned.calls.call import Call
from phoned.calls.entry import JournalEntry, encode
from phoned.calls.repair_context import RepairPolicy
from phoned.media.events import Flowing, MediaFailed, MediaFailure
from phoned.model import CallState, EndCause, MediaState, Peer, RecordingView, RecordRequest, StatsView
from phoned.sip import events as sip
from tests.support.calls import CallWorld, settle, virtual

NOW = datetime(2026, 11, 21, 1, 0, 0, tzinfo=UTC)
M = sip.ModifyCause
ENTRY = JournalEntry(
    call="call_1",
    account="a",
    direction="out",
    peer=Peer(uri="sip:bob@example.org", number="bob"),
    created_at=NOW - timedelta(seconds=70),
    answered_at=NOW - timedelta(seconds=60),
    standing="up",
    dialog={"version": 1},
    recordings=("rec_1",),
    recording=(RecordRequest(channels="mixed", format="opus", beep=True), RecordRequest()),
)
FLOWING = Flowing(codec="opus", ssrc=1, ice_generation=1, dtls_generation=1)
OLD = RecordingView(
    id="rec_1", call="call_1", state="finished", format="wav", channels="mixed", file="f.wav", recovered=True
)


async def restored(entry: JournalEntry = ENTRY, *, away_s: float = 3.0, **policy: Any) -> tuple[CallWorld, Call | None]:
    """A manager that found ``entry``."""
    world = CallWorld(clock=lambda: NOW, repair_policy=RepairPolicy(**policy))
    world.journal.entries = {entry.call: encode(entry)}
    world.journal.seen_at = NOW - timedelta(seconds=away_s)
    await world.manager.restore({"a": 300.0}, {"call_1": [OLD]})
    return world, world.manager.find(entry.call)


async def tell(world: CallWorld, type_: str, call: Mapping[str, object]) -> None:
    """What a process before has told."""
    world.bus.publish(type_, call=SimpleNamespace(**call) if type_ == "call.ended" else call)
    await world.bus.flush()


async def back(entry: JournalEntry = ENTRY, **policy: Any) -> tuple[CallWorld, Call]:
    """The same, with its call up again, as far as we know."""
    world, call = await restored(entry, **policy)
    assert call is not None
    assert call.state is CallState.ACTIVE
    world.core.answered.add(call.session or "")
    return world, call


async def told(world: CallWorld, type_: str) -> list[dict[str, object]]:
    return [dict(event.data) for event in await world.events() if event.type == type_]


@virtual
async def test_one_reinvite_brings_a_call_back_and_it_is_told_once_both_planes_are_good() -> None:
    world, call = await back()
    assert call.view().recovering is not None
    world.manager.on_flow_ready("a")
    assert world.core.of("reinvite") == [(call.session, "recovery")]
    world.modified(call, M.RECOVERY)
    assert not await told(world, "call.reconnected")
    world.media[call.id].emit(FLOWING)
    await settle()
    (data,) = await told(world, "call.reconnected")
    assert (data["plane"], data["tier"]) == ("both", 2)
    assert 3000 <= int(str(data["gap_ms"])) < 5000
    assert len(await told(world, "call.reconnecting")) == 1
    assert call.view().recovering is None
    world.media[call.id].emit(FLOWING)
    world.modified(call, M.RECOVERY)
    await settle()
    assert len(await told(world, "call.reconnected")) == 1
    assert next(view.id for view in call.audio.recordings()) == "rec_1"
    assert "record" in world.media[call.id].log
    call.hangup()
    await settle()
    assert world.journal.entries == {}


@virtual
async def test_a_held_call_need_not_be_heard() -> None:
    world, call = await back(replace(ENTRY, held=True, holding=True, muted=True))
    fake = world.media[call.id]
    assert (fake.held, fake.muted, call.view().hold.local, call.view().muted) == (True, True, True, True)
    world.modified(call, M.RECOVERY)
    await settle()
    assert len(await told(world, "call.reconnected")) == 1
    call.hangup()
    await settle()


@virtual
async def test_a_far_end_that_wants_none_of_our_media_is_asked_three_times() -> None:
    world, call = await back()
    for times in (1, 2):
        world.refused(call, 488, M.RECOVERY)
        await asyncio.sleep(2.5)
        assert len(world.core.of("reinvite")) == times
    world.refused(call, 488, M.MEDIA)
    await settle()
    assert (await told(world, "call.lost"))[0]["reason"] == "media_timeout"
    end = call.view().end
    assert end is not None
    assert (end.cause, end.by) == (EndCause.LOST, "system")
    assert len(world.core.of("hangup")) == 1


@virtual
async def test_what_could_not_be_sent_counts_for_nothing() -> None:
    world, call = await back()
    for _ in range(5):
        world.refused(call, 0, M.RECOVERY)
    world.refused(call, 488, M.HOLD)
    await settle()
    assert not call.ended
    call.hangup()
    await settle()


@virtual
async def test_without_signalling_it_is_kept_for_what_is_left_of_the_retention() -> None:
    world, call = await back()
    await asyncio.sleep(296)
    assert not call.ended
    await asyncio.sleep(2)
    assert (await told(world, "call.lost"))[0]["reason"] == "signalling_timeout"
    await settle()
    assert len(await told(world, "call.ended")) == 1


@virtual
async def test_a_call_that_stays_silent_after_it_was_verified_is_given_up_like_any_silent_call() -> None:
    for timeout_s, still_up, over in ((60.0, 59, 2), (10.0, 9, 2), (600.0, 599, 2)):
        world, call = await back(rtp_timeout_s=timeout_s)
        world.modified(call, M.RECOVERY)
        await asyncio.sleep(still_up)
        world.modified(call, M.MEDIA)
        assert not call.ended
        await asyncio.sleep(over)
        assert call.ended
        assert (await told(world, "call.lost"))[0]["reason"] == "media_timeout"


@virtual
async def test_a_call_that_may_be_silent_for_ever_may_so_after_a_restart() -> None:
    world, call = await back(rtp_timeout_s=0)
    world.modified(call, M.RECOVERY)
    await asyncio.sleep(3600)
    assert not call.ended
    world.media[call.id].emit(FLOWING)
    await settle()
    assert len(await told(world, "call.reconnected")) == 1
    call.hangup()
    await settle()


@virtual
async def test_a_silent_call_that_is_held_meanwhile_need_not_be_heard() -> None:
    world, call = await back()
    world.modified(call, M.RECOVERY)
    call.on_remote_hold(True)
    await asyncio.sleep(120)
    assert not call.ended
    assert len(await told(world, "call.reconnected")) == 1
    call.hangup()
    await settle()


@virtual
async def test_a_silent_call_is_never_given_up_while_signalling_is_down_again() -> None:
    world, call = await back()
    world.modified(call, M.RECOVERY)
    await asyncio.sleep(50)
    world.account.settled = False
    await asyncio.sleep(200)
    assert not call.ended
    world.account.settled = True
    await asyncio.sleep(59)
    assert not call.ended, "the far end has had no time to be heard"
    world.account.settled = False
    await asyncio.sleep(290)
    assert not call.ended
    await asyncio.sleep(12)
    assert call.ended
    assert (await told(world, "call.lost"))[0]["reason"] == "signalling_timeout"


@virtual
async def test_a_call_whose_media_cannot_be_built_again_at_once_is_kept_as_long_as_a_silent_one() -> None:
    world, call = await back()
    world.modified(call, M.RECOVERY)
    for _ in range(2):
        world.media[call.id].emit(MediaFailed(cause=MediaFailure.ICE))
        world.modified(call, M.MEDIA)
        await asyncio.sleep(10)
    assert call.view().media.state is MediaState.FAILED
    await asyncio.sleep(39)
    assert not call.ended
    world.manager.on_network_moved(frozenset(), forced=True)
    assert world.core.of("reinvite")[-1] == (call.session, "media")
    assert call.view().media.state is MediaState.REBUILDING
    call.hangup()
    await settle()


@virtual
async def test_a_new_flow_gives_a_silent_call_its_time_again() -> None:
    world, call = await back()
    for cause in (M.RECOVERY, M.RECOVERY):
        world.modified(call, cause)
        await asyncio.sleep(59)
        assert not call.ended
    await asyncio.sleep(2)
    assert call.ended


@virtual
async def test_a_481_ends_it_and_nothing_is_tried_after_that() -> None:
    world, call = await back()
    world.ended(call, sip.EndCause.DIALOG_GONE, status=481)
    await asyncio.sleep(600)
    assert (await told(world, "call.lost"))[0]["reason"] == "dialog_gone"
    assert len(await told(world, "call.ended")) == 1
    assert not world.core.of("reinvite")
    assert world.journal.entries == {}


@virtual
async def test_the_longest_duration_counts_from_the_answer_of_before() -> None:
    world, call = await back(replace(ENTRY, max_duration_s=90.0))
    world.media[call.id].numbers = StatsView(packets_received=1)
    await asyncio.sleep(29)
    assert not call.ended
    await asyncio.sleep(2)
    end = call.view().end
    assert end is not None
    assert end.cause is EndCause.COMPLETED
    await settle()


@virtual
async def test_what_cannot_come_back_is_ended_as_far_as_it_can_be() -> None:
    for entry, away_s, byes in (
        (ENTRY, 301.0, 1),
        (replace(ENTRY, standing="answered"), 1.0, 1),
        (replace(ENTRY, standing="early", dialog={"invite": {}}), 1.0, 1),
        (replace(ENTRY, standing="early", dialog=None, direction="in"), 1.0, 0),
        (replace(ENTRY, account="gone"), 1.0, 0),
    ):
        world, call = await restored(entry, away_s=away_s)
        assert call is not None
        assert call.ended
        assert len(world.core.of("hangup")) == byes
        assert (await told(world, "call.lost"))[0]["reason"] == "daemon_restart"
        await settle()
        assert world.manager.view("call_1").state is CallState.ENDED


@virtual
async def test_a_bye_that_is_owed_is_no_call_any_more() -> None:
    world, call = await restored(replace(ENTRY, standing="over"))
    assert call is None
    assert len(world.core.of("hangup")) == 1
    assert await world.types() == []
    await settle()
    assert world.journal.entries
    world.manager.on_registered("a")
    await settle()
    assert world.journal.entries == {}
    world, _ = await restored(replace(ENTRY, standing="over", account="gone"))
    await settle()
    assert world.journal.entries == {}
    assert not world.core.said


@virtual
async def test_a_hand_over_leaves_what_is_up_and_ends_what_is_not() -> None:
    world = CallWorld()
    call, ringing = await world.active(), await world.place()
    await settle()
    await world.manager.hand_over(3.0)
    assert not call.ended
    assert ringing.ended
    assert list(world.journal.entries) == [call.id]
    assert world.core.of("hangup") == [(ringing.session, "")]
    world.ended(call)
    await settle()
    assert list(world.journal.entries) == [call.id]


@virtual
async def test_a_call_whose_end_was_told_is_over_whatever_the_journal_says() -> None:
    world = CallWorld(clock=lambda: NOW)
    world.journal.entries = {ENTRY.call: encode(ENTRY)}
    world.journal.seen_at = NOW
    await tell(world, "call.created", {"id": ENTRY.call})
    await tell(world, "call.ended", {"id": ENTRY.call})
    await world.manager.restore({"a": 300.0})
    await settle()
    assert world.manager.find(ENTRY.call) is None
    assert await world.types() == ["call.created", "call.ended"]
    assert len(world.core.of("hangup")) == 1, "the far end is still owed its BYE"
    assert '"over"' in world.journal.entries[ENTRY.call]
    world.manager.on_registered("a")
    await settle()
    assert world.journal.entries == {}


@virtual
async def test_a_call_that_was_told_and_never_written_down_is_ended_once() -> None:
    world = CallWorld(clock=lambda: NOW)
    view = {
        "id": "call_2",
        "account": "a",
        "direction": "out",
        "peer": {"uri": "sip:bob@example.org", "number": "bob", "display_name": None},
        "created_at": "2026-11-21T00:59:50.000Z",
        "tags": {"booking": "7"},
    }
    world.journal.entries = {ENTRY.call: encode(ENTRY)}
    world.journal.seen_at = NOW
    for told_before in (view, {**view, "id": ENTRY.call}, {"id": "call_3"}):
        await tell(world, "call.created", told_before)
    await world.manager.restore({"a": 300.0})
    (ended,) = [event for event in await world.events() if event.type == "call.ended"]
    told_of = ended.data["call"]
    assert (told_of.id, told_of.end.cause, told_of.tags) == ("call_2", EndCause.LOST, {"booking": "7"})
    assert [data["reason"] for data in await told(world, "call.lost")] == ["daemon_restart"]
    assert world.manager.view("call_2").state is CallState.ENDED
    assert world.manager.view(ENTRY.call).state is CallState.ACTIVE
