"""A receiver that fails 30 % of requests, a daemon that is killed again and again: nothing is lost."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.child import until
from tests.support.exchange import Exchange, Phone
from tests.support.webhook_sink import SECRET, Received, Reply, Sink, check_order


@pytest.fixture(scope="module")
def exchange() -> Iterator[Exchange]:
    with Exchange() as running:
        yield running


def told_by(phone: Phone) -> list[dict[str, Any]]:
    """The whole event log."""
    events: list[dict[str, Any]] = []
    while True:
        after = events[-1]["seq"] if events else 0
        answer = phone.http.get(
            "/v1/events", params={"after": after, "limit": 1000}, headers={"Accept": "application/json"}
        )
        page = answer.json()["data"]
        events += page
        if not page:
            return events


def busy_for(phone: Phone, chance: random.Random, seconds: float) -> None:
    """Calls that are refused at once, and one that is up and muted on and off, until the time is over."""
    deadline = time.monotonic() + seconds
    call = phone.place("alice", "echo")
    for index in range(1000):
        if time.monotonic() > deadline:
            return
        if index % 4 == 0:
            phone.place("alice", chance.choice(["busy", "decline"]))
        answer = phone.http.post(f"/v1/calls/{call}/{'mute' if index % 2 else 'unmute'}", json={})
        assert answer.status_code in (200, 409, 410), answer.text
        time.sleep(0.01)


def killed(exchange: Exchange, times: int, seed: int) -> tuple[int, int]:
    """The numbers of events told and of requests received."""
    chance = random.Random(seed)
    failing = random.Random(seed + 1)
    with Sink(lambda _: Reply(status=204 if failing.random() > 0.3 else 500)) as sink:
        hook = {"url": sink.url, "secret_file": "hook.secret", "retry_s": [0, *[0.05] * 31]}
        with Phone(exchange, configuration={"webhooks": [hook]}, secrets={"hook.secret": SECRET}) as phone:
            phone.start()
            for _ in range(times):
                phone.wait_ready()
                busy_for(phone, chance, chance.uniform(0.5, 2.0))
                phone.die()
                phone.again()
            phone.wait_ready()

            def settled() -> bool:
                view = phone.get("/v1/webhooks")["data"][0]
                seq = phone.get("/v1/status")["event_seq"]
                return view["pending"] == 0 and any(one.body.get("seq") == seq for one in sink.got)

            for call in phone.get("/v1/calls?state=active")["data"]:
                phone.verb(call["id"], "hangup")
            until(settled, "everything is delivered", 60.0)
            told = told_by(phone)
            last = told[-1]["seq"]
            until(lambda: {event["id"] for event in told} <= {one.id for one in sink.got}, "all of it", 30.0)
            until(lambda: phone.get("/v1/webhooks")["data"][0]["pending"] == 0, "delivered", 30.0)
        got = sink.got
    assert [event["seq"] for event in told] == list(range(told[0]["seq"], last + 1))
    told = [event for event in told if event["seq"] >= _first_seq(got)]
    check_order(
        got, [(event["id"], event["data"]["call"]["id"] if "call" in event["data"] else None) for event in told]
    )
    bodies = {one.id: one.body for one in got}
    assert [event for event in told if bodies[event["id"]] != event] == []
    return len(told), len(got)


def _first_seq(got: list[Received]) -> int:
    """What was told before the webhook was first known is not its business."""
    return min(int(one.body["seq"]) for one in got)


@pytest.mark.behaviour("P12")
@pytest.mark.behaviour("P14")
def test_two_kills_lose_no_event_and_no_order(exchange: Exchange) -> None:
    told, got = killed(exchange, times=2, seed=1)
    assert told > 20
    assert got > told


@pytest.mark.long
@pytest.mark.parametrize("seed", range(3))
def test_ten_kills_lose_no_event_and_no_order(exchange: Exchange, seed: int) -> None:
    told, got = killed(exchange, times=10, seed=seed)
    assert told > 100
    assert got > told


def test_a_stop_delivers_what_it_says_last(exchange: Exchange) -> None:
    with Sink() as sink:
        hook = {"url": sink.url, "secret_file": "hook.secret"}
        with Phone(exchange, configuration={"webhooks": [hook]}, secrets={"hook.secret": SECRET}) as phone:
            phone.start()
            phone.events.wait_for("account.registered")
            assert phone.stop() == 0
        assert "system.stopping" in sink.types()


def test_an_answer_takes_a_real_call(exchange: Exchange) -> None:
    def answer(received: Received) -> Reply:
        return Reply(status=200, body=b'{"action":"answer"}') if received.type == "call.incoming" else Reply()

    with Sink(answer) as sink:
        hook = {"url": sink.url, "secret_file": "hook.secret", "events": ["call.incoming", "call.ended"]}
        with (
            Phone(exchange, configuration={"webhooks": [hook]}, secrets={"hook.secret": SECRET}) as alice,
            Phone(exchange, "bob") as bob,
        ):
            for phone in (alice, bob):
                phone.start()
                phone.wait_ready()
            call = bob.place("bob", "alice", wait="answered")
            bob.verb(call, "hangup")
            sink.until(lambda got: any(one.type == "call.ended" for one in got), "the end")
        assert sink.types() == ["call.incoming", "call.ended"]


def test_a_webhook_that_is_added_to_the_file_is_there_after_a_reload(exchange: Exchange) -> None:
    with Sink() as sink, Phone(exchange, secrets={"hook.secret": SECRET}) as phone:
        phone.start()
        phone.events.wait_for("account.registered")
        with phone.configuration_file.open("a") as file:
            file.write(f'\n[[webhooks]]\nurl = "{sink.url}"\nsecret_file = "hook.secret"\n')
        told = phone.post("/v1/reload")
        assert (told["applied"], told["restart_needed"]) == (["webhooks"], [])
        until(lambda: [view["url"] for view in phone.get("/v1/webhooks")["data"]] == [sink.url], "it is there")
        phone.post("/v1/drain")
        sink.until(lambda got: any(one.type == "system.draining" and one.genuine for one in got), "an event")
