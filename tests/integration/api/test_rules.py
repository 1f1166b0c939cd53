"""The rules of the control API on the wire, where no other file here proves them. By number of the security page:

1 listeners: test_service, control/test_policy (exit 78). 2 order: test_edge, here. 3 Host: test_edge. 4 Origin and
Sec-Fetch: test_edge, here, peers/test_hostile_page. 5 tokens: test_auth; tickets: test_events, here; peers of the unix
socket: unit/api/test_access. 6 content type: test_edge; reads change nothing: here. 7 limits: test_edge, test_events,
test_auth, here. 8 headers: test_edge, here. 9 dial rules: test_calls, control/test_policy. 10 names of files:
unit/api/test_schemas, control/test_policy.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from api.description import operations
from phoned.model import CallRequest
from tests.integration.api.conftest import Running
from tests.integration.api.test_edge import code_of, request, status_of

UPGRADE = (
    "Upgrade: websocket",
    "Connection: Upgrade",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
)
FOREIGN = (
    "Origin: https://evil.test",
    "Origin: null",
    "Origin: http://127.0.0.1:1",
    "Origin: https://127.0.0.1:{port}",
    "Sec-Fetch-Site: cross-site",
    "Sec-Fetch-Site: same-site",
    "Referer: https://evil.test/",
)


# -- 2: the order of checks


@pytest.mark.parametrize(
    ("line", "host", "headers", "expected"),
    [
        ("BREW /v1/calls HTTP/1.1", "evil.test", ("Content-Length: 99999999",), "body_too_large"),
        ("BREW /v1/calls HTTP/1.1", "evil.test", ("Origin: null",), "method_not_allowed"),
        ("GET /v1/status HTTP/1.1", "evil.test", ("Origin: null",), "host_not_allowed"),
        ("GET /nowhere HTTP/1.1", None, ("Origin: null",), "origin_not_allowed"),
        ("GET /nowhere HTTP/1.1", None, (), "unauthorized"),
        ("DELETE /v1/status HTTP/1.1", None, (), "unauthorized"),
    ],
)
async def test_what_is_wrong_first_is_told_first(
    running: Running, line: str, host: str | None, headers: tuple[str, ...], expected: str
) -> None:
    assert code_of(await running.raw(request(running, line, *headers, host=host)))[1] == expected


# -- 4: pages of other origins


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
@pytest.mark.parametrize("header", FOREIGN)
async def test_foreign_pages_are_refused_with_any_method_even_with_a_good_token(
    running: Running, method: str, header: str
) -> None:
    head = request(
        running,
        f"{method} /v1/calls HTTP/1.1",
        header.format(port=running.port),
        f"Authorization: Bearer {running.token()}",
        "Connection: close",
    )
    assert status_of(await running.raw(head)) == 403


@pytest.mark.parametrize("header", FOREIGN)
async def test_foreign_pages_are_refused_before_an_upgrade(running: Running, header: str) -> None:
    ticket = (await running.tcp(running.token("read")).post("/v1/tickets")).json()["subprotocol"]
    protocols = f"Sec-WebSocket-Protocol: {ticket}"
    line = "GET /v1/events/ws HTTP/1.1"
    refused = await running.raw(request(running, line, *UPGRADE, protocols, header.format(port=running.port)))
    assert code_of(refused) == (403, "origin_not_allowed")
    # it was refused before anything looked at the ticket, which is still good
    own = f"Origin: http://127.0.0.1:{running.port}"
    assert status_of(await running.raw(request(running, line, *UPGRADE, protocols, own))) == 101


async def test_a_preflight_of_another_origin_gets_nothing(running: Running) -> None:
    head = request(
        running, "OPTIONS /v1/calls HTTP/1.1", "Origin: https://evil.test", "Access-Control-Request-Method: POST"
    )
    answer = await running.raw(head)
    assert status_of(answer) == 403
    assert b"access-control" not in answer.lower()


# -- 5: tickets


async def test_a_ticket_that_is_too_old_is_wrong(running: Running) -> None:
    services = running.service.services
    assert services is not None
    services.access.tickets.lifetime_s = 0.0
    ticket = (await running.tcp(running.token("read")).post("/v1/tickets")).json()["subprotocol"]
    line = request(running, "GET /v1/events/ws HTTP/1.1", *UPGRADE, f"Sec-WebSocket-Protocol: {ticket}")
    assert code_of(await running.raw(line)) == (401, "unauthorized")


async def test_a_ticket_has_the_rights_of_whoever_asked_and_opens_no_request(running: Running) -> None:
    ticket = (await running.unix().post("/v1/tickets")).json()["ticket"]
    for header in (f"Authorization: Bearer {ticket}", f"Sec-WebSocket-Protocol: bearer.{ticket}"):
        assert status_of(await running.raw(request(running, "GET /v1/status HTTP/1.1", header))) == 401


async def test_guessed_tickets_count_as_wrong_tokens(running: Running) -> None:
    line = request(running, "GET /v1/events/ws HTTP/1.1", *UPGRADE, "Sec-WebSocket-Protocol: bearer.guessed")
    answers = [await running.raw(line) for _ in range(6)]
    assert [status_of(answer) for answer in answers] == [401] * 5 + [429]


# -- 6: reads change nothing


async def test_no_get_changes_anything(running: Running) -> None:
    call = await running.phone.remote_calls()
    placed = await running.phone.place_call(CallRequest(account="front", to="200"))
    client = running.unix(headers={"Accept": "application/json"})
    document = (await client.get("/openapi.json")).json()
    before = (running.phone.status(), running.phone.calls(), running.bus.delivered_seq)
    tried = 0
    for path, _, _ in operations(document):
        for id_ in (call.id, placed.id):
            values = dict.fromkeys(
                ("recording", "playback", "slug", "webhook", "delivery", "bridge", "stream"), "none"
            ) | {
                "account": "front",
                "call": id_,
            }
            for method in ("GET", "HEAD", "OPTIONS"):
                response = await client.request(method, path.format(**values))
                assert response.status_code in (200, 404, 405, 422), (method, path, response.text)
                tried += 1
    await running.bus.flush()
    assert (running.phone.status(), running.phone.calls(), running.bus.delivered_seq) == before
    assert tried > 200


# -- 7: limits


async def test_json_that_is_nested_deeper_than_16_is_refused(running: Running) -> None:
    client = running.unix(headers={"Content-Type": "application/json"})

    def nested(depth: int) -> bytes:
        inner = b"[" * (depth - 1) + b"]" * (depth - 1)
        return b'{"account":"front","to":"200","tags":%s}' % inner

    deep = await client.post("/v1/calls", content=nested(17))
    assert (deep.status_code, deep.json()["code"]) == (422, "invalid_json")
    assert "16" in deep.json()["detail"]
    fits = await client.post("/v1/calls", content=nested(16))
    assert (fits.status_code, fits.json()["code"]) == (422, "invalid_value")


async def test_unknown_members_are_refused_everywhere(running: Running) -> None:
    client = running.unix()
    document = (await client.get("/openapi.json")).json()
    call = await running.phone.remote_calls()
    bodies: dict[str, Any] = document["components"]["schemas"]
    for path, method, operation in operations(document):
        if "requestBody" not in operation or path == "/v1/accounts/{account}":
            continue
        if "{webhook}" in path:
            continue
        schema = operation["requestBody"]["content"]["application/json"]["schema"]
        name = next(part["$ref"] for part in schema.get("anyOf", [schema]) if "$ref" in part).rpartition("/")[2]
        body = {**bodies[name]["examples"][0], "unheard_of": 1}
        where = path.format(account="front", call=call.id, bridge="br_none")
        response = await client.request(method, where, json=body)
        assert (response.status_code, response.json()["code"]) == (422, "invalid_value"), (method, path)
        assert response.json()["errors"][0]["pointer"] == "/unheard_of", (method, path)


# -- 8: every answer, also one that the server gives before there is a request


@pytest.mark.parametrize(
    "data",
    [
        b"nonsense\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: x\r\n" + b"X: y\r\n" * 4000 + b"\r\n",
        b"GET /" + b"x" * 20_000,
        b"GET /healthz HTTP/1.1\r\nHost: evil.test\r\n\r\n",
        b"GET /v1/status HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n\r\n",
        b"POST /v1/calls HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nContent-Length: 70000\r\n\r\n",
        b"GET /v1/events/ws HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n" + "\r\n".join(UPGRADE).encode() + b"\r\n\r\n",
    ],
)
async def test_refusals_have_the_headers_of_every_answer(running: Running, data: bytes) -> None:
    reader, writer = await running.connect()
    writer.write(data % running.port if b"%d" in data else data)
    async with asyncio.timeout(5):
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        length = next(int(line[15:]) for line in head.split(b"\r\n") if line.startswith(b"content-length:"))
        body = await reader.readexactly(length)  # not to the end: a body that was announced is waited for
    writer.close()
    for header in (
        b"x-content-type-options: nosniff",
        b"cache-control: no-store",
        b"content-security-policy: default-src 'none'",
        b"cross-origin-resource-policy: same-origin",
        b"content-type: application/problem+json",
        b"date: ",
    ):
        assert b"\r\n" + header in head, head
    assert b"\r\nserver:" not in head
    assert b"access-control" not in head
    assert json.loads(body)["status"] >= 400


async def test_a_stream_has_them_too(running: Running) -> None:
    async with asyncio.timeout(5), running.unix().stream("GET", "/v1/events") as response:
        assert response.headers["cache-control"] == "no-store"
        assert response.headers["x-content-type-options"] == "nosniff"
        assert "default-src 'none'" in response.headers["content-security-policy"]
