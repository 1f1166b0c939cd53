"""The exchange as a socket sees it: strangers, nonsense, keep-alives, faults."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Subprotocol

from phoned.sandbox.server import Sandbox
from phoned.sip.message import Response, parse

SIP = Subprotocol("sip")


@pytest.fixture
async def sandbox() -> AsyncIterator[tuple[Sandbox, str]]:
    box = Sandbox()
    url = await box.start()
    yield box, url
    await box.stop()


def request(method: str, user: str, *, number: int = 1, to_tag: str = "") -> str:
    return (
        f"{method} sip:echo@sandbox.test SIP/2.0\r\n"
        f"Via: SIP/2.0/WS h.invalid;branch=z9hG4bK{method}{number}\r\n"
        "Max-Forwards: 70\r\n"
        f"From: <sip:{user}@sandbox.test>;tag=f\r\n"
        f"To: <sip:echo@sandbox.test>{to_tag}\r\n"
        f"Call-ID: c\r\nCSeq: {number} {method}\r\n"
        "Contact: <sip:x@h.invalid;transport=ws>\r\nContent-Length: 0\r\n\r\n"
    )


async def answer(socket: ClientConnection) -> Response:
    async with asyncio.timeout(5):
        data = await socket.recv()
    message = parse(data.encode() if isinstance(data, str) else data)
    assert isinstance(message, Response)
    return message


async def test_only_the_subprotocol_sip_is_spoken(sandbox: tuple[Sandbox, str]) -> None:
    with pytest.raises(InvalidStatus) as refusal:
        await connect(sandbox[1])
    assert refusal.value.response.status_code == 400


async def test_keep_alives_are_answered_and_nonsense_is_survived(sandbox: tuple[Sandbox, str]) -> None:
    async with connect(sandbox[1], subprotocols=[SIP]) as socket:
        for nonsense in ("\r\n", "garbage\r\n\r\n", b"\xff\x00\r\n\r\n", request("ACK", "mallory")):
            await socket.send(nonsense)
        await socket.send("\r\n\r\n")
        assert await socket.recv() == "\r\n"


async def test_strangers_are_forbidden_and_users_challenged(sandbox: tuple[Sandbox, str]) -> None:
    async with connect(sandbox[1], subprotocols=[SIP]) as socket:
        for number, (method, user, status) in enumerate(
            (
                ("OPTIONS", "mallory", 403),
                ("REGISTER", "mallory", 403),
                ("INVITE", "alice", 407),
                ("REGISTER", "alice", 401),
                ("OPTIONS", "alice", 200),
                ("INFO", "alice", 481),
            ),
            start=1,
        ):
            await socket.send(request(method, user, number=number, to_tag=";tag=x" if method == "INFO" else ""))
            assert (await answer(socket)).status == status
        await socket.send("garbage\r\n\r\n")  # now the core sees it, and drops it
        await socket.send(request("BYE", "mallory", number=9, to_tag=";tag=x"))
        assert (await answer(socket)).status == 481


async def test_a_slow_exchange_answers_late_and_in_order(sandbox: tuple[Sandbox, str]) -> None:
    box, url = sandbox
    box.order({"fault": "delay", "ms": 100})
    loop = asyncio.get_running_loop()
    async with connect(url, subprotocols=[SIP]) as socket:
        began = loop.time()
        for number in (1, 2, 3):
            await socket.send(request("OPTIONS", "mallory", number=number))
        numbers = [(await answer(socket)).headers.get("CSeq") for _ in range(3)]
        assert loop.time() - began >= 0.2
    assert numbers == ["1 OPTIONS", "2 OPTIONS", "3 OPTIONS"]


async def test_a_mute_exchange_says_nothing_and_a_refusing_one_no(sandbox: tuple[Sandbox, str]) -> None:
    box, url = sandbox
    async with connect(url, subprotocols=[SIP]) as socket:
        box.order({"fault": "mute", "on": True})
        await socket.send(request("OPTIONS", "mallory"))
        await socket.send("\r\n\r\n")
        await (await socket.ping())  # the flow lives, and all before this was read
        box.order({"fault": "none"})
        await socket.send(request("OPTIONS", "mallory", number=2))
        assert (await answer(socket)).headers.get("CSeq") == "2 OPTIONS"
        box.order({"fault": "refuse", "status": 503})
        with pytest.raises(InvalidStatus) as refusal:
            await connect(url, subprotocols=[SIP])
        assert refusal.value.response.status_code == 503
        box.order({"fault": "close"})
        with pytest.raises(ConnectionClosed):
            await socket.recv()
