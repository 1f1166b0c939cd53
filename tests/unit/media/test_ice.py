"""Paths between two agents: gathering, roles, lite peers, servers that answer and servers that do not."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest
from aioice import Candidate, stun
from aioice.ice import CandidatePair

from phoned.media import sdp
from phoned.media.ice import SETTLE_S, IceAgent, IceFailed, LocalIce, RemoteIce
from phoned.media.nomination import STEPS
from phoned.media.options import IceOptions, TurnServer
from phoned.media.path import IcePath
from phoned.media.servers import ServerMemory
from phoned.tasks import Tasks

OPTIONS = IceOptions(addresses=("127.0.0.1",), allow_loopback=True, consent_interval_s=0.1, linger_s=0.05)


class Ear:
    def __init__(self) -> None:
        self.got: list[tuple[str, bytes]] = []
        self.facts: list[str] = []

    def rtp_received(self, data: bytes) -> None:
        self.got.append(("rtp", data))

    def rtcp_received(self, data: bytes) -> None:
        self.got.append(("rtcp", data))

    def dtls_received(self, data: bytes) -> None:
        self.got.append(("dtls", data))

    def path_changed(self) -> None:
        self.facts.append("changed")

    def socket_error(self, error: OSError) -> None:
        self.facts.append(f"socket {error.strerror}")

    def consent_missed(self, misses: int) -> None:
        self.facts.append(f"missed {misses}")

    def consent_expired(self) -> None:
        self.facts.append("expired")


class End:
    def __init__(self, options: IceOptions = OPTIONS) -> None:
        self.ear = Ear()
        self.crashes: list[BaseException] = []
        self.tasks = Tasks("test", lambda name, error: self.crashes.append(error))
        self.path = IcePath("test", options, self.ear, self.tasks, ServerMemory())

    async def close(self) -> None:
        await self.path.close()
        await self.tasks.close()
        assert self.crashes == []


@asynccontextmanager
async def ends(one: IceOptions = OPTIONS, other: IceOptions = OPTIONS) -> AsyncIterator[tuple[End, End]]:
    pair = End(one), End(other)
    try:
        yield pair
    finally:
        for end in pair:
            await end.close()
        assert asyncio.all_tasks() == {asyncio.current_task()}


def remote(local: LocalIce, *, lite: bool = False) -> RemoteIce:
    return RemoteIce(ufrag=local.ufrag, pwd=local.pwd, candidates=local.candidates, lite=lite)


async def join(a: End, b: End, roles: tuple[bool, bool] = (True, False)) -> None:
    one, other = await a.path.prepare(controlling=roles[0]), await b.path.prepare(controlling=roles[1])
    await asyncio.gather(a.path.connect(remote(other)), b.path.connect(remote(one)))


async def arrive(ear: Ear, count: int) -> None:
    async with asyncio.timeout(2):
        while len(ear.got) < count:  # noqa: ASYNC110 - a datagram tells nobody else
            await asyncio.sleep(0.005)


RTP = b"\x80\x00" + bytes(20)
RTCP = b"\x80\xc8" + bytes(20)
DTLS = b"\x17\xfe\xfd" + bytes(20)


@pytest.mark.parametrize("roles", [(True, False), (False, True), (True, True), (False, False)])
async def test_agents_join_whatever_their_roles(roles: tuple[bool, bool]) -> None:
    async with ends() as (a, b):
        await join(a, b, roles)
        assert a.path.send(RTP)
        assert a.path.send(RTCP)
        assert a.path.send(DTLS)
        await arrive(b.ear, 3)
        assert b.ear.got == [("rtp", RTP), ("rtcp", RTCP), ("dtls", DTLS)]
        assert a.path.local == b.path.remote
        assert (a.path.generation, a.path.heard, b.path.heard) == (1, False, True)


async def test_an_address_from_which_nobody_was_reached_ranks_last_until_another_pair_is_nominated() -> None:
    several = replace(OPTIONS, addresses=("127.0.0.1", "127.0.0.2"))
    async with ends(several) as (a, b):
        await join(a, b)
        dead = str(a.path.local).partition(":")[0]
        await b.path.close()
        assert await a.path.probe(count=1) is None
        ranked = [each.address for each in (await a.path.prepare(controlling=True)).candidates]
        assert sorted(ranked) == ["127.0.0.1", "127.0.0.2"]
        assert ranked[-1] == dead
        c = End()
        try:
            await join(a, c)
            assert a.path.doubted is None
        finally:
            await c.close()


async def test_nothing_is_sent_before_there_is_a_pair() -> None:
    async with ends() as (a, _):
        assert not a.path.send(RTP)
        assert (a.path.local, a.path.remote, a.path.rtt_s, a.path.heard) == (None, None, None, False)
        assert await a.path.probe() is None
        with pytest.raises(IceFailed):
            await a.path.connect(RemoteIce(ufrag="abcd", pwd="x" * 22, candidates=()))
        await a.path.feed(())


async def test_the_default_address_comes_first_and_priorities_fall() -> None:
    options = replace(OPTIONS, addresses=("127.0.0.1", "127.0.0.2", "127.0.0.3"))
    async with ends(options) as (a, _):
        local = await a.path.prepare(controlling=True)
        assert [candidate.address for candidate in local.candidates] == ["127.0.0.1", "127.0.0.2", "127.0.0.3"]
        assert len({candidate.priority for candidate in local.candidates}) == 3
        assert {candidate.type for candidate in local.candidates} == {"host"}


async def test_an_address_that_is_gone_is_left_out_and_none_at_all_is_told() -> None:
    async with ends(replace(OPTIONS, addresses=("192.0.2.250", "127.0.0.1"))) as (a, _):
        local = await a.path.prepare(controlling=True)
        assert [candidate.address for candidate in local.candidates] == ["127.0.0.1"]
        assert a.path.log.counts["bind"] == 1
    async with ends(replace(OPTIONS, addresses=("192.0.2.250",))) as (a, _):
        with pytest.raises(IceFailed):
            await a.path.prepare(controlling=True)


async def test_a_lite_peer_is_nominated_by_us() -> None:
    async with ends() as (a, b):
        one, other = await a.path.prepare(controlling=False), await b.path.prepare(controlling=False)
        await asyncio.gather(a.path.connect(remote(other, lite=True)), b.path.connect(remote(one)))
        a.path.send(RTP)
        await arrive(b.ear, 1)


async def test_candidates_may_come_later() -> None:
    async with ends() as (a, b):
        one, other = await a.path.prepare(controlling=True), await b.path.prepare(controlling=False)
        empty = replace(remote(other), candidates=())
        silent = replace(remote(one), candidates=())
        joining = asyncio.gather(a.path.connect(empty), b.path.connect(silent))
        await asyncio.sleep(0.1)
        assert not a.path.connected
        await a.path.feed(other.candidates)
        await joining
        assert a.path.connected


async def test_consent_gives_the_round_trip_and_its_loss_is_told_in_order() -> None:
    async with ends(replace(OPTIONS, consent_timeout_s=1.2)) as (a, b):
        await join(a, b)
        async with asyncio.timeout(2):
            while a.path.rtt_s is None:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        await b.path.close()
        async with asyncio.timeout(6):
            while "expired" not in a.ear.facts:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        missed = [fact for fact in a.ear.facts if fact.startswith("missed")]
        assert missed[:2] == ["missed 1", "missed 2"]
        assert not a.path.send(RTP)
        assert not a.path.connected


async def test_a_swap_moves_the_media_and_the_old_sockets_close() -> None:
    async with ends() as (a, b):
        await join(a, b)
        old = a.path.local
        await join(b, a)
        assert a.path.local != old
        assert (a.path.generation, b.path.generation) == (2, 2)
        a.path.send(RTP)
        await arrive(b.ear, 1)
        await asyncio.sleep(0.2)
        assert len(a.tasks) == 1


async def test_a_discarded_agent_leaves_the_path_alone() -> None:
    async with ends() as (a, b):
        await join(a, b)
        before = a.path.local
        await a.path.prepare(controlling=True)
        a.path.discard_soon()
        a.path.discard_soon()
        await a.path.prepare(controlling=True)
        await a.path.discard()
        assert a.path.local == before
        assert a.path.send(RTP)


async def test_pausing_stops_sending_until_the_next_pair() -> None:
    async with ends() as (a, b):
        await join(a, b)
        a.path.paused = True
        assert not a.path.send(RTP)
        await join(a, b)
        assert a.path.send(RTP)


async def test_a_close_that_is_interrupted_can_be_finished() -> None:
    async with ends() as (a, b):
        await join(a, b)
        await join(b, a)
        await asyncio.sleep(OPTIONS.linger_s)
        for _ in range(3):
            await a.tasks.close()
        await a.path.prepare(controlling=True)
        a.path.discard_soon()
        await a.tasks.close()
        closing = asyncio.get_running_loop().create_task(a.path.close())
        await asyncio.sleep(0)
        closing.cancel()
        await asyncio.wait([closing])
        await b.path.prepare(controlling=True)
        dropping = asyncio.get_running_loop().create_task(b.path.discard())
        await asyncio.sleep(0)
        dropping.cancel()
        await asyncio.wait([dropping])


class StunServer(asyncio.DatagramProtocol):
    def __init__(self) -> None:
        self.asked = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.asked += 1
        answer = stun.Message(stun.Method.BINDING, stun.Class.RESPONSE, stun.parse_message(data).transaction_id)
        answer.attributes["XOR-MAPPED-ADDRESS"] = ("203.0.113.7", 40_000)
        self.transport.sendto(bytes(answer), addr)


async def test_a_stun_server_adds_what_it_sees() -> None:
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(StunServer, local_addr=("127.0.0.1", 0))
    server = transport.get_extra_info("sockname")[:2]
    async with ends(replace(OPTIONS, stun_server=("localhost", server[1]))) as (a, _end):
        local = await a.path.prepare(controlling=True)
    transport.close()
    host, reflexive = local.candidates
    assert (reflexive.type, reflexive.address, reflexive.port) == ("srflx", "203.0.113.7", 40_000)
    assert (reflexive.related_address, reflexive.related_port) == (host.address, host.port)


async def test_dead_servers_cost_their_budget_once() -> None:
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(asyncio.DatagramProtocol, local_addr=("127.0.0.1", 0))
    dead = transport.get_extra_info("sockname")[:2]
    options = replace(
        OPTIONS,
        stun_server=dead,
        turn_server=TurnServer(host=dead[0], port=dead[1] + 0, username="u", password="p"),
        gather_budget_s=0.05,
        relay_budget_s=0.1,
    )
    async with ends(options) as (a, _end):
        began = loop.time()
        assert len((await a.path.prepare(controlling=True)).candidates) == 1
        first = loop.time() - began
        assert 0.09 < first < 1.0
        assert a.path.log.counts["server"] == 2
        assert len((await a.path.prepare(controlling=True)).candidates) == 1
        assert a.path.log.counts["server"] == 2
    transport.close()


async def test_relayed_only_without_a_relay_has_no_address() -> None:
    async with ends(replace(OPTIONS, relay_only=True)) as (a, _):
        with pytest.raises(IceFailed):
            await a.path.prepare(controlling=True)


def test_a_turn_password_is_never_shown() -> None:
    assert "secret" not in repr(TurnServer(host="turn.example", password="secret"))


async def test_the_check_that_nominates_carries_the_number_of_its_agent() -> None:
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.setblocking(False)
        peer.bind(("127.0.0.1", 0))
        async with ends() as (a, b):
            await a.path.prepare(controlling=True, nomination=7)
            far = replace((await b.path.prepare(controlling=False)).candidates[0], port=peer.getsockname()[1])
            searching = a.tasks.spawn(
                "search", a.path.connect(RemoteIce(ufrag="them", pwd="x" * 22, candidates=(far,)))
            )
            check = stun.parse_message(await asyncio.wait_for(loop.sock_recv(peer, 1500), 2))
            assert "USE-CANDIDATE" in check.attributes
            assert check.attributes["NOMINATION"] == 7 * STEPS
            searching.cancel()
            await asyncio.gather(searching, return_exceptions=True)


@pytest.mark.parametrize("first", [200, 100])
async def test_of_pairs_that_answer_at_once_the_better_one_is_used_whichever_was_first(first: int) -> None:
    async with ends() as (a, _):
        agent = IceAgent(a.path, controlling=True)
        line = SimpleNamespace(sendto=lambda data, address: None)
        far = Candidate("1", 1, "udp", 300, "127.0.0.1", 9, "host")
        for priority in (first, 300 - first):
            near = Candidate(str(priority), 1, "udp", priority, "127.0.0.1", priority, "host")
            pair = CandidatePair(cast(Any, SimpleNamespace(local_candidate=near, transport=line)), far)
            pair.nominated, pair.state = True, CandidatePair.State.SUCCEEDED
            agent.check_complete(pair)
        assert agent.selected is not None
        assert agent.selected.local_candidate.priority == 200
        await agent.close()


class AskedPeer:
    """A peer that checks nothing itself and answers what it is asked when told to."""

    def __init__(self, own: socket.socket) -> None:
        self._own = own
        host, port = own.getsockname()
        candidate = sdp.Candidate(
            foundation="1", component=1, transport="udp", priority=300, address=host, port=port, type="host"
        )
        self.remote = RemoteIce(ufrag="them", pwd="x" * 22, candidates=(candidate,))

    async def asked(self) -> tuple[stun.Message, tuple[str, int]]:
        data, source = await asyncio.wait_for(asyncio.get_running_loop().sock_recvfrom(self._own, 1500), 2)
        return stun.parse_message(data), source

    def answer(self, request: stun.Message, source: tuple[str, int]) -> None:
        response = stun.Message(
            message_method=stun.Method.BINDING,
            message_class=stun.Class.RESPONSE,
            transaction_id=request.transaction_id,
        )
        response.attributes["XOR-MAPPED-ADDRESS"] = source
        response.add_message_integrity(b"x" * 22)
        self._own.sendto(bytes(response), source)


@pytest.mark.parametrize("answers_late", [True, False])
async def test_the_peer_is_told_which_of_the_pairs_that_answered_is_in_use(answers_late: bool) -> None:
    several = replace(OPTIONS, addresses=("127.0.0.1", "127.0.0.2"), consent_interval_s=5)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as own:
        own.setblocking(False)
        own.bind(("127.0.0.1", 0))
        peer = AskedPeer(own)
        async with ends(several) as (a, _):
            await a.path.prepare(controlling=True, nomination=3)
            searching = a.tasks.spawn("search", a.path.connect(peer.remote))
            best, other = await peer.asked(), await peer.asked()
            assert (best[1][0], other[1][0]) == ("127.0.0.1", "127.0.0.2")
            peer.answer(*other)
            await searching
            assert str(a.path.local).startswith("127.0.0.2:")
            told = {other[1]: await number_of(peer, other[1])}
            if answers_late:
                peer.answer(*best)
                told[best[1]] = await number_of(peer, best[1])
                assert str(a.path.local).startswith("127.0.0.1:")
                assert told == {other[1]: 3 * STEPS + 1, best[1]: 3 * STEPS + 2}
            else:
                await asyncio.sleep(SETTLE_S + 0.05)
                peer.answer(*best)
                await asyncio.sleep(0.05)
                assert str(a.path.local).startswith("127.0.0.2:")
                assert told == {other[1]: 3 * STEPS + 1}


async def number_of(peer: AskedPeer, source: tuple[str, int]) -> int:
    """The next nomination from there which counts for more than the checks did; it is answered."""
    while True:
        request, asking = await peer.asked()
        number = int(request.attributes.get("NOMINATION", 0))
        if asking == source and number > 3 * STEPS:
            peer.answer(request, asking)
            return number


async def test_candidates_that_come_while_there_are_none_are_asked_at_once() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as own:
        own.setblocking(False)
        own.bind(("127.0.0.1", 0))
        peer = AskedPeer(own)
        async with ends() as (a, _):
            await a.path.prepare(controlling=True)
            searching = a.tasks.spawn("search", a.path.connect(replace(peer.remote, candidates=())))
            turns = 3
            for _turn in range(turns):
                await asyncio.sleep(0)
            await a.path.feed(peer.remote.candidates)
            for _turn in range(turns):
                await asyncio.sleep(0)
            assert own.recv(1500)  # no time has passed, and it is there
            searching.cancel()
            await asyncio.gather(searching, return_exceptions=True)
