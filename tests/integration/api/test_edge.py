"""Bytes on the wire: what reaches the gate, what does not, and what every answer looks like."""

from __future__ import annotations

import asyncio
import json

import pytest

from api import http
from tests.integration.api.conftest import Running, read_answer


def status_of(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1]) if answer else 0


def code_of(answer: bytes) -> tuple[int, str]:
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"application/problem+json" in head, answer
    assert b"nosniff" in head
    assert b"\r\nserver:" not in head.lower()
    return status_of(answer), json.loads(body)["code"]


def request(running: Running, line: str = "GET /v1/status HTTP/1.1", *headers: str, host: str | None = None) -> bytes:
    host = host if host is not None else f"127.0.0.1:{running.port}"
    return "\r\n".join([line, f"Host: {host}", *headers, "", ""]).encode("latin-1")


# -- rebinding and CSRF, by bytes


@pytest.mark.parametrize("path", ["/v1/status", "/healthz", "/readyz", "/v1/events", "/nowhere"])
async def test_a_foreign_host_is_refused_everywhere_before_authentication(running: Running, path: str) -> None:
    answer = await running.raw(request(running, f"GET {path} HTTP/1.1", host=f"evil.test:{running.port}"))
    assert code_of(answer) == (403, "host_not_allowed")


@pytest.mark.parametrize("host", ["localhost", "evil.test", "127.0.0.1:1", "localhost.:{port}", "[::]:{port}", ""])
async def test_hosts_that_are_not_exactly_ours(running: Running, host: str) -> None:
    answer = await running.raw(request(running, host=host.format(port=running.port)))
    assert code_of(answer) == (403, "host_not_allowed")


async def test_no_host_at_all(running: Running) -> None:
    assert code_of(await running.raw(b"GET /healthz HTTP/1.0\r\n\r\n")) == (403, "host_not_allowed")
    assert code_of(await running.raw(b"GET /healthz HTTP/1.1\r\n\r\n")) == (400, "bad_request")


async def test_two_hosts(running: Running) -> None:
    answer = await running.raw(request(running, "GET /healthz HTTP/1.1", "Host: evil.test"))
    assert code_of(answer) == (400, "bad_request")


async def test_a_whole_url_as_target(running: Running) -> None:
    own = f"127.0.0.1:{running.port}"
    assert status_of(await running.raw(request(running, f"GET http://{own}/healthz HTTP/1.1"))) == 200
    answer = await running.raw(request(running, "GET http://evil.test/healthz HTTP/1.1"))
    assert code_of(answer) == (403, "host_not_allowed")


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "OPTIONS", "HEAD"])
@pytest.mark.parametrize("header", ["Origin: https://evil.test", "Origin: null", "Sec-Fetch-Site: cross-site"])
async def test_pages_of_other_sites_are_refused_on_every_method(running: Running, method: str, header: str) -> None:
    token = running.token()
    answer = await running.raw(
        request(running, f"{method} /v1/calls HTTP/1.1", header, f"Authorization: Bearer {token}", "Connection: close")
    )
    assert answer.startswith(b"HTTP/1.1 403 ")
    assert b"access-control" not in answer.lower()
    assert not running.phone.placed


@pytest.mark.parametrize(
    "content_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"]
)
async def test_forms_cannot_place_calls(running: Running, content_type: str) -> None:
    client = running.unix()
    body = b'{"account":"front","to":"200"}'
    response = await client.post("/v1/calls", content=body, headers={"Content-Type": content_type})
    assert (response.status_code, response.json()["code"]) == (415, "unsupported_media_type")
    assert not running.phone.placed


async def test_on_the_unix_socket_any_host_but_no_foreign_origin(running: Running) -> None:
    assert status_of(await running.raw(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", unix=True)) == 200
    answer = await running.raw(b"GET /healthz HTTP/1.1\r\nHost: x\r\nOrigin: http://x\r\n\r\n", unix=True)
    assert code_of(answer) == (403, "origin_not_allowed")


async def test_cookies_and_method_overrides_mean_nothing(running: Running) -> None:
    token = running.token()
    answer = await running.raw(request(running, "GET /v1/status HTTP/1.1", f"Cookie: token={token}"))
    assert status_of(answer) == 401
    override = await running.unix().get("/v1/calls", headers={"X-HTTP-Method-Override": "POST"})
    assert override.status_code == 200


# -- order of the checks


@pytest.mark.parametrize(
    ("line", "headers", "expected"),
    [
        (f"BREW /{'x' * 3000} HTTP/1.1", ("Origin: null",), "target_too_long"),
        ("BREW /v1/calls HTTP/1.1", ("Origin: null",), "method_not_allowed"),
        ("POST /v1/calls?token=x HTTP/1.1", ("Origin: null",), "origin_not_allowed"),
        ("POST /v1/calls?token=x HTTP/1.1", ("Authorization: Bearer x",), "token_in_url"),
        ("POST /v1/calls HTTP/1.1", ("Content-Type: text/plain",), "unauthorized"),
        ("POST /v1/calls HTTP/1.1", ("Content-Type: text/plain", "Authorization: Bearer {read}"), "insufficient_scope"),
        (
            "POST /v1/calls HTTP/1.1",
            ("Content-Type: text/plain", "Authorization: Bearer {call}"),
            "unsupported_media_type",
        ),
        ("POST /v1/calls HTTP/1.1", ("Authorization: Bearer {call}",), "invalid_value"),
    ],
)
async def test_the_first_thing_that_is_wrong_is_told(
    running: Running, line: str, headers: tuple[str, ...], expected: str
) -> None:
    tokens = {"read": running.token("read"), "call": running.token("call")}
    answer = await running.raw(request(running, line, *(header.format(**tokens) for header in headers)))
    assert code_of(answer)[1] == expected


# -- limits


async def test_a_body_of_64_kib_passes_and_a_byte_more_does_not(running: Running) -> None:
    client = running.unix(headers={"Content-Type": "application/json"})
    frame = b'{"account":"front","to":"200","tags":{"a":"%s"}}'
    fits = frame % (b"x" * (65536 - len(frame) + 2))
    assert len(fits) == 65536
    assert (await client.post("/v1/calls", content=fits)).status_code == 422  # read, and the tag is too long
    response = await client.post("/v1/calls", content=fits + b" ")
    assert (response.status_code, response.json()["code"]) == (413, "body_too_large")


async def test_a_body_that_does_not_say_its_size_is_counted(running: Running) -> None:
    async def pieces() -> object:
        for _ in range(20):
            yield b" " * 8192

    client = running.unix(headers={"Content-Type": "application/json"})
    response = await client.post("/v1/calls", content=pieces())  # type: ignore[arg-type]  # an async iterator is taken
    assert (response.status_code, response.json()["code"]) == (413, "body_too_large")


async def test_an_endless_body_is_not_read_to_its_end(running: Running) -> None:
    reader, writer = await running.connect(unix=True)
    writer.write(b"POST /v1/calls HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n")
    writer.write(b"Content-Length: 99999999999999\r\n\r\n")
    assert code_of(await read_answer(reader)) == (413, "body_too_large")
    assert await reader.read() == b""
    writer.close()


async def test_a_client_that_waits_for_100_continue_hears_413_at_once(running: Running) -> None:
    reader, writer = await running.connect(unix=True)
    writer.write(b"POST /v1/calls HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n")
    writer.write(b"Content-Length: 70000\r\nExpect: 100-continue\r\n\r\n")
    assert code_of(await read_answer(reader)) == (413, "body_too_large")
    writer.close()


@pytest.mark.parametrize("together", [True, False])
async def test_a_long_head_is_431_however_it_arrives(running: Running, together: bool) -> None:
    head = request(running, "GET /healthz HTTP/1.1", *(f"X-{number}: {'y' * 1000}" for number in range(20)))
    reader, writer = await running.connect()
    for start in range(0, len(head) - 4, len(head) if together else 1500):
        writer.write(head[start : start + (len(head) if together else 1500)])
        await asyncio.sleep(0)
    assert code_of(await read_answer(reader)) == (431, "headers_too_large")
    writer.close()


async def test_too_many_headers_are_431(running: Running) -> None:
    head = request(running, "GET /healthz HTTP/1.1", *(f"X-{number}: y" for number in range(64)))
    assert code_of(await running.raw(head)) == (431, "headers_too_large")


@pytest.mark.parametrize("length", [2100, 20_000])
async def test_a_long_target_is_414(running: Running, length: int) -> None:
    head = request(running, f"GET /{'x' * length} HTTP/1.1")
    assert code_of(await running.raw(head)) == (414, "target_too_long")
    reader, writer = await running.connect()
    writer.write(b"GET /" + b"x" * 17_000)
    assert code_of(await read_answer(reader)) == (414, "target_too_long")
    writer.close()


async def test_connection_65_is_503_and_the_unix_socket_still_answers(running: Running) -> None:
    held = [await running.connect() for _ in range(http.MAX_CONNECTIONS)]
    answer = await running.raw(request(running, "GET /healthz HTTP/1.1"))
    assert code_of(answer) == (503, "too_many_connections")
    assert status_of(await running.raw(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", unix=True)) == 200
    for _, writer in held:
        writer.close()
        await writer.wait_closed()
    async with asyncio.timeout(5):
        while status_of(await running.raw(request(running, "GET /healthz HTTP/1.1"))) != 200:  # noqa: ASYNC110  # the server notices in its own time
            await asyncio.sleep(0.01)


async def test_far_too_many_connections_are_dropped_unheard(running: Running) -> None:
    held = [await running.connect() for _ in range(2 * http.MAX_CONNECTIONS)]
    reader, writer = await running.connect()
    try:
        async with asyncio.timeout(5):
            assert await reader.read() == b""
    except ConnectionResetError:
        pass  # the same, told more plainly
    for _, held_writer in [*held, (reader, writer)]:
        held_writer.close()


# -- deadlines (a byte now and then must not hold a connection)


async def trickle(running: Running, first: bytes) -> bytes:
    reader, writer = await running.connect(unix=True)
    writer.write(first)
    answering = asyncio.gather(read_answer(reader))
    async with asyncio.timeout(5):
        while not answering.done():
            try:
                writer.write(b"x")
                await asyncio.sleep(0.02)
            except ConnectionError:
                break
        [answer] = await answering
    writer.close()
    return answer


async def test_a_head_that_trickles_is_408(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "HEADER_S", 0.2)
    assert code_of(await trickle(running, b"GET /healthz HTTP/1.1\r\nX: ")) == (408, "request_timeout")


async def test_a_body_that_trickles_is_408(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "BODY_S", 0.2)
    head = b"POST /v1/calls HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 60000\r\n\r\n"
    assert code_of(await trickle(running, head)) == (408, "request_timeout")
    assert not running.phone.placed


async def test_a_second_request_that_trickles_is_408(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = await running.connect(unix=True)
    writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
    assert status_of(await read_answer(reader)) == 200
    monkeypatch.setattr(http, "HEADER_S", 0.1)
    writer.write(b"GET /hea")
    assert code_of(await read_answer(reader)) == (408, "request_timeout")
    writer.close()


async def test_a_connection_that_says_nothing_is_closed(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "HEADER_S", 0.1)
    reader, writer = await running.connect()
    async with asyncio.timeout(5):
        assert await reader.read() == b""
    writer.close()


# -- bytes that are no HTTP


@pytest.mark.parametrize(
    "data",
    [
        b"\r\n\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET / HTTP/1.1\r\nHost: x\r\nBad Header: y\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n",
        b"GET / HTTP/9.9\r\nHost: x\r\n\r\n",
        b"GET /\x00 HTTP/1.1\r\nHost: x\r\n\r\n",
    ],
)
async def test_nonsense_is_400_and_the_next_connection_works(running: Running, data: bytes) -> None:
    reader, writer = await running.connect(unix=True)
    writer.write(data)
    writer.write_eof()
    answer = await read_answer(reader)
    assert answer == b"" or status_of(answer) in (400, 404), answer
    writer.close()
    assert status_of(await running.raw(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", unix=True)) == 200


async def test_a_broken_chunk_ends_the_request_alone(running: Running) -> None:
    head = b"POST /v1/calls HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert code_of(await running.raw(head + b"zz\r\n", unix=True)) == (400, "bad_request")
    assert not running.phone.placed


async def test_pipelined_requests_are_answered_in_order(running: Running) -> None:
    reader, writer = await running.connect(unix=True)
    writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\nGET /v1/calls/none HTTP/1.1\r\nHost: x\r\n\r\n")
    assert [status_of(await read_answer(reader)) for _ in range(2)] == [200, 404]
    writer.close()


async def test_head_is_get_without_a_body(running: Running) -> None:
    response = await running.unix().head("/v1/status")
    assert (response.status_code, response.content) == (200, b"")
    assert int(response.headers["content-length"]) > 10


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("PUT", "/v1/calls", "GET, POST"),
        ("GET", "/v1/calls/call_1/hold", "POST, DELETE"),
        ("PATCH", "/v1/status", "GET"),
    ],
)
async def test_405_lists_what_there_is(running: Running, method: str, path: str, allow: str) -> None:
    response = await running.unix().request(method, path)
    assert (response.status_code, response.headers["allow"]) == (405, allow)


@pytest.mark.parametrize(
    "path", ["/", "/v1/", "/v1/calls/", "/docs", "/redoc", "/v2/calls", "/v1/calls/a/b/c", "/%00", "/é"]
)
async def test_every_other_path_is_a_404_problem(running: Running, path: str) -> None:
    response = await running.unix().get(path)
    assert (response.status_code, response.json()["code"]) == (404, "not_found")


async def test_every_answer_has_the_headers(running: Running) -> None:
    for path in ("/healthz", "/v1/status", "/nowhere", "/problems/gone"):
        headers = (await running.unix().get(path)).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == "no-store"
        assert headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"
        assert headers["cross-origin-resource-policy"] == "same-origin"
        assert "server" not in headers
        assert "date" in headers


async def test_a_bug_is_a_500_problem_without_a_word_of_it(running: Running, caplog: pytest.LogCaptureFixture) -> None:
    running.phone.placed = None  # type: ignore[assignment]  # what a bug would do
    response = await running.unix().post("/v1/calls", json={"account": "front", "to": "200"})
    assert (response.status_code, response.json()["code"]) == (500, "internal")
    assert "NoneType" not in response.text
    assert response.json()["request_id"] in caplog.text
    assert (await running.unix().get("/healthz")).status_code == 200
