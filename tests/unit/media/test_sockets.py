"""Sockets that are read together: at once after a pause, seldom under load, and all of what came."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from phoned.media import sockets as module
from phoned.media.sockets import ROUNDS, MediaSocket, MediaSockets
from tests.support.media import until


class Ear(asyncio.DatagramProtocol):
    """Keeps what it hears."""

    def __init__(self) -> None:
        self.heard: list[bytes] = []
        self.errors: list[Exception] = []
        self.lost = 0
        self.on_datagram: Callable[[], object] = lambda: None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, MediaSocket)
        self.transport = transport

    def datagram_received(self, data: bytes, addr: tuple[Any, ...]) -> None:
        self.heard.append(data)
        self.on_datagram()

    def error_received(self, exc: Exception) -> None:
        self.errors.append(exc)

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost += 1

    @property
    def address(self) -> tuple[str, int]:
        name: tuple[str, int] = self.transport.get_extra_info("sockname")
        return name


class CountedSockets(MediaSockets):
    """Counts how often the kernel was asked what there is."""

    looks = 0

    def _read(self) -> bool:
        self.looks += 1
        return super()._read()


def bound() -> socket.socket:
    own = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    own.setblocking(False)
    own.bind(("127.0.0.1", 0))
    return own


@asynccontextmanager
async def ears(count: int) -> AsyncIterator[tuple[CountedSockets, list[Ear]]]:
    sockets = CountedSockets()
    all_ears = [Ear() for _ in range(count)]
    for ear in all_ears:
        sockets.open(bound(), ear)
    try:
        yield sockets, all_ears
    finally:
        for ear in all_ears:
            ear.transport.close()
        await asyncio.sleep(0)
        assert [ear.lost for ear in all_ears] == [1] * count


async def test_a_datagram_after_a_pause_is_read_in_the_next_turn_of_the_loop() -> None:
    async with ears(2) as (sockets, (one, other)):
        one.transport.sendto(b"sound", other.address)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert other.heard == [b"sound"]
        assert sockets.looks == 1


async def test_datagrams_in_quick_succession_are_read_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "REST_S", 0.05)
    async with ears(5) as (sockets, (mouth, *others)):
        for number in range(ROUNDS):
            for ear in others:
                mouth.transport.sendto(b"%d" % number, ear.address)
                await asyncio.sleep(0)
        await until(lambda: all(len(ear.heard) == ROUNDS for ear in others))
        assert all(ear.heard == [b"%d" % number for number in range(ROUNDS)] for ear in others)
        assert sockets.looks == 2  # the first datagram, and what came while it rested


async def test_more_than_one_look_takes_is_taken_by_the_next() -> None:
    async with ears(2) as (sockets, (mouth, ear)):
        for number in range(3 * ROUNDS):
            mouth.transport.sendto(b"%d" % number, ear.address)
        await until(lambda: len(ear.heard) == 3 * ROUNDS)
        assert ear.heard == [b"%d" % number for number in range(3 * ROUNDS)]
        assert sockets.looks >= 3


async def test_after_a_burst_and_a_pause_a_datagram_is_read_at_once_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "REST_S", 0.001)
    async with ears(2) as (sockets, (mouth, ear)):
        for number in range(2 * ROUNDS):
            mouth.transport.sendto(b"%d" % number, ear.address)
        await until(lambda: len(ear.heard) == 2 * ROUNDS)
        await until(lambda: sockets._rest is None)
        await until(lambda: asyncio.get_running_loop().time() > sockets._again)
        mouth.transport.sendto(b"again", ear.address)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert ear.heard[-1] == b"again"


async def test_what_one_datagram_breaks_does_not_keep_the_others_from_being_read() -> None:
    told: list[dict[str, Any]] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: told.append(context))
    async with ears(3) as (_, (mouth, broken, well)):

        def fail() -> None:
            raise ValueError("broken")

        broken.on_datagram = fail
        mouth.transport.sendto(b"one", broken.address)
        mouth.transport.sendto(b"other", well.address)
        await until(lambda: well.heard == [b"other"] and len(told) == 1)
        assert isinstance(told[0]["exception"], ValueError)


async def test_a_socket_that_another_ones_datagram_closes_is_read_no_more() -> None:
    async with ears(3) as (_, (mouth, one, other)):
        one.on_datagram = other.transport.close
        other.on_datagram = one.transport.close
        mouth.transport.sendto(b"one", one.address)
        mouth.transport.sendto(b"other", other.address)
        await until(lambda: bool(one.heard or other.heard))
        await asyncio.sleep(0)
        assert sorted(one.heard + other.heard) in ([b"one"], [b"other"])


async def test_all_sockets_may_close_under_a_datagram_and_others_open_later() -> None:
    async with ears(2) as (sockets, (mouth, ear)):

        def close() -> None:
            mouth.transport.close()
            ear.transport.close()

        ear.on_datagram = close
        mouth.transport.sendto(b"last", ear.address)
        await until(lambda: ear.heard == [b"last"])
        late = Ear()
        sockets.open(bound(), late)
        late.transport.sendto(b"myself", late.address)
        await until(lambda: late.heard == [b"myself"])
        late.transport.abort()
        assert late.transport.is_closing()


async def test_closing_while_it_rests_leaves_no_timer() -> None:
    async with ears(2) as (sockets, (mouth, ear)):
        ear.on_datagram = lambda: mouth.transport.sendto(b"more", ear.address)
        mouth.transport.sendto(b"sound", ear.address)
        await until(lambda: sockets._rest is not None)
        mouth.transport.close()
        ear.transport.close()
        assert sockets._rest is None
        ear.transport.close()  # again, without effect


class Wire:
    """A socket that raises what it is told to."""

    def __init__(self, error: OSError) -> None:
        self._error = error

    def sendto(self, data: bytes, address: tuple[str, int]) -> int:
        raise self._error

    def recvfrom(self, size: int) -> tuple[bytes, tuple[str, int]]:
        raise self._error

    def getsockname(self) -> tuple[str, int]:
        return "127.0.0.1", 9


@pytest.mark.parametrize("error", [BlockingIOError(), InterruptedError()])
async def test_a_busy_kernel_costs_the_datagram_and_no_more(error: OSError) -> None:
    ear, wire = Ear(), Wire(error)
    transport = MediaSocket(MediaSockets(), wire, ear)  # type: ignore[arg-type]
    transport.sendto(b"sound", ("127.0.0.1", 9))
    transport.read()
    assert ear.errors == []


async def test_errors_of_the_kernel_are_told() -> None:
    error = OSError("unreachable")
    ear, wire = Ear(), Wire(error)
    transport = MediaSocket(MediaSockets(), wire, ear)  # type: ignore[arg-type]
    transport.sendto(b"sound", ("127.0.0.1", 9))
    transport.read()
    assert ear.errors == [error, error]
