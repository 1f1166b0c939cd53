"""What a server says instead of an upgrade, and what becomes of a dial that it said it to."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from phoned.model import StreamRequest
from phoned.services.streams.socket import BotDialer, Lost
from phoned.urls import Reach, UrlGuard


async def answered(answer: bytes) -> Lost:
    """Dial a server that says this."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        writer.close()

    async def resolve(host: str, port: int, deadline_s: float) -> Sequence[str]:
        return ("127.0.0.1",)

    dialer = BotDialer(UrlGuard(Reach(), resolve), lambda: None, agent="test")
    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(Lost) as lost:
            await dialer.dial(StreamRequest(url=f"ws://bot:{port}/ws", trusted=True), 5.0)
    return lost.value


@pytest.mark.parametrize(
    "location",
    [
        "https://elsewhere/ws",
        "http://elsewhere/ws",
        "mailto:bot@elsewhere",
        "http://[no-host/ws",
        "ws://elsewhere/ws",
        "wss://elsewhere/ws",
        "/login",
    ],
)
async def test_a_redirect_is_not_followed_and_said_to_be_one_wherever_it_leads(location: str) -> None:
    lost = await answered(f"HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n".encode())
    assert lost.why == "the bot answers with a redirect: give the URL that it leads to"
    assert lost.final


@pytest.mark.parametrize(("status", "final"), [(403, True), (429, False), (503, False), (302, False)])
async def test_another_status_is_told_and_only_a_refusal_is_final(status: int, final: bool) -> None:
    lost = await answered(f"HTTP/1.1 {status} So\r\nContent-Length: 0\r\n\r\n".encode())
    assert lost.why == f"the bot answers the upgrade with HTTP {status}"
    assert lost.final is final


@pytest.mark.parametrize(
    "answer",
    [
        b"220 mail.example.com ESMTP\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nX: " + b"x" * 100_000 + b"\r\n\r\n",
        b"",
    ],
)
async def test_what_is_no_upgrade_is_said_to_be_none_and_tried_again(answer: bytes) -> None:
    lost = await answered(answer)
    assert lost.why == "the bot's answer is no WebSocket upgrade"
    assert not lost.final
