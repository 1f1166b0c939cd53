"""STUN and TURN servers that answer, refuse, talk nonsense and are silent."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aioice import stun

from phoned.media.options import TurnServer
from phoned.media.reach import Unreachable, stun_address, turn_address
from tests.integration.transport.servers import mute, raw_server
from tests.support.certificate import Certificate
from tests.support.child import free_ports

Reply = Callable[[stun.Message, tuple[str, int]], bytes]


class Server(asyncio.DatagramProtocol):
    def __init__(self, reply: Reply) -> None:
        self._reply = reply
        self.asked = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport

    def datagram_received(self, data: bytes, addr: tuple[Any, ...]) -> None:
        self.asked += 1
        answer = self._reply(stun.parse_message(data), (addr[0], addr[1]))
        self._transport.sendto(answer, addr)


@asynccontextmanager
async def server(reply: Reply) -> AsyncIterator[tuple[int, Server]]:
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.create_datagram_endpoint(lambda: Server(reply), local_addr=("127.0.0.1", 0))
    try:
        yield transport.get_extra_info("sockname")[1], protocol
    finally:
        transport.close()


def answer_to(message: stun.Message, kind: stun.Class, **attributes: Any) -> bytes:
    answer = stun.Message(
        message_method=message.message_method, message_class=kind, transaction_id=message.transaction_id
    )
    answer.attributes.update({name.replace("_", "-"): value for name, value in attributes.items()})
    return bytes(answer)


async def test_a_server_that_answers() -> None:
    async with server(lambda m, at: answer_to(m, stun.Class.RESPONSE, XOR_MAPPED_ADDRESS=at)) as (port, _):
        host, _, seen = (await stun_address("127.0.0.1", port, 5)).rpartition(":")
        assert host == "127.0.0.1"
        assert int(seen) > 0


async def test_a_lost_question_is_asked_again_and_nonsense_is_no_answer() -> None:
    asked = 0

    def reply(message: stun.Message, at: tuple[str, int]) -> bytes:
        nonlocal asked
        asked += 1
        return b"nonsense" if asked == 1 else answer_to(message, stun.Class.RESPONSE, XOR_MAPPED_ADDRESS=at)

    async with server(reply) as (port, protocol):
        assert await stun_address("127.0.0.1", port, 5)
        assert protocol.asked == 2


async def test_a_server_that_refuses() -> None:
    async with server(lambda m, at: answer_to(m, stun.Class.ERROR, ERROR_CODE=(420, "What?"))) as (port, _):
        with pytest.raises(Unreachable, match=r"it said 420 What\?") as refusal:
            await stun_address("127.0.0.1", port, 5)
        assert refusal.value.status == 420
        with pytest.raises(Unreachable) as refusal:
            await turn_address(TurnServer(host="127.0.0.1", port=port, username="u", password="p"), 5)
        assert refusal.value.status == 420


async def test_an_answer_without_an_address() -> None:
    async with server(lambda m, at: answer_to(m, stun.Class.RESPONSE)) as (port, _):
        with pytest.raises(Unreachable, match="no address in its answer"):
            await stun_address("127.0.0.1", port, 5)


async def test_nobody_there() -> None:
    [port] = free_ports(1)
    with pytest.raises(Unreachable, match="refused"):
        await stun_address("127.0.0.1", port, 5)
    with pytest.raises(Unreachable, match="refused"):
        await turn_address(TurnServer(host="127.0.0.1", port=port, transport="tcp"), 5)


async def test_silence_ends() -> None:
    async with server(lambda m, at: b"") as (port, _):
        with pytest.raises(Unreachable, match="no answer within"):
            await stun_address("127.0.0.1", port, 0.01)
        with pytest.raises(Unreachable, match="no answer within"):
            await turn_address(TurnServer(host="127.0.0.1", port=port), 0.01)


async def test_names_that_are_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Unreachable, match="no host can have this name"):
        await stun_address("a..b", 1, 5)
    with pytest.raises(Unreachable, match="no host can have this name"):
        await turn_address(TurnServer(host="a..b"), 5)

    async def unknown(*arguments: object, **options: object) -> list[Any]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", unknown)
    with pytest.raises(Unreachable, match="its name is not found"):
        await stun_address("stun.invalid", 1, 5)


async def test_tls_that_is_not_believed_is_told(tmp_path: Path) -> None:
    certificate = Certificate(tmp_path, "127.0.0.1")
    async with raw_server(mute, context=certificate.context) as port:
        with pytest.raises(Unreachable, match=r"certificate verify failed") as refusal:
            await turn_address(TurnServer(host="127.0.0.1", port=port, transport="tcp", tls=True), 5)
    assert refusal.value.status is None
