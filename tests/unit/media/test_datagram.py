"""What is told from the first bytes of a datagram, and how drops are counted and written."""

from __future__ import annotations

import logging

import pytest

from phoned.media.datagram import DropLog, client_random, is_alert, is_client_hello, is_plaintext, is_rtcp


def record(content: int, epoch: int, first: int) -> bytes:
    return bytes([content]) + b"\xfe\xfd" + epoch.to_bytes(2) + bytes(6) + b"\x00\x01" + bytes([first])


def test_rtcp_is_told_by_its_packet_type() -> None:
    assert [is_rtcp(bytes([0x80, kind])) for kind in (191, 192, 200, 223, 224, 0)] == [
        False,
        True,
        True,
        True,
        False,
        False,
    ]


def test_a_client_hello_is_a_handshake_of_epoch_zero() -> None:
    assert is_client_hello(record(22, 0, 1))
    assert not is_client_hello(record(22, 1, 1))
    assert not is_client_hello(record(22, 0, 2))
    assert not is_client_hello(record(21, 0, 1))
    assert not is_client_hello(record(22, 0, 1)[:13])


def test_alerts_and_plaintext_are_told() -> None:
    assert is_alert(record(21, 0, 1))
    assert not is_alert(record(22, 0, 1))
    assert is_plaintext(record(21, 0, 1))
    assert not is_plaintext(record(21, 1, 1))
    assert not is_plaintext(b"\x2f\x00\x00\x00\x00" + bytes(20))


def test_one_line_per_cause_in_ten_seconds(caplog: pytest.LogCaptureFixture) -> None:
    drops = DropLog("call x")
    with caplog.at_level(logging.WARNING):
        for index in range(1000):
            drops.drop("stranger", 100 + index / 100, "1.2.3.4")
        drops.drop("stun", 100, b"\r\nforged line")
        assert len(caplog.messages) == 2
        drops.drop("stranger", 111)
        assert len(caplog.messages) == 3
    assert drops.counts == {"stranger": 1001, "stun": 1}
    assert "dropped 1000 datagrams (1001 in all)" in caplog.messages[-1]
    assert not any("\n" in message for message in caplog.messages)


def test_what_is_normal_is_counted_and_not_written(caplog: pytest.LogCaptureFixture) -> None:
    drops = DropLog("call x")
    drops.count("early")
    assert drops.counts == {"early": 1}
    assert caplog.messages == []


def test_hellos_are_told_apart_by_their_random_and_a_later_fragment_tells_nothing() -> None:
    def hello(random: bytes, *, message: int = 0, offset: int = 0) -> bytes:
        handshake = b"\x01\x00\x00\x60" + message.to_bytes(2) + offset.to_bytes(3) + b"\x00\x00\x60"
        return b"\x16\xfe\xfd" + bytes(8) + b"\x00\x6c" + handshake + b"\xfe\xfd" + random + bytes(62)

    one, other = bytes(range(32)), bytes(32)
    assert client_random(hello(one)) == client_random(hello(one, message=1)) == one
    assert client_random(hello(other)) == other
    assert client_random(hello(one, offset=40)) is None
    assert client_random(hello(one)[:58]) is None
    assert client_random(record(22, 0, 2)) is None
