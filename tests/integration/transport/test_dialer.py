"""Dialling: every step fails with its own cause, in its own time, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
import socket
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from phoned.errors import InvalidValue
from phoned.model import Cause
from phoned.transport.connect import StepDeadlines
from phoned.transport.flow import Flow, FlowError, FlowTarget, HttpProxy, TlsPolicy
from phoned.transport.resolver import Endpoint, Resolver
from phoned.transport.websocket import WebSocketFlow
from tests.integration.transport.servers import (
    Certificate,
    Ear,
    RawHandler,
    accept_upgrade,
    dialer,
    frame,
    mute,
    raw_server,
    sip_server,
)

QUICK = StepDeadlines(dns_s=0.05, tcp_s=0.05, proxy_s=0.05, tls_s=0.05, upgrade_s=0.05)


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
        error = await refused(FlowTarget(url=f"ws://127.0.0.1:{port}/"), steps=QUICK)
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


# ---------------------------------------------------------------- upgrade


async def test_a_server_that_is_mute_after_accept_is_a_timeout_of_the_upgrade() -> None:
    async with raw_server(mute) as port:
        error = await refused(FlowTarget(url=f"ws://127.0.0.1:{port}/"), steps=QUICK)
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


# ---------------------------------------------------------------- TLS


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return Certificate(tmp_path_factory.mktemp("tls"), "localhost")


async def test_wss_with_a_ca_file(certificate: Certificate) -> None:
    async with sip_server(context=certificate.context) as url:
        flow: Flow = await dialer().dial(
            FlowTarget(url=url, tls=TlsPolicy(ca_file=certificate.file)), Ear(), deadline_s=5
        )
        assert flow.transport == "WSS"
        assert await flow.ping(1) > 0
        flow.set_user_timeout(5)
        flow.abort()


async def test_an_unknown_authority_is_tls(certificate: Certificate) -> None:
    async with sip_server(context=certificate.context) as url:
        error = await refused(FlowTarget(url=url))
    assert error.cause is Cause.TLS
    assert "self-signed" in error.detail or "self signed" in error.detail


async def test_a_name_mismatch_is_tls(certificate: Certificate) -> None:
    async with sip_server(context=certificate.context) as url:
        target = FlowTarget(url=url.replace("localhost", "127.0.0.1"), tls=TlsPolicy(ca_file=certificate.file))
        error = await refused(target)
    assert error.cause is Cause.TLS
    assert "127.0.0.1" in error.detail


async def test_an_expired_certificate_is_tls(tmp_path: Path) -> None:
    certificate = Certificate(tmp_path, "localhost", expired=True)
    async with sip_server(context=certificate.context) as url:
        error = await refused(FlowTarget(url=url, tls=TlsPolicy(ca_file=certificate.file)))
    assert error.cause is Cause.TLS
    assert "expired" in error.detail


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")  # the old version is what is tested
async def test_tls_1_1_is_not_spoken(tmp_path: Path) -> None:
    certificate = Certificate(tmp_path, "localhost")
    certificate.context.minimum_version = ssl.TLSVersion.TLSv1_1
    certificate.context.maximum_version = ssl.TLSVersion.TLSv1_1
    certificate.context.set_ciphers("ALL:@SECLEVEL=0")
    async with sip_server(context=certificate.context) as url:
        error = await refused(FlowTarget(url=url, tls=TlsPolicy(ca_file=certificate.file)))
    assert error.cause in (Cause.TLS, Cause.CLOSED)  # CLOSED from a server that hangs up without an alert


@pytest.mark.parametrize("form", ["hex", "base64"])
async def test_a_pinned_key_passes_and_another_does_not(certificate: Certificate, form: str) -> None:
    pin = certificate.pin.hex() if form == "hex" else base64.b64encode(certificate.pin).decode()
    async with sip_server(context=certificate.context) as url:
        good = TlsPolicy(ca_file=certificate.file, pin_sha256=("00" * 32, pin))
        flow = await dialer().dial(FlowTarget(url=url, tls=good), Ear(), deadline_s=5)
        flow.abort()
        error = await refused(FlowTarget(url=url, tls=TlsPolicy(ca_file=certificate.file, pin_sha256=("00" * 32,))))
    assert error.cause is Cause.TLS
    assert certificate.pin.hex() in error.detail


async def test_skipping_verification_warns_and_still_holds_pins(
    certificate: Certificate, caplog: pytest.LogCaptureFixture
) -> None:
    async with sip_server(context=certificate.context) as url:
        flow = await dialer().dial(FlowTarget(url=url, tls=TlsPolicy(insecure_skip_verify=True)), Ear(), deadline_s=5)
        flow.abort()
        assert "insecure_skip_verify" in caplog.text
        error = await refused(FlowTarget(url=url, tls=TlsPolicy(insecure_skip_verify=True, pin_sha256=("00" * 32,))))
    assert error.cause is Cause.TLS


async def test_a_ca_file_that_is_not_there_is_tls(tmp_path: Path) -> None:
    async with raw_server(mute) as port:
        policy = TlsPolicy(ca_file=tmp_path / "nothing.pem")
        error = await refused(FlowTarget(url=f"wss://localhost:{port}/", tls=policy))
    assert error.cause is Cause.TLS
    assert "nothing.pem" in error.detail


async def test_a_ca_file_that_was_renewed_is_read_again(tmp_path: Path) -> None:
    old = Certificate(tmp_path, "localhost", label="old")
    new = Certificate(tmp_path, "localhost", label="new")
    trusted = tmp_path / "ca.pem"
    trusted.write_bytes(old.file.read_bytes())
    target_tls = TlsPolicy(ca_file=trusted)
    one = dialer()
    async with sip_server(context=new.context) as url:
        with pytest.raises(FlowError):
            await one.dial(FlowTarget(url=url, tls=target_tls), Ear(), deadline_s=5)
        trusted.write_bytes(new.file.read_bytes())
        flow = await one.dial(FlowTarget(url=url, tls=target_tls), Ear(), deadline_s=5)
        flow.abort()


async def test_a_server_that_stalls_in_the_handshake_is_a_timeout() -> None:
    async with raw_server(mute) as port:
        error = await refused(FlowTarget(url=f"wss://localhost:{port}/"), steps=QUICK)
    assert error.cause is Cause.TIMEOUT
    assert "TLS" in error.detail


async def test_a_server_that_speaks_no_tls_is_tls() -> None:
    async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await mute(reader, writer)

    async with raw_server(plain) as port:
        error = await refused(FlowTarget(url=f"wss://localhost:{port}/"))
    assert error.cause is Cause.TLS


async def test_a_server_that_hangs_up_in_the_handshake_is_closed() -> None:
    async def gone(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(10)

    async with raw_server(gone) as port:
        error = await refused(FlowTarget(url=f"wss://localhost:{port}/"))
    assert error.cause in (Cause.CLOSED, Cause.TLS)


async def test_a_tls_peer_that_does_not_read_ends_the_flow(certificate: Certificate) -> None:
    async def not_reading(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await accept_upgrade(reader, writer)
        writer.transport.pause_reading()  # type: ignore[attr-defined]  # a stream's transport reads, too
        await asyncio.Event().wait()

    ear = Ear()
    async with raw_server(not_reading, context=certificate.context) as port:
        target = FlowTarget(url=f"wss://localhost:{port}/", tls=TlsPolicy(ca_file=certificate.file))
        flow = await dialer().dial(target, ear, deadline_s=5)
        sent = 0
        while flow.send(b"x" * 60_000):
            sent += 60_000
            assert sent < 64 * 2**20, "the queue has no bound"
        cause, _ = await ear.end()
        assert cause is Cause.TIMEOUT


# ---------------------------------------------------------------- HTTP proxy


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
        assert (await refused(target, steps=QUICK)).cause is Cause.TIMEOUT
    async with raw_server(reset) as port:
        target = FlowTarget(url="ws://localhost:9/", http_proxy=HttpProxy(host="127.0.0.1", port=port))
        assert (await refused(target)).cause is Cause.CLOSED


async def test_the_environments_proxies_are_never_used(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "ALL_PROXY", "wss_proxy", "ws_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    async with sip_server() as url:
        flow = await dialer().dial(FlowTarget(url=url), Ear(), deadline_s=5)
        flow.abort()
