from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

from phoned.events import Event, envelope
from phoned.model import CallState, HoldView, PhoneStatus, PlaybackView
from phoned.plain import dumps, plain

NOON = datetime(2026, 11, 20, 12, 0, 0, 123456, tzinfo=UTC)


def test_values_of_the_model_become_json_values() -> None:
    value = {CallState.ACTIVE: (HoldView(local=True), NOON, Path("/a"), 1.5, True, None, {3})}
    assert plain(value) == {
        "active": [{"local": True, "remote": False}, "2026-11-20T12:00:00.123Z", "/a", 1.5, True, None, [3]]
    }


def test_moments_are_utc_with_milliseconds() -> None:
    there = NOON.astimezone(timezone(timedelta(hours=2)))
    assert plain(there) == "2026-11-20T12:00:00.123Z"


def test_numbers_that_json_does_not_have_become_null() -> None:
    assert plain([float("nan"), float("inf"), -float("inf")]) == [None, None, None]


def test_unknown_things_become_their_text() -> None:
    assert plain(3 + 4j) == "(3+4j)"
    assert plain(HoldView) == str(HoldView)


def test_a_playback_shows_its_source_only() -> None:
    tone = PlaybackView(id="pb_1", call="call_1", state="playing", tone="440")
    assert plain(tone) == {"id": "pb_1", "call": "call_1", "state": "playing", "tone": "440", "position_s": 0.0}


def test_the_status_has_the_shape_of_the_contract() -> None:
    status = PhoneStatus(
        version="1",
        node="n",
        uptime_s=2.0,
        draining=False,
        accounts=(),
        calls_active=1,
        calls_capacity=50,
        event_seq=7,
    )
    assert plain(status) == {
        "version": "1",
        "node": "n",
        "uptime_s": 2.0,
        "draining": False,
        "accounts": [],
        "calls": {"active": 1, "capacity": 50},
        "network": None,
        "event_seq": 7,
    }


def test_the_envelope() -> None:
    event = Event(id="evt_1", seq=3, type="call.held", time=NOON, node="n", data={"hold": HoldView()})
    assert envelope(event) == {
        "id": "evt_1",
        "seq": 3,
        "type": "call.held",
        "time": "2026-11-20T12:00:00.123Z",
        "node": "n",
        "data": {"hold": {"local": False, "remote": False}},
    }


def test_half_a_surrogate_pair_can_be_sent() -> None:
    assert json.loads(dumps({"a": "\ud800"}).encode()) == {"a": "\ud800"}
