"""The console's files over the wire, and the login: types, headers, caching, no way out, codes, sessions."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from phoned.store.logins import issue_login
from tests.integration.api.conftest import Running


async def code_of(running: Running, scope: Any = "call") -> str:
    return await asyncio.to_thread(issue_login, running.state_dir, scope)


async def test_the_page_is_open_and_says_what_it_may_do(running: Running) -> None:
    response = await running.tcp().get("/console/")
    assert response.status_code == 200
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    policy = response.headers["content-security-policy"]
    assert policy.startswith("default-src 'self';")
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["cache-control"] == "no-cache"
    assert response.headers["referrer-policy"] == "no-referrer"
    assert "server" not in response.headers
    assert response.text.startswith("<!doctype html>")


@pytest.mark.parametrize(
    ("path", "media_type"),
    [
        ("js/main.js", "text/javascript; charset=utf-8"),
        ("css/base.css", "text/css; charset=utf-8"),
        ("vendor/uplot.js", "text/javascript; charset=utf-8"),
        ("icon.svg", "image/svg+xml"),
        ("index.html", "text/html; charset=utf-8"),
    ],
)
async def test_files_have_their_types_and_are_kept_by_browsers(running: Running, path: str, media_type: str) -> None:
    client = running.tcp()
    first = await client.get(f"/console/{path}")
    assert (first.status_code, first.headers["content-type"]) == (200, media_type)
    again = await client.get(f"/console/{path}", headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["etag"] == first.headers["etag"]
    assert "content-security-policy" in again.headers
    head = await client.head(f"/console/{path}")
    assert (head.status_code, head.content) == (200, b"")


async def test_without_its_slash_it_is_somewhere_else(running: Running) -> None:
    response = await running.tcp().get("/console")
    assert (response.status_code, response.headers["location"]) == (308, "/console/")


@pytest.mark.parametrize(
    "target",
    [
        "/console/../gate.py",
        "/console/..%2fgate.py",
        "/console/%2e%2e/gate.py",
        "/console/js/..%2f..%2f..%2fgate.py",
        "/console//etc/passwd",
        "/console/%2fetc%2fpasswd",
        "/console/js/%00",
        "/console/js/",
        "/console/js",
        "/console/vendor/SHA256SUMS",
        "/console/..\\gate.py",
        "/console/none.js",
    ],
)
async def test_there_is_no_way_out(running: Running, target: str) -> None:
    answer = await running.raw(f"GET {target} HTTP/1.1\r\nHost: 127.0.0.1:{running.port}\r\n\r\n".encode())
    assert answer.startswith(b"HTTP/1.1 404 "), answer[:200]
    assert b"def " not in answer
    assert b"root:" not in answer


async def test_the_console_is_read_only_and_for_its_own_origin(running: Running) -> None:
    assert (await running.tcp(running.token()).post("/console/", json={})).status_code == 405
    for headers in ({"Origin": "https://evil.test"}, {"Sec-Fetch-Site": "cross-site"}, {"Host": "evil.test"}):
        assert (await running.tcp(headers=headers).get("/console/")).status_code == 403
    own = {"Origin": f"http://127.0.0.1:{running.port}", "Sec-Fetch-Site": "same-origin"}
    assert (await running.tcp(headers=own).get("/console/js/main.js")).status_code == 200


async def test_a_code_logs_in_once(running: Running) -> None:
    code = await code_of(running, "read")
    client = running.tcp()
    response = await client.post("/v1/login", json={"code": code})
    assert response.status_code == 201
    session = response.json()
    assert session.keys() == {"token", "id", "scope", "expires_at"}
    assert session["scope"] == "read"
    who = (await running.tcp(session["token"]).get("/v1/login")).json()
    assert who == {key: session[key] for key in ("id", "scope", "expires_at")}
    assert (await running.tcp(session["token"]).get("/v1/status")).status_code == 200
    again = await client.post("/v1/login", json={"code": code})
    assert (again.status_code, again.json()["code"]) == (401, "unauthorized")
    assert "phoned token --console" in again.json()["detail"]


async def test_wrong_codes_count_as_wrong_tokens_do_and_a_right_one_still_works(running: Running) -> None:
    client = running.tcp()
    answers = [await client.post("/v1/login", json={"code": f"phoned_login_{n}"}) for n in range(6)]
    assert [answer.status_code for answer in answers] == [401, 401, 401, 401, 401, 429]
    assert int(answers[5].headers["retry-after"]) >= 1
    assert (await running.tcp("phoned_wrong").get("/v1/status")).status_code == 429
    assert (await client.post("/v1/login", json={"code": await code_of(running)})).status_code == 201


@pytest.mark.parametrize(
    ("body", "status"), [({}, 422), ({"code": ""}, 422), ({"code": 1}, 422), ({"code": "x", "a": 1}, 422)]
)
async def test_what_is_no_code(running: Running, body: dict[str, Any], status: int) -> None:
    assert (await running.tcp().post("/v1/login", json=body)).status_code == status


async def test_a_form_cannot_log_in(running: Running) -> None:
    code = await code_of(running)
    form = await running.tcp().post("/v1/login", data={"code": code})
    assert form.status_code == 415
    foreign = await running.tcp(headers={"Origin": "https://evil.test"}).post("/v1/login", json={"code": code})
    assert foreign.status_code == 403
    assert (await running.tcp().post("/v1/login", json={"code": code})).status_code == 201


async def test_a_code_in_the_url_is_refused(running: Running) -> None:
    code = await code_of(running)
    response = await running.tcp().get(f"/console/?login={code}")
    assert (response.status_code, response.json()["code"]) == (400, "token_in_url")


async def test_logging_out_ends_the_session_and_no_token_that_lasts(running: Running) -> None:
    session = (await running.tcp().post("/v1/login", json={"code": await code_of(running)})).json()["token"]
    assert (await running.tcp(session).delete("/v1/login")).status_code == 204
    assert (await running.tcp(session).get("/v1/status")).status_code == 401
    lasting = running.token("read")
    assert (await running.tcp(lasting).delete("/v1/login")).status_code == 204
    assert (await running.tcp(lasting).get("/v1/login")).json()["expires_at"] is None


async def test_the_audit_log_says_which_session_began_and_ended(running: Running) -> None:
    code = await code_of(running)
    session = (await running.tcp().post("/v1/login", json={"code": code})).json()
    await running.tcp(session["token"]).delete("/v1/login")
    await running.tcp().post("/v1/login", json={"code": code})
    told = [(entry["who"], entry["what"], entry["outcome"]) for entry in running.audited]
    assert told == [
        (session["id"], "POST /v1/login", "ok"),
        (session["id"], "DELETE /v1/login", "ok"),
        ("nobody", "POST /v1/login", "unauthorized"),
    ]
    assert code not in str(running.audited)
    assert session["token"] not in str(running.audited)


async def test_who_is_behind_the_unix_socket(running: Running) -> None:
    who = (await running.unix().get("/v1/login")).json()
    assert who["scope"] == "admin"
    assert who["id"].startswith("uid:")


class TestRate:
    @pytest.fixture
    def api_config(self) -> dict[str, Any]:
        return {"rate_per_s": 1}  # slow to refill, so that a slow machine sees the same

    async def test_logins_have_a_rate(self, running: Running) -> None:
        client = running.tcp()
        answers = [await client.post("/v1/login") for _ in range(8)]
        assert [answer for answer in answers if answer.status_code == 429 and answer.json()["code"] == "rate_limited"]
