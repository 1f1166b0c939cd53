"""What of each write stands in the audit log."""

from __future__ import annotations

import json
import os

from phoned.model import CallRequest
from phoned.store.tokens import TokenStore
from tests.integration.api.conftest import Running

UID = f"uid:{os.getuid()}"


async def test_each_write_has_its_author_its_target_and_its_outcome(running: Running) -> None:
    client = running.unix()
    placed = await client.post("/v1/calls", json={"account": "front", "to": "200", "tags": {"x": "canary-in-a-body"}})
    call = placed.json()["id"]
    await client.post(f"/v1/calls/{call}/hold")
    token = running.token("call")
    stored = TokenStore(running.state_dir).find(token)
    assert stored is not None
    await running.tcp(token).post(f"/v1/calls/{call}/hangup?reason=canary-in-a-query")
    await running.tcp(token).post("/v1/reload")
    await client.put("/v1/accounts/back", json={"password": "canary-in-a-body"})
    told = [[entry.get(key) for key in ("who", "what", "target", "outcome", "status")] for entry in running.audited]
    assert told == [
        [UID, "POST /v1/calls", call, "ok", 201],
        [UID, "POST /v1/calls/{call}/hold", call, "wrong_state", 409],
        [stored.id, "POST /v1/calls/{call}/hangup", call, "ok", 200],
        [stored.id, "POST /v1/reload", None, "insufficient_scope", 403],
        [UID, "PUT /v1/accounts/{account}", "back", "ok", 201],
    ]
    assert running.audited[0]["request"] == placed.headers["x-request-id"]
    assert running.audited[2]["peer"] == "ip:127.0.0.1"
    assert "canary" not in json.dumps(running.audited)
    assert token not in json.dumps(running.audited)


async def test_reading_leaves_no_trace(running: Running) -> None:
    client = running.unix()
    for path in ("/v1/status", "/v1/calls", "/healthz", "/v1/nothing"):
        await client.get(path)
    assert running.audited == []


async def test_what_no_route_knows_is_written_as_it_came_but_no_token(running: Running) -> None:
    client = running.unix()
    token = running.token()
    await client.post("/v1/nothing\u202e" + "x" * 500)
    await client.post(f"/v1/calls/{token}/hangup")
    await client.post("/v1/calls", content=b"{", headers={"Content-Type": "application/json"})
    assert [entry["outcome"] for entry in running.audited] == ["not_found", "token_in_url", "invalid_json"]
    assert len(str(running.audited[0]["what"])) < 150
    assert token not in json.dumps(running.audited)


async def test_a_flood_of_strangers_does_not_wash_the_others_out(running: Running) -> None:
    stranger = running.tcp("phoned_" + "x" * 43)
    for _ in range(30):
        await stranger.post("/v1/reload")
    assert len(running.audited) <= 3
    assert {entry["who"] for entry in running.audited} == {"nobody"}
    await running.phone.place_call(CallRequest(account="front", to="200"))
    await running.unix().post("/v1/drain")
    last = running.audited[-1]
    assert (last["who"], last["what"]) == (UID, "POST /v1/drain")
    assert isinstance(last["left_out"], int)
    assert last["left_out"] >= 25


async def test_a_client_that_leaves_before_its_answer_is_recorded(running: Running) -> None:
    _, writer = await running.connect(unix=True)
    writer.write(b"POST /v1/drain HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 5\r\n\r\n{")
    await writer.drain()
    writer.close()
    await writer.wait_closed()
    while not running.audited:
        await running.unix().get("/healthz")
    assert running.audited[0]["outcome"] == "client_gone"
