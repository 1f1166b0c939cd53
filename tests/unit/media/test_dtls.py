"""DTLS associations over a wire of memory: roles, keys, wrong certificates, records that come early, late or forged."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from phoned.media import rtp
from phoned.media.dtls import MAX_RECORDS, Association, DtlsFailed, Identity
from phoned.media.sdp import Fingerprint


class Wire:
    """Carries what one end sends to the other, unless told to drop it."""

    def __init__(self) -> None:
        self.to: Association | None = None
        self.keep: list[bytes] = []
        self.drop: Callable[[bytes], bool] = lambda data: False

    def send(self, data: bytes) -> bool:
        self.keep.append(data)
        if self.to is not None and not self.drop(data):
            self.to.feed(data)
        return True


class Ends:
    def __init__(self) -> None:
        self.client_wire, self.server_wire = Wire(), Wire()
        self.notified: list[Association] = []
        self.client = Association(Identity(), self.client_wire.send, on_close_notify=self.notified.append)
        self.server = Association(Identity(), self.server_wire.send, on_close_notify=self.notified.append)
        self.client_wire.to, self.server_wire.to = self.server, self.client

    async def connect(self, deadline_s: float = 5.0) -> None:
        await asyncio.gather(
            self.client.handshake("client", [self.server.identity.fingerprint], deadline_s=deadline_s),
            self.server.handshake("server", [self.client.identity.fingerprint], deadline_s=deadline_s),
        )

    async def close(self) -> None:
        await self.client.close()
        await self.server.close(notify=False)


def packet(sequence: int, payload: bytes = b"sound" * 32) -> bytes:
    return rtp.pack(0, sequence, sequence * 160, 0x1234, payload)


async def test_keys_fit_in_both_directions() -> None:
    ends = Ends()
    assert not ends.client.ready
    await ends.connect()
    assert ends.client.ready
    assert ends.server.ready
    for sender, receiver in ((ends.client, ends.server), (ends.server, ends.client)):
        protected = sender.protect(packet(1))
        assert protected is not None
        assert protected != packet(1)
        assert receiver.unprotect(protected) == packet(1)
        report = b"\x80\xc9\x00\x01\x00\x00\x12\x34"
        protected = sender.protect_rtcp(report)
        assert protected is not None
        assert receiver.unprotect_rtcp(protected) == report
    await ends.close()


async def test_replays_forgeries_and_oversize_are_refused_without_raising() -> None:
    ends = Ends()
    await ends.connect()
    protected = ends.client.protect(packet(7))
    assert protected is not None
    assert ends.server.unprotect(protected) == packet(7)
    assert ends.server.unprotect(protected) is None
    assert ends.server.unprotect(protected[:-1] + b"\x00") is None
    assert ends.server.unprotect(b"\x80\x00" + bytes(200)) is None
    assert ends.server.unprotect_rtcp(b"\x80\xc8" + bytes(60)) is None
    assert ends.client.protect(packet(8, bytes(4000))) is None
    await ends.close()


async def test_the_replay_window_holds_a_thousand_packets() -> None:
    ends = Ends()
    await ends.connect()
    protected = [ends.client.protect(packet(sequence)) for sequence in range(1, 1300)]
    assert ends.server.unprotect(protected[-1] or b"") is not None
    assert ends.server.unprotect(protected[-1000] or b"") is not None
    assert ends.server.unprotect(protected[0] or b"") is None
    await ends.close()


async def test_a_wrong_fingerprint_yields_no_keys() -> None:
    ends = Ends()
    wrong = [Fingerprint(algorithm="sha-256", value=":".join(["AB"] * 32))]
    with pytest.raises(DtlsFailed) as failed:
        await asyncio.gather(
            ends.client.handshake("client", wrong, deadline_s=5),
            ends.server.handshake("server", [ends.client.identity.fingerprint], deadline_s=5),
        )
    assert failed.value.fingerprint
    assert not ends.client.ready
    assert ends.client.protect(packet(1)) is None
    assert ends.client.unprotect(packet(1)) is None
    assert ends.client.protect_rtcp(packet(1)) is None
    assert ends.client.unprotect_rtcp(packet(1)) is None
    await asyncio.sleep(0)
    await ends.close()


async def test_a_silent_peer_is_given_up_at_the_deadline() -> None:
    wire = Wire()
    alone = Association(Identity(), wire.send)
    with pytest.raises(DtlsFailed, match="no handshake"):
        await alone.handshake("client", [Identity().fingerprint], deadline_s=0.05)
    assert not alone.ready
    assert wire.keep
    await alone.close()


async def test_a_lost_flight_is_sent_again() -> None:
    ends = Ends()
    lose = iter([True])
    ends.server_wire.drop = lambda data: next(lose, False)
    await ends.connect()
    assert ends.client.ready
    await ends.close()


async def test_a_hello_that_came_before_the_handshake_is_answered_at_once() -> None:
    ends = Ends()
    server_waits = ends.client_wire.to
    connecting = asyncio.get_running_loop().create_task(
        ends.client.handshake("client", [ends.server.identity.fingerprint], deadline_s=5)
    )
    await asyncio.sleep(0.02)
    assert server_waits is ends.server
    assert len(ends.client_wire.keep) == 1
    await ends.server.handshake("server", [ends.client.identity.fingerprint], deadline_s=5)
    await connecting
    # one hello was enough: nothing had to be sent again
    assert len(ends.client_wire.keep) == 2
    await ends.close()


async def test_close_notify_is_a_fact_and_not_the_end() -> None:
    ends = Ends()
    await ends.connect()
    await ends.client.close()
    for _ in range(20):
        await asyncio.sleep(0)
    assert ends.notified == [ends.server]
    assert ends.server.closed_by_peer
    protected = ends.client.protect(packet(3))
    assert protected is not None
    assert ends.server.unprotect(protected) == packet(3)
    ends.server.feed(ends.client_wire.keep[-1])
    await asyncio.sleep(0)
    assert ends.notified == [ends.server]
    await ends.server.close()


async def test_nonsense_records_are_survived_and_bounded() -> None:
    ends = Ends()
    for index in range(MAX_RECORDS * 4):
        ends.server.feed(b"\x16\xfe\xfd" + bytes([index] * 30))
    await ends.connect()
    for index in range(MAX_RECORDS * 4):
        ends.server.feed(b"\x17\xfe\xfd\x00\x01" + bytes([index] * 40))
    for _ in range(200):
        await asyncio.sleep(0)
    assert ends.server.ready
    protected = ends.client.protect(packet(9))
    assert protected is not None
    assert ends.server.unprotect(protected) == packet(9)
    await ends.close()


def test_an_identity_has_one_sha256_fingerprint_and_a_tls_id_of_its_own() -> None:
    one, other = Identity(), Identity()
    assert one.fingerprint.algorithm == "sha-256"
    assert one.fingerprint == one.fingerprint
    assert one.fingerprint != other.fingerprint
    assert one.tls_id != other.tls_id
    assert 20 <= len(one.tls_id) <= 255
    assert "PRIVATE" not in repr(one)
