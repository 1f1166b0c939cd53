"""Connections on virtual time: what WebSocket flows meet between a phone and its server, by a seed.

A `Wire` is the network: it dials, carries frames with delay and in order, repeats some, holds them back while the
network is parted, and swallows them where an address has gone or a translator has forgotten. `SimulatedFlow` is each
end of a connection (`phoned.transport.flow.Flow`); `Wire` is the phone's `Dialer`.
"""

from __future__ import annotations

import asyncio
import random as stdlib_random
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import count
from urllib.parse import urlsplit

from phoned.model import Cause
from phoned.transport.flow import Address, FlowError, FlowListener, FlowTarget, TransportName

NEVER_S = 3600.0
SERVER = Address("192.0.2.1", 443)


class Health(StrEnum):
    """What a dial to a server's edge meets."""

    WELL = "well"
    REFUSES = "refuses"
    SILENT = "silent"
    NO_NAME = "no_name"
    BAD_CERTIFICATE = "bad_certificate"
    BUSY = "busy"


_REFUSALS = {
    Health.REFUSES: FlowError(Cause.REFUSED, "connection refused"),
    Health.NO_NAME: FlowError(Cause.DNS, "no such name"),
    Health.BAD_CERTIFICATE: FlowError(Cause.TLS, "expired"),
    Health.BUSY: FlowError(Cause.UPGRADE, "503", status=503, retry_after_s=1e9),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class DialSpan:
    """One attempt, from its begin to its end in the loop's time."""

    began: float
    ended: float
    host: str
    outcome: str


@dataclass(slots=True, eq=False)
class Connection:
    """What both ends have in common."""

    host: str
    local: str
    """The phone's address when it was dialled."""
    forgotten: bool = False
    """Some translator on the way forgot it: whatever is sent vanishes, and nobody is told."""
    held: list[tuple[SimulatedFlow, Frame]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Frame:
    """Something on its way: a SIP message, a ping or pong by its number, or the end."""

    kind: str
    data: bytes = b""
    number: int = 0


def branch_of(data: bytes) -> bytes:
    """The branch of the topmost Via, as it stands there."""
    return data.partition(b"branch=")[2].partition(b"\r\n")[0].partition(b";")[0]


class SimulatedFlow:
    """One end of a connection. Driven by the wire, and by whoever holds it."""

    def __init__(
        self, wire: Wire, connection: Connection, generation: int, local: Address, remote: Address, listener: object
    ) -> None:
        self.wire = wire
        self.connection = connection
        self.generation = generation
        self.transport: TransportName = "WSS"
        self.local, self.remote = local, remote
        self.is_open = True
        self.last_received = 0.0
        self.listener: FlowListener = listener  # type: ignore[assignment]  # either side's
        self.peer: SimulatedFlow
        self.arrives_at = 0.0
        """When the newest frame that was sent arrives: nothing overtakes it."""
        self.sent: list[tuple[float, bytes]] = []
        self.asked: set[bytes] = set()
        """Branches of the requests among them."""
        self._pings: dict[int, asyncio.Future[None]] = {}
        self._user_timeout_s = 0.0
        self._unacknowledged: asyncio.TimerHandle | None = None

    def send(self, data: bytes) -> bool:
        if not self.is_open:
            return False
        self.sent.append((self.wire.now, data))
        if not data.startswith(b"SIP/2.0"):
            self.asked.add(branch_of(data))
        self.wire.carry(self, Frame("message", data))
        return True

    async def ping(self, timeout_s: float) -> float:
        began, number = self.wire.now, next(self.wire.numbers)
        answered: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._pings[number] = answered
        self.wire.carry(self, Frame("ping", number=number))
        try:
            async with asyncio.timeout(timeout_s):
                await answered
        except TimeoutError:
            raise FlowError(Cause.PING, "no pong") from None
        finally:
            del self._pings[number]
        return self.wire.now - began

    def set_user_timeout(self, seconds: float) -> None:
        self._user_timeout_s = seconds

    def close(self) -> None:
        self._leave(Cause.CLOSED, "closed by us")

    def abort(self, cause: Cause = Cause.CLOSED, detail: str = "aborted") -> None:
        self._leave(cause, detail)

    def _leave(self, cause: Cause, detail: str) -> None:
        if self.is_open:
            self.wire.carry(self, Frame("end"))
            self.die(cause, detail)

    def die(self, cause: Cause, detail: str = "") -> None:
        """It is over; the listener hears of it in the next turn of the loop."""
        if not self.is_open:
            return
        self.is_open = False
        self.connection.held = [(flow, frame) for flow, frame in self.connection.held if flow is not self]
        self.acknowledged()
        for waiting in self._pings.values():
            if not waiting.done():
                waiting.set_exception(FlowError(cause, detail))
        self.wire.forget(self)
        asyncio.get_running_loop().call_soon(self.listener.on_closed, self, cause, detail)

    # --- what the wire does

    def take(self, frame: Frame) -> None:
        """A frame arrives."""
        if not self.is_open:
            if frame.kind != "end":
                self.wire.carry(self, Frame("end"))  # a reset
            return
        self.last_received = self.wire.now
        match frame.kind:
            case "message":
                self.listener.on_message(self, frame.data)
            case "ping":
                self.wire.carry(self, Frame("pong", number=frame.number))
            case "pong":
                waiting = self._pings.get(frame.number)
                if waiting is not None and not waiting.done():
                    waiting.set_result(None)
            case _:
                self.die(Cause.CLOSED, "closed by the far end")

    def unacknowledged(self) -> None:
        """What was sent is stuck; the kernel's patience may be short."""
        if self._user_timeout_s and self._unacknowledged is None and self.is_open:
            loop = asyncio.get_running_loop()
            self._unacknowledged = loop.call_later(self._user_timeout_s, self.die, Cause.TIMEOUT, "unacknowledged")

    def acknowledged(self) -> None:
        """Nothing is stuck any more."""
        if self._unacknowledged is not None:
            self._unacknowledged.cancel()
            self._unacknowledged = None


class Wire:
    """See the module's docstring. ``server`` hears its ends of all connections."""

    def __init__(self, random: stdlib_random.Random, server: FlowListener) -> None:
        self._random = random
        self._server = server
        self.numbers: Iterator[int] = count(1)
        self.edges: dict[str, Health] = {}
        """By host; one that is not named here is well."""
        self.address: str | None = "10.0.1.2"
        """The phone's, None while it is in no network."""
        self.parted = False
        """Nothing gets through, and nobody is told."""
        self.delay_s = 0.02
        self.jitter_s = 0.0
        self.duplicate = 0.0
        self.flows: list[SimulatedFlow] = []
        """Ends of the phone's side that are open."""
        self.dials: dict[str, list[DialSpan]] = {}
        """By account: the path of the URL."""
        self.registers: dict[str, list[float]] = {}
        """By account: when a REGISTER was sent."""
        self._far: list[SimulatedFlow] = []

    @property
    def now(self) -> float:
        return asyncio.get_running_loop().time()

    # --- dialling

    async def dial(self, target: FlowTarget, listener: FlowListener, *, deadline_s: float) -> SimulatedFlow:
        url = urlsplit(target.url)
        host, account, began, outcome = url.hostname or "", url.path.strip("/"), self.now, "cancelled"
        try:
            async with asyncio.timeout(deadline_s):
                address = await self._reach(host)
            outcome = "connected"
        except TimeoutError:
            outcome = "timeout"
            raise FlowError(Cause.TIMEOUT, f"no answer from {host}") from None
        except FlowError as error:
            outcome = str(error.cause)
            raise
        finally:
            span = DialSpan(began=began, ended=self.now, host=host, outcome=outcome)
            self.dials.setdefault(account, []).append(span)
        return self._connect(host, address, listener)

    async def _reach(self, host: str) -> str:
        for _ in range(3):  # TCP, TLS, upgrade: each a round trip, each may meet something else
            await self._round_trip(host)
        if self.address is None:
            raise FlowError(Cause.NETWORK, "network is unreachable")
        return self.address

    async def _round_trip(self, host: str) -> None:
        health = self.edges.get(host, Health.WELL)
        if self.address is None:
            raise FlowError(Cause.NETWORK, "network is unreachable")
        if self.parted or health is Health.SILENT:
            await asyncio.sleep(NEVER_S)
        await asyncio.sleep(2 * self.delay_s)
        if health in _REFUSALS:
            refusal = _REFUSALS[health]
            raise FlowError(refusal.cause, refusal.detail, status=refusal.status, retry_after_s=refusal.retry_after_s)

    def _connect(self, host: str, address: str, listener: FlowListener) -> SimulatedFlow:
        number = next(self.numbers)
        connection, here = Connection(host, address), Address(address, 20_000 + number % 40_000)
        near = SimulatedFlow(self, connection, number, here, SERVER, listener)
        far = SimulatedFlow(self, connection, number, SERVER, here, self._server)
        near.peer, far.peer = far, near
        near.last_received = far.last_received = self.now
        self.flows.append(near)
        self._far.append(far)
        return near

    def forget(self, flow: SimulatedFlow) -> None:
        """One end is over."""
        for ends in (self.flows, self._far):
            if flow in ends:
                ends.remove(flow)

    # --- carrying

    def carry(self, sender: SimulatedFlow, frame: Frame) -> None:
        """Take a frame to the other end."""
        delay_s = self.delay_s + self._random.random() * self.jitter_s
        sender.arrives_at = max(sender.arrives_at, self.now + delay_s)
        copies = 2 if frame.kind == "message" and self._random.random() < self.duplicate else 1
        for _ in range(copies):
            asyncio.get_running_loop().call_at(sender.arrives_at, self._arrive, sender, frame)

    def _arrive(self, sender: SimulatedFlow, frame: Frame) -> None:
        connection = sender.connection
        if connection.forgotten:
            sender.unacknowledged()
        elif self._stuck(connection):
            connection.held.append((sender, frame))
            sender.unacknowledged()
        else:
            sender.peer.take(frame)

    def _stuck(self, connection: Connection) -> bool:
        return self.parted or self.address != connection.local

    # --- what happens to the network

    def thaw(self) -> None:
        """What was held back goes on where it can: the far kernel sends it again."""
        for flow in (*self.flows, *self._far):
            connection = flow.connection
            if connection.held and not self._stuck(connection):
                held, connection.held = connection.held, []
                for sender, frame in held:
                    sender.acknowledged()
                    self.carry(sender, frame)

    def move(self, address: str | None) -> None:
        """The phone has another address."""
        self.address = address
        self.thaw()

    def part(self, on: bool) -> None:
        """Part the network, or join it again."""
        self.parted = on
        self.thaw()

    def cut(self, *, tell_phone: bool = True) -> None:
        """Every connection breaks; the phone may be told, or left to find out."""
        for flow in tuple(self.flows):
            flow.connection.forgotten = True
            flow.peer.die(Cause.CLOSED, "cut")
            if tell_phone:
                flow.die(Cause.CLOSED, "cut")

    def server_gone(self) -> None:
        """The server's process ends: its kernel resets what was open."""
        for far in tuple(self._far):
            far.abort()

    def open_of(self, generation: int) -> bool:
        """Whether the phone's end of that connection is open."""
        return any(flow.generation == generation for flow in self.flows)
