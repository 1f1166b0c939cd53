"""Events over SSE, as pages and over a WebSocket, through real sockets."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import ClientConnection, connect, unix_connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from api import answers
from tests.integration.api.conftest import Running


class Sse:
    """A client that parses as EventSource does."""

    def __init__(self, response: httpx.Response) -> None:
        self.response = response
        self.comments = 0
        self._lines = response.aiter_lines()

    async def next(self) -> tuple[str | None, dict[str, Any]]:
        id_, data = None, ""
        async with asyncio.timeout(5):
            async for line in self._lines:
                if line.startswith("id: "):
                    id_ = line[4:]
                elif line.startswith("data: "):
                    data += line[6:]
                elif line.startswith(":"):
                    self.comments += 1
                elif line == "" and data:
                    item = json.loads(data)
                    answers.Event.model_validate(item)
                    return id_, item
        raise EOFError


@asynccontextmanager
async def sse(
    client: httpx.AsyncClient, after: int | None = None, last_event_id: str | None = None
) -> AsyncIterator[Sse]:
    params = {} if after is None else {"after": after}
    headers = {} if last_event_id is None else {"Last-Event-ID": last_event_id}
    async with client.stream("GET", "/v1/events", params=params, headers=headers) as response:
        assert response.status_code == 200, await response.aread()
        assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
        yield Sse(response)


async def publish(running: Running, count: int) -> None:
    for number in range(count):
        running.bus.publish("call.quality", n=number)
    await running.bus.flush()


@pytest.mark.behaviour("L4")
async def test_a_fresh_stream_begins_with_a_snapshot_and_goes_on(running: Running) -> None:
    await publish(running, 3)
    async with sse(running.unix()) as events:
        id_, first = await events.next()
        assert (id_, first["type"]) == (None, "events.snapshot")
        assert "seq" not in first
        assert first["data"]["last_seq"] == 3
        assert [account["id"] for account in first["data"]["accounts"]] == ["front"]
        assert first["data"]["network"] is None
        call = await running.phone.remote_calls()
        id_, second = await events.next()
        assert (id_, second["seq"], second["type"]) == ("4", 4, "call.incoming")
        assert second["data"]["call"]["id"] == call.id
        answers.Call.model_validate(second["data"]["call"])


@pytest.mark.parametrize("how", ["query", "header"])
async def test_a_client_that_comes_back_misses_nothing(running: Running, how: str) -> None:
    await publish(running, 700)
    opened = sse(running.unix(), 3) if how == "query" else sse(running.unix(), last_event_id="3")
    async with opened as events:
        for seq in range(4, 701):
            assert (await events.next())[1]["seq"] == seq
        await publish(running, 1)
        assert (await events.next())[1]["seq"] == 701


async def test_the_header_wins_over_the_query_on_a_reconnect(running: Running) -> None:
    await publish(running, 5)
    async with sse(running.unix(), 1, last_event_id="4") as events:
        assert (await events.next())[1]["seq"] == 5


async def test_a_place_that_the_log_has_lost_is_a_gap_and_a_snapshot(running: Running) -> None:
    await publish(running, 1500)  # the log of these tests keeps 1000
    for after in (3, 999_999):
        async with sse(running.unix(), after) as events:
            id_, gap = await events.next()
            assert (id_, gap["type"]) == (None, "events.gap")
            _, snapshot = await events.next()
            assert snapshot["type"] == "events.snapshot"
            assert gap["data"]["last_seq"] == snapshot["data"]["last_seq"] == running.bus.delivered_seq
            await publish(running, 1)
            assert (await events.next())[1]["seq"] == running.bus.delivered_seq


async def test_silence_is_filled_with_comments(running: Running) -> None:
    services = running.service.services
    assert services is not None
    services.keepalive_s = 0.1
    async with sse(running.unix()) as events:
        await events.next()
        async with asyncio.timeout(5):
            async for line in events._lines:
                if line == ": keep-alive":
                    return
    raise AssertionError("no comment came")


@pytest.mark.parametrize("params", [{"after": "x"}, {"after": "-1"}, {"limit": "0"}, {"limit": "1001"}])
async def test_places_that_are_no_numbers(running: Running, params: dict[str, str]) -> None:
    response = await running.unix().get("/v1/events", params=params)
    assert (response.status_code, response.json()["code"]) == (422, "invalid_value")
    response = await running.unix().get("/v1/events", headers={"Last-Event-ID": "x"})
    assert response.json()["errors"][0]["pointer"] == "/header/Last-Event-ID"


async def test_pages(running: Running) -> None:
    client = running.unix(headers={"Accept": "application/json"})

    async def page(**params: int) -> tuple[list[int], str | None]:
        body = (await client.get("/v1/events", params=params)).json()
        answers.Page[answers.Event].model_validate(body)
        return [item.get("seq", 0) for item in body["data"]], body["next_cursor"]

    assert await page() == ([], None)
    await publish(running, 5)
    assert await page() == ([1, 2, 3, 4, 5], None)
    assert await page(limit=2) == ([4, 5], None)
    assert await page(after=1, limit=2) == ([2, 3], "3")
    assert await page(after=3, limit=2) == ([4, 5], None)
    assert await page(after=5) == ([], None)
    assert await page(after=99) == ([0, 0], None)


async def test_a_snapshot_holds_what_is_up_and_the_newest_of_what_ended(running: Running) -> None:
    up = await running.phone.remote_calls()
    ended = [(await running.phone.remote_calls()).id for _ in range(60)]
    for call in ended:
        await running.phone.remote_hangs_up(call)
    async with sse(running.unix()) as events:
        calls = (await events.next())[1]["data"]["calls"]
    assert (calls[0]["id"], calls[1]["id"]) == (up.id, ended[-1])
    assert len(calls) == 51


def few_may_wait(running: Running) -> None:
    """So that a slow reader is one soon."""
    assert running.service.services is not None
    running.service.services.feed_backlog = 256


async def test_a_burst_of_events_cuts_off_nobody_who_reads(running: Running) -> None:
    async with sse(running.unix()) as events:
        await events.next()
        for _ in range(2000):
            running.bus.publish("call.quality")
        await running.bus.flush()
        assert [(await events.next())[1]["seq"] for _ in range(2000)] == list(range(1, 2001))


async def test_a_reader_that_does_not_read_is_cut_and_slows_nobody(running: Running) -> None:
    few_may_wait(running)
    _, writer = slow = await running.connect(unix=True)
    writer.transport.pause_reading()  # type: ignore[attr-defined]  # a read transport, which the stub does not say
    writer.write(b"GET /v1/events HTTP/1.1\r\nHost: x\r\n\r\n")
    async with sse(running.unix()) as good:
        await good.next()
        while len(running.service.services.streams) < 2:  # type: ignore[union-attr]  # noqa: ASYNC110  # it runs
            await asyncio.sleep(0.01)
        for burst in range(60):
            for _ in range(20):
                running.bus.publish("call.quality", filler="x" * 2000)
            await running.bus.flush()
            for seq in range(burst * 20 + 1, burst * 20 + 21):
                assert (await good.next())[1]["seq"] == seq
        async with asyncio.timeout(5):
            while len(running.service.services.streams) > 1:  # type: ignore[union-attr]  # noqa: ASYNC110  # as above
                await asyncio.sleep(0.05)
    slow[1].close()


async def test_a_client_that_leaves_is_forgotten(running: Running) -> None:
    async with sse(running.unix()) as events:
        await events.next()
        assert running.service.services is not None
        assert len(running.service.services.streams) == 1
    async with asyncio.timeout(5):
        while running.service.services.streams:  # noqa: ASYNC110  # the server notices in its own time
            await asyncio.sleep(0.01)


async def test_streams_end_when_the_service_stops(running: Running) -> None:
    async with sse(running.unix()) as events:
        await events.next()
        began = asyncio.get_running_loop().time()
        await running.service.stop(3.0)
        with pytest.raises(EOFError):
            await events.next()
        assert asyncio.get_running_loop().time() - began < 1.5


async def test_a_stream_ends_with_the_token_that_opened_it_and_others_go_on(running: Running) -> None:
    services = running.service.services
    assert services is not None
    services.welcome_s = 0.1
    async with sse(running.unix()) as known, sse(running.tcp(running.token("read"))) as shown_out:
        await known.next()
        await shown_out.next()
        (running.state_dir / "tokens.json").unlink()
        with pytest.raises(EOFError):
            await shown_out.next()
        await publish(running, 1)
        assert (await known.next())[1]["type"] == "call.quality"


# -- WebSocket


@asynccontextmanager
async def websocket(running: Running, query: str = "", **options: Any) -> AsyncIterator[ClientConnection]:
    url = f"ws://127.0.0.1:{running.port}/v1/events/ws{query}"
    async with connect(url, proxy=None, **options) as connection:
        yield connection


async def received(connection: ClientConnection) -> dict[str, Any]:
    async with asyncio.timeout(5):
        item = json.loads(await connection.recv())
    answers.Event.model_validate(item)
    assert isinstance(item, dict)
    return item


async def refused(running: Running, query: str = "", **options: Any) -> tuple[int, str]:
    with pytest.raises(InvalidStatus) as caught:
        async with websocket(running, query, **options):
            pass
    response = caught.value.response
    assert response.headers["content-type"] == "application/problem+json"
    return response.status_code, json.loads(response.body)["code"]


async def test_the_websocket_speaks_the_same_envelopes(running: Running) -> None:
    await publish(running, 2)
    async with unix_connect(str(running.socket), "ws://localhost/v1/events/ws") as connection:
        first = await received(connection)
        assert (first["type"], first["data"]["last_seq"]) == ("events.snapshot", 2)
        await publish(running, 1)
        assert (await received(connection))["seq"] == 3
    headers = {"Authorization": f"Bearer {running.token('read')}"}
    async with websocket(running, "?after=1", additional_headers=headers) as connection:
        assert [(await received(connection))["seq"] for _ in range(2)] == [2, 3]


async def test_a_browser_comes_with_a_ticket_that_works_once(running: Running) -> None:
    response = await running.tcp(running.token("read")).post("/v1/tickets")
    assert response.status_code == 201
    ticket = response.json()
    answers.Ticket.model_validate(ticket)
    assert ticket["expires_in_s"] == 30
    origin = f"http://127.0.0.1:{running.port}"
    protocols = ["phoned.v1", ticket["subprotocol"]]
    async with websocket(running, subprotocols=protocols, origin=origin) as connection:
        assert connection.subprotocol == "phoned.v1"
        assert (await received(connection))["type"] == "events.snapshot"
    assert await refused(running, subprotocols=protocols, origin=origin) == (401, "unauthorized")


async def test_a_ticket_alone_is_answered_with_itself(running: Running) -> None:
    ticket = (await running.tcp(running.token("read")).post("/v1/tickets")).json()
    async with websocket(running, subprotocols=[ticket["subprotocol"]]) as connection:
        assert connection.subprotocol == ticket["subprotocol"]


async def test_upgrades_pass_the_same_checks_before_they_are_accepted_and_a_refusal_is_no_error_of_ours(
    running: Running, caplog: pytest.LogCaptureFixture
) -> None:
    token = running.token("read")
    headers = {"Authorization": f"Bearer {token}"}
    assert await refused(running) == (401, "unauthorized")
    assert await refused(running, additional_headers={"Authorization": "Bearer x"}) == (401, "unauthorized")
    evil = await refused(running, origin="https://evil.test", additional_headers=headers)
    assert evil == (403, "origin_not_allowed")
    assert await refused(running, f"?token={token}", additional_headers=headers) == (400, "token_in_url")
    assert await refused(running, "?after=x", additional_headers=headers) == (422, "invalid_value")
    assert await refused(running, "/elsewhere", additional_headers=headers) == (404, "not_found")
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


async def test_a_rebound_name_cannot_upgrade(running: Running) -> None:
    raw = (
        f"GET /v1/events/ws HTTP/1.1\r\nHost: evil.test:{running.port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    answer = await running.raw(raw.encode())
    assert answer.startswith(b"HTTP/1.1 403 ")
    assert b"host_not_allowed" in answer


@pytest.mark.parametrize("more", ["Content-Length: 3\r\n", "X-Long: " + "x" * 9000 + "\r\n"])
async def test_an_upgrade_that_cannot_be_read_is_answered_and_holds_no_connection(running: Running, more: str) -> None:
    reader, writer = await running.connect()
    head = (
        f"GET /v1/events/ws HTTP/1.1\r\nHost: 127.0.0.1:{running.port}\r\nUpgrade: websocket\r\n"
        "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    )
    writer.write(f"{head}{more}\r\n".encode())
    async with asyncio.timeout(5):
        answer = await reader.read()
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b'"code": "bad_request"' in answer
    writer.close()


async def closed(connection: ClientConnection) -> int | None:
    async with asyncio.timeout(10):
        while True:
            try:
                await connection.recv()
            except ConnectionClosed as error:
                return error.rcvd.code if error.rcvd else None


async def test_a_slow_websocket_is_closed_1013(running: Running) -> None:
    few_may_wait(running)
    async with unix_connect(str(running.socket), "ws://localhost/v1/events/ws", max_queue=1) as connection:
        await received(connection)
        connection.transport.pause_reading()
        for _ in range(60):
            for _ in range(20):
                running.bus.publish("call.quality", filler="x" * 2000)
            await running.bus.flush()
            await asyncio.sleep(0)
        assert running.service.services is not None
        async with asyncio.timeout(5):
            while running.service.services.streams:  # noqa: ASYNC110  # until it was cut off
                await asyncio.sleep(0.01)
        connection.transport.resume_reading()
        assert await closed(connection) == 1013


async def test_a_chatty_websocket_is_closed_1008(running: Running) -> None:
    async with unix_connect(str(running.socket), "ws://localhost/v1/events/ws") as connection:
        for _ in range(15):
            await connection.send("hello")
        assert await closed(connection) == 1008


async def test_a_large_message_is_closed_1009(running: Running) -> None:
    async with unix_connect(str(running.socket), "ws://localhost/v1/events/ws") as connection:
        await connection.send("x" * 70_000)
        assert await closed(connection) == 1009


async def test_websockets_hear_1012_when_the_service_stops(running: Running) -> None:
    async with unix_connect(str(running.socket), "ws://localhost/v1/events/ws") as connection:
        await received(connection)
        stopping = asyncio.gather(running.service.stop(3.0))
        assert await closed(connection) == 1012
        await stopping


async def test_a_websocket_is_closed_1008_when_its_token_is_over(running: Running) -> None:
    services = running.service.services
    assert services is not None
    services.welcome_s = 0.1
    headers = {"Authorization": f"Bearer {running.token('read')}"}
    async with websocket(running, additional_headers=headers) as connection:
        await received(connection)
        (running.state_dir / "tokens.json").unlink()
        assert await closed(connection) == 1008
