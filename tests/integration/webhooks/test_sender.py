"""One attempt at a time: which name and which address a connection has, and what a strange server does to it."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from phoned.errors import PhonedError
from phoned.services.webhooks.sender import Sender
from phoned.services.webhooks.values import Answer
from phoned.urls import Reach, UrlGuard
from tests.support.certificate import Certificate

GOOD = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Server:
    """Answers every request with the same bytes."""

    def __init__(self, answer: bytes, keep: bool) -> None:
        self.answer = answer
        self.keep = keep
        self.port = 0
        self.names: list[str | None] = []
        """SNI of each handshake."""
        self.connections = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = next(
                    int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")
                )
                await reader.readexactly(length)
                writer.write(self.answer)
                await writer.drain()
                if not self.keep:
                    return
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the sender has enough
        finally:
            writer.close()


@asynccontextmanager
async def server(
    answer: bytes = GOOD, *, certificate: Certificate | None = None, keep: bool = True
) -> AsyncIterator[Server]:
    made = Server(answer, keep)
    context = certificate.context if certificate else None
    if context is not None:
        context.sni_callback = lambda _, name, __: made.names.append(name)
    listener = await asyncio.start_server(made.serve, "127.0.0.1", 0, ssl=context)
    made.port = listener.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        listener.close()


@asynccontextmanager
async def sender(
    found: Sequence[str] = ("127.0.0.1",), *, trust: Certificate | None = None, allow: Sequence[str] = ("127.0.0.0/8",)
) -> AsyncIterator[Sender]:
    """One whose resolver knows one answer."""

    async def resolve(host: str, port: int, deadline_s: float) -> Sequence[str]:
        return found

    tls = ssl.create_default_context(cafile=str(trust.file)) if trust else None
    made = Sender(UrlGuard(Reach(allow), resolve), agent="phoned/test", tls=tls)
    try:
        yield made
    finally:
        await made.close()


async def post(through: Sender, url: str, *, trusted: bool = False, timeout_s: float = 5.0) -> Answer:
    return await through.post(url, {"webhook-id": "evt_1"}, "{}", trusted=trusted, timeout_s=timeout_s)


async def test_the_certificate_is_checked_against_the_name_while_an_address_is_dialled(tmp_path: Path) -> None:
    certificate = Certificate(tmp_path, "hooks.test")
    async with server(certificate=certificate) as far, sender(trust=certificate) as near:
        answer = await post(near, f"https://hooks.test:{far.port}/")
        assert (answer.status, answer.body) == (200, b"ok")
        assert far.names == ["hooks.test"]


@pytest.mark.parametrize("trusted", [False, True])
async def test_a_certificate_for_another_name_or_of_nobody_is_refused(tmp_path: Path, trusted: bool) -> None:
    certificate = Certificate(tmp_path, "other.test")
    async with server(certificate=certificate) as far:
        async with sender(trust=certificate) as near:
            with pytest.raises(PhonedError, match="no connection"):
                await post(near, f"https://hooks.test:{far.port}/", trusted=trusted)
        async with sender() as near:
            with pytest.raises(PhonedError, match="no connection"):
                await post(near, f"https://other.test:{far.port}/", trusted=trusted)


async def test_two_names_at_one_address_never_share_a_connection(tmp_path: Path) -> None:
    certificate = Certificate(tmp_path, "one.test")
    async with server(certificate=certificate) as far, sender(trust=certificate) as near:
        await post(near, f"https://one.test:{far.port}/")
        await post(near, f"https://one.test:{far.port}/")
        assert far.connections == 1
        with pytest.raises(PhonedError):
            await post(near, f"https://two.test:{far.port}/")


async def test_the_next_address_is_tried(tmp_path: Path) -> None:
    async with server() as far, sender(("127.9.9.9", "127.0.0.1")) as near:
        assert (await post(near, f"http://hooks.test:{far.port}/")).status == 200


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
async def test_a_literal_address_is_looked_at_like_any_other(address: str) -> None:
    host = f"[{address}]" if ":" in address else address
    async with sender((address,), allow=()) as near:
        with pytest.raises(PhonedError, match="loopback"):
            await post(near, f"https://{host}:8443/")
        with pytest.raises(PhonedError, match="no connection"):
            await post(near, f"https://{host}:9/", trusted=True)


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (b"SIP/2.0 200 OK\r\n\r\n", "the answer is no HTTP"),
        (b"", "the answer is no HTTP"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 200_000, "the answer is no HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab", "the answer is no HTTP"),
    ],
)
async def test_what_is_no_answer_is_a_failed_attempt(answer: bytes, why: str) -> None:
    async with server(answer, keep=False) as far, sender() as near:
        with pytest.raises(PhonedError, match=why):
            await post(near, f"http://hooks.test:{far.port}/")
        far.answer = GOOD
        assert (await post(near, f"http://hooks.test:{far.port}/")).status == 200


async def test_an_answer_without_an_end_is_cut_off() -> None:
    endless = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1000\r\n" + b"x" * 4096 + b"\r\n"
    async with server(endless + b"1000\r\n" + b"x" * 4096 + b"\r\n") as far, sender() as near:
        answer = await post(near, f"http://hooks.test:{far.port}/")
        assert answer.status == 200
        assert len(answer.body) == 4097


async def test_a_server_that_only_trickles_is_left_at_the_deadline() -> None:
    async with server(b"HTTP/1.1 200 OK\r\n") as far, sender() as near:
        with pytest.raises(PhonedError, match=r"no answer within 0\.2 s"):
            await post(near, f"http://hooks.test:{far.port}/", timeout_s=0.2)
