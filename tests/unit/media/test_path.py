"""The datagram path: what becomes of a packet that the kernel does not take, and of one that goes through a relay."""

from __future__ import annotations

import asyncio
import errno
from types import SimpleNamespace
from typing import Any

from phoned.media.options import IceOptions
from phoned.media.path import IcePath
from phoned.media.servers import ServerMemory
from phoned.tasks import Tasks

REMOTE = ("127.0.0.1", 9)


class Wire:
    """A socket or a relay's transport that says what it is told to."""

    def __init__(self) -> None:
        self.error: OSError | None = None
        self.sent: list[tuple[bytes, tuple[str, int]]] = []

    def sendto(self, data: bytes, address: tuple[str, int]) -> None:
        if self.error is not None:
            raise self.error
        self.sent.append((data, address))


class Agent:
    """An agent that has its pair."""

    def __init__(self, wire: Wire, *, relay: bool) -> None:
        self.selected = SimpleNamespace(protocol=SimpleNamespace(transport=wire), remote_addr=REMOTE)
        self.own_socket = None if relay else wire


class Listener:
    def __init__(self) -> None:
        self.errors: list[OSError] = []

    def socket_error(self, error: OSError) -> None:
        self.errors.append(error)

    def path_changed(self) -> None: ...
    def consent_missed(self, misses: int) -> None: ...
    def consent_expired(self) -> None: ...
    def rtp_received(self, data: bytes) -> None: ...
    def rtcp_received(self, data: bytes) -> None: ...
    def dtls_received(self, data: bytes) -> None: ...


def path_over(wire: Wire, *, relay: bool = False) -> tuple[IcePath, Listener]:
    listener = Listener()
    path = IcePath("test", IceOptions(), listener, Tasks("test", lambda name, error: None), ServerMemory())
    agent: Any = Agent(wire, relay=relay)
    path.nominated(agent)
    return path, listener


async def test_a_packet_leaves_by_the_socket_of_the_pair() -> None:
    wire = Wire()
    path, _ = path_over(wire)
    assert path.send(b"sound")
    assert wire.sent == [(b"sound", REMOTE)]


async def test_a_relayed_packet_leaves_by_the_relay() -> None:
    wire = Wire()
    path, _ = path_over(wire, relay=True)
    assert path.send(b"sound")
    assert wire.sent == [(b"sound", REMOTE)]


async def test_a_choked_socket_costs_the_packet_and_is_counted_but_no_fact_of_the_path() -> None:
    wire = Wire()
    path, listener = path_over(wire)
    wire.error = BlockingIOError(errno.EAGAIN, "full")
    assert not path.send(b"sound")
    assert path.log.counts["choked"] == 1
    assert listener.errors == []
    wire.error = None
    assert path.send(b"more")
    await asyncio.sleep(0)
    assert wire.sent == [(b"more", REMOTE)]


async def test_a_refusal_of_the_kernel_is_told_at_once() -> None:
    wire = Wire()
    path, listener = path_over(wire)
    wire.error = OSError(errno.ENETUNREACH, "no network")
    assert not path.send(b"sound")
    assert listener.errors == [wire.error]
