"""Bots over the API: who may have which dialled, what is answered, what is kept to oneself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from api import answers
from api.ctl import client as ctl
from phoned.errors import Denied
from phoned.ids import new_id
from phoned.store.tokens import Scope
from tests.integration.api.conftest import Running
from tests.integration.api.test_phonectl import phonectl

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


@pytest.mark.parametrize(
    ("scope", "url", "status", "code"),
    [
        ("admin", URL, 201, None),
        ("admin", "wss://elsewhere.example.org/", 201, None),
        ("call", URL, 403, "insufficient_scope"),
        ("call", "wss://elsewhere.example.org/", 403, "insufficient_scope"),
    ],
)
async def test_a_bot_in_a_step_of_a_call_needs_the_same_scope(
    running: Running, scope: Scope, url: str, status: int, code: str | None
) -> None:
    client = running.tcp(running.token(scope))
    body = {"account": "front", "to": "200", "on_answer": [{"stream": {"url": url}}]}
    for got in (
        await client.post("/v1/calls", json=body),
        await client.put(f"/v1/calls/{new_id('call')}", json=body),
    ):
        assert (got.status_code, got.json().get("code")) == (status, code)
        assert code is None or "POST /v1/calls/ID/streams" in got.json()["detail"]
    assert len(running.phone.placed) == (2 if status == 201 else 0)


async def test_an_address_that_is_refused_is_said(running: Running) -> None:
    running.phone.undiallable = Denied("this URL may not be reached", code="address_not_allowed")
    got = await running.unix().post(f"/v1/calls/{await talking(running)}/streams", json={"url": "ws://127.0.0.1/"})
    assert (got.status_code, got.json()["code"]) == (403, "address_not_allowed")


async def test_streams_are_listed_by_call_the_newest_first(running: Running) -> None:
    client = running.unix()
    one, two = [await talking(running) for _ in range(2)]
    made = [(await client.post(f"/v1/calls/{call}/streams", json={"url": URL})).json() for call in (one, two, one)]
    listed = await client.get("/v1/streams")
    answers.Page[answers.Stream].model_validate(listed.json())
    assert listed.json() == {"data": made[::-1], "next_cursor": None}
    assert (await client.get("/v1/streams", params={"call": one})).json()["data"] == [made[2], made[0]]
    assert (await client.get("/v1/streams", params={"call": "call_x"})).json()["data"] == []


async def test_the_shell_gives_a_call_to_a_bot_shows_it_and_takes_it_off(running: Running, tmp_path: Path) -> None:
    for args in (("stream",), ("stream", "list")):
        assert "no streams" in (await phonectl(running, *args)).out
    assert (await phonectl(running, "stream", "stop")).code == ctl.NOT_FOUND
    call, secret = await talking(running), tmp_path / "headers"
    secret.write_text("Authorization: Bearer hush\n\nX-Two:2\n")
    options = ("--parameter", "language=en", "--header", "X-One: 1", "--header", f"@{secret}", "--on-close", "keep")
    made = await phonectl(running, "stream", "start", URL, *options)
    [stream] = running.phone.streams()
    assert (made.code, stream.id in made.out, "connecting" in made.out) == (ctl.OK, True, True), made
    [order] = running.phone.dialled
    assert order.headers == {"X-One": "1", "Authorization": "Bearer hush", "X-Two": "2"}
    assert (order.parameters, order.on_close, order.protocol) == ({"language": "en"}, "keep", "twilio")
    assert stream.id in (await phonectl(running, "stream", "list", call)).out
    assert json.loads((await phonectl(running, "stream", "--json")).out)[0]["id"] == stream.id
    assert "sample_rate  8000" in (await phonectl(running, "stream", "show")).out
    l16 = ("--protocol", "l16", "--sample-rate", "24000")
    second = json.loads((await phonectl(running, "stream", "start", URL, call, *l16, "--json")).out)
    assert second["sample_rate"] == 24000
    which = await phonectl(running, "stream", "stop")
    assert (which.code, stream.id in which.err, second["id"] in which.err) == (ctl.USAGE, True, True)
    stopped = await phonectl(running, "stream", "stop", second["id"], "--json")
    assert json.loads(stopped.out)["state"] == "stopped"
    assert "stopped" in (await phonectl(running, "stream", "stop")).out


@pytest.mark.parametrize(
    ("args", "fix"),
    [
        (("--parameter", "language"), "--parameter language=en"),
        (("--header", "hush"), "--header @FILE"),
        (("--header", "@/nonexistent"), "--header @FILE"),
        (("--sample-rate", "16000"), "l16 has more"),
        (("--protocol", "l16", "--tracks", "both"), "twilio has"),
    ],
)
async def test_what_makes_no_stream_is_exit_2_and_says_what_would(
    running: Running, args: tuple[str, ...], fix: str
) -> None:
    await talking(running)
    done = await phonectl(running, "stream", "start", URL, *args)
    assert (done.code, fix in done.err, "hush" in done.err) == (ctl.USAGE, True, False), done
    assert not running.phone.dialled


async def test_why_no_bot_may_be_dialled_and_what_helps(running: Running) -> None:
    call = await talking(running)
    token = running.token("media")
    refused = await phonectl(running, "stream", "start", "wss://elsewhere.example.org/", call, PHONED_TOKEN=token)
    assert (refused.code, "stream_urls" in refused.err) == (ctl.AUTH, True), refused
    running.phone.undiallable = Denied("this URL may not be reached", code="address_not_allowed")
    refused = await phonectl(running, "stream", "start", "ws://127.0.0.1/")
    assert (refused.code, "allow_private" in refused.err) == (ctl.ERROR, True), refused
