"""`kill -9`, hand-over and stop with a call up, seen from outside: processes, signals, the control API."""

from __future__ import annotations

import json
import random
import signal
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import av
import pytest

from tests.support.exchange import Exchange, Phone

BACK_S = 15.0
"""From the start of the next process, on a machine that does much else; the bench holds it to the recovery page."""


@pytest.fixture(scope="module")
def exchange() -> Iterator[Exchange]:
    with Exchange() as running:
        yield running


@pytest.fixture
def phone(exchange: Exchange) -> Iterator[Phone]:
    with Phone(exchange) as made:
        made.start()
        yield made


def journal(phone: Phone) -> dict[str, Any]:
    """Entries by call, as the next process would find them."""
    with closing(sqlite3.connect(phone.state / "phoned.sqlite3")) as connection:
        return {call: json.loads(entry) for call, entry in connection.execute("SELECT call, entry FROM journal")}


def told(phone: Phone, call: str) -> list[str]:
    """Types of everything that was ever told of a call, by whichever process."""
    seen = (event for event in phone.events.seen if event.type.startswith("call.") and event.type != "call.updated")
    return [event.type for event in seen if event.type != "call.quality" and event.call["id"] == call]


def identity(phone: Phone) -> Any:
    """What makes the next REGISTER replace the binding of the last."""
    kept = json.loads((phone.state / "identity.json").read_text())["accounts"]["alice"]
    return kept["instance_id"], kept["reg_id"], kept["call_id"]


@pytest.mark.behaviour("W32")
def test_a_call_comes_back_after_kill_9(exchange: Exchange, phone: Phone) -> None:
    call = phone.calling("echo")
    old, who = phone.call(call), identity(phone)
    phone.die()
    assert phone.back(call, phone.again()) < BACK_S
    new = phone.call(call)
    for name in ("id", "sip_call_id", "created_at", "answered_at", "peer", "direction", "account"):
        assert new[name] == old[name]
    after = told(phone, call)[4:]
    assert after == ["call.reconnecting", "call.dialog_verified", "call.reconnected"]
    back = phone.events.wait_for("call.reconnected").data
    assert (back["plane"], back["tier"]) == ("both", 2)
    assert 0 < back["gap_ms"] < 20_000
    assert identity(phone) == who
    with Phone(exchange, "bob") as bob:
        bob.start().wait_ready()
        ringing = bob.place("bob", "alice")
        phone.incoming()
        bob.verb(ringing, "hangup")
    assert len(phone.events.of("call.incoming")) == 1
    phone.verb(call, "hangup")
    phone.events.wait_for("call.ended", lambda data: data["call"]["end"]["cause"] == "completed")
    assert journal(phone) == {}


@pytest.mark.behaviour("P13")
@pytest.mark.behaviour("P15")
@pytest.mark.behaviour("P12")
def test_a_recording_outlives_kill_9_and_goes_on_in_another_file(phone: Phone) -> None:
    """In either format. What is recovered is all but the last second; what runs goes on as it was ordered."""
    call = phone.calling("tone")
    first = phone.verb(call, "record", status=201)["id"]
    other = phone.verb(call, "record", status=201, format="opus", channels="mixed")["id"]
    phone.until(lambda: any(phone.recordings.glob("*.part")) and phone.stats(call)["packets_received"] > 100, "sound")
    phone.die()
    phone.back(call, phone.again())
    for recording, format_, size in ((first, "wav", 10_000), (other, "opus", 1000)):
        phone.events.wait_for("recording.recovered")
        told = [event.data["recording"] for event in phone.events.of("recording.recovered")]
        (recovered,) = (view for view in told if view["id"] == recording)
        assert (recovered["call"], recovered["recovered"], recovered["format"]) == (call, True, format_)
        assert recovered["duration_s"] > 0.4
        assert (phone.recordings / recovered["file"]).stat().st_size > size
        with av.open(str(phone.recordings / recovered["file"])) as container:
            heard = sum(frame.samples / frame.sample_rate for frame in container.decode(audio=0))
        assert heard == pytest.approx(recovered["duration_s"], abs=0.002)
    phone.until(lambda: len(phone.call(call)["recordings"]) == 4, "both go on")
    going_on = [
        event.data["recording"]
        for event in phone.events.of("recording.started")
        if event.data["recording"]["id"] not in (first, other)
    ]
    assert [(view["format"], view["channels"]) for view in going_on] == [("wav", "stereo"), ("opus", "mixed")]
    assert phone.call(call)["recordings"] == [first, other, *(view["id"] for view in going_on)]


def test_sigusr2_hands_a_held_and_muted_call_over_without_a_word(exchange: Exchange, phone: Phone) -> None:
    with Phone(exchange, "bob") as bob:
        bob.start().wait_ready()
        phone.wait_ready()
        call = phone.place("alice", "bob")
        theirs = bob.incoming()
        bob.verb(theirs, "answer")
        phone.wait_call(call, "sound", lambda view: view["media"]["state"] == "flowing")
        phone.verb(call, "mute")
        phone.verb(call, "hold")
        assert phone.leave(signal.SIGUSR2) == 0
        assert list(journal(phone)) == [call]
        assert bob.call(theirs)["state"] == "active"
        began = phone.again()
        phone.events.wait_for("call.reconnected", timeout_s=20)
        assert time.monotonic() - began < BACK_S
        back = phone.call(call)
        assert (back["state"], back["hold"]["local"], back["muted"]) == ("active", True, True)
        assert bob.call(theirs)["hold"]["remote"]
        assert not {"call.ended", "call.lost"} & set(told(phone, call))
        assert not {"call.ended", "call.lost"} & set(told(bob, theirs))
        phone.verb(call, "unmute")
        phone.verb(call, "unhold")
        before = bob.stats(theirs)["packets_received"], phone.stats(call)["packets_received"]
        bob.until(lambda: bob.stats(theirs)["packets_received"] > before[0] + 25, "alice is heard")
        phone.until(lambda: phone.stats(call)["packets_received"] > before[1] + 25, "bob is heard")
        bob.verb(theirs, "hangup")
        ended = phone.events.wait_for("call.ended").call["end"]
        assert (ended["cause"], ended["by"]) == ("completed", "remote")


def test_a_call_that_rang_here_when_the_phone_died_is_told_to_have_ended(exchange: Exchange, phone: Phone) -> None:
    with Phone(exchange, "bob") as bob:
        bob.start()
        bob.wait_ready()
        phone.wait_ready()
        phone.place("alice", "bob")
        ringing = bob.incoming()
        bob.die()
        bob.again()
        ended = bob.events.wait_for("call.ended", lambda data: data["call"]["id"] == ringing)
        assert (ended.call["direction"], ended.call["end"]["cause"]) == ("in", "lost")
        assert told(bob, ringing).count("call.ended") == 1


def test_a_call_that_was_hung_up_never_comes_back(phone: Phone) -> None:
    call = phone.calling("tone")
    phone.verb(call, "hangup")
    phone.die()  # the answer is there, and with it the promise
    assert journal(phone) == {}
    phone.again()
    phone.wait_ready()
    phone.events.wait_for("system.started", after=phone.events.wait_for("call.answered"))
    answer = phone.http.get(f"/v1/calls/{call}")
    assert answer.status_code == 404 or answer.json()["state"] == "ended"
    assert told(phone, call).count("call.ended") <= 1
    assert phone.get("/v1/status")["calls"]["active"] == 0


def test_sigterm_leaves_nothing_to_be_taken_up(phone: Phone) -> None:
    call = phone.calling("tone")
    assert phone.leave(signal.SIGTERM) == 0
    assert journal(phone) == {}
    phone.again()
    phone.wait_ready()
    assert phone.get("/v1/status")["calls"]["active"] == 0
    phone.events.wait_for("account.registered", lambda data: True, after=phone.events.wait_for("system.stopping"))
    assert told(phone, call)[-1] == "call.ended"


def hang_up_all(phone: Phone) -> None:
    """End what is up, also a call that came back although nobody had heard it before the kill."""
    up = [view["id"] for view in phone.get("/v1/calls")["data"] if view["state"] != "ended"]
    for call in up:
        phone.verb(call, "hangup")
    phone.until(lambda: all("call.ended" in told(phone, call) for call in up), "the end of all")


@pytest.mark.long
def test_fifty_kills_at_random_points(exchange: Exchange, phone: Phone) -> None:
    """At any moment between the order to call and some seconds of sound, again and again. A call that had sound comes
    back; each call ends exactly once."""
    chance = random.Random(7)
    took: list[float] = []
    call, had_sound = phone.calling("tone"), True
    for _ in range(50):
        time.sleep(chance.uniform(0, 1.5))
        phone.die()
        began = phone.again()
        if had_sound:
            took.append(phone.back(call, began))
        if chance.random() < 0.5:
            phone.wait_ready()
            hang_up_all(phone)
            call, had_sound = phone.place("alice", "tone"), False
            if chance.random() < 0.5:
                phone.wait_call(call, "sound", lambda view: view["media"]["state"] == "flowing")
                had_sound = True
        else:
            had_sound = had_sound and phone.call(call)["state"] == "active"
            if not had_sound:
                call, had_sound = phone.calling("tone"), True
    phone.wait_ready()
    hang_up_all(phone)
    known: dict[str, list[str]] = {}
    for event in phone.events.seen:
        if event.type in ("call.created", "call.ended", "call.lost"):
            known.setdefault(event.call["id"], []).append(event.type)
    for one, types in known.items():
        assert types.count("call.ended") == 1, (one, types)
    took.sort()
    print(f"back after kill -9: n={len(took)} p50={took[len(took) // 2]:.2f} s max={took[-1]:.2f} s")  # noqa: T201
