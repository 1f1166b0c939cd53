"""What a client may rely on when the daemon dies and comes back: its keys, its ids, its place in a list, the past."""

from __future__ import annotations

import signal
import threading
from typing import Any

import httpx
import pytest

from phoned.ids import new_id
from tests.support.exchange import Phone

CALL = {"account": "alice", "to": "echo"}


def order(phone: Phone, key: str, **more: Any) -> httpx.Response:
    return phone.http.post("/v1/calls", json={**CALL, **more}, headers={"Idempotency-Key": key})


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGUSR2, signal.SIGTERM])
def test_a_key_names_its_call_whatever_ends_the_daemon(phone: Phone, number: signal.Signals) -> None:
    first = order(phone, "order-1", wait="answered")
    assert first.status_code == 201
    refused = order(phone, "order-2", to="busy", wait="answered")
    assert refused.json()["sip"]["code"] == 486
    ended = order(phone, "order-3").json()["id"]
    phone.verb(ended, "hangup")
    phone.wait_call(ended, "ended", lambda call: call["state"] == "ended")
    phone.events.wait_for("call.ended", lambda data: data["call"]["id"] == ended)
    phone.leave(number)
    phone.again()
    phone.wait_ready()
    again = order(phone, "order-1", wait="answered")
    assert (again.status_code, again.json()["id"]) == (201, first.json()["id"])
    assert again.headers["idempotency-replayed"] == "true"
    assert order(phone, "order-1", to="milliwatt").json()["code"] == "idempotency_mismatch"
    assert order(phone, "order-2", to="busy", wait="answered").json()["sip"]["code"] == 486
    assert order(phone, "order-3").json()["id"] == ended
    assert len(phone.get("/v1/calls")["data"]) == 3


def test_a_request_that_waited_when_the_daemon_died_finds_its_call_again(phone: Phone) -> None:
    id_ = new_id("call")
    body = {**CALL, "to": "noanswer", "wait": "answered", "timeout_s": 30}

    def wait() -> None:
        with pytest.raises(httpx.TransportError):
            phone.http.put(f"/v1/calls/{id_}", json=body)

    waiting = threading.Thread(target=wait)
    waiting.start()
    phone.events.wait_for("call.ringing")
    phone.leave(signal.SIGKILL)
    waiting.join()
    phone.again()
    phone.wait_ready()
    answer = phone.http.put(f"/v1/calls/{id_}", json=body)
    assert answer.json()["code"] in ("refused", "gone"), answer.text  # that call is lost, and no second one was made
    assert [call["id"] for call in phone.get("/v1/calls")["data"]] == [id_]
    other = phone.http.put(f"/v1/calls/{id_}", json={**body, "to": "echo"})
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_mismatch")


def test_ended_calls_their_figures_and_their_recordings_are_there_after_a_restart(phone: Phone) -> None:
    call = phone.calling("echo")
    recording = phone.verb(call, "record", status=201)["id"]
    phone.events.wait_for("recording.started")
    phone.post(f"/v1/recordings/{recording}/stop")
    phone.verb(call, "hangup")
    phone.events.wait_for("call.ended")
    view, stats = phone.call(call), phone.stats(call)
    sound = phone.http.get(f"/v1/recordings/{recording}/file").content
    phone.leave(signal.SIGTERM)
    phone.again()
    assert phone.call(call) == view
    assert phone.stats(call) == stats
    assert [each["id"] for each in phone.get("/v1/recordings")["data"]] == [recording]
    assert phone.http.get(f"/v1/recordings/{recording}/file").content == sound
    assert phone.verb(call, "hangup")["state"] == "ended"
    assert phone.verb(call, "hold", status=410)["code"] == "gone"
    phone.http.delete(f"/v1/recordings/{recording}")
    old = new_id("rec")  # of a call that nobody remembers
    (phone.recordings / f"{new_id('call')}-{old}.wav").write_bytes(sound)
    phone.leave(signal.SIGTERM)
    phone.again()
    phone.until(lambda: phone.get("/v1/recordings")["data"], "it has looked at its recordings")
    assert [each["id"] for each in phone.get("/v1/recordings")["data"]] == [old]
    assert phone.http.get(f"/v1/recordings/{old}/file").content == sound
    phone.http.delete(f"/v1/recordings/{old}")
    assert not list(phone.recordings.iterdir())


def test_a_cursor_stays_good_over_a_restart_while_calls_come_and_go(phone: Phone) -> None:
    placed = []
    for _ in range(6):
        placed.append(phone.place("alice", "busy"))
        phone.wait_call(placed[-1], "ended", lambda call: call["state"] == "ended")
    first = phone.get("/v1/calls?limit=2")
    phone.place("alice", "echo")
    phone.leave(signal.SIGKILL)
    phone.again()
    phone.wait_ready()
    phone.place("alice", "busy")
    seen = [call["id"] for call in first["data"]]
    cursor = first["next_cursor"]
    while cursor is not None:
        page = phone.get(f"/v1/calls?limit=2&cursor={cursor}")
        seen += [call["id"] for call in page["data"]]
        cursor = page["next_cursor"]
    assert seen == placed[::-1]
