"""A connection of the server in a moment that no client can be brought to on demand."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from uvicorn.config import Config
from uvicorn.server import ServerState
from websockets.client import ClientProtocol
from websockets.uri import parse_uri

from api.http import WebSocketProtocol


class HeldTransport(asyncio.Transport):
    """Keeps what was written; a close is noted and, as on a real line, carried out later."""

    def __init__(self) -> None:
        super().__init__({"sockname": ("127.0.0.1", 1), "peername": ("127.0.0.1", 2)})
        self.written = b""
        self.answered = asyncio.Event()
        self.closed = False

    def write(self, data: Any) -> None:
        self.written += data
        self.answered.set()

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True


async def accept(scope: Any, receive: Callable[[], Awaitable[Any]], send: Callable[[Any], Awaitable[None]]) -> None:
    await receive()
    await send({"type": "websocket.accept"})
    assert (await receive())["type"] == "websocket.disconnect"


async def connected() -> tuple[WebSocketProtocol, HeldTransport, ClientProtocol]:
    """A WebSocket that is open at both ends."""
    config = Config(accept, log_config=None)
    config.load()
    server, transport = WebSocketProtocol(config, ServerState(), {}), HeldTransport()
    server.connection_made(transport)
    client = ClientProtocol(parse_uri("ws://127.0.0.1/v1/events/ws"))
    client.send_request(client.connect())
    server.data_received(b"".join(client.data_to_send()))
    await transport.answered.wait()
    client.receive_data(transport.written)
    transport.written = b""
    return server, transport, client


async def test_a_websocket_that_was_just_closed_by_its_peer_does_not_stop_the_server_from_ending() -> None:
    server, transport, client = await connected()
    client.send_close(1001)
    server.data_received(b"".join(client.data_to_send()))
    server.shutdown()
    assert transport.closed
    client.receive_data(transport.written)
    assert client.close_rcvd is not None
    assert client.close_rcvd.code == 1001, "answered once"


async def test_an_open_websocket_is_told_that_the_server_ends() -> None:
    server, transport, client = await connected()
    server.shutdown()
    assert transport.closed
    client.receive_data(transport.written)
    assert client.close_rcvd is not None
    assert client.close_rcvd.code == 1012
