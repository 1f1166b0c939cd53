"""RTCP compound packets and the round trip time."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phoned.media import rtcp
from phoned.media.rtcp import Goodbye, ReceiverReport, ReportBlock, RtcpSession, SenderReport, SourceDescription
from phoned.media.rtp import MalformedPacket, Received

BLOCK = ReportBlock(
    ssrc=9, fraction_lost=12, lost=-3, extended_sequence=70000, jitter=55, last_sr=0x12345678, delay_since_last_sr=99
)
SENDER = SenderReport(ssrc=1, ntp=1 << 40 | 7, rtp_timestamp=3, packets=4, octets=5, blocks=(BLOCK,))


def test_every_kind_survives_the_wire() -> None:
    reports = (
        SENDER,
        ReceiverReport(ssrc=2, blocks=(BLOCK, BLOCK)),
        SourceDescription(cnames=((1, "phone@host"), (2, "abc"))),
        Goodbye(ssrcs=(1, 2), reason="over"),
        Goodbye(ssrcs=(3,)),
    )
    assert rtcp.parse(rtcp.build(*reports)) == reports


def test_reduced_size_unknown_types_and_padding_are_read() -> None:
    unknown = b"\x81\xcd\x00\x02" + bytes(8)
    padded = b"\xa1\xcb\x00\x02" + b"\x00\x00\x00\x05" + b"\x00\x00\x00\x04"
    assert rtcp.parse(unknown + padded) == (Goodbye(ssrcs=(5,)),)


def test_other_sdes_items_are_passed_over() -> None:
    body = b"\x00\x00\x00\x01" + b"\x02\x01x" + b"\x01\x01y" + b"\x00\x00"
    assert rtcp.parse(b"\x81\xca\x00\x03" + body) == (SourceDescription(cnames=((1, "y"),)),)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x80\xc9",
        b"\x80\xc9\x00\x09",
        b"\x40\xc9\x00\x00",
        rtcp.build(Goodbye(ssrcs=(1,))) + b"\x80",
        b"\x81\xc8\x00\x01" + bytes(4),
        b"\x81\xc9\x00\x01" + bytes(4),
        b"\x81\xca\x00\x00",
        b"\x81\xca\x00\x02" + bytes(4) + b"\x01\x09ab",
        b"\x82\xcb\x00\x01" + bytes(4),
        b"\xa0\xc9\x00\x00",
        b"\xa0\xc9\x00\x01" + b"\x00\x00\x00\x07",
    ],
)
def test_broken_packets_are_refused(data: bytes) -> None:
    with pytest.raises(MalformedPacket):
        rtcp.parse(data)


@given(st.binary(max_size=120))
def test_any_bytes_are_reports_or_malformed(data: bytes) -> None:
    try:
        rtcp.parse(data)
    except MalformedPacket:
        pass


def test_extreme_loss_is_clamped_to_24_bits() -> None:
    (report,) = rtcp.parse(
        rtcp.build(
            ReceiverReport(
                ssrc=1, blocks=(ReportBlock(ssrc=2, fraction_lost=0, lost=1 << 30, extended_sequence=0, jitter=0),)
            )
        )
    )
    assert isinstance(report, ReceiverReport)
    assert report.blocks[0].lost == 0x7FFFFF


def report(session: RtcpSession, now: float, *, packets: int = 5, received: Received | None = None) -> bytes:
    return session.report(
        now, unix_s=1_700_000_000 + now, rtp_timestamp=1, packets=packets, octets=500, received=received
    )


def test_round_trip_time_between_two_sessions() -> None:
    ours, theirs = RtcpSession(1, "us", 0.0), RtcpSession(2, "them", 0.0)
    theirs.received(rtcp.parse(report(ours, 10.0)), 10.04, unix_s=0)
    answer = report(theirs, 12.0, received=Received(1, 100, 90, 10, 16, 25))
    assert ours.rtt_s is None
    ours.received(rtcp.parse(answer), 12.04, unix_s=1_700_000_000 + 12.04)
    assert ours.rtt_s == pytest.approx(0.08, abs=0.001)
    assert (ours.peer_lost, ours.peer_fraction_lost, ours.peer_jitter) == (10, 25, 16)


def test_before_anything_was_sent_it_is_a_receiver_report() -> None:
    session = RtcpSession(1, "us", 0.0)
    kinds = [type(each) for each in rtcp.parse(report(session, 1.0, packets=0))]
    assert kinds == [ReceiverReport, SourceDescription]


def test_reports_are_due_at_their_interval() -> None:
    session = RtcpSession(1, "us", 100.0)
    assert not session.due(100.9)
    assert session.due(101.0)
    report(session, 101.0)
    assert not session.due(105.9)
    assert session.due(106.0)


def block_about_us(last_sr: int, delay: int = 0) -> tuple[ReceiverReport, ...]:
    block = ReportBlock(
        ssrc=1, fraction_lost=0, lost=0, extended_sequence=0, jitter=0, last_sr=last_sr, delay_since_last_sr=delay
    )
    return (ReceiverReport(ssrc=2, blocks=(block,)),)


def test_impossible_round_trips_are_not_believed() -> None:
    session = RtcpSession(1, "us", 0.0)
    middle = rtcp.ntp_time(1000.0) >> 16 & 0xFFFFFFFF
    session.received(block_about_us(0), 0.0, unix_s=1000.0)
    session.received(block_about_us(middle, delay=100 << 16), 0.0, unix_s=1000.0)
    session.received(block_about_us((middle - (1000 << 16)) & 0xFFFFFFFF), 0.0, unix_s=1000.0)
    assert session.rtt_s is None
    session.received(block_about_us(middle, delay=3), 0.0, unix_s=1000.0)
    assert session.rtt_s == 0.0


def test_blocks_about_others_and_byes_change_nothing() -> None:
    session = RtcpSession(1, "us", 0.0)
    session.received((SENDER, Goodbye(ssrcs=(1,))), 0.0, unix_s=0.0)
    assert session.rtt_s is None
    assert session.peer_lost == 0


def test_the_delay_since_another_stream_s_report_is_not_used() -> None:
    session = RtcpSession(1, "us", 0.0)
    session.received((SENDER,), 0.0, unix_s=0.0)
    sent = rtcp.parse(report(session, 1.0, received=Received(77, 1, 1, 0, 0, 0)))
    assert isinstance(sent[0], SenderReport)
    assert sent[0].blocks[0].last_sr == 0


def test_the_last_packet_says_goodbye() -> None:
    kinds = [type(each) for each in rtcp.parse(RtcpSession(1, "us", 0.0).goodbye())]
    assert kinds == [ReceiverReport, SourceDescription, Goodbye]
