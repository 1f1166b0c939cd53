"""The flow goes under a call, with a real WebSocket and real media on loopback."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from phoned.daemon import Daemon
from phoned.model import CallRequest, CallState, CallView, EndCause, MediaState
from tests.support.blackhole import swallow
from tests.support.phones import Phones, Watch


@pytest.fixture
async def phones(tmp_path: Path) -> AsyncIterator[Phones]:
    async with Phones(tmp_path) as built:
        yield built


async def in_call(phones: Phones, line: str = "tone", *, account: str = "") -> tuple[Daemon, Watch, CallView]:
    alice, watch = await phones.phone(account=account)
    await watch.until("account.registered")
    call = await alice.phone.place_call(CallRequest(account="alice", to=line), wait="answered")
    await watch.until("call.updated", lambda data: data["call"].media.state is MediaState.FLOWING)
    return alice, watch, call


@pytest.mark.behaviour("R7")
@pytest.mark.behaviour("R12")
@pytest.mark.behaviour("O7")
async def test_a_cut_socket_costs_no_sound_and_the_dialog_is_verified_once(phones: Phones) -> None:
    alice, watch, call = await in_call(phones)
    before = alice.phone.stats(call.id)
    phones.exchange.order({"fault": "close"})
    lost = await watch.until("call.reconnecting")
    assert (lost.data["plane"], lost.data["cause"]) == ("signalling", "closed")
    back = await watch.until("call.reconnected")
    assert (back.data["plane"], back.data["gap_ms"], back.data["tier"]) == ("signalling", 0, 0)
    await asyncio.sleep(0.5)  # to hear, not to wait for anything
    after = alice.phone.stats(call.id)
    assert (after.ice_generation, after.dtls_generation) == (1, 1)
    assert after.packets_lost == before.packets_lost
    assert watch.types(call.id).count("call.dialog_verified") == 1
    assert "call.media_stalled" not in watch.types(call.id)


@pytest.mark.behaviour("R8")
async def test_both_planes_go_under_a_held_call_and_come_back_held(phones: Phones) -> None:
    alice, watch, call = await in_call(phones, account='recovery = { force_media_reconnect = "always" }')
    await alice.phone.hold(call.id)
    phones.exchange.order({"fault": "close"})
    lost = await watch.until("call.reconnecting")
    assert lost.data["plane"] == "signalling"
    back = await watch.until("call.reconnected")
    assert (back.data["plane"], back.data["tier"]) == ("both", 1)
    assert back.data["call"].hold.local
    assert alice.phone.stats(call.id).dtls_generation == 1
    await alice.phone.unhold(call.id)
    assert not alice.phone.call(call.id).hold.local
    assert "call.media_stalled" not in watch.types(call.id)


async def test_media_and_flow_die_together_and_one_reinvite_brings_both_back(phones: Phones) -> None:
    alice, watch, call = await in_call(phones)
    phones.exchange.order({"fault": "refuse", "status": 503})
    phones.exchange.order({"fault": "close"})
    swallow()
    await watch.until("call.updated", lambda data: data["call"].media.state is MediaState.WAIT_SIGNALLING)
    phones.exchange.order({"fault": "none"})
    await alice.phone.retry("alice")
    back = await watch.until("call.reconnected")
    assert (back.data["plane"], back.data["tier"]) == ("both", 1)
    (record,) = alice.phone.stats(call.id).recoveries
    assert (record.plane, record.attempts) == ("both", 1)
    assert record.gap_ms > 600


async def test_a_ringing_call_survives_its_flow_under_the_same_id(phones: Phones) -> None:
    alice, watch = await phones.phone()
    await watch.until("account.registered")
    call = await alice.phone.place_call(CallRequest(account="alice", to="noanswer"), wait="ringing")
    phones.exchange.order({"fault": "close"})
    lost = await watch.until("call.reconnecting")
    assert lost.data["call"].state is CallState.RINGING
    back = await watch.until("call.reconnected")
    assert back.data["plane"] == "signalling"
    assert alice.phone.call(call.id).state is CallState.RINGING
    await alice.phone.hangup(call.id)
    end = (await watch.until("call.ended")).data["call"].end
    assert (end.cause, end.by) == (EndCause.CANCELED, "local")
    assert watch.types(call.id).count("call.ringing") == 1


async def test_a_hangup_while_the_flow_is_away_is_said_on_the_next_and_ends_once(phones: Phones) -> None:
    alice, hers = await phones.phone("alice")
    await hers.until("account.registered")
    bob, his = await phones.phone("bob", extra='[[incoming]]\naction = "answer"\n')
    await his.until("account.registered")
    call = await alice.phone.place_call(CallRequest(account="alice", to="bob"), wait="answered")
    await hers.until("call.updated", lambda data: data["call"].media.state is MediaState.FLOWING)
    (theirs,) = bob.phone.calls()
    phones.exchange.order({"fault": "close"})
    await bob.phone.hangup(theirs.id)  # its BYE comes late
    end = (await hers.until("call.ended")).data["call"].end
    assert end.by in ("remote", "system")
    await asyncio.sleep(0.3)
    for watch, own in ((hers, call), (his, theirs)):
        assert watch.types(own.id).count("call.ended") <= 1
    assert alice.phone.call(call.id).state is CallState.ENDED
