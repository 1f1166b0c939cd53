"""The datagram path of one call: the ICE agent in use, the one that is being prepared, and those just left.

Owns the swap: media moves to a new pair the moment it is nominated (ICE restart rule 3), the old sockets linger while
packets still come there (rule 2), the old agent's consent stops. The DTLS association above never notices. It knows no
keys and no descriptions.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Protocol

from phoned.media.datagram import DropLog
from phoned.media.ice import DatagramListener, IceAgent, IceFailed, LocalIce, RemoteIce
from phoned.media.options import IceOptions
from phoned.media.sdp import Candidate
from phoned.media.servers import ServerMemory
from phoned.tasks import Tasks

PATIENCE_S = 0.05
"""The least that the last probe of a row waits for its answer."""
MAX_LINGER_S = 5.0
"""The longest that sockets of a left agent stay open."""


class PathListener(DatagramListener, Protocol):
    """Who hears of datagrams and of the path's fate."""

    def path_changed(self) -> None:
        """Another pair carries the media now."""
        ...

    def socket_error(self, error: OSError) -> None:
        """The kernel refused a packet on the path in use."""
        ...

    def consent_missed(self, misses: int) -> None:
        """So many consent checks in a row had no answer; 0 when one had after misses."""
        ...

    def consent_expired(self) -> None:
        """No answer for the whole consent time: sending is over."""
        ...


class IcePath:
    """Where a call's datagrams go. Driven by `SecureTransport`."""

    def __init__(
        self, owner: str, options: IceOptions, listener: PathListener, tasks: Tasks, servers: ServerMemory
    ) -> None:
        self.options = options
        self.listener = listener
        self.servers = servers
        self.tasks = tasks
        self.log = DropLog(owner)
        self.generation = 0
        """How many agents have carried media."""
        self.paused = False
        """Nothing is sent until the next agent is nominated (rule 2)."""
        self.doubted: str | None = None
        """Our address from which probes had no answer."""
        self._heard: PathListener = listener
        self._current: IceAgent | None = None
        self._next: IceAgent | None = None
        self._left: set[IceAgent] = set()
        self._send: Callable[[bytes, tuple[str, int]], object] | None = None
        self._remote: tuple[str, int] = ("", 0)
        self._source: str | None = None
        self._closed = False

    # -- life of an agent

    async def prepare(self, *, controlling: bool, nomination: int = 1) -> LocalIce:
        """Gather a new agent, to be connected next. An earlier one that never connected is dropped. ``nomination``:
        greater than that of any earlier agent of the call, also in a process before this one."""
        await self.discard()
        agent = IceAgent(self, controlling=controlling, nomination=nomination)
        try:
            await agent.gather()
        except BaseException:
            await agent.close()
            raise
        self._next = agent
        return agent.description()

    async def discard(self) -> None:
        """Forget the prepared agent."""
        agent, self._next = self._next, None
        if agent is not None:
            await self._leave(agent)

    def discard_soon(self) -> None:
        """Forget the prepared agent now, close it in a moment."""
        agent, self._next = self._next, None
        if agent is not None:
            self._left.add(agent)
            self.tasks.spawn("discard", self._leave(agent))

    async def _leave(self, agent: IceAgent) -> None:
        """Close an agent. Until that is done it is remembered, so that `close` finishes what was interrupted."""
        self._left.add(agent)
        await agent.close()
        self._left.discard(agent)

    async def connect(self, remote: RemoteIce) -> None:
        """Connect the prepared agent; media moves to it at nomination. Raises `IceFailed` at the deadline."""
        agent = self._next
        if agent is None:
            raise IceFailed("nothing was gathered")
        try:
            async with asyncio.timeout(self.options.connect_deadline_s):
                await agent.search(remote)
        except TimeoutError as error:
            if agent is self._next:
                await self.discard()
            raise IceFailed(f"no pair worked in {self.options.connect_deadline_s:g} s") from error

    async def feed(self, candidates: tuple[Candidate, ...]) -> None:
        """More candidates of the peer, for the newest agent."""
        agent = self._next or self._current
        if agent is not None:
            await agent.feed(candidates)

    # -- reports of agents (AgentOwner)

    def nominated(self, agent: IceAgent) -> None:
        """Move the media to the agent's pair, at once."""
        pair = agent.selected
        if pair is None or agent in self._left or self._closed:
            return
        if agent is not self._current:
            old, self._current = self._current, agent
            if agent is self._next:
                self._next = None
            self.generation += 1
            self.paused = False
            self.doubted = None
            if old is not None:
                old.stop_consent()
                self._left.add(old)
                self.tasks.spawn("linger", self._linger(old))
        own = agent.own_socket
        self._send = pair.protocol.transport.sendto if own is None else own.sendto
        self._remote = pair.remote_addr
        self._source = source_towards(self._remote)
        self._heard.path_changed()

    async def _linger(self, agent: IceAgent) -> None:
        deadline = asyncio.get_running_loop().time() + MAX_LINGER_S
        while True:
            seen = agent.packets_received
            await asyncio.sleep(self.options.linger_s)
            if agent.packets_received == seen or asyncio.get_running_loop().time() > deadline:
                break
        await self._leave(agent)

    def socket_error(self, agent: IceAgent, error: OSError) -> None:
        """A fact of the agent in use is a fact of the path."""
        if agent is self._current:
            self._heard.socket_error(error)

    def consent_missed(self, agent: IceAgent, misses: int) -> None:
        """A fact of the agent in use is a fact of the path."""
        if agent is self._current:
            self._heard.consent_missed(misses)

    def consent_expired(self, agent: IceAgent) -> None:
        """The peer no longer agrees to receive: RFC 7675 forbids to send on."""
        if agent is self._current:
            self._send = None
            self._heard.consent_expired()

    # -- use

    def send(self, data: bytes) -> bool:
        """Send on the pair in use. False when there is none, or its socket takes nothing now: sound that waits in a
        queue is late, and a DTLS record is repeated."""
        send = self._send
        if send is None or self.paused:
            return False
        try:
            send(data, self._remote)
        except (BlockingIOError, InterruptedError):
            self.log.drop("choked", asyncio.get_running_loop().time())
            return False
        except OSError as error:
            self._heard.socket_error(error)
            return False
        return True

    async def probe(self, *, count: int = 3, spacing_s: float = 0.2) -> float | None:
        """Ask the peer up to ``count`` times, ``spacing_s`` apart: the round trip time, or None when nobody answers.
        The last question is given one and a half of the round trips that were measured, at least `PATIENCE_S`: those
        before it had longer."""
        agent = self._current
        if agent is None:
            return None
        asked: set[asyncio.Task[float | None]] = set()
        try:
            for index in range(count):
                asked.add(self.tasks.spawn("probe", agent.ask()))
                last = index == count - 1
                done, asked = await asyncio.wait(
                    asked,
                    timeout=max(PATIENCE_S, 1.5 * (self.rtt_s or 0.0)) if last else spacing_s,
                    return_when=asyncio.ALL_COMPLETED if last else asyncio.FIRST_COMPLETED,
                )
                answers = [task.result() for task in done if task.result() is not None]
                if answers:
                    self.doubted = None
                    return answers[0]
        finally:
            for task in asked:
                task.cancel()
        self.doubted = agent.selected.local_addr[0] if agent.selected is not None else None
        return None

    @property
    def connected(self) -> bool:
        """A pair is nominated and may be sent on."""
        return self._send is not None

    @property
    def heard(self) -> bool:
        """Media has come in on the agent in use."""
        return self._current is not None and self._current.packets_received > 0

    @property
    def consented(self) -> bool:
        """No consent check is missing its answer."""
        return self._send is not None and self._current is not None and self._current.misses == 0

    def rerouted(self) -> bool:
        """The kernel would send to the peer from another address now than when the pair was nominated."""
        if self._current is None or self._source is None:
            return False
        source = source_towards(self._remote)
        return source is not None and source != self._source

    @property
    def rtt_s(self) -> float | None:
        """Round trip time of the last consent check."""
        return self._current.rtt_s if self._current is not None else None

    @property
    def local(self) -> str | None:
        """``address:port`` of our end of the pair in use."""
        return _text(self._current.selected.local_addr) if self._current and self._current.selected else None

    @property
    def remote(self) -> str | None:
        """``address:port`` of the peer's end of the pair in use."""
        return _text(self._current.selected.remote_addr) if self._current and self._current.selected else None

    async def close(self) -> None:
        """Close all sockets. Idempotent."""
        self._closed = True
        self._send = None
        self._left.update(agent for agent in (self._current, self._next) if agent is not None)
        self._current = self._next = None
        for agent in tuple(self._left):
            await self._leave(agent)


def source_towards(remote: tuple[str, int]) -> str | None:
    """The address from which the kernel would send there; None without a route. Connecting UDP sends nothing."""
    host, port = remote
    try:
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM) as asking:
            asking.connect((host, port))
            return str(asking.getsockname()[0])
    except OSError:
        return None


def _text(address: tuple[str, int]) -> str:
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
