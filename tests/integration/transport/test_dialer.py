"""Dialling without TLS: every step fails with its own cause, in its own time, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest

from phoned.errors import InvalidValue
from phoned.model import Cause
from phoned.transport.connect import StepDeadlines
from phoned.transport.flow import FlowTarget
from phoned.transport.resolver import Endpoint, Resolver
from tests.integration.transport.servers import (
    SOON_S,
    Ear,
    RawHandler,
    accept_upgrade,
    dialer,
    frame,
    mute,
    raw_server,
    refused,
    sip_server,
)


def closed_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@asynccontextmanager
async def full_backlog() -> AsyncIterator[int]:
    """A port that takes no more connections: SYNs are dropped, as in a black hole."""
    with socket.socket() as listener, contextlib.ExitStack() as stack:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                filler.connect(listener.getsockname())
        yield listener.getsockname()[1]


# ---------------------------------------------------------------- URL, DNS, TCP


@pytest.mark.parametrize("url", ["https://example.org", "ws://", "ws://user:pw@127.0.0.1/", "ws://127.0.0.1:99999/"])
async def test_a_url_that_cannot_be_is_a_usage_error(url: str) -> None:
    with pytest.raises(InvalidValue):
        await dialer().dial(FlowTarget(url=url), Ear(), deadline_s=1)


async def test_a_name_that_does_not_resolve_is_dns() -> None:
    def lookup(host: str, port: int) -> Sequence[Endpoint]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    error = await refused(FlowTarget(url="ws://nowhere.invalid/"), resolver=Resolver(lookup))
    assert error.cause is Cause.DNS
    assert "nowhere.invalid" in error.detail


async def test_a_closed_port_is_refused() -> None:
    error = await refused(FlowTarget(url=f"ws://127.0.0.1:{closed_port()}/"))
    assert error.cause is Cause.REFUSED
    assert str(error).startswith("refused: 127.0.0.1 port")


async def test_a_black_hole_is_a_timeout_of_tcp() -> None:
    async with full_backlog() as port:
        error = await refused(FlowTarget(url=f"ws://127.0.0.1:{port}/"), steps=StepDeadlines(tcp_s=SOON_S))
    assert error.cause is Cause.TIMEOUT
    assert "TCP connection" in error.detail


async def test_the_attempts_deadline_stands_above_the_steps() -> None:
    async with full_backlog() as port:
        error = await refused(FlowTarget(url=f"ws://127.0.0.1:{port}/"), deadline_s=0.05)
    assert error.cause is Cause.TIMEOUT


async def test_a_source_address_that_is_not_here_is_network() -> None:
    async with sip_server() as url:
        error = await refused(FlowTarget(url=url, source_address="192.0.2.1"))
    assert error.cause is Cause.NETWORK


async def test_a_source_address_of_another_family_is_network() -> None:
    error = await refused(FlowTarget(url="ws://127.0.0.1:1/", source_address="::1"))
    assert error.cause is Cause.NETWORK


async def test_an_interface_that_is_not_here_is_network() -> None:
    async with sip_server() as url:
        error = await refused(FlowTarget(url=url, interface="nosuch0"))
    assert error.cause in (Cause.NETWORK, Cause.CLOSED)  # CLOSED where binding needs a right that the test has not


async def test_the_source_address_is_used() -> None:
    async with sip_server() as url:
        flow = await dialer().dial(FlowTarget(url=url, source_address="127.0.0.7"), Ear(), deadline_s=5)
        assert flow.local.host == "127.0.0.7"
        flow.abort()


async def test_generations_rise() -> None:
    one = dialer()
    async with sip_server() as url:
        flows = [await one.dial(FlowTarget(url=url), Ear(), deadline_s=5) for _ in range(3)]
        assert [flow.generation for flow in flows] == [1, 2, 3]
        for flow in flows:
            flow.abort()


async def test_a_dead_first_address_costs_the_eyeballs_delay_only() -> None:
    async with full_backlog() as dead, sip_server() as url:
        alive = int(url.split(":")[2].split("/")[0])

        def lookup(host: str, port: int) -> Sequence[Endpoint]:
            return [Endpoint(socket.AF_INET, ("127.0.0.1", each)) for each in (dead, alive)]

        loop = asyncio.get_running_loop()
        began = loop.time()
        flow = await dialer(Resolver(lookup)).dial(FlowTarget(url="ws://two.example/"), Ear(), deadline_s=5)
        assert 0.2 < loop.time() - began < 1.0
        flow.abort()


async def test_a_refusing_first_address_costs_nothing_and_all_refusing_say_so() -> None:
    port = closed_port()

    def lookup(host: str, _: int) -> Sequence[Endpoint]:
        return [
            Endpoint(socket.AF_INET, ("127.0.0.1", port)),
            Endpoint(socket.AF_INET6, ("::1", port, 0, 0)),
            Endpoint(socket.AF_INET, ("127.0.0.2", port)),
        ]

    loop = asyncio.get_running_loop()
    began = loop.time()
    error = await refused(FlowTarget(url="ws://three.example/"), resolver=Resolver(lookup))
    assert loop.time() - began < 0.25
    assert error.cause is Cause.REFUSED
    assert "127.0.0.2" in error.detail


async def test_a_cancelled_dial_leaves_no_socket() -> None:
    async with raw_server(mute) as port:
        before = len(os.listdir("/proc/self/fd"))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await dialer().dial(FlowTarget(url=f"ws://127.0.0.1:{port}/"), Ear(), deadline_s=5)
        await asyncio.get_running_loop().run_in_executor(None, lambda: None)
        assert len(os.listdir("/proc/self/fd")) <= before + 2


async def test_a_dial_cancelled_while_addresses_race_leaves_no_socket() -> None:
    async with full_backlog() as port:

        def lookup(host: str, _: int) -> Sequence[Endpoint]:
            return [Endpoint(socket.AF_INET, ("127.0.0.1", port))] * 3

        before = len(os.listdir("/proc/self/fd"))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.6):
                await dialer(Resolver(lookup)).dial(FlowTarget(url="ws://x.example/"), Ear(), deadline_s=5)
        assert len(os.listdir("/proc/self/fd")) <= before


async def test_an_address_of_a_family_that_is_not_here_does_not_end_the_race() -> None:
    async with sip_server() as url:
        alive = int(url.split(":")[2].split("/")[0])

        def lookup(host: str, _: int) -> Sequence[Endpoint]:
            odd = Endpoint(socket.AddressFamily.AF_UNIX, ("/nowhere",))
            return [
                Endpoint(socket.AF_INET, ("127.0.0.1", closed_port())),
                odd,
                Endpoint(socket.AF_INET, ("127.0.0.1", alive)),
            ]

        flow = await dialer(Resolver(lookup)).dial(FlowTarget(url="ws://x.example/"), Ear(), deadline_s=5)
        assert flow.is_open
        flow.abort()


# ---------------------------------------------------------------- upgrade


async def test_a_server_that_is_mute_after_accept_is_a_timeout_of_the_upgrade() -> None:
    async with raw_server(mute) as port:
        error = await refused(FlowTarget(url=f"ws://127.0.0.1:{port}/"), steps=StepDeadlines(upgrade_s=SOON_S))
    assert error.cause is Cause.TIMEOUT
    assert "upgrade" in error.detail


def answering(answer: bytes) -> RawHandler:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()
        writer.write_eof()
        await reader.read()

    return handler


@pytest.mark.behaviour("W30")
@pytest.mark.parametrize(
    ("answer", "cause", "status", "retry_after_s"),
    [
        (b"HTTP/1.1 503 Busy\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n", Cause.UPGRADE, 503, 7.0),
        (b"HTTP/1.1 503 Busy\r\nRetry-After: soon\r\nContent-Length: 0\r\n\r\n", Cause.UPGRADE, 503, None),
        (b"HTTP/1.1 302 Found\r\nLocation: file:///etc/passwd\r\nContent-Length: 0\r\n\r\n", Cause.UPGRADE, 302, None),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", Cause.UPGRADE, 200, None),
        (b"SSH-2.0-OpenSSH_9.2\r\n", Cause.UPGRADE, None, None),
        (b"HTTP/1.1 101 Yes\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n", Cause.UPGRADE, None, None),
        (b"HTTP/1.1 101 Yes\r\n" + b"X: " + b"y" * 9000, Cause.UPGRADE, None, None),
        (b"", Cause.CLOSED, None, None),
    ],
    ids=["503", "503-odd-retry", "redirect", "200", "not-http", "no-accept-key", "endless-header", "closed"],
)
async def test_an_answer_that_is_no_upgrade(
    answer: bytes, cause: Cause, status: int | None, retry_after_s: float | None
) -> None:
    async with raw_server(answering(answer)) as port:
        error = await refused(FlowTarget(url=f"ws://127.0.0.1:{port}/"))
    assert (error.cause, error.status, error.retry_after_s) == (cause, status, retry_after_s)


async def test_a_server_that_does_not_agree_on_sip_is_refused() -> None:
    async with sip_server(subprotocol=None) as url:
        error = await refused(FlowTarget(url=url))
    assert error.cause is Cause.UPGRADE
    assert "'sip'" in error.detail


async def test_a_server_that_picks_another_subprotocol_is_refused() -> None:
    answer = b"HTTP/1.1 101 Y\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Protocol: xmpp\r\n"

    async def other(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer + b"Sec-WebSocket-Accept: x\r\n\r\n")
        await mute(reader, writer)

    async with raw_server(other) as port:
        error = await refused(FlowTarget(url=f"ws://127.0.0.1:{port}/"))
    assert error.cause is Cause.UPGRADE


async def test_a_server_that_closes_in_the_segment_of_its_upgrade_gives_no_flow() -> None:
    async def fickle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await accept_upgrade(reader, writer, more=frame(1, b"hello") + frame(8, b"\x03\xe9"))
        await mute(reader, writer)

    async with raw_server(fickle) as port:
        error = await refused(FlowTarget(url=f"ws://127.0.0.1:{port}/"))
    assert error.cause is Cause.CLOSED
    assert "1001" in error.detail
