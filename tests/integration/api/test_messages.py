"""POST /v1/messages."""

from __future__ import annotations

import pytest

from tests.integration.api.conftest import Running

HELLO = {"account": "front", "to": "sip:200@example.org", "body": "hello\nthere"}


async def test_a_message_is_sent_and_told(running: Running) -> None:
    response = await running.unix().post("/v1/messages", json=HELLO)
    assert response.status_code == 201
    sent = response.json()
    assert (sent["state"], sent["direction"], sent["body"]) == ("sent", "out", "hello\nthere")
    assert sent["content_type"] == "text/plain;charset=utf-8"
    await running.bus.flush()
    (event,) = await running.bus.log.after(0, 10) or []
    assert (event.type, event.data["message"].id) == ("message.sent", sent["id"])


async def test_a_refusal_and_silence_are_problems(running: Running) -> None:
    running.phone.denied = {"sip:300@example.org": "x"}
    refused = await running.unix().post("/v1/messages", json={**HELLO, "to": "sip:300@example.org"})
    assert (refused.status_code, refused.json()["sip"]) == (502, {"code": 403, "reason": "Forbidden"})
    running.phone.silent.add("sip:400@example.org")
    silent = await running.unix().post("/v1/messages", json={**HELLO, "to": "sip:400@example.org"})
    assert (silent.status_code, silent.json()["code"]) == (504, "deadline_exceeded")


@pytest.mark.parametrize(
    "wrong",
    [
        {"body": ""},
        {"body": "x" * 16385},
        {"to": "a\r\nb"},
        {"content_type": "x\r\ny: z"},
        {"tags": {}},
        {"account": 1},
    ],
)
async def test_what_cannot_be_a_message_is_refused(running: Running, wrong: dict[str, object]) -> None:
    assert (await running.unix().post("/v1/messages", json={**HELLO, **wrong})).status_code == 422
    assert await running.bus.log.last_seq() == 0


async def test_nobody_sends_for_an_account_that_is_not_there(running: Running) -> None:
    assert (await running.unix().post("/v1/messages", json={**HELLO, "account": "nobody"})).status_code == 404
