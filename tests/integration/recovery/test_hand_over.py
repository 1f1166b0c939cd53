"""What a restarted daemon does with the calls that it finds: two lives of a phone, one after the other."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from phoned.daemon import Daemon
from phoned.model import CallRequest, CallState, CallView, EndCause, RecordRequest
from tests.support.phones import Phones, Watch


@pytest.fixture
async def phones(tmp_path: Path) -> AsyncIterator[Phones]:
    async with Phones(tmp_path) as running:
        yield running


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "alice" / "state" / "phoned.sqlite3"


def entries(file: Path) -> dict[str, Any]:
    with closing(sqlite3.connect(file)) as connection:
        return {call: json.loads(entry) for call, entry in connection.execute("SELECT call, entry FROM journal")}


def spoil(file: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change every entry, as damage would."""
    with closing(sqlite3.connect(file)) as connection, connection:
        for call, entry in connection.execute("SELECT call, entry FROM journal").fetchall():
            values = json.loads(entry)
            change(values)
            connection.execute("UPDATE journal SET entry = ? WHERE call = ?", (json.dumps(values), call))


async def up(phones: Phones, to: str = "echo") -> tuple[Daemon, CallView]:
    """A phone with a call that has sound."""
    alice, watch = await phones.online()
    call = await alice.phone.place_call(CallRequest(account="alice", to=to, tags={"case": "7"}), wait="answered")
    await watch.until("call.updated", lambda data: data["call"].media.state == "flowing")
    return alice, call


async def ended(watch: Watch, daemon: Daemon) -> list[Any]:
    """Everything that was ever told."""
    await daemon.bus.flush()
    return await daemon.bus.log.after(0, 10_000) or []


async def test_a_call_is_taken_up_with_all_that_a_person_knew_of_it(phones: Phones, file: Path) -> None:
    alice, call = await up(phones)
    await alice.phone.mute(call.id, True)
    first = await alice.phone.record(call.id, RecordRequest(channels="mixed"))
    paused = await alice.phone.record(call.id, RecordRequest())
    await alice.phone.control_recording(paused.id, "pause")
    await alice.stop(hand_over=True)
    assert list(entries(file)) == [call.id]
    again, watch = await phones.phone()
    back = (await watch.until("call.reconnected")).data
    assert (back["plane"], back["tier"]) == ("both", 2)
    view = again.phone.call(call.id)
    assert (view.state, view.muted, view.tags, view.answered_at) == (
        CallState.ACTIVE,
        True,
        {"case": "7"},
        view.answered_at,
    )
    assert view.created_at.replace(microsecond=0) == call.created_at.replace(microsecond=0)
    started = (await watch.until("recording.started")).data["recording"]
    assert started.channels == "mixed"
    assert started.id not in (first.id, paused.id)
    assert len(again.phone.stats(call.id).recoveries) == 1
    await again.phone.hangup(call.id)
    assert entries(file) == {}


@pytest.mark.behaviour("W3")
async def test_a_call_that_the_far_end_does_not_know_any_more_is_lost(phones: Phones, file: Path) -> None:
    alice, call = await up(phones)
    await alice.stop(hand_over=True)
    spoil(file, lambda entry: entry["dialog"]["dialog"].update(call_id="another"))
    again, watch = await phones.phone()
    assert (await watch.until("call.lost")).data["reason"] == "dialog_gone"
    end = (await watch.until("call.ended")).data["call"].end
    assert (end.cause, end.by, end.sip_code) == (EndCause.LOST, "system", 481)
    assert again.phone.call(call.id).state is CallState.ENDED
    await again.journal.settled()
    assert entries(file) == {}


@pytest.mark.behaviour("W32")
async def test_a_call_that_is_too_old_gets_its_bye(phones: Phones, file: Path) -> None:
    bob, his = await phones.online("bob", extra='[[incoming]]\naction = "answer"\n')
    alice, call = await up(phones, "bob")
    await alice.stop(hand_over=True)
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute("UPDATE journal_seen SET at = '2020-01-01T00:00:00Z'")
    again, watch = await phones.phone()
    end = (await his.until("call.ended")).data["call"].end
    assert (end.cause, end.by) == (EndCause.COMPLETED, "remote")
    assert not bob.calls.active()
    told = {event.type: event.data for event in await ended(watch, again)}
    assert told["call.lost"]["reason"] == "daemon_restart"
    assert told["call.ended"]["call"]["end"]["cause"] == "lost"
    assert again.phone.call(call.id).state is CallState.ENDED
    await watch.until("account.registered")
    await again.journal.settled()
    assert entries(file) == {}


@pytest.mark.parametrize(
    "damage",
    [
        lambda entry: entry.update(version=99),
        lambda entry: entry["dialog"]["dialog"].update(local_cseq="x"),
        lambda entry: entry["dialog"].update(version=2),
        lambda entry: entry.update(account="nobody"),
        lambda entry: entry.update(standing="early", dialog=None),
    ],
)
async def test_damage_costs_the_call_and_nothing_else(
    phones: Phones, file: Path, damage: Callable[[dict[str, Any]], object]
) -> None:
    alice, call = await up(phones)
    await alice.stop(hand_over=True)
    spoil(file, damage)
    again, watch = await phones.online()
    types = [event.type for event in await ended(watch, again)]
    assert types.count("call.lost") == types.count("call.ended") == 1
    assert again.calls.active() == 0
    await again.journal.settled()
    assert entries(file) == {}
    other = await again.phone.place_call(CallRequest(account="alice", to="echo"), wait="answered")
    assert other.id != call.id


async def test_a_damaged_description_costs_only_its_continuity(phones: Phones, file: Path) -> None:
    alice, call = await up(phones)
    await alice.stop(hand_over=True)
    spoil(file, lambda entry: entry.update(media="v=0\r\nnonsense"))
    again, watch = await phones.phone()
    await watch.until("call.reconnected")
    assert again.phone.call(call.id).state is CallState.ACTIVE


@pytest.mark.behaviour("W33")
async def test_what_rings_is_ended_before_a_hand_over_and_cancelled_after_a_crash(phones: Phones, file: Path) -> None:
    alice, _ = await phones.online()
    call = await alice.phone.place_call(CallRequest(account="alice", to="noanswer"), wait="ringing")
    await alice.journal.settled()
    kept = entries(file)[call.id]
    assert (kept["standing"], kept["media"]) == ("early", None)
    assert "invite" in kept["dialog"]
    await alice.stop(hand_over=True)
    assert entries(file) == {}
    assert alice.calls.view(call.id).state is CallState.ENDED
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute("INSERT INTO journal VALUES (?, ?)", (call.id, json.dumps(kept)))
        connection.execute("DELETE FROM event WHERE type = 'call.ended'")
    again, watch = await phones.online()
    assert again.phone.call(call.id).state is CallState.ENDED
    lost = [event for event in await ended(watch, again) if event.type == "call.lost"]
    assert [event.data["reason"] for event in lost] == ["daemon_restart"]
    await again.journal.settled()
    assert entries(file) == {}


async def test_a_bye_that_found_no_flow_is_said_by_the_next_process(phones: Phones, file: Path) -> None:
    _, his = await phones.online("bob", extra='[[incoming]]\naction = "answer"\n')
    alice, call = await up(phones, "bob")
    hers = Watch(alice.bus.subscribe(capacity=1000))
    phones.exchange.order({"fault": "refuse", "status": 503})
    phones.exchange.cut()
    await hers.until("account.reconnecting")
    await alice.phone.hangup(call.id)
    assert entries(file)[call.id]["standing"] == "over"
    await alice.stop(hand_over=True)
    phones.exchange.order({"fault": "none"})
    again, watch = await phones.phone()
    end = (await his.until("call.ended")).data["call"].end
    assert (end.cause, end.by) == (EndCause.COMPLETED, "remote")
    await watch.until("account.registered")
    assert [(known.id, known.state) for known in again.phone.calls()] == [(call.id, CallState.ENDED)]
    await again.journal.settled()
    assert entries(file) == {}


async def test_a_call_that_is_handed_over_before_it_came_back_is_handed_over_again(phones: Phones, file: Path) -> None:
    alice, call = await up(phones)
    await alice.stop(hand_over=True)
    again, _ = await phones.phone()
    await again.stop(hand_over=True)
    assert list(entries(file)) == [call.id]
    third, watch = await phones.phone()
    await watch.until("call.reconnected")
    assert third.phone.call(call.id).state is CallState.ACTIVE
