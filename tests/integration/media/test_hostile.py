"""Datagrams from strangers and from a peer gone mad: no effect on the call (F1-F5, RFC 3711 replay, RTCP BYE)."""

from __future__ import annotations

import asyncio
import os
import socket
import struct

import pytest

from phoned.media.events import Flowing, MediaFailed
from phoned.model import MediaState, PlayRequest
from tests.support.media import Call, call, connect_through, frequency, until, wire

NULL_CIPHER_HELLO = bytes.fromhex(
    "16feff0000000000000000003601000029000000000000002afefd" + "00" * 32 + "00000002000001000000"
)
CLOSE_NOTIFY = bytes.fromhex("15feff00000000000000010002" + "0100")
FATAL_ALERT = bytes.fromhex("15feff00000000000000010002" + "0228")


def stun(kind: int, attributes: bytes) -> bytes:
    return struct.pack("!HHI12s", kind, len(attributes), 0x2112A442, os.urandom(12)) + attributes


def short_attributes(username: bytes) -> list[bytes]:
    """A USERNAME that looks right, so that the filter lets it pass, and attributes that are too short (F4)."""
    user = struct.pack("!HH", 6, len(username)) + username + bytes(-len(username) % 4)
    return [
        stun(1, user + struct.pack("!HH", kind, length) + bytes(length + -length % 4))
        for kind in (0x0024, 0x0025, 0x8028, 0x8029, 0x802A, 0x0020, 0x0009, 0x0008)
        for length in (0, 1, 2, 3, 5)
    ]


HOSTILE: list[bytes] = [
    b"",
    b"\x80",
    b"\x80" * 2048,
    os.urandom(9000),
    b"\x80" + bytes(1500),
    NULL_CIPHER_HELLO,
    CLOSE_NOTIFY,
    FATAL_ALERT,
    b"\x16",
    b"\x00",
    stun(0x0001, b""),
    stun(0x0101, b""),
    stun(0x0111, b"\x00\x09\x00\x01\x00\x00\x00\x00"),
    stun(0x0011, b""),
    b"\x80\xc9\x00\x01" + bytes(40),
    b"\x80\x00" + bytes(170),
]


class Spray:
    """A stranger on this machine."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)

    def __enter__(self) -> Spray:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def at(self, address: str | None, rounds: int = 5, username: bytes = b"") -> None:
        assert address is not None
        host, _, port = address.rpartition(":")
        for _ in range(rounds):
            for datagram in HOSTILE + short_attributes(username):
                self._socket.sendto(datagram, (host, int(port)))


async def still_well(pair: Call) -> None:
    received = pair.b.session.stats().packets_received
    heard = await pair.b.listen(0.3)
    assert frequency(heard, 16000) == pytest.approx(1000, abs=10)
    assert pair.b.session.stats().packets_received > received
    assert pair.a.all(MediaFailed) + pair.b.all(MediaFailed) == []


def ufrag(description: bytes) -> bytes:
    return description.partition(b"a=ice-ufrag:")[2].partition(b"\r\n")[0]


def port(description: bytes) -> str:
    return "127.0.0.1:" + description.partition(b"m=audio ")[2].split()[0].decode()


async def test_strangers_during_a_call_have_no_effect() -> None:
    async with call() as pair:
        await pair.a.session.play(PlayRequest(tone="1000", loop=True))
        local = pair.a.session.current_offer()
        assert local is not None
        with Spray() as spray:
            for party in (pair.a, pair.b):
                spray.at(party.session.view().local, username=ufrag(local) + b":evil")
            await asyncio.sleep(0.1)
        await pair.b.listen(0.2)
        await still_well(pair)
        drops = pair.a.session.drops()
        assert {"length", "stranger", "stun", "stun_foreign", "stun_unasked"} <= set(drops)


async def test_strangers_during_set_up_have_no_effect() -> None:
    async with call(connect=False) as pair:
        with Spray() as spray:
            offer = await pair.a.session.offer()
            spray.at(port(offer), username=ufrag(offer) + b":x")
            await asyncio.sleep(0.05)
            answer = await pair.b.session.answer(offer)
            spray.at(port(answer), rounds=10)
            await asyncio.sleep(0.01)
            await pair.a.session.accept_answer(answer)
            for _ in range(10):
                spray.at(port(offer), rounds=2, username=ufrag(offer) + b":x")
                spray.at(port(answer), rounds=2)
                await asyncio.sleep(0.005)
        await pair.a.session.play(PlayRequest(tone="1000", loop=True))
        await pair.b.wait(Flowing)
        await pair.a.wait(Flowing)
        await pair.b.listen(0.2)
        await still_well(pair)


@pytest.mark.parametrize("moment", ["set-up", "call"])
async def test_the_same_from_the_peers_own_address_has_no_effect(moment: str) -> None:
    async with wire() as halves, call(connect=False) as pair:

        def noise() -> None:
            for half in halves:
                for data in HOSTILE:
                    half.inject(data)

        if moment == "set-up":
            offered = asyncio.get_running_loop().create_task(connect_through(pair, halves))
            for _ in range(20):
                await asyncio.sleep(0.005)
                noise()
            await offered
        else:
            await connect_through(pair, halves)
            noise()
        await pair.a.session.play(PlayRequest(tone="1000", loop=True))
        await pair.b.listen(0.3)
        await still_well(pair)


async def test_a_replayed_packet_is_played_once() -> None:
    async with wire() as halves, call(connect=False) as pair:
        await connect_through(pair, halves)
        await pair.a.session.play(PlayRequest(tone="1000", loop=True))
        caught: list[bytes] = []

        def copy(data: bytes) -> bool:
            if 127 < data[0] < 192 and not 192 <= data[1] < 224:
                caught.append(data)
            return False

        halves[0].drop = copy
        await until(lambda: len(caught) >= 10)
        halves[0].drop = lambda data: False
        for data in caught * 10:
            halves[1].inject(data)
        await until(lambda: pair.b.session.drops().get("srtp", 0) >= 100)
        await still_well(pair)


async def test_an_rtcp_bye_does_not_end_the_call() -> None:
    async with call() as pair:
        await pair.a.session.play(PlayRequest(tone="1000", loop=True))
        transport = pair.a.session.transport
        ssrc = pair.b.all(Flowing)[0].ssrc
        assert transport.send_rtcp(struct.pack("!BBHI", 0x80, 201, 1, ssrc) + struct.pack("!BBHI", 0x81, 203, 1, ssrc))
        assert transport.send_rtcp(b"\x80\xc8\xff\xff" + bytes(4))
        await pair.b.listen(0.3)
        await still_well(pair)


async def test_another_ssrc_takes_over_and_is_heard() -> None:
    """Transfers and music servers do that in mid stream."""
    async with call() as pair:
        await pair.a.session.play(PlayRequest(tone="1000", loop=True))
        await pair.b.listen(0.3)
        sender = pair.a.session.sender
        sender.ssrc ^= 0xFFFF
        sender.sequence = (sender.sequence + 20_000) & 0xFFFF
        sender.timestamp = (sender.timestamp + 1_000_000_000) & 0xFFFFFFFF
        await pair.b.listen(0.3)
        await still_well(pair)
        assert pair.b.session.state is MediaState.FLOWING
