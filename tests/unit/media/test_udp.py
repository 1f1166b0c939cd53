"""Our UDP transport does what asyncio's does: the same contract for both."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from phoned.media.udp import READ_SIZE, UdpTransport

LONGEST = 1500


class Ear(asyncio.DatagramProtocol):
    def __init__(self) -> None:
        self.heard: asyncio.Queue[tuple[bytes, tuple[str, int]]] = asyncio.Queue()
        self.errors: list[Exception] = []
        self.transport: asyncio.BaseTransport | None = None
        self.lost = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        assert exc is None
        self.lost.set()

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.heard.put_nowait((data, addr))

    def error_received(self, exc: Exception) -> None:
        self.errors.append(exc)

    async def next(self) -> tuple[bytes, tuple[str, int]]:
        async with asyncio.timeout(5):
            return await self.heard.get()


def bound(address: str) -> socket.socket:
    made = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
    made.setblocking(False)
    made.bind((address, 0))
    return made


async def ours(address: str) -> tuple[asyncio.DatagramTransport, Ear]:
    ear = Ear()
    return UdpTransport(bound(address), ear), ear


async def asyncios(address: str) -> tuple[asyncio.DatagramTransport, Ear]:
    return await asyncio.get_running_loop().create_datagram_endpoint(Ear, sock=bound(address))


Make = Callable[[str], Awaitable[tuple[asyncio.DatagramTransport, Ear]]]


@pytest.fixture(params=[ours, asyncios])
async def make(request: pytest.FixtureRequest) -> AsyncIterator[Make]:
    made: list[asyncio.DatagramTransport] = []

    async def one(address: str) -> tuple[asyncio.DatagramTransport, Ear]:
        transport, ear = await request.param(address)
        made.append(transport)
        return transport, ear

    yield one
    for transport in made:
        transport.close()
    await asyncio.sleep(0)


def where(transport: asyncio.DatagramTransport) -> tuple[str, int]:
    address: tuple[str, int] = transport.get_extra_info("sockname")[:2]
    return address


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
async def test_what_one_sends_the_other_hears_with_its_address(make: Make, address: str) -> None:
    (here, _), (there, ear) = await make(address), await make(address)
    here.sendto(b"x" * LONGEST, where(there))
    data, source = await ear.next()
    assert (data, source[:2]) == (b"x" * LONGEST, where(here))


async def test_datagrams_stay_apart_and_in_order(make: Make) -> None:
    (here, _), (there, ear) = await make("127.0.0.1"), await make("127.0.0.1")
    for number in range(20):
        here.sendto(bytes([number]), where(there))
    assert [(await ear.next())[0] for _ in range(20)] == [bytes([number]) for number in range(20)]


async def test_the_protocol_knows_its_transport(make: Make) -> None:
    transport, ear = await make("127.0.0.1")
    assert ear.transport is transport
    assert transport.get_extra_info("socket") is not None
    assert transport.get_extra_info("peername") is None


async def test_a_refusal_of_the_kernel_goes_to_the_protocol(make: Make) -> None:
    transport, ear = await make("127.0.0.1")
    transport.sendto(b"x" * 70_000, ("127.0.0.1", 9))
    assert [type(error) for error in ear.errors] == [OSError]
    assert not transport.is_closing()


@pytest.mark.parametrize("verb", ["close", "abort"])
async def test_it_ends_once_and_then_neither_hears_nor_sends(make: Make, verb: str) -> None:
    (here, ear), (there, other) = await make("127.0.0.1"), await make("127.0.0.1")
    there.sendto(b"late", where(here))
    for _ in range(2):
        getattr(here, verb)()
    assert here.is_closing()
    async with asyncio.timeout(5):
        await ear.lost.wait()
    there.sendto(b"later", where(here))
    await asyncio.sleep(0)
    assert ear.heard.empty()
    assert other.errors == []


async def test_ours_is_ready_before_the_loop_turns_and_sends_nothing_after_its_end() -> None:
    ear = Ear()
    with bound("127.0.0.1") as listener:
        transport = UdpTransport(bound("127.0.0.1"), ear)
        transport.sendto(b"at once", listener.getsockname())
        async with asyncio.timeout(5):
            assert await asyncio.get_running_loop().sock_recv(listener, 100) == b"at once"
        transport.close()
        transport.sendto(b"never", listener.getsockname())
        with pytest.raises(BlockingIOError):
            listener.recv(100)
    await asyncio.sleep(0)
    assert ear.lost.is_set()


async def test_ours_hands_up_the_beginning_of_what_is_too_long() -> None:
    (here, _), (there, ear) = await ours("127.0.0.1"), await ours("127.0.0.1")
    here.sendto(b"x" * 60_000, where(there))
    assert len((await ear.next())[0]) == READ_SIZE
    here.close()
    there.close()
    await asyncio.sleep(0)
