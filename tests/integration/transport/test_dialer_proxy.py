"""Flows through an HTTP proxy that is asked to CONNECT."""

from __future__ import annotations

import asyncio
import base64
import socket

import pytest

from phoned.model import Cause
from phoned.transport.connect import StepDeadlines
from phoned.transport.flow import FlowTarget, HttpProxy, TlsPolicy
from phoned.transport.websocket import WebSocketFlow
from tests.integration.transport.servers import (
    SOON_S,
    Ear,
    dialer,
    mute,
    raw_server,
    refused,
    sip_server,
)
from tests.support.certificate import Certificate


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return Certificate(tmp_path_factory.mktemp("tls"), "localhost")


class ProxyServer:
    """An HTTP proxy that answers CONNECT as it is told, and passes bytes on after a 200."""

    def __init__(self, answer: bytes = b"HTTP/1.1 200 Connected\r\nVia: x\r\n\r\n") -> None:
        self.requests: list[bytes] = []
        self._answer = answer

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await reader.readuntil(b"\r\n\r\n")
        self.requests.append(request)
        for index in range(len(self._answer)):  # byte by byte: an answer need not come whole
            writer.write(self._answer[index : index + 1])
            await writer.drain()
        if b" 200 " not in self._answer:
            writer.write_eof()
            await reader.read()
            return
        host, _, port = request.split(b" ")[1].decode().rpartition(":")
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1" if host == "localhost" else host, int(port))
        try:
            async with asyncio.TaskGroup() as group:
                for one, other in ((reader, far_writer), (far_reader, writer)):
                    group.create_task(self._pump(one, other))
        finally:
            far_writer.transport.abort()

    @staticmethod
    async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
        writer.transport.abort()


@pytest.mark.parametrize("secure", [False, True])
async def test_a_flow_through_an_http_proxy(certificate: Certificate, secure: bool) -> None:
    proxy = ProxyServer()
    async with sip_server(context=certificate.context if secure else None) as url, raw_server(proxy) as port:
        target = FlowTarget(
            url=url,
            tls=TlsPolicy(ca_file=certificate.file),
            http_proxy=HttpProxy(host="127.0.0.1", port=port, username="u", password="p:w"),
        )
        flow: WebSocketFlow = await dialer().dial(target, Ear(), deadline_s=5)
        assert flow.remote.port == port
        assert await flow.ping(2) > 0
        flow.abort()
    credentials = base64.b64encode(b"u:p:w")
    assert proxy.requests[0].startswith(b"CONNECT localhost:")
    assert b"Proxy-Authorization: Basic " + credentials in proxy.requests[0]
    assert "p:w" not in repr(target)


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", 407),
        (b"SSH-2.0\r\n\r\n", 0),
        (b"HTTP/1.1 2x0 What\r\n\r\n", 0),
        (b"HTTP/1.1 403 No", None),
        (b"X" * 20_000, None),
    ],
    ids=["407", "not-http", "odd-status", "cut-off", "endless"],
)
async def test_a_proxy_that_does_not_connect_is_upgrade(answer: bytes, status: int | None) -> None:
    async with raw_server(ProxyServer(answer)) as port:
        error = await refused(FlowTarget(url="ws://localhost:9/", http_proxy=HttpProxy(host="127.0.0.1", port=port)))
    assert (error.cause, error.status) == (Cause.UPGRADE, status)


async def test_a_mute_proxy_is_a_timeout_and_a_resetting_one_closed() -> None:
    async def reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        sock = writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")

    async with raw_server(mute) as port:
        target = FlowTarget(url="ws://localhost:9/", http_proxy=HttpProxy(host="127.0.0.1", port=port))
        assert (await refused(target, steps=StepDeadlines(proxy_s=SOON_S))).cause is Cause.TIMEOUT
    async with raw_server(reset) as port:
        target = FlowTarget(url="ws://localhost:9/", http_proxy=HttpProxy(host="127.0.0.1", port=port))
        assert (await refused(target)).cause is Cause.CLOSED


async def test_the_environments_proxies_are_never_used(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "ALL_PROXY", "wss_proxy", "ws_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    async with sip_server() as url:
        flow = await dialer().dial(FlowTarget(url=url), Ear(), deadline_s=5)
        flow.abort()
