"""Sender and receiver joined by a wire of lists: payload types, timestamps, digits, codec switches, odd packets."""

from __future__ import annotations

from dataclasses import replace

import pytest

from phoned.audio.tones import sine
from phoned.errors import AtCapacity, InvalidValue, WrongState
from phoned.media import codecs, rtp
from phoned.media.digits import Digits
from phoned.media.dtmf import Digit
from phoned.media.events import DtmfReceived, DtmfSent, InfoWanted, MediaEvent
from phoned.media.graph import AudioGraph
from phoned.media.receiver import RtpReceiver
from phoned.media.sdp import AgreedCodec, Agreement, Direction
from phoned.media.sender import RtpSender
from phoned.media.state import LEGAL, MediaStateMachine
from phoned.model import DtmfRequest, MediaState

PCMU = AgreedCodec(name="pcmu", clock_rate=8000, channels=1, send_payload_type=0, receive_payload_type=0)
OPUS = AgreedCodec(name="opus", clock_rate=48000, channels=2, send_payload_type=111, receive_payload_type=96)
EVENT = AgreedCodec(
    name="telephone-event", clock_rate=8000, channels=1, send_payload_type=101, receive_payload_type=101
)
AGREEMENT = Agreement(
    codecs=(PCMU, OPUS),
    telephone_events=(EVENT,),
    comfort_noise=13,
    direction=Direction.SENDRECV,
    remote_hold=False,
    ptime_ms=20,
    rtcp_mux=True,
)
SILENCE = bytes(640)
TONE = sine((1000,), 16000, 20)


def codec(name: str) -> codecs.Codec:
    return codecs.create(name, 16000)


def sender(sent: list[rtp.Packet]) -> RtpSender:
    def send(packet: bytes) -> bool:
        sent.append(rtp.parse(packet))
        return True

    made = RtpSender(send, SILENCE)
    made.use(codec("pcmu"), PCMU, EVENT)
    return made


def test_packets_count_on_and_only_the_first_of_a_talk_spurt_is_marked() -> None:
    sent: list[rtp.Packet] = []
    one = sender(sent)
    for frame in (TONE, None, TONE):
        one.tick(frame, sending=True)
    one.tick(TONE, sending=False)
    one.tick(TONE, sending=True)
    assert [packet.marker for packet in sent] == [True, False, False, True]
    assert [(packet.sequence - sent[0].sequence) & 0xFFFF for packet in sent] == [0, 1, 2, 3]
    assert [(packet.timestamp - sent[0].timestamp) & 0xFFFFFFFF for packet in sent] == [0, 160, 320, 640]
    assert {packet.ssrc for packet in sent} == {one.ssrc}
    assert sent[1].payload == b"\xff" * 160
    assert (one.packets, one.octets) == (4, 640)


def test_a_path_that_takes_nothing_is_counted() -> None:
    one = RtpSender(lambda packet: False, SILENCE)
    one.tick(TONE, sending=True)
    assert one.unsent == 0
    one.use(codec("pcmu"), PCMU, None)
    one.tick(TONE, sending=True)
    assert (one.packets, one.unsent) == (0, 1)


def test_skipped_ticks_move_the_timestamp() -> None:
    one = sender([])
    before = one.timestamp
    one.skip(10)
    assert (one.timestamp - before) & 0xFFFFFFFF == 1600


def test_a_codec_switch_keeps_ssrc_and_sequence() -> None:
    sent: list[rtp.Packet] = []
    one = sender(sent)
    one.tick(TONE, sending=True)
    one.use(codec("opus"), OPUS, None)
    one.tick(TONE, sending=True)
    one.tick(TONE, sending=True)
    assert [packet.payload_type for packet in sent] == [0, 111, 111]
    assert (sent[2].sequence - sent[0].sequence) & 0xFFFF == 2
    assert (sent[2].timestamp - sent[1].timestamp) & 0xFFFFFFFF == 960
    assert not one.can_send_events


def test_digits_replace_the_sound_and_are_told_when_sent() -> None:
    sent: list[rtp.Packet] = []
    one = sender(sent)
    one.send_digits("1w2", 60, 40)
    done = [digit for _ in range(60) if (digit := one.tick(TONE, sending=True)) is not None]
    assert done == ["1", "2"]
    events = [packet for packet in sent if packet.payload_type == 101]
    assert [packet.payload[0] for packet in events if packet.marker] == [1, 2]
    assert len({packet.timestamp for packet in events}) == 2
    assert [(p.sequence - sent[0].sequence) & 0xFFFF for p in sent] == list(range(len(sent)))


def test_the_receiver_plays_what_was_agreed_and_counts_the_rest() -> None:
    sent: list[rtp.Packet] = []
    one = sender(sent)
    receiver = RtpReceiver(16000, codec)
    receiver.use(AGREEMENT)
    assert receiver.frame(0.0) is None
    assert receiver.buffer_s == 0
    now = 0.0
    frame: bytes | None = None
    for _ in range(20):
        now += 0.02
        one.tick(TONE, sending=True)
        sound, digits = receiver.packet(rtp.serialise(sent[-1]), now)
        assert sound is not None
        assert digits == ()
        frame = receiver.frame(now)
    assert frame is not None
    assert any(frame)
    assert receiver.packet(b"\x80", now) == (None, ())
    assert receiver.packet(rtp.serialise(sent[-1]._replace(payload_type=77)), now) == (None, ())
    assert (receiver.malformed, receiver.unknown_payload_types) == (1, 1)
    assert receiver.packet(rtp.serialise(sent[-1]._replace(payload=b"", sequence=5)), now)[0] is None
    assert receiver.malformed == 2
    assert receiver.frame(now + 1.0) is None


def test_comfort_noise_is_no_gap_while_the_far_end_may_be_there() -> None:
    sent: list[rtp.Packet] = []
    one = sender(sent)
    receiver = RtpReceiver(16000, codec)
    receiver.use(AGREEMENT)
    one.tick(TONE, sending=True)
    noise = rtp.serialise(sent[0]._replace(payload_type=13, payload=b"\x40"))
    assert receiver.packet(noise, 0.0) == (None, ())
    receiver.packet(rtp.serialise(sent[0]._replace(sequence=(sent[0].sequence + 1) & 0xFFFF)), 0.02)
    assert receiver.discontinuous
    assert receiver.frame(2.4) is not None
    assert receiver.frame(2.6) is None  # nobody pauses for so long without a word: that is what stalls are told by


def test_another_clock_gets_another_buffer_and_counters_go_on() -> None:
    sent: list[rtp.Packet] = []
    one = sender(sent)
    receiver = RtpReceiver(16000, codec)
    receiver.use(AGREEMENT)
    now = 0.0
    for turn in range(40):
        now += 0.02
        if turn == 20:
            one.use(codec("opus"), replace(OPUS, send_payload_type=96), None)
        one.tick(TONE, sending=True)
        receiver.packet(rtp.serialise(sent[-1]), now)
        receiver.frame(now)
    assert receiver.codec_name == "opus"
    assert receiver.statistics.packets_total == 40
    assert receiver.statistics.lost_total == 0
    receiver.use(replace(AGREEMENT, codecs=(OPUS,)))
    assert receiver.concealed_ms >= 0


def test_digits_come_out_of_event_packets_even_without_their_end() -> None:
    sent: list[rtp.Packet] = []
    one = sender(sent)
    receiver = RtpReceiver(16000, codec)
    receiver.use(AGREEMENT)
    one.tick(TONE, sending=True)
    receiver.packet(rtp.serialise(sent[-1]), 0.0)
    one.send_digits("7", 100, 40)
    for index in range(4):
        one.tick(TONE, sending=True)
        assert receiver.packet(rtp.serialise(sent[-1]), 0.02 * index) == (None, ())
    assert receiver.late_digits(0.1) == ()
    (digit,) = receiver.late_digits(1.0)
    assert digit.digit == "7"


class Desk:
    def __init__(self) -> None:
        self.events: list[MediaEvent] = []
        self.sent: list[rtp.Packet] = []
        self.sender = sender(self.sent)
        self.graph = AudioGraph(16000)
        self.digits = Digits("auto", self.sender, self.graph, self.events.append)


def test_digits_go_by_telephone_event_when_agreed_and_by_info_when_not() -> None:
    desk = Desk()
    desk.digits.send(DtmfRequest(digits="1"))
    assert desk.sender.tick(None, sending=True) is None
    assert desk.sent[-1].payload_type == 101
    desk.sender.use(codec("pcmu"), PCMU, None)
    desk.digits.send(DtmfRequest(digits="2w3", duration_ms=40, gap_ms=40))
    for _ in range(40):
        desk.digits.tick()
    assert desk.events == [InfoWanted(digit="2", duration_ms=40), InfoWanted(digit="3", duration_ms=40)]
    with pytest.raises(WrongState):
        desk.digits.send(DtmfRequest(digits="1", method="rfc4733"))


def test_inband_digits_are_sound() -> None:
    desk = Desk()
    desk.digits.send(DtmfRequest(digits="1w2", method="inband", duration_ms=60, gap_ms=40))
    frames = []
    while (frame := desk.graph.outgoing()) is not None:
        frames.append(frame)
    assert len(frames) == 3 + 2 + 25 + 3 + 2
    assert any(frames[0])
    assert not any(frames[10])
    assert desk.events == [DtmfSent(digit="1"), DtmfSent(digit="2")]
    assert desk.graph.overlays == []


@pytest.mark.parametrize("method", ["auto", "info", "inband", "rfc4733"])
@pytest.mark.parametrize(
    "request_",
    [
        {"digits": ""},
        {"digits": "12x"},
        {"digits": "1", "duration_ms": 10},
        {"digits": "1", "duration_ms": 60_000},
        {"digits": "1", "gap_ms": 0},
    ],
)
def test_bad_requests_are_refused(method: str, request_: dict[str, object]) -> None:
    with pytest.raises(InvalidValue):
        Desk().digits.send(DtmfRequest(method=method, **request_))  # type: ignore[arg-type]  # wrong on purpose


def test_too_many_digits_by_info_are_refused() -> None:
    with pytest.raises(AtCapacity):
        Desk().digits.send(DtmfRequest(digits="1" * 65, method="info"))


def test_the_same_key_press_by_two_ways_is_one_digit() -> None:
    desk = Desk()
    desk.digits.heard(Digit("5", 100), "rfc4733", 10.0)
    desk.digits.heard(Digit("5", 250), "info", 10.2)
    desk.digits.heard(Digit("5", 100), "rfc4733", 10.3)
    desk.digits.heard(Digit("5", 250), "info", 12.0)
    assert [event.method for event in desk.events if isinstance(event, DtmfReceived)] == [
        "rfc4733",
        "rfc4733",
        "info",
    ]


def test_the_state_machine_reports_moves_and_refuses_illegal_ones() -> None:
    events: list[MediaEvent] = []
    machine = MediaStateMachine("call x", events.append)
    machine.enter(MediaState.NEGOTIATING, "again")
    assert events == []
    with pytest.raises(AssertionError):
        machine.enter(MediaState.FLOWING, "too early")
    machine.enter(MediaState.CONNECTING_MEDIA, "description")
    machine.enter(MediaState.FLOWING, "rtp")
    assert len(events) == 2
    assert set(LEGAL) >= {state for followers in LEGAL.values() for state in followers}
