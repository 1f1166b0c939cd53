"""RTP packets, their counters and what is reported about them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phoned.media import rtp
from phoned.media.rtp import MalformedPacket, Packet, ReceiveStatistics


def test_a_plain_packet_survives_the_wire() -> None:
    data = rtp.pack(111, 65535, 0xFFFFFFFF, 0xDEADBEEF, b"sound", marker=True)
    assert rtp.parse(data) == Packet(111, 65535, 0xFFFFFFFF, 0xDEADBEEF, b"sound", True)
    assert not rtp.parse(rtp.pack(0, 1, 2, 3, b"")).marker


def test_csrc_extension_and_padding_are_taken_off() -> None:
    packet = Packet(0, 1, 2, 3, b"xyz", False, (7, 8), 0xBEDE, b"\x10\x55\x00\x00")
    assert rtp.parse(rtp.serialise(packet, padding=5)) == packet
    assert rtp.parse(rtp.serialise(packet)) == packet
    assert rtp.serialise(Packet(0, 1, 2, 3, b"x")) == rtp.pack(0, 1, 2, 3, b"x")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        bytes(11),
        b"\x40" + bytes(11),
        b"\x8f" + bytes(11),
        b"\x90" + bytes(11),
        b"\x90" + bytes(11) + b"\xbe\xde\x00\x09",
        b"\xa0" + bytes(11),
        b"\xa0" + bytes(11) + b"\x05",
        b"\xa0" + bytes(12),
    ],
)
def test_what_is_no_packet_is_refused(data: bytes) -> None:
    with pytest.raises(MalformedPacket):
        rtp.parse(data)


@given(st.binary(max_size=80))
def test_any_bytes_are_a_packet_or_malformed(data: bytes) -> None:
    try:
        packet = rtp.parse(data)
    except MalformedPacket:
        return
    rtp.extension_elements(packet)
    assert len(packet.payload) <= len(data) - 12


def test_header_extension_elements_in_both_forms() -> None:
    def elements(profile: int, data: bytes) -> dict[int, bytes]:
        return rtp.extension_elements(Packet(0, 0, 0, 0, b"", False, (), profile, data))

    assert elements(0xBEDE, b"\x10\xaa\x00\x21\x01\x02") == {1: b"\xaa", 2: b"\x01\x02"}
    assert elements(0xBEDE, b"\x10\xaa\xf0\x10\xbb") == {1: b"\xaa"}
    assert elements(0xBEDE, b"\x1f\xaa") == {}
    assert elements(0x1000, b"\x05\x02ab\x00\x06\x00") == {5: b"ab", 6: b""}
    assert elements(0x1000, b"\x05\x09ab") == {}
    assert elements(0x1000, b"\x05") == {}
    assert elements(0, b"abcd") == {}


def test_rtcp_is_told_from_rtp_by_its_type() -> None:
    assert rtp.is_rtcp(b"\x80\xc8")
    assert not rtp.is_rtcp(rtp.pack(111, 0, 0, 0, b"", marker=True))
    assert not rtp.is_rtcp(b"\x80")


@pytest.mark.parametrize(("newer", "older", "delta"), [(0, 65535, 1), (65535, 0, -1), (5, 5, 0), (0x8000, 0, -0x8000)])
def test_sequence_distance_wraps(newer: int, older: int, delta: int) -> None:
    assert rtp.sequence_delta(newer, older) == delta


def test_timestamp_distance_wraps() -> None:
    assert rtp.timestamp_delta(10, 0xFFFFFFF6) == 20
    assert rtp.timestamp_delta(0xFFFFFFF6, 10) == -20


def packet(sequence: int, *, ssrc: int = 1, timestamp: int | None = None) -> Packet:
    stamp = sequence * 160 if timestamp is None else timestamp
    return Packet(0, sequence & 0xFFFF, stamp & 0xFFFFFFFF, ssrc, b"")


def test_loss_is_expected_less_received_across_a_wrap() -> None:
    statistics = ReceiveStatistics(8000)
    assert statistics.report() is None
    for n in range(65530, 65560):
        if n not in (65534, 65540, 65541):
            statistics.received(packet(n), n * 0.02)
    report = statistics.report()
    assert report is not None
    assert (report.lost, report.packets, report.extended_sequence) == (3, 27, 65559)
    assert report.fraction_lost == 3 * 256 // 30
    assert statistics.lost_total == 3
    assert statistics.packets_total == 27
    again = statistics.report()
    assert again is not None
    assert again.fraction_lost == 0


def test_duplicates_may_make_the_loss_negative_but_never_the_total() -> None:
    statistics = ReceiveStatistics(8000)
    for n in (1, 2, 2, 3):
        statistics.received(packet(n), n * 0.02)
    report = statistics.report()
    assert report is not None
    assert (report.lost, report.fraction_lost) == (-1, 0)
    assert statistics.lost_total == 0


def test_jitter_follows_the_rfc_and_ignores_a_jump_of_the_clock() -> None:
    statistics = ReceiveStatistics(8000)
    for n in range(200):
        statistics.received(packet(n), n * 0.02 + (0.010 if n % 2 else 0.0))
    assert statistics.jitter_s == pytest.approx(0.010, rel=0.01)
    before = statistics.jitter_s
    statistics.received(packet(200, timestamp=900_000_000), 200 * 0.02)
    assert statistics.jitter_s == before


def test_a_pressed_key_does_not_count_as_jitter() -> None:
    statistics = ReceiveStatistics(8000)
    for n in range(100):
        statistics.received(packet(n), n * 0.02)
    for n in range(100, 130):  # all of them say when the key was pressed
        statistics.received(packet(n, timestamp=100 * 160), n * 0.02, timed=False)
    for n in range(130, 140):
        statistics.received(packet(n), n * 0.02)
    assert statistics.jitter_s == pytest.approx(0.0, abs=1e-6)
    assert (statistics.packets_total, statistics.lost_total) == (140, 0)


def test_another_clock_rate_does_not_count_as_jitter() -> None:
    statistics = ReceiveStatistics(8000)
    statistics.received(packet(1), 0.02, clock_rate=8000)
    statistics.received(packet(2, timestamp=4_000_000), 0.04, clock_rate=48000)
    statistics.received(packet(3, timestamp=4_000_960), 0.06, clock_rate=48000)
    assert statistics.jitter_s == pytest.approx(0.0, abs=1e-6)


def test_a_new_ssrc_begins_a_new_stream_and_keeps_the_totals() -> None:
    statistics = ReceiveStatistics(8000)
    assert statistics.received(packet(1), 0.0)
    assert not statistics.received(packet(3), 0.04)
    assert statistics.received(packet(500, ssrc=2), 0.06)
    assert (statistics.ssrc, statistics.ssrc_changes) == (2, 1)
    assert (statistics.packets_total, statistics.lost_total) == (3, 1)


def test_one_wild_sequence_number_is_ignored_two_in_a_row_restart() -> None:
    statistics = ReceiveStatistics(8000)
    statistics.received(packet(10), 0.0)
    assert not statistics.received(packet(30000), 0.02)
    assert not statistics.received(packet(11), 0.04)
    assert not statistics.received(packet(40000), 0.06)
    assert statistics.received(packet(40001), 0.08)
    assert statistics.packets_total == 3


def test_a_late_packet_still_counts() -> None:
    statistics = ReceiveStatistics(8000)
    for n in (10, 12, 11):
        statistics.received(packet(n), 0.0)
    assert statistics.lost_total == 0
