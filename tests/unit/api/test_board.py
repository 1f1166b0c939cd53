"""What `phonectl top` makes of the events."""

from __future__ import annotations

from typing import Any

import pytest

from api.ctl.board import Board, clock

Json = dict[str, Any]


def account(name: str = "front", state: str = "online", error: Json | None = None, **more: Any) -> Json:
    return {"id": name, "aor": f"sip:{name}@x", "state": state, "registration": {"last_error": error}, **more}


def call(name: str = "call_1", state: str = "active", **more: Any) -> Json:
    view = {
        "id": name, "account": "front", "direction": "out", "state": state, "duration_s": 5.0, "recovering": None,
        "hold": {"local": False, "remote": False}, "peer": {"uri": "sip:200@x", "number": "200", "display_name": None},
    }  # fmt: skip
    return {**view, **more}


def event(type_: str, **data: Any) -> Json:
    return {"type": type_, "data": data}


def board(*calls: Json, accounts: tuple[Json, ...] = ()) -> Board:
    made = Board()
    made.take(event("events.snapshot", accounts=[*(accounts or (account(),))], calls=list(calls), last_seq=1), 100.0)
    return made


def test_it_begins_with_a_snapshot() -> None:
    assert not Board().known
    made = board(call())
    assert made.known
    lines = made.lines(100.0)
    assert lines[0] == "1 of 1 accounts online, 1 calls"
    assert lines[2].split() == ["ACCOUNT", "STATE", "CALLS", "ADDRESS", "LAST", "ERROR"]
    assert lines[3].split() == ["front", "online", "1", "sip:front@x"]
    assert lines[6].split() == ["call_1", "out", "active", "200", "0:05", "-", "-", "-", "-"]


def test_time_goes_on_between_events_while_a_call_is_up() -> None:
    made = board(call(), call("call_2", "ringing", duration_s=0.0))
    first, second = made.snapshot(103.0)["calls"]
    assert (first["duration_s"], second["duration_s"]) == (8.0, 0.0)
    assert "0:08" in made.lines(103.9)[6]


def test_quality_recovery_and_hold_are_shown() -> None:
    made = board(call())
    made.take(event("call.quality", call=call(), mos=4.21, jitter_ms=12.4, loss_pct=0.26, rtt_ms=None), 101.0)
    assert made.lines(101.0)[6].split()[5:] == ["4.2", "0.3%", "12ms", "-"]
    made.take(event("call.reconnecting", call=call(recovering={"plane": "media", "since": "t"}), plane="media"), 102.0)
    assert made.lines(102.0)[6].split()[-1] == "media"
    assert made.snapshot(102.0)["calls"][0]["quality"] == {
        "mos": 4.21, "jitter_ms": 12.4, "loss_pct": 0.26, "rtt_ms": None,
    }  # fmt: skip
    made.take(event("call.held", call=call(hold={"local": True, "remote": False})), 103.0)
    assert "held" in made.lines(103.0)[6]


def test_ended_calls_go_and_new_ones_come() -> None:
    made = board(call())
    made.take(event("call.incoming", call=call("call_2", "ringing", direction="in")), 101.0)
    made.take(event("call.quality", call=call(), mos=4.0), 101.0)
    made.take(event("call.ended", call=call(state="ended")), 102.0)
    assert list(made.calls) == ["call_2"]
    made.take(event("call.ended", call=call("call_2", "ended")), 102.0)
    assert made.lines(102.0)[-1].startswith("front")
    made.take(event("system.draining", draining=True), 103.0)  # what it does not know is no harm
    made.take(event("events.gap"), 103.0)


def test_a_new_snapshot_replaces_all_and_keeps_what_is_known_of_the_sound() -> None:
    made = board(call(), call("call_2"))
    made.take(event("call.quality", call=call(), mos=4.0), 101.0)
    made.take(event("events.gap", accounts=[account("back")], calls=[call()], last_seq=9), 102.0)
    picture = made.snapshot(102.0)
    assert [view["id"] for view in picture["accounts"]] == ["back"]
    assert [(view["id"], view["quality"]["mos"]) for view in picture["calls"]] == [("call_1", 4.0)]


def test_why_an_account_is_not_online_and_that_the_daemon_is_away() -> None:
    made = board(accounts=(account(), account("back", "backoff", {"cause": "dns", "detail": "no such \x1b name"})))
    made.connected = False
    lines = made.lines(100.0)
    assert "connection lost" in lines[0]
    assert lines[4].endswith("dns no such \\u001b name") or "dns no such" in lines[4]
    assert "\x1b" not in "\n".join(lines)
    made.take(event("account.registered", account=account("back")), 101.0)
    assert made.lines(101.0)[0].startswith("2 of 2")


@pytest.mark.parametrize(("seconds", "shown"), [(0.0, "0:00"), (59.9, "0:59"), (61.0, "1:01"), (3723.0, "1:02:03")])
def test_durations(seconds: float, shown: str) -> None:
    assert clock(seconds) == shown
