"""Servers and listeners for flows: real ones on loopback, and ones that misbehave."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import itertools
import os
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.typing import Subprotocol

from phoned.model import Cause
from phoned.transport.connect import StepDeadlines
from phoned.transport.dialer import WebSocketDialer
from phoned.transport.flow import Flow, FlowError, FlowTarget
from phoned.transport.resolver import Resolver

SIP = Subprotocol("sip")
Handler = Callable[[ServerConnection], Awaitable[None]]
RawHandler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Ear:
    """A listener that remembers."""

    def __init__(self) -> None:
        self.messages: asyncio.Queue[bytes] = asyncio.Queue()
        self.ends: list[tuple[Cause, str]] = []
        self.closed = asyncio.Event()
        self.after_end = 0

    def on_message(self, flow: Flow, data: bytes) -> None:
        self.after_end += len(self.ends)
        self.messages.put_nowait(data)

    def on_closed(self, flow: Flow, cause: Cause, detail: str) -> None:
        self.ends.append((cause, detail))
        self.closed.set()

    async def message(self) -> bytes:
        async with asyncio.timeout(5):
            return await self.messages.get()

    async def end(self) -> tuple[Cause, str]:
        """The one end; a second one would show in `ends`."""
        async with asyncio.timeout(15):
            await self.closed.wait()
        assert len(self.ends) == 1
        return self.ends[0]


def dialer(resolver: Resolver | None = None, steps: StepDeadlines | None = None) -> WebSocketDialer:
    """A dialer that counts from 1."""
    return WebSocketDialer(generations=itertools.count(1), resolver=resolver, steps=steps)


async def until_closed(connection: ServerConnection) -> None:
    """A handler that only reads."""
    async for _ in connection:
        pass


@asynccontextmanager
async def sip_server(
    handler: Handler = until_closed,
    *,
    context: ssl.SSLContext | None = None,
    subprotocol: Subprotocol | None = SIP,
    max_size: int = 2**20,
) -> AsyncIterator[str]:
    """A WebSocket server; yields its URL with ``localhost`` as the name."""

    async def quiet(connection: ServerConnection) -> None:
        try:
            await handler(connection)
        except Exception as error:
            if "close frame" not in str(error) and "1000" not in str(error):
                raise

    subprotocols = [subprotocol] if subprotocol else None
    async with serve(
        quiet,
        "127.0.0.1",
        0,
        ssl=context,
        subprotocols=subprotocols,
        max_size=max_size,
        close_timeout=0.2,
        ping_interval=None,
    ) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        yield f"{'wss' if context else 'ws'}://localhost:{port}/ws"


@asynccontextmanager
async def raw_server(handler: RawHandler, *, context: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """A TCP server; yields its port. Handlers end with the test."""
    running: set[asyncio.Task[None]] = set()

    async def guarded(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        running.add(task)
        try:
            await handler(reader, writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the client has gone, or the test is over
        finally:
            running.discard(task)
            writer.transport.abort()

    server = await asyncio.start_server(guarded, "127.0.0.1", 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in running:
            task.cancel()
        if running:
            await asyncio.wait(running, timeout=5)


async def mute(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Reads for ever and says nothing."""
    while await reader.read(4096):
        pass


async def accept_upgrade(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, more: bytes = b"") -> None:
    """Answer an upgrade by hand, with ``more`` in the same segment."""
    request = (await reader.readuntil(b"\r\n\r\n")).decode()
    key = next(line.split(": ")[1] for line in request.split("\r\n") if line.lower().startswith("sec-websocket-key"))
    accept = base64.b64encode(hashlib.sha1(f"{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11".encode()).digest()).decode()
    writer.write(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Accept: {accept}\r\nSec-WebSocket-Protocol: sip\r\n\r\n".encode()
        + more
    )
    await writer.drain()


def frame(opcode: int, payload: bytes, *, fin: bool = True) -> bytes:
    """An unmasked frame, as servers send it."""
    head = bytes([(0x80 if fin else 0) | opcode])
    if len(payload) < 126:
        return head + bytes([len(payload)]) + payload
    if len(payload) < 65_536:
        return head + b"\x7e" + len(payload).to_bytes(2, "big") + payload
    return head + b"\x7f" + len(payload).to_bytes(8, "big") + payload


SOON_S = 0.05
"""For the one step that a test lets run out: the others keep their time, so a slow machine fails none of them."""


async def refused(
    target: FlowTarget, *, resolver: Resolver | None = None, steps: StepDeadlines | None = None, deadline_s: float = 5
) -> FlowError:
    """The error of a dial that must fail, within its deadline, without a word to the listener or a socket left."""
    ear = Ear()
    before = len(os.listdir("/proc/self/fd"))
    began = asyncio.get_running_loop().time()
    with pytest.raises(FlowError) as caught:
        await dialer(resolver, steps).dial(target, ear, deadline_s=deadline_s)
    assert asyncio.get_running_loop().time() - began < deadline_s + 1
    for _ in range(3):  # transports close in a later turn
        await asyncio.get_running_loop().run_in_executor(None, lambda: None)
    assert len(os.listdir("/proc/self/fd")) <= before + 3  # the executor's own
    assert ear.ends == []
    assert ear.messages.empty()
    return caught.value
