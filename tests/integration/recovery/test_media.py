"""A call's media path dies under it, with real ICE, DTLS and SRTP on loopback; signalling is fine."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from phoned.daemon import Daemon
from phoned.model import CallRequest, CallState, CallView, MediaState, PlayRequest, RecordRequest, StatsView
from tests.support.blackhole import swallow, swallowed
from tests.support.phones import Phones, Watch


@pytest.fixture
async def phones(tmp_path: Path) -> AsyncIterator[Phones]:
    async with Phones(tmp_path) as built:
        yield built


async def in_call(phones: Phones, line: str = "tone", *, account: str = "") -> tuple[Daemon, Watch, CallView]:
    """Alice, in a call with a line of the exchange, hearing it."""
    alice, watch = await phones.phone(account=account)
    await watch.until("account.registered")
    call = await alice.phone.place_call(CallRequest(account="alice", to=line), wait="answered")
    await flowing(watch)
    return alice, watch, call


async def flowing(watch: Watch) -> None:
    await watch.until("call.updated", lambda data: data["call"].media.state is MediaState.FLOWING)


def stats(alice: Daemon, call: CallView) -> StatsView:
    return alice.phone.stats(call.id)


async def heard_more(alice: Daemon, call: CallView, packets: int = 25) -> None:
    before = stats(alice, call).packets_received
    async with asyncio.timeout(10):
        while stats(alice, call).packets_received < before + packets:  # noqa: ASYNC110 - a counter, no event
            await asyncio.sleep(0.02)


@pytest.mark.behaviour("L1")
@pytest.mark.behaviour("L7")
@pytest.mark.behaviour("O8")
@pytest.mark.behaviour("O14")
async def test_a_dead_path_is_replaced_under_the_living_association(phones: Phones) -> None:
    alice, watch, call = await in_call(phones)
    recording = await alice.phone.record(call.id, RecordRequest())
    playback = await alice.phone.play(call.id, PlayRequest(tone="440", loop=True))
    generation = alice.phone.account("alice").registration.flow_generation
    swallow()
    stalled = await watch.until("call.media_stalled")
    assert stalled.data["direction"] == "inbound"
    lost = await watch.until("call.reconnecting")
    assert (lost.data["plane"], lost.data["cause"]) == ("media", "timeout")
    assert lost.data["call"].recovering.plane == "media"
    back = await watch.until("call.reconnected")
    assert (back.data["plane"], back.data["tier"]) == ("media", 1)
    assert back.data["gap_ms"] <= 1500
    assert back.data["call"].recovering is None
    await heard_more(alice, call)
    after = stats(alice, call)
    assert (after.ice_generation, after.dtls_generation) == (2, 1)
    (record,) = after.recoveries
    assert (record.plane, record.tier, record.attempts, record.gap_ms) == ("media", 1, 1, back.data["gap_ms"])
    assert alice.phone.account("alice").registration.flow_generation == generation
    assert alice.phone.recording(recording.id).state == "recording"
    went_on = alice.phone.playback(playback.id)
    assert went_on.state == "playing"
    assert went_on.position_s == pytest.approx(alice.phone.recording(recording.id).duration_s, abs=0.1)
    await alice.phone.hangup(call.id)
    finished = await watch.until("recording.finished")
    assert finished.data["recording"].duration_s > 1.0
    types = watch.types(call.id)
    assert types.count("call.reconnecting") == types.count("call.reconnected") == 1


@pytest.mark.behaviour("O12")
async def test_a_far_end_that_falls_silent_is_told_and_not_hung_up(phones: Phones) -> None:
    alice, watch, call = await in_call(phones)
    with swallowed("rtp"):
        await watch.until("call.media_stalled")
        await watch.until("call.updated", lambda data: data["call"].media.state is MediaState.INBOUND_ONLY)
        alarm = await watch.until("call.no_inbound_audio")
        assert alarm.data["call"].state is CallState.ACTIVE
        assert stats(alice, call).ice_generation == 1
    await heard_more(alice, call)
    assert alice.phone.call(call.id).media.state is MediaState.FLOWING
    assert "call.reconnecting" not in watch.types(call.id)


@pytest.mark.behaviour("O9")
@pytest.mark.behaviour("L6")
async def test_a_held_call_whose_path_dies_is_restarted_after_the_grace_and_stays_held(phones: Phones) -> None:
    alice, watch, call = await in_call(phones)
    await alice.phone.hold(call.id)
    swallow()
    lost = await watch.until("call.reconnecting")
    assert lost.data["plane"] == "media"
    back = await watch.until("call.reconnected")
    assert back.data["tier"] == 1
    assert back.data["call"].hold.local
    assert back.data["call"].media.state is MediaState.QUIET
    assert "call.media_stalled" not in watch.types(call.id)
    await alice.phone.unhold(call.id)
    await heard_more(alice, call)


@pytest.mark.behaviour("F11")
async def test_an_address_that_left_restarts_ice_at_once_without_waiting_for_silence(phones: Phones) -> None:
    alice, watch, call = await in_call(phones)
    before = stats(alice, call)
    local = alice.phone.call(call.id).media.local
    assert local is not None
    alice.calls.on_network_moved(frozenset({local.rpartition(":")[0].strip("[]")}), forced=False)
    lost = await watch.until("call.reconnecting")
    assert lost.data["cause"] == "network"
    back = await watch.until("call.reconnected")
    assert (back.data["plane"], back.data["tier"]) == ("media", 1)
    assert back.data["gap_ms"] < 300
    await heard_more(alice, call)
    after = stats(alice, call)
    assert (after.ice_generation, after.dtls_generation) == (2, 1)
    assert after.packets_lost <= before.packets_lost + 5


@pytest.mark.behaviour("F13")
@pytest.mark.behaviour("O13")
async def test_two_moves_within_300_ms_are_one_recovery_planned_anew(phones: Phones) -> None:
    alice, watch, call = await in_call(phones)
    alice.calls.on_network_moved(frozenset(), forced=True)
    await asyncio.sleep(0.005)
    alice.calls.on_network_moved(frozenset(), forced=True)
    await watch.until("call.reconnected")
    await heard_more(alice, call, 50)
    assert stats(alice, call).dtls_generation == 1
    types = watch.types(call.id)
    assert types.count("call.reconnecting") == types.count("call.reconnected") == 1
    held = await alice.phone.hold(call.id)
    assert held.hold.local


async def test_two_phones_lose_their_path_at_once_and_find_each_other(phones: Phones) -> None:
    """Both ends notice, both offer: glare is settled by RFC 3261 14.1, and the sound is back both ways."""
    alice, hers = await phones.phone("alice")
    await hers.until("account.registered")
    bob, his = await phones.phone("bob", extra='[[incoming]]\naction = "answer"\n')
    await his.until("account.registered")
    call = await alice.phone.place_call(CallRequest(account="alice", to="bob"), wait="answered")
    await asyncio.gather(flowing(hers), flowing(his))
    (theirs,) = bob.phone.calls()
    swallow()
    await asyncio.gather(hers.until("call.reconnected"), his.until("call.reconnected"))
    await heard_more(alice, call)
    await heard_more(bob, theirs)
    assert stats(alice, call).dtls_generation == stats(bob, theirs).dtls_generation


async def test_the_far_ends_own_restart_is_answered(phones: Phones) -> None:
    alice, hers = await phones.phone("alice")
    await hers.until("account.registered")
    bob, his = await phones.phone("bob", extra='[[incoming]]\naction = "answer"\n')
    await his.until("account.registered")
    call = await alice.phone.place_call(CallRequest(account="alice", to="bob"), wait="answered")
    await asyncio.gather(flowing(hers), flowing(his))
    (theirs,) = bob.phone.calls()
    await bob.phone.reinvite(theirs.id, ice_restart=True)
    async with asyncio.timeout(10):
        while stats(alice, call).ice_generation == 1:  # noqa: ASYNC110 - a counter, no event
            await asyncio.sleep(0.02)
    await heard_more(alice, call)
    assert stats(alice, call).dtls_generation == 1
    assert "call.reconnecting" not in hers.types(call.id)


@pytest.mark.behaviour("F8")
async def test_a_hangup_during_the_repair_wins(phones: Phones) -> None:
    alice, watch, call = await in_call(phones)
    swallow()
    await watch.until("call.media_stalled")
    await alice.phone.hangup(call.id)
    ended = await watch.until("call.ended")
    assert ended.data["call"].end.cause == "completed"
    await asyncio.sleep(1.0)
    assert watch.types(call.id).count("call.ended") == 1
    assert alice.phone.call(call.id).state is CallState.ENDED
