"""ICE: one datagram path for a call whose agent can be replaced while the call goes on (RFC 8445, 8839, 7675).

Owns candidates, connectivity checks, consent and the choice of the pair. It knows neither DTLS nor RTP. One of the two
modules that touch private attributes of aioice.
"""

from __future__ import annotations

import asyncio
import errno
import random
import socket
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol

from aioice import Candidate as WireCandidate
from aioice import Connection, TransportPolicy, stun
from aioice.candidate import candidate_foundation, candidate_priority
from aioice.ice import (
    ICE_COMPLETED,
    CandidatePair,
    StunProtocol,
    candidate_pair_priority,
    relayed_candidate,
    server_reflexive_candidate,
)

from phoned.media.addresses import local_addresses
from phoned.media.datagram import DropLog
from phoned.media.ice_socket import IceSocket
from phoned.media.nomination import Nominations
from phoned.media.options import IceOptions
from phoned.media.sdp import Candidate
from phoned.media.servers import ServerMemory
from phoned.media.udp import UdpTransport
from phoned.tasks import Tasks

COMPONENT = 1
RECEIVE_BUFFER = 262_144
SETTLE_S = 0.2
"""So long after the first pair one with a higher priority may still answer and take over."""
_FED = 0
"""Among the results of aioice's check list: there are more pairs to check."""
MAX_TRUSTED = 64
"""Peer addresses that passed an authenticated check, per agent."""


class IceFailed(Exception):
    """No pair worked before the deadline, or there is no local address."""


class IceDiscarded(IceFailed):
    """The agent was given up for another one before a pair worked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalIce:
    """What our description says about an agent."""

    ufrag: str
    pwd: str
    candidates: tuple[Candidate, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteIce:
    """What the peer's description says about its agent."""

    ufrag: str
    pwd: str
    candidates: tuple[Candidate, ...]
    lite: bool = False


class DatagramListener(Protocol):
    """Who takes the datagrams of checked addresses. Called synchronously from the socket's callback."""

    def rtp_received(self, data: bytes) -> None:
        """An SRTP packet."""
        ...

    def rtcp_received(self, data: bytes) -> None:
        """An SRTCP packet."""
        ...

    def dtls_received(self, data: bytes) -> None:
        """A DTLS record, on whatever pair."""
        ...


class AgentOwner(Protocol):
    """What an agent needs of its path, and what it reports to it."""

    doubted: str | None

    @property
    def options(self) -> IceOptions:
        """How to gather and check."""
        ...

    @property
    def listener(self) -> DatagramListener:
        """Who takes datagrams."""
        ...

    @property
    def servers(self) -> ServerMemory:
        """What is known about STUN and TURN servers."""
        ...

    @property
    def tasks(self) -> Tasks:
        """Where the agent's own tasks live."""
        ...

    @property
    def log(self) -> DropLog:
        """Where drops are counted."""
        ...

    def nominated(self, agent: IceAgent) -> None:
        """The agent has a pair, or moved to another."""
        ...

    def socket_error(self, agent: IceAgent, error: OSError) -> None:
        """The kernel refused a packet on the agent's pair."""
        ...

    def consent_missed(self, agent: IceAgent, misses: int) -> None:
        """So many consent checks in a row had no answer; 0 when one had after misses."""
        ...

    def consent_expired(self, agent: IceAgent) -> None:
        """No answer for the whole consent time."""
        ...


class IceAgent(Connection):
    """One ICE generation: its credentials, sockets and checks. Made, driven and closed by `IcePath`."""

    def __init__(self, owner: AgentOwner, *, controlling: bool, nomination: int = 1) -> None:
        options = owner.options
        turn = options.turn_server
        if turn is not None and not owner.servers.usable((turn.host, turn.port)):
            turn = None
        super().__init__(
            ice_controlling=controlling,
            turn_server=(turn.host, turn.port) if turn else None,
            turn_username=turn.username if turn else None,
            turn_password=turn.password if turn else None,
            turn_ssl=turn.tls if turn else False,
            turn_transport=turn.transport if turn else "udp",
            transport_policy=TransportPolicy.RELAY if options.relay_only else TransportPolicy.ALL,
        )
        self.owner = owner
        self.nominations = Nominations(nomination)
        self.listener = owner.listener
        self.trusted: set[tuple[str, int]] = set()
        self.username_prefix = f"{self.local_username}:".encode()
        self.selected: CandidatePair | None = None
        self.completed = False
        """No other pair takes the place of the one in use while that answers."""
        self.misses = 0
        self.packets_received = 0
        self.rtt_s: float | None = None

    # -- gathering

    async def gather(self) -> None:
        """Host candidates at once, the others within their budgets."""
        options = self.owner.options
        self._local_candidates_start = True
        if not options.relay_only:
            self._local_candidates += self._host_candidates(local_addresses(options, last=self.owner.doubted))
        others = []
        server = options.stun_server
        if server is not None and self.owner.servers.usable(server):
            others += [
                self._bounded(self._reflexive(found, server), options.gather_budget_s, server)
                for found in self._protocols
                if ":" not in found.local_candidate.host
            ]
        if self.turn_server is not None:
            others.append(self._bounded(self._relayed(), options.relay_budget_s, self.turn_server))
        for candidate in await asyncio.gather(*others):
            if candidate is not None and not self._knows(candidate):
                self._local_candidates.append(candidate)
        self._local_candidates_end = True
        if not self._local_candidates:
            raise IceFailed("no local address may be used")

    def _host_candidates(self, addresses: list[str]) -> list[WireCandidate]:
        found = []
        for index, address in enumerate(addresses):
            own = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
            try:
                own.setblocking(False)
                own.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
                own.bind((address, 0))
                protocol = IceSocket(self, own)
                host, port = UdpTransport(own, protocol).get_extra_info("sockname")[:2]
            except OSError as error:
                own.close()
                self.owner.log.drop("bind", asyncio.get_running_loop().time(), f"{address}: {error}")
                continue
            protocol.local_candidate = WireCandidate(
                foundation=candidate_foundation("host", "udp", host),
                component=COMPONENT,
                transport="udp",
                priority=candidate_priority(COMPONENT, "host", 65535 - index),
                host=host,
                port=port,
                type="host",
            )
            self._protocols.append(protocol)
            found.append(protocol.local_candidate)
        return found

    async def _reflexive(self, protocol: StunProtocol, server: tuple[str, int]) -> WireCandidate:
        address = await self.owner.servers.resolve(server[0])
        candidate, _ = await server_reflexive_candidate(protocol, (address, server[1]))
        return candidate

    async def _relayed(self) -> WireCandidate:
        assert self.turn_server is not None
        candidate, protocol = await relayed_candidate(
            component=COMPONENT,
            hide_related_address=self.owner.options.relay_only,
            protocol_factory=lambda: IceSocket(self),
            turn_server=self.turn_server,
            turn_username=self.turn_username,
            turn_password=self.turn_password,
            turn_ssl=self.turn_ssl,
            turn_transport=self.turn_transport,
        )
        self._protocols.append(protocol)
        return candidate

    async def _bounded(self, coroutine: Any, budget_s: float, server: tuple[str, int]) -> WireCandidate | None:
        try:
            async with asyncio.timeout(budget_s):
                candidate: WireCandidate = await coroutine
        except (TimeoutError, OSError, stun.TransactionError) as error:
            self.owner.servers.failed(server)
            self.drop("server", f"{server}: {error!r}")
            return None
        return candidate

    def _knows(self, candidate: WireCandidate) -> bool:
        return any((c.host, c.port) == (candidate.host, candidate.port) for c in self._local_candidates)

    def description(self) -> LocalIce:
        """Credentials and candidates for our description."""
        return LocalIce(
            ufrag=self.local_username,
            pwd=self.local_password,
            candidates=tuple(
                Candidate(
                    foundation=c.foundation,
                    component=c.component,
                    transport=c.transport,
                    priority=c.priority,
                    address=c.host,
                    port=c.port,
                    type=c.type,
                    related_address=c.related_address,
                    related_port=c.related_port,
                )
                for c in sorted(self.local_candidates, key=lambda c: -c.priority)
            ),
        )

    # -- checks

    async def search(self, remote: RemoteIce) -> None:
        """Check pairs until one is nominated. The end of candidates is never signalled: the caller has a deadline."""
        self.remote_is_lite = remote.lite
        self.ice_controlling = self.ice_controlling or remote.lite
        self.remote_username, self.remote_password = remote.ufrag, remote.pwd
        await self.feed(remote.candidates)
        self.sort_check_list()
        self._unfreeze_initial()
        for check in self._early_checks:
            self.check_incoming(*check)
        self._early_checks.clear()
        self._early_checks_done = True
        pace = self.owner.options.pace_s
        while not self._check_list_done:
            self._check_periodic()
            waiting = any(
                p.state in (CandidatePair.State.WAITING, CandidatePair.State.FROZEN) for p in self._check_list
            )
            try:
                async with asyncio.timeout(pace if waiting else 0.05):
                    result = await self._check_list_state.get()
            except TimeoutError:
                continue
            if result == _FED:
                continue
            if result != ICE_COMPLETED:
                raise IceDiscarded("the agent was closed")
        if self.selected is None:
            raise IceDiscarded("the agent was closed")  # before there was anything to wait for
        self._query_consent_task = self.owner.tasks.spawn("consent", self.query_consent())
        better = []
        for pair in self._check_list:
            if pair.task is None or pair is self.selected:
                continue
            if self._better(pair):
                better.append(pair.task)
            else:
                pair.task.cancel()
        self.owner.tasks.spawn("settle", self._settle(better))

    async def _settle(self, checks: list[asyncio.Task[None]]) -> None:
        """Let pairs of higher priority, which the peer holds for nominated as well, take over if they answer soon."""
        if checks:
            await asyncio.wait(checks, timeout=SETTLE_S)
        for check in checks:
            check.cancel()
        self.completed = True

    async def feed(self, candidates: tuple[Candidate, ...]) -> None:
        """Candidates of the peer; known ones are ignored by aioice."""
        for c in candidates:
            await self.add_remote_candidate(
                WireCandidate(c.foundation, COMPONENT, "udp", c.priority, c.address, c.port, c.type)
            )
        if candidates and not self._check_list_done:
            self._check_list_state.put_nowait(_FED)  # `search` asks them at once

    def build_request(self, pair: CandidatePair, nominate: bool) -> stun.Message:
        # once a pair carries media and answers, a stray check of the peer must not make us nominate another one
        settled = self.completed and self.misses == 0 and pair is not self.selected
        request = super().build_request(pair, nominate and not settled)
        return self.nominations.number(request, chosen=pair is self.selected)

    def check_complete(self, pair: CandidatePair) -> None:
        if pair.state == CandidatePair.State.SUCCEEDED:
            self.trust(pair.remote_addr)
            if self.ice_controlling and self.misses == 0 and not self._better(pair):
                pair.nominated = False
        super().check_complete(pair)
        nominated = self._nominated.get(COMPONENT)
        if nominated is not None and nominated is not self.selected:
            self.selected = nominated
            self.misses = 0
            self.owner.nominated(self)
            if self.ice_controlling:
                self.owner.tasks.spawn("nominate", self._choose(nominated))

    async def _choose(self, pair: CandidatePair) -> None:
        """Tell the peer which of the pairs that were nominated with their checks it is."""
        assert self.remote_password is not None
        self.nominations.choose()
        request = self.build_request(pair, nominate=True)
        with suppress(stun.TransactionError):  # not heard: the peer goes by what it hears on which pair
            await pair.protocol.request(
                request, pair.remote_addr, integrity_key=self.remote_password.encode(), retransmissions=2
            )

    def _better(self, pair: CandidatePair) -> bool:
        """Whether a pair that answered may take the place of the one in use: of several that were nominated at once the
        one with the highest priority counts (RFC 5245 8.1.1.2), and later none."""
        if self.selected is None or pair is self.selected:
            return True
        return not self.completed and self._rank(pair) > self._rank(self.selected)

    def _rank(self, pair: CandidatePair) -> int:
        return candidate_pair_priority(pair.local_candidate, pair.remote_candidate, self.ice_controlling)

    def trust(self, address: tuple[str, int]) -> None:
        """This address proved that it knows our credentials: its media and DTLS may come in."""
        if len(self.trusted) < MAX_TRUSTED:
            self.trusted.add((address[0], address[1]))

    # -- consent (RFC 7675)

    async def query_consent(self) -> None:
        options = self.owner.options
        loop = asyncio.get_running_loop()
        fresh = loop.time()
        while True:
            await asyncio.sleep(options.consent_interval_s * (0.8 + 0.4 * random.random()))
            if await self.ask() is not None:
                fresh = loop.time()
                if self.misses:
                    self.misses = 0
                    self.owner.consent_missed(self, 0)
                continue
            self.misses += 1
            self.owner.consent_missed(self, self.misses)
            if loop.time() - fresh >= options.consent_timeout_s:
                self.owner.consent_expired(self)
                return

    async def ask(self) -> float | None:
        """One authenticated check on the pair in use: the round trip time, None without an answer in 500 ms."""
        pair = self.selected
        if pair is None or self.remote_password is None or self.closing:
            return None
        loop = asyncio.get_running_loop()
        asked = loop.time()
        request = self.build_request(pair, nominate=False)
        try:
            await pair.protocol.request(
                request, pair.remote_addr, integrity_key=self.remote_password.encode(), retransmissions=0
            )
        except stun.TransactionFailed as error:
            # an authenticated refusal is a sign of life too
            if error.response.error_code == 487:
                self.switch_role(ice_controlling="ICE-CONTROLLED" in request.attributes)
        except stun.TransactionError:
            return None
        self.rtt_s = loop.time() - asked
        return self.rtt_s

    def stop_consent(self) -> None:
        """Media left this agent: it must not end things later."""
        if self._query_consent_task is not None:
            self._query_consent_task.cancel()

    @property
    def own_socket(self) -> socket.socket | None:
        """The socket of the selected pair, when it is ours alone (see `IceSocket`)."""
        return getattr(self.selected.protocol, "own_socket", None) if self.selected is not None else None

    @property
    def closing(self) -> bool:
        """Its sockets are closed, or will be in a moment."""
        return self._closing

    # -- reports of the sockets

    def drop(self, cause: str, detail: object = "") -> None:
        """Count a datagram that is not handed up."""
        self.owner.log.drop(cause, asyncio.get_running_loop().time(), detail)

    def socket_error(self, protocol: StunProtocol, error: OSError) -> None:
        """The kernel refused a packet."""
        if self.selected is not None and self.selected.protocol is protocol:
            self.owner.socket_error(self, error)

    def protocol_lost(self, protocol: StunProtocol) -> None:
        if not self._closing:
            self.socket_error(protocol, OSError(errno.EBADF, "the socket was lost"))

    def data_received(self, data: bytes, component: int) -> None:
        """Never used: `IceSocket` hands datagrams to the listener."""
