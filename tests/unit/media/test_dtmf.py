"""Telephone events both ways, and SIP INFO bodies."""

from __future__ import annotations

import struct

import pytest

from phoned.errors import AtCapacity, InvalidValue
from phoned.media.dtmf import (
    DIGITS,
    MAX_QUEUE,
    Digit,
    EventPacket,
    EventReceiver,
    EventSender,
    check_digits,
    info_body,
    parse_info,
)


def run(sender: EventSender, ticks: int, step: int) -> list[tuple[int, EventPacket]]:
    return [(n, packet) for n in range(ticks) for packet in sender.tick(n * step)]


@pytest.mark.parametrize(("clock_rate", "step"), [(8000, 160), (48000, 960)])
def test_a_digit_is_paced_marked_and_ended_three_times(clock_rate: int, step: int) -> None:
    sender = EventSender(clock_rate)
    sender.send("5", duration_ms=100)
    assert sender.busy
    sent = run(sender, 20, step)
    assert [n for n, _ in sent] == list(range(7))
    assert [packet.marker for _, packet in sent] == [True] + [False] * 6
    assert {packet.timestamp for _, packet in sent} == {0}
    fields = [struct.unpack("!BBH", packet.payload) for _, packet in sent]
    assert {event for event, _, _ in fields} == {5}
    assert [flags >> 7 for _, flags, _ in fields] == [0, 0, 0, 0, 1, 1, 1]
    assert [duration for *_, duration in fields] == [step * n for n in (1, 2, 3, 4, 5, 5, 5)]
    assert not sender.busy


def test_gaps_and_pauses_lie_between_digits() -> None:
    sender = EventSender(8000)
    sender.send("1w2", duration_ms=40, gap_ms=60)
    sent = run(sender, 100, 160)
    first_end = next(n for n, packet in sent if packet.payload[1] & 0x80)
    second = next(n for n, packet in sent if packet.payload[0] == 2)
    assert (second - first_end) * 20 >= 560
    assert (second - first_end) * 20 <= 640
    assert next(packet.timestamp for _, packet in sent if packet.payload[0] == 2) == second * 160


def test_audio_flows_in_the_gap() -> None:
    sender = EventSender(8000)
    sender.send("12", duration_ms=40, gap_ms=100)
    busy_ticks = {n for n, _ in run(sender, 30, 160)}
    assert busy_ticks == {0, 1, 2, 3} | {7, 8, 9, 10}


def test_a_digit_longer_than_a_segment_goes_on_in_the_next_one() -> None:
    sender = EventSender(48000)
    sender.send("1", duration_ms=4000)
    sent = [packet for _, packet in run(sender, 300, 960)]
    durations = [struct.unpack("!BBH", packet.payload)[2] for packet in sent]
    assert max(durations) <= 0xFFFF
    assert len(sent) == 200 + 2
    starts = sorted({packet.timestamp for packet in sent})
    assert starts == [0, 68 * 960, 2 * 68 * 960]
    assert [packet.marker for packet in sent].count(True) == 1
    assert [packet.payload[1] >> 7 for packet in sent].count(1) == 3
    assert starts[-1] + durations[-1] == 4 * 48000


@pytest.mark.parametrize("lost", [set(), {67}, {65, 66, 67}, {68}, {66, 67, 68, 69}, {0, 135, 136}])
def test_a_long_digit_is_one_digit_whatever_of_its_segments_is_lost(lost: set[int]) -> None:
    sender, receiver = EventSender(48000), EventReceiver(48000)
    sender.send("15", duration_ms=3000)
    heard = [
        digit
        for n, packet in run(sender, 400, 960)
        if n not in lost
        for digit in (*receiver.tick(n * 0.02), *receiver.packet(packet.payload, packet.timestamp, n * 0.02))
    ]
    assert heard == [Digit("1", 3000), Digit("5", 3000)]


def test_a_segment_may_be_as_long_as_its_field_and_wrap_around() -> None:
    receiver = EventReceiver(8000)
    start = 0xFFFFFFFF - 70
    assert receiver.packet(event(5, 0xFFFF), start, 0.0) == ()
    late, second = start, (start + 0xFFFF) & 0xFFFFFFFF
    assert receiver.packet(event(5, 160), second, 0.02) == ()
    assert receiver.packet(event(5, 0xFFFF), late, 0.03) == ()
    assert receiver.packet(event(5, 800, end=True), second, 0.1) == (Digit("5", (0xFFFF + 800) // 8),)


def test_a_digit_that_was_told_while_it_lasts_is_not_told_again_with_its_next_segment() -> None:
    receiver = EventReceiver(8000)
    assert receiver.packet(event(5, 8000), 0, 0.0) == ()
    assert receiver.packet(event(5, 48000), 0, 5.1) == (Digit("5", 6000),)
    assert receiver.packet(event(5, 0xFFFF), 0, 5.2) == ()
    for end in (False, True, True):
        assert receiver.packet(event(5, 160, end=end), 0xFFFF, 5.3) == ()
    assert receiver.packet(event(5, 800, end=True), 80_000, 6.0) == (Digit("5", 100),)


def test_the_same_key_again_is_another_digit_also_without_the_end_of_the_first() -> None:
    receiver = EventReceiver(8000)
    assert receiver.packet(event(5, 800), 0, 0.0) == ()
    assert receiver.packet(event(5, 800, end=True), 1120, 0.14) == (Digit("5", 100), Digit("5", 100))


def test_clear_ends_the_digit_that_sounds_and_forgets_the_rest() -> None:
    sender = EventSender(8000)
    sender.send("123", duration_ms=1000)
    sent = run(sender, 5, 160)
    sender.clear()
    sent += run(sender, 20, 160)
    assert {packet.payload[0] for _, packet in sent} == {1}
    assert sent[-1][1].payload[1] & 0x80
    assert [packet.payload[1] >> 7 for _, packet in sent].count(1) == 3


def test_the_next_digit_uses_the_new_clock() -> None:
    sender = EventSender(8000)
    sender.use_clock(48000)
    sender.send("1", duration_ms=40)
    assert struct.unpack("!BBH", sender.tick(0)[0].payload)[2] == 960


def test_the_queue_is_bounded_and_checked_as_a_whole() -> None:
    sender = EventSender(8000)
    sender.send("1" * MAX_QUEUE)
    with pytest.raises(AtCapacity):
        sender.send("2")
    for digits, duration_ms, gap_ms in (("", 100, 60), ("12x", 100, 60), ("1", 10, 60), ("1", 100, 5000)):
        with pytest.raises(InvalidValue):
            EventSender(8000).send(digits, duration_ms=duration_ms, gap_ms=gap_ms)
    assert check_digits("aW*") == "Aw*"


def event(code: int, duration: int, *, end: bool = False) -> bytes:
    return struct.pack("!BBH", code, 0x80 * end | 10, duration)


def test_what_is_sent_is_what_is_received() -> None:
    sender, receiver = EventSender(8000), EventReceiver(8000)
    sender.send(DIGITS, duration_ms=80)
    heard = [
        digit
        for n, packet in run(sender, 400, 160)
        for digit in receiver.packet(packet.payload, packet.timestamp, n * 0.02)
    ]
    assert heard == [Digit(digit, 80) for digit in DIGITS]


def test_one_end_packet_of_three_is_enough_and_makes_one_digit() -> None:
    receiver = EventReceiver(8000)
    assert receiver.packet(event(1, 800, end=True), 100, 0.0) == (Digit("1", 100),)
    assert receiver.packet(event(1, 800, end=True), 100, 0.02) == ()
    assert receiver.packet(event(1, 640), 100, 0.03) == ()
    assert receiver.packet(event(1, 800, end=True), 5000, 0.5) == (Digit("1", 100),)


def test_a_lost_end_is_closed_by_time_or_by_the_next_digit() -> None:
    receiver = EventReceiver(8000)
    assert receiver.tick(0.0) == ()
    assert receiver.packet(event(1, 160), 100, 0.0) == ()
    assert receiver.packet(event(1, 320), 100, 0.02) == ()
    assert receiver.tick(0.1) == ()
    assert receiver.tick(0.2) == (Digit("1", 40),)
    assert receiver.packet(event(2, 160), 900, 0.3) == ()
    assert receiver.packet(event(3, 160, end=True), 1900, 0.4) == (Digit("2", 20), Digit("3", 20))


def test_an_event_without_end_is_cut_and_its_own_clock_counts() -> None:
    receiver = EventReceiver(8000)
    assert receiver.packet(event(1, 48000), 0, 0.0, clock_rate=48000) == ()
    assert receiver.packet(event(1, 48000), 0, 5.1, clock_rate=48000) == (Digit("1", 1000),)


def test_short_packets_and_other_events_are_ignored() -> None:
    receiver = EventReceiver(8000)
    assert receiver.packet(b"\x01\x02", 0, 0.0) == ()
    assert receiver.packet(event(36, 160, end=True), 0, 0.0) == ()


def test_info_bodies_are_read_and_written() -> None:
    for digit in DIGITS:
        kind, body = info_body(digit, 160)
        assert parse_info(kind, body) == Digit(digit, 160)
        kind, body = info_body(digit, 160, plain=True)
        assert parse_info(kind, body) == Digit(digit, 250)
    with pytest.raises(InvalidValue):
        info_body("w", 100)


@pytest.mark.parametrize(
    ("kind", "body", "digit"),
    [
        ("application/dtmf-relay", b"Signal= 5\r\nDuration= 160", Digit("5", 160)),
        ("Application/DTMF-Relay; x=y", b"signal=#\nduration=99999", Digit("#", 250)),
        ("application/dtmf-relay", b"Signal=11\r\nDuration=x\r\n", Digit("#", 250)),
        ("application/dtmf", b" 10 ", Digit("*", 250)),
        ("application/dtmf", b"d", Digit("D", 250)),
    ],
)
def test_sloppy_info_bodies(kind: str, body: bytes, digit: Digit) -> None:
    assert parse_info(kind, body) == digit


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("text/plain", b"5"),
        ("", b"5"),
        ("application/dtmf", b""),
        ("application/dtmf", b"99"),
        ("application/dtmf-relay", b"\xff"),
    ],
)
def test_an_info_without_a_digit_is_refused(kind: str, body: bytes) -> None:
    with pytest.raises(InvalidValue):
        parse_info(kind, body)
