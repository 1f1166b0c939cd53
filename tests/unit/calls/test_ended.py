"""What is remembered of calls that ended, over a restart."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from phoned.calls.ended import PREFIX, EndedCall, EndedCalls
from phoned.errors import PhonedError, Refused
from phoned.model import (
    CallRequest,
    CallState,
    CallView,
    EndCause,
    EndView,
    HoldView,
    MediaState,
    MediaView,
    Peer,
    RecordingView,
    RecoveryRecord,
    StatsView,
)
from phoned.sip import events as sip
from phoned.store.database import StoreFailed
from tests.support.calls import CallWorld, settle, virtual
from tests.support.keys import MemoryKeys

NOW = datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=UTC)


def ended(number: int = 1, *, at: datetime = NOW) -> EndedCall:
    """One with every member set."""
    call = f"call_{number}"
    view = CallView(
        id=call,
        account="a",
        direction="in",
        state=CallState.ENDED,
        peer=Peer(uri="sip:b@c", number="b", display_name="Bö \n"),
        created_at=at,
        sip_call_id="x@y",
        hold=HoldView(local=True),
        muted=True,
        ringing_at=at,
        answered_at=at,
        ended_at=at,
        duration_s=1.25,
        media=MediaView(state=MediaState.FLOWING, codec="opus", local="1.2.3.4:5", remote=None, generation=2),
        recordings=("rec_1",),
        tags={"a": "b"},
        headers={"X-A": "b"},
        end=EndView(cause=EndCause.BUSY, by="remote", sip_code=486, sip_reason="Busy", q850=17),
    )
    recovery = RecoveryRecord(at=at, plane="both", cause="network", tier=2, gap_ms=340, attempts=1)
    recording = RecordingView(
        id=f"rec_{number}",
        call=call,
        state="finished",
        format="wav",
        channels="stereo",
        file="f.wav",
        gaps=((0.5, 1.0),),
    )
    stats = StatsView(codec="opus", packets_sent=3, mos=None, rtt_ms=1.5, recoveries=(recovery,))
    return EndedCall(view=view, stats=stats, recordings=(recording,))


async def next_process(keys: MemoryKeys, at: datetime = NOW) -> EndedCalls:
    past = EndedCalls(keys, clock=lambda: at)
    await past.load()
    return past


@virtual
async def test_the_next_process_knows_all_of_it() -> None:
    keys = MemoryKeys()
    past = EndedCalls(keys, clock=lambda: NOW)
    past.add(ended())
    await past.close()
    assert list(await next_process(keys)) == [ended()]


@virtual
async def test_a_process_that_dies_while_a_call_ends_has_not_forgotten_it() -> None:
    keys = MemoryKeys()
    world = CallWorld(keys=keys)
    call = await world.active()
    closing = world.media[call.id].close_waits_for = asyncio.Event()
    call.hangup()
    world.ended(call, by=sip.Party.LOCAL)
    await asyncio.sleep(0.01)
    assert world.manager.find(call.id) is not None
    [kept] = await next_process(keys, world.clock())
    assert (kept.view.id, kept.view.state) == (call.id, CallState.ENDED)
    closing.set()


@virtual
async def test_what_is_too_old_is_forgotten_on_the_disk_too() -> None:
    keys = MemoryKeys()
    past = EndedCalls(keys, clock=lambda: NOW)
    for number in range(3):
        past.add(ended(number, at=NOW - timedelta(hours=number == 0)))
    await past.close()
    later = await next_process(keys, NOW + timedelta(hours=23, minutes=30))
    assert [call.view.id for call in later] == ["call_1", "call_2"]
    await later.close()
    assert len(keys.values) == 2


@virtual
async def test_a_recording_that_was_deleted_does_not_come_back() -> None:
    keys = MemoryKeys()
    past = EndedCalls(keys, clock=lambda: NOW)
    past.add(ended())
    past.forget_recording("rec_1")
    await past.close()
    [call] = await next_process(keys)
    assert call.recordings == ()


@virtual
async def test_what_ended_before_the_past_was_read_stays_and_is_the_newest() -> None:
    keys = MemoryKeys()
    before = EndedCalls(keys, clock=lambda: NOW)
    before.add(ended(1))
    before.add(ended(2))
    await before.close()
    past = EndedCalls(keys, clock=lambda: NOW)
    past.add(ended(1, at=NOW + timedelta(seconds=9)))
    await past.load()
    assert [call.view.id for call in past] == ["call_1", "call_2"]
    assert [call.view.ended_at for call in past] == [NOW + timedelta(seconds=9), NOW]


@virtual
async def test_a_damaged_record_is_dropped_and_the_others_are_there() -> None:
    keys = MemoryKeys()
    past = EndedCalls(keys, clock=lambda: NOW)
    past.add(ended())
    await past.close()
    keys.values |= {PREFIX + "x": b"{", PREFIX + "y": keys.values[PREFIX + "call_1"]}
    again = await next_process(keys)
    assert [call.view.id for call in again] == ["call_1"]
    await again.close()
    assert list(keys.values) == [PREFIX + "call_1"]


@virtual
async def test_a_sick_disk_costs_the_past_and_nothing_else() -> None:
    keys = MemoryKeys()
    keys.broken = StoreFailed("disk full")
    past = await next_process(keys)
    past.add(ended(1))
    await past.close()
    assert past.get("call_1") == ended(1)
    keys.broken = None
    past.add(ended(2))
    await past.close()
    assert list(keys.values) == [PREFIX + "call_2"]


@virtual
async def test_a_repeated_order_of_a_call_that_ended_before_the_restart_hears_its_outcome() -> None:
    keys = MemoryKeys()
    world = CallWorld(keys=keys)
    order = CallRequest(account="a", to="200", id="call_1")
    refused = asyncio.gather(world.manager.place(order, "answered"), return_exceptions=True)
    await settle()
    call = world.manager.find("call_1")
    assert call is not None
    world.ended(call, sip.EndCause.REFUSED, status=486, reason="Busy Here")
    [first] = await refused
    await world.manager.ended.close()
    again = CallWorld(keys=keys)
    await again.manager.ended.load()
    assert (await again.manager.place(order, "none")).state is CallState.ENDED
    with pytest.raises(Refused) as caught:
        await again.manager.place(order, "answered")
    assert isinstance(first, PhonedError)
    assert caught.value.detail == first.detail
    assert not again.core.said
