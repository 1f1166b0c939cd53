"""The secured transport: which keys are tried, where records go, what a peer may start on its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from phoned.media.dtls import Association, DtlsFailed, Identity
from phoned.media.ice import RemoteIce
from phoned.media.options import IceOptions
from phoned.media.sdp import Fingerprint
from phoned.media.servers import ServerMemory
from phoned.media.transport import MAX_PEER_ASSOCIATIONS, Peer, SecureTransport, same_fingerprints
from phoned.tasks import Tasks
from tests.support.media import until

OPTIONS = IceOptions(addresses=("127.0.0.1",), allow_loopback=True)
HELLO = b"\x16\xfe\xfd" + bytes(8) + b"\x00\x10\x01" + bytes(15)
FORGED_HELLO = bytes.fromhex("16feff0000000000000000003601000029000000000000002afefd") + bytes(32) + bytes(4)
PACKET = b"\x80\x00\x00\x01" + bytes(8) + b"sound" * 30
REPORT = b"\x80\xc9\x00\x01\x00\x00\x12\x34"


class End:
    def __init__(self, deadline_s: float) -> None:
        self.packets: list[bytes] = []
        self.reports: list[bytes] = []
        self.facts: list[str] = []
        self.tasks = Tasks("test", lambda name, error: self.facts.append(f"{name} {error!r}"))
        self.transport = SecureTransport(
            "test", OPTIONS, self, self.tasks, ServerMemory(), handshake_deadline_s=deadline_s
        )
        self.identity = Identity()

    def rtp(self, packet: bytes) -> None:
        self.packets.append(packet)

    def rtcp(self, packet: bytes) -> None:
        self.reports.append(packet)

    def path_changed(self) -> None:
        self.facts.append("path")

    def socket_error(self, error: OSError) -> None:
        self.facts.append("socket")

    def consent_missed(self, misses: int) -> None:
        self.facts.append("missed")

    def consent_expired(self) -> None:
        self.facts.append("expired")

    async def close(self) -> None:
        await self.tasks.close()
        await self.transport.close()


def peers(a: End, b: End) -> tuple[Peer, Peer]:
    return (
        Peer(identity=a.identity, role="server", fingerprints=(b.identity.fingerprint,)),
        Peer(identity=b.identity, role="client", fingerprints=(a.identity.fingerprint,)),
    )


@asynccontextmanager
async def ends(*, secure: bool = True, deadline_s: float = 5.0) -> AsyncIterator[tuple[End, End]]:
    a, b = End(deadline_s), End(deadline_s)
    one = await a.transport.path.prepare(controlling=True)
    other = await b.transport.path.prepare(controlling=False)
    await asyncio.gather(
        a.transport.path.connect(RemoteIce(ufrag=other.ufrag, pwd=other.pwd, candidates=other.candidates)),
        b.transport.path.connect(RemoteIce(ufrag=one.ufrag, pwd=one.pwd, candidates=one.candidates)),
    )
    if secure:
        for_a, for_b = peers(a, b)
        await asyncio.gather(a.transport.establish(for_a), b.transport.establish(for_b))
    try:
        yield a, b
    finally:
        await a.close()
        await b.close()
        assert asyncio.all_tasks() == {asyncio.current_task()}


async def settle(turns: int = 20) -> None:
    for _ in range(turns):
        await asyncio.sleep(0.005)


async def test_packets_arrive_in_the_clear_and_forged_ones_are_counted() -> None:
    async with ends() as (a, b):
        assert a.transport.send_rtp(PACKET)
        assert a.transport.send_rtcp(REPORT)
        a.transport.path.send(PACKET)
        a.transport.path.send(b"\x80\xc8" + bytes(40))
        await until(lambda: bool(b.packets and b.reports))
        assert (b.packets, b.reports) == ([PACKET], [REPORT])
        await until(lambda: b.transport.path.log.counts["srtcp"] == 1)
        assert b.transport.path.log.counts["srtp"] == 1


async def test_without_keys_nothing_goes_out_and_nothing_is_believed() -> None:
    async with ends(secure=False) as (a, b):
        assert not a.transport.ready
        assert not a.transport.send_rtp(PACKET)
        assert not a.transport.send_rtcp(REPORT)
        a.transport.path.send(PACKET)
        a.transport.path.send(b"\x80\xc8" + bytes(40))
        await until(lambda: b.transport.path.log.counts["early"] == 2)
        assert b.packets == []


async def test_a_packet_under_the_old_keys_is_still_heard_after_a_new_association() -> None:
    async with ends() as (a, b):
        kept: list[bytes] = []
        for_a, for_b = peers(a, b)
        a.transport.collecting = b.transport.collecting = True
        old_association = a.transport.association
        assert old_association is not None
        kept.append(old_association.protect(PACKET) or b"")
        kept.append(old_association.protect_rtcp(REPORT) or b"")
        await asyncio.gather(a.transport.establish(for_a), b.transport.establish(for_b))
        for data in kept:
            a.transport.path.send(data)
        await until(lambda: bool(b.packets and b.reports))
        assert (b.packets, b.reports) == ([PACKET], [REPORT])
        assert b.transport.generation == 2


async def test_hellos_start_only_a_few_associations_a_minute() -> None:
    async with ends(deadline_s=1.0) as (a, b):
        before = a.transport.generation
        for _ in range(MAX_PEER_ASSOCIATIONS + 2):
            b.transport.path.send(HELLO)
            await settle(4)
            await settle_following(a)
        assert a.transport.path.log.counts["client_hello"] >= 1
        assert a.transport.generation == before
        a.transport.send_rtp(PACKET)
        await until(lambda: b.packets == [PACKET])


async def settle_following(end: End) -> None:
    async with asyncio.timeout(5):
        while any("follow" in task.get_name() for task in asyncio.all_tasks()):  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    assert end.facts.count("expired") == 0


async def test_a_hello_while_an_offer_is_open_waits_for_its_outcome() -> None:
    async with ends() as (a, b):
        a.transport.collecting = True
        b.transport.path.send(HELLO)
        await settle()
        assert not any("follow" in task.get_name() for task in asyncio.all_tasks())
        a.transport.end_collecting(keep=False)
        assert not any("follow" in task.get_name() for task in asyncio.all_tasks())
        a.transport.collecting = True
        b.transport.path.send(HELLO)
        await settle(40)
        a.transport.end_collecting(keep=True)
        assert any("follow" in task.get_name() for task in asyncio.all_tasks())


async def test_what_was_agreed_comes_before_what_the_peer_began() -> None:
    async with ends() as (a, b):
        b.transport.path.send(HELLO)
        await settle(4)
        assert any("follow" in task.get_name() for task in asyncio.all_tasks())
        for_a, for_b = peers(a, b)
        await asyncio.gather(a.transport.establish(for_a), b.transport.establish(for_b))
        assert a.transport.generation == 2
        a.transport.send_rtp(PACKET)
        await until(lambda: b.packets == [PACKET])


async def test_a_client_that_begins_anew_is_followed_soon() -> None:
    async with ends(secure=False) as (a, b):
        server, client = peers(a, b)
        establishing = a.tasks.spawn("server", a.transport.establish(server))
        given_up = Association(b.identity, b.transport.path.send)
        trying = b.tasks.spawn("client", given_up.handshake("client", client.fingerprints, deadline_s=5))
        await until(lambda: bool(b.transport._early))  # the server's answer, which nobody takes
        trying.cancel()
        await asyncio.gather(trying, return_exceptions=True)
        await given_up.close(notify=False)
        began = asyncio.get_running_loop().time()
        await asyncio.gather(establishing, b.transport.establish(client))
        assert asyncio.get_running_loop().time() - began < 1  # before either would have repeated anything
        assert (a.transport.ready, b.transport.ready) == (True, True)


async def test_a_forged_hello_does_not_break_a_handshake_that_goes_on() -> None:
    async with ends(secure=False) as (a, b):
        server, client = peers(a, b)
        both = a.tasks.spawn("server", a.transport.establish(server)), b.tasks.spawn("b", b.transport.establish(client))
        async with asyncio.timeout(5):
            while (begun := a.transport._handshaking) is None or begun._client_random is None:  # noqa: ASYNC110
                await asyncio.sleep(0)
            while not a.transport.ready:
                a.transport.dtls_received(FORGED_HELLO)
                await asyncio.sleep(0)
        await asyncio.gather(*both)
        assert a.transport.association is begun


async def test_of_two_hellos_before_the_handshake_the_later_counts() -> None:
    async with ends(secure=False) as (a, b):
        server, client = peers(a, b)
        first, second = (Association(b.identity, b.transport.path.send) for _ in range(2))
        given_up = b.tasks.spawn("first", first.handshake("client", client.fingerprints, deadline_s=5))
        await until(lambda: len(a.transport._early) == 1)
        given_up.cancel()
        await asyncio.gather(given_up, return_exceptions=True)
        trying = b.tasks.spawn("second", second.handshake("client", client.fingerprints, deadline_s=5))
        await until(lambda: len(a.transport._early) == 2)
        b.transport._handshaking = second
        await asyncio.gather(a.transport.establish(server), trying)
        assert (a.transport.ready, second.ready) == (True, True)
        b.transport._handshaking = None
        await second.close(notify=False)


async def test_revoked_keys_are_gone_at_once() -> None:
    async with ends() as (a, b):
        a.transport.revoke()
        assert not a.transport.ready
        assert not a.transport.send_rtp(PACKET)
        b.transport.send_rtp(PACKET)
        await settle()
        assert a.packets == []
        await a.transport.say_goodbye()


async def test_a_wrong_certificate_is_not_tried_again() -> None:
    async with ends(secure=False) as (a, b):
        _, for_b = peers(a, b)
        wrong = Peer(identity=a.identity, role="server", fingerprints=(a.identity.fingerprint,))
        loop = asyncio.get_running_loop()
        began = loop.time()
        other = loop.create_task(b.transport.establish(for_b))
        with pytest.raises(DtlsFailed):
            await a.transport.establish(wrong)
        assert loop.time() - began < 1.5
        assert not a.transport.ready
        await other


def test_fingerprints_are_compared_as_sets() -> None:
    one = Fingerprint(algorithm="sha-256", value="AA")
    two = Fingerprint(algorithm="sha-512", value="BB")
    assert same_fingerprints((one, two), (two, one))
    assert not same_fingerprints((one,), (one, two))
