"""Bots over the API: who may have which dialled, what is answered, what is kept to oneself."""

from __future__ import annotations

from typing import Any

import pytest

from phoned.errors import Denied
from phoned.store.tokens import Scope
from tests.integration.api.conftest import Running

URL = "wss://bots.example.org/ws"


@pytest.fixture
def api_config() -> dict[str, Any]:
    return {"stream_urls": ["wss://bots.example.org/*"]}


async def talking(running: Running) -> str:
    call = await running.phone.remote_calls()
    await running.phone.answer(call.id)
    return call.id


async def test_a_bot_is_asked_for_read_and_taken_off(running: Running) -> None:
    client, call = running.unix(), await talking(running)
    made = await client.post(f"/v1/calls/{call}/streams", json={"url": URL, "headers": {"Authorization": "Bearer x"}})
    assert made.status_code == 201
    stream = made.json()
    assert made.headers["location"] == f"/v1/streams/{stream['id']}"
    assert (stream["call"], stream["url"], stream["state"]) == (call, URL, "connecting")
    assert "Bearer" not in made.text
    assert (await client.get(f"/v1/calls/{call}")).json()["streams"] == [stream["id"]]
    assert (await client.delete(f"/v1/streams/{stream['id']}")).status_code == 204
    assert (await client.get(f"/v1/streams/{stream['id']}")).json()["state"] == "stopped"
    assert (await client.get("/v1/streams/str_0")).status_code == 404
    await running.phone.hangup(call)
    assert (await client.post(f"/v1/calls/{call}/streams", json={"url": URL})).status_code == 410


@pytest.mark.parametrize(
    ("scope", "url", "status", "code"),
    [
        ("admin", "wss://elsewhere.example.org/", 201, None),
        ("media", URL, 201, None),
        ("media", "wss://elsewhere.example.org/", 403, "stream_url_not_allowed"),
        ("media", "ws://bots.example.org/ws", 403, "stream_url_not_allowed"),
        ("call", URL, 403, "insufficient_scope"),
        ("read", URL, 403, "insufficient_scope"),
    ],
)
async def test_who_may_have_which_bot_dialled(
    running: Running, scope: Scope, url: str, status: int, code: str | None
) -> None:
    client, call = running.tcp(running.token(scope)), await talking(running)
    got = await client.post(f"/v1/calls/{call}/streams", json={"url": url})
    assert (got.status_code, got.json().get("code")) == (status, code)


async def test_a_step_of_a_call_is_held_to_the_same_patterns(running: Running) -> None:
    client = running.tcp(running.token("call"))
    for url, status in ((URL, 201), ("wss://elsewhere.example.org/", 403)):
        body = {"account": "front", "to": "200", "on_answer": [{"stream": {"url": url}}]}
        assert (await client.post("/v1/calls", json=body)).status_code == status


async def test_an_address_that_is_refused_is_said(running: Running) -> None:
    running.phone.undiallable = Denied("this URL may not be reached", code="address_not_allowed")
    got = await running.unix().post(f"/v1/calls/{await talking(running)}/streams", json={"url": "ws://127.0.0.1/"})
    assert (got.status_code, got.json()["code"]) == (403, "address_not_allowed")
