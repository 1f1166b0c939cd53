"""TLS of flows: who is trusted, who is not, and what each refusal is called."""

from __future__ import annotations

import asyncio
import base64
import ssl
from pathlib import Path

import pytest

from phoned.model import Cause
from phoned.transport.connect import StepDeadlines
from phoned.transport.flow import Flow, FlowError, FlowTarget, TlsPolicy
from tests.integration.transport.servers import (
    SOON_S,
    Ear,
    accept_upgrade,
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


@pytest.mark.behaviour("W29")
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
        error = await refused(FlowTarget(url=f"wss://localhost:{port}/"), steps=StepDeadlines(tls_s=SOON_S))
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
