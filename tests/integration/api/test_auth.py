"""Tokens, scopes and rates over the wire."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from phoned.store.tokens import FILE, Scope
from tests.integration.api.conftest import Running


async def test_on_tcp_everything_but_health_needs_a_token(running: Running) -> None:
    client = running.tcp()
    document = (await running.unix().get("/openapi.json")).json()
    for path, operations in document["paths"].items():
        for method in operations:
            response = await client.request(method.upper(), path)
            if path in ("/healthz", "/readyz"):
                assert response.status_code == 200
                continue
            assert response.status_code == 401, (method, path)
            assert response.headers["www-authenticate"] == 'Bearer realm="phoned"'
            assert response.json()["code"] == "unauthorized"


async def test_a_token_made_while_the_daemon_runs_works_at_once(running: Running) -> None:
    assert (await running.tcp().get("/v1/status")).status_code == 401
    token = running.token("read")
    assert (await running.tcp(token).get("/v1/status")).status_code == 200
    await asyncio.to_thread((running.state_dir / FILE).unlink)
    assert (await running.tcp(token).get("/v1/status")).status_code == 401


@pytest.mark.parametrize(
    ("scope", "read", "call", "admin", "streams"),
    [
        ("read", 200, 403, 403, 403),
        ("call", 200, 201, 403, 403),
        ("media", 200, 403, 403, 422),
        ("admin", 200, 201, 200, 422),
    ],
)
async def test_scopes(running: Running, scope: Scope, read: int, call: int, admin: int, streams: int) -> None:
    client = running.tcp(running.token(scope))
    assert (await client.get("/v1/status")).status_code == read
    assert (await client.post("/v1/calls", json={"account": "front", "to": "200"})).status_code == call
    assert (await client.post("/v1/reload", json={})).status_code == admin
    assert (await client.post("/v1/calls/call_1/streams", json={})).status_code == streams


async def test_a_small_scope_is_told_before_the_body_is_looked_at(running: Running) -> None:
    client = running.tcp(running.token("read"))
    response = await client.post("/v1/calls", content=b"{", headers={"Content-Type": "application/json"})
    assert (response.status_code, response.json()["code"]) == (403, "insufficient_scope")


async def test_the_sixth_wrong_token_in_a_minute_is_429(running: Running) -> None:
    client = running.tcp("phoned_wrong")
    answers = [await client.get("/v1/status") for _ in range(6)]
    assert [answer.status_code for answer in answers] == [401, 401, 401, 401, 401, 429]
    assert answers[5].json()["code"] == "too_many_failures"
    assert 1 <= int(answers[5].headers["retry-after"]) <= 60
    assert (await running.tcp().get("/v1/status")).status_code == 401  # a missing one does not count
    assert (await running.tcp(running.token("read")).get("/v1/status")).status_code == 200
    assert (await running.unix().get("/v1/status")).status_code == 200


async def test_a_token_in_the_url_is_refused_even_when_it_is_good(running: Running) -> None:
    token = running.token()
    client = running.tcp(token)
    for path in (f"/v1/status?token={token}", f"/v1/status?x={token}", f"/v1/calls/{token}"):
        response = await client.get(path)
        assert (response.status_code, response.json()["code"]) == (400, "token_in_url")


@pytest.mark.parametrize("scheme", ["Basic", "Token", ""])
async def test_only_bearer(running: Running, scheme: str) -> None:
    headers = {"Authorization": f"{scheme} {running.token()}".strip()}
    assert (await running.tcp(headers=headers).get("/v1/status")).status_code == 401


class TestRate:
    @pytest.fixture
    def api_config(self) -> dict[str, Any]:
        return {"rate_per_s": 1}  # slow to refill, so that a slow machine sees the same

    async def test_each_client_has_a_rate(self, running: Running) -> None:
        client = running.tcp(running.token("read"))
        answers = [await client.get("/v1/calls/none") for _ in range(12)]
        limited = [answer for answer in answers if answer.status_code == 429]
        assert len(limited) >= 3
        assert limited[0].json()["code"] == "rate_limited"
        assert int(limited[0].headers["retry-after"]) == 1
        assert (await running.tcp(running.token("read")).get("/v1/status")).status_code == 200
        assert (await client.get("/healthz")).status_code == 200

    async def test_the_rate_is_the_last_check(self, running: Running) -> None:
        client = running.tcp(running.token("call"))
        answers = [await client.post("/v1/calls", json={"to": 1}) for _ in range(12)]
        assert {answer.status_code for answer in answers} == {422}
        assert (await client.post("/v1/calls", json={"account": "front", "to": "200"})).status_code == 429
        assert not running.phone.placed


class TestConfiguredNames:
    @pytest.fixture
    def api_config(self) -> dict[str, Any]:
        return {"allowed_hosts": ["phone.example.org"], "allowed_origins": ["https://desk.example.org"]}

    async def test_listed_names_and_origins_may(self, running: Running) -> None:
        headers = {"Host": "phone.example.org", "Origin": "https://desk.example.org", "Sec-Fetch-Site": "cross-site"}
        response = await running.tcp(running.token(), headers=headers).get("/v1/status")
        assert response.status_code == 200
        assert not [name for name in response.headers if name.startswith("access-control")]


class TestUnixOnly:
    @pytest.fixture
    def api_config(self) -> dict[str, Any]:
        return {"port": 0}

    async def test_port_0_is_off(self, running: Running) -> None:
        assert running.service.ports == ()
        assert (await running.unix().get("/healthz")).status_code == 200
