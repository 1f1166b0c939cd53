"""The Opus encoder follows what the far end asks for and reports; pauses sound like the place that they come from."""

from __future__ import annotations

import random

import numpy as np
import pytest

from phoned.media import codecs, rtcp, rtp
from phoned.media.codecs.comfort import ComfortNoise
from phoned.media.quality import ExpectedLoss
from phoned.media.receiver import RtpReceiver
from phoned.media.sdp import AgreedCodec, Agreement, Direction
from phoned.media.sender import RtpSender
from tests.bench.speech import frames
from tests.support.media import level_dbov

RATE = 16_000
SPEECH = frames(RATE)[:100]


def encoded(fmtp: str | None, *, loss_pct: int = 0, rate: int = RATE, dtx: bool = False) -> list[bytes]:
    codec = codecs.create("opus", rate, dtx=dtx)
    if fmtp is not None:
        codec.suit(fmtp)
    codec.expect_loss(loss_pct)
    return [codec.encode(frame) for frame in frames(rate)[:100]]


def bits_per_s(payloads: list[bytes]) -> float:
    return sum(map(len, payloads)) * 8 / (len(payloads) / 50)


def bandwidth(payload: bytes) -> str:
    """Of a mode that is in the first byte of each packet (RFC 6716 section 3.1)."""
    config = payload[0] >> 3
    if config < 12:
        return ("nb", "mb", "wb")[config // 4]
    return ("swb", "fb")[(config - 12) // 2] if config < 16 else ("nb", "wb", "swb", "fb")[(config - 16) // 4]


def has_copy(payload: bytes) -> bool:
    """A mono SILK frame begins with its voice activity, then with whether a copy of the last one follows."""
    return payload[0] >> 3 < 16 and bool(payload[1] & 0x40)


def test_the_far_end_s_bit_rate_is_kept_to() -> None:
    assert bits_per_s(encoded("maxaveragebitrate=10000")) < 11_500
    assert bits_per_s(encoded("maxaveragebitrate=64000")) == pytest.approx(bits_per_s(encoded(None)), rel=0.01)


def test_no_band_is_sent_that_the_far_end_does_not_play() -> None:
    assert {bandwidth(payload) for payload in encoded("maxplaybackrate=8000")} == {"nb"}
    assert "wb" in {bandwidth(payload) for payload in encoded("maxplaybackrate=48000")}
    assert {bandwidth(payload) for payload in encoded("maxplaybackrate=12000", rate=48_000)} <= {"nb", "mb"}


def test_a_far_end_that_wants_constant_packets_gets_them() -> None:
    assert len({len(payload) for payload in encoded("cbr=1")}) == 1
    assert len({len(payload) for payload in encoded("")}) > 5


def test_copies_are_sent_while_there_is_loss_and_to_who_can_use_them() -> None:
    assert not any(map(has_copy, encoded("useinbandfec=1")))
    for loss_pct in (1, 5, 30):
        assert sum(map(has_copy, encoded("useinbandfec=1", loss_pct=loss_pct))) > 50
    assert {bandwidth(payload) for payload in encoded("useinbandfec=1", loss_pct=10)} == {"wb"}
    assert not any(map(has_copy, encoded("", loss_pct=5)))


def test_copies_keep_to_the_far_end_s_bit_rate() -> None:
    capped = encoded("useinbandfec=1;maxaveragebitrate=24000", loss_pct=5)
    assert bits_per_s(capped) < 25_000
    assert sum(map(has_copy, capped)) > 50


def test_loss_that_is_over_takes_the_copies_away_again() -> None:
    codec = codecs.create("opus", RATE)
    codec.suit("useinbandfec=1")
    codec.expect_loss(10)
    assert any(has_copy(codec.encode(frame)) for frame in SPEECH)
    codec.expect_loss(0)
    codec.encode(SPEECH[0])  # with the copy of the one before
    assert not any(has_copy(codec.encode(frame)) for frame in SPEECH[1:])


@pytest.mark.parametrize("name", ["pcmu", "g722"])
def test_codecs_without_parameters_take_any(name: str) -> None:
    codec = codecs.create(name, RATE)
    codec.suit("useinbandfec=1;usedtx=1")
    codec.expect_loss(10)
    assert not codec.discontinuous
    assert codec.rest() == bytes(640)


def test_a_pause_begins_with_a_packet_that_says_so_when_the_far_end_wants_none_of_it() -> None:
    codec = codecs.create("opus", RATE)
    codec.suit("usedtx=1")
    assert codec.discontinuous
    sizes = [len(codec.encode(frame)) for frame in (*SPEECH[:20], *[bytes(640)] * 60)]
    began = next(at for at, size in enumerate(sizes) if size <= 2)
    assert sizes[began] in (1, 2)
    assert sizes[began + 1 : began + 10] == [0] * 9
    codec.suit("usedtx=0")
    assert not codec.discontinuous
    assert all(codec.encode(bytes(640)) for _ in range(60))


# -- what reports do


def test_the_estimate_of_loss_rises_at_once_and_falls_in_steps() -> None:
    estimate = ExpectedLoss()
    assert estimate.reported(0) == 0
    assert estimate.reported(round(0.05 * 256)) == 6
    falling = [estimate.reported(0) for _ in range(8)]
    assert falling == sorted(falling, reverse=True)
    assert falling[0] >= 3
    assert falling[-1] == 0
    assert estimate.reported(255) == ExpectedLoss.MOST


def test_a_report_about_us_is_told_apart_from_one_about_others() -> None:
    session = rtcp.RtcpSession(7, "me", 0.0)
    block = rtcp.ReportBlock(ssrc=7, fraction_lost=26, lost=1, extended_sequence=9, jitter=0)
    other = rtcp.ReportBlock(ssrc=8, fraction_lost=99, lost=1, extended_sequence=9, jitter=0)
    assert session.received((rtcp.ReceiverReport(ssrc=1, blocks=(other, block)),), 1.0, unix_s=1.0)
    assert session.peer_fraction_lost == 26
    assert not session.received((rtcp.ReceiverReport(ssrc=1, blocks=(other,)),), 2.0, unix_s=2.0)


# -- both ends together

OPUS = AgreedCodec(
    name="opus",
    clock_rate=48000,
    channels=2,
    send_payload_type=111,
    receive_payload_type=111,
    fmtp="useinbandfec=1;usedtx=1",
)
PCMU = AgreedCodec(name="pcmu", clock_rate=8000, channels=1, send_payload_type=0, receive_payload_type=0)


def agreement(codec: AgreedCodec) -> Agreement:
    return Agreement(
        codecs=(codec,),
        telephone_events=(),
        comfort_noise=13,
        direction=Direction.SENDRECV,
        remote_hold=False,
        ptime_ms=20,
        rtcp_mux=True,
    )


def heard(codec: AgreedCodec, said: list[bytes], gone: frozenset[int] = frozenset()) -> tuple[list[bytes | None], int]:
    """What arrives of these frames, and how many packets it took; ``gone`` of them are lost."""
    sent: list[bytes] = []

    def send(packet: bytes) -> bool:
        sent.append(packet)
        return True

    sender = RtpSender(send, bytes(640))
    sender.use(codecs.create(codec.name, RATE), codec, None)
    receiver = RtpReceiver(RATE, lambda name: codecs.create(name, RATE))
    receiver.use(agreement(codec))
    frames_heard: list[bytes | None] = []
    packets = 0
    for number, frame in enumerate(said):
        now = number * 0.02
        sender.tick(frame, sending=True)
        for packet in sent:
            packets += 1
            if number not in gone:
                receiver.packet(packet, now)
        sent.clear()
        frames_heard.append(receiver.frame(now + 0.01))
    return frames_heard, packets


def noise(count: int, rms: float) -> list[bytes]:
    random = np.random.default_rng(3)
    return [random.normal(0, rms, RATE // 50).astype(np.int16).tobytes() for _ in range(count)]


def level(frames_heard: list[bytes | None]) -> float:
    return level_dbov(np.frombuffer(b"".join(frame or bytes(640) for frame in frames_heard), np.int16))


def test_a_long_pause_costs_few_packets_and_is_neither_a_gap_nor_concealment() -> None:
    said = [*SPEECH[:50], *[bytes(640)] * 200, *SPEECH[:50]]
    frames_heard, packets = heard(OPUS, said)
    assert packets < 100 + 50
    assert None not in frames_heard[5:]
    # the talk spurt after the pause is whole
    assert level(frames_heard[258:300]) == pytest.approx(level(frames_heard[8:50]), abs=1.0)


def test_the_background_goes_on_in_a_pause_without_packets() -> None:
    quiet = noise(300, 40)
    frames_heard, packets = heard(OPUS, [*SPEECH[:50], *quiet])
    assert packets < 250
    blocks = [level(frames_heard[at : at + 5]) for at in range(150, 350, 5)]
    assert min(blocks) > -75  # no hole of dead silence
    assert max(blocks) - min(blocks) < 20


def test_comfort_noise_has_the_level_that_was_told() -> None:
    for rate in (8000, 16000, 48000):
        noise_ = ComfortNoise(rate)
        assert not any(noise_.frame())
        noise_.describe(b"\x32\x80\x80")
        sound = b"".join(noise_.frame() for _ in range(200))
        assert len(sound) == rate // 25 * 200
        assert level_dbov(np.frombuffer(sound, np.int16)) == pytest.approx(-50, abs=1)
        noise_.describe(b"")
        assert not any(noise_.frame())


def test_a_pause_after_a_comfort_noise_packet_is_filled_with_noise_until_speech_comes_back() -> None:
    receiver = RtpReceiver(RATE, lambda name: codecs.create(name, RATE))
    receiver.use(agreement(PCMU))
    codec = codecs.create("pcmu", RATE)
    frames_heard: list[bytes | None] = []
    sequence = 0
    for number in range(200):
        now = number * 0.02
        packet = None
        if number < 50 or number >= 150:
            packet = rtp.pack(0, sequence, number * 160, 7, codec.encode(SPEECH[number % 50]))
        elif number == 50:
            packet = rtp.pack(13, sequence, number * 160, 7, b"\x30")
        if packet is not None:
            sequence += 1
            receiver.packet(packet, now)
        frames_heard.append(receiver.frame(now + 0.01))
    assert None not in frames_heard
    assert level(frames_heard[56:148]) == pytest.approx(-48, abs=1.5)
    assert level(frames_heard[155:200]) == pytest.approx(level(frames_heard[5:50]), abs=1)


def test_copies_make_good_what_is_lost() -> None:
    """The same losses, with and without copies: what is heard is nearer to what would have been heard."""
    chance = random.Random(6)
    gone = frozenset(n for n in range(20, 400) if chance.random() < 0.1)
    said = [frame for _ in range(4) for frame in frames(RATE)[:100]]

    def distance(fmtp: str) -> float:
        codec = codecs.create("opus", RATE)
        codec.suit(fmtp)
        codec.expect_loss(10)
        payloads = [codec.encode(frame) for frame in said]
        whole, lossy = codecs.create("opus", RATE), codecs.create("opus", RATE)
        error = power = 0.0
        for number, payload in enumerate(payloads[:-1]):
            right = np.frombuffer(whole.decode(payload), np.int16).astype(float)
            if number in gone:
                made_up = lossy.decode_fec(payloads[number + 1]) or b""
                error += float(((np.frombuffer(made_up, np.int16) - right) ** 2).sum())
                power += float((right**2).sum())
            else:
                lossy.decode(payload)
        return error / power

    assert distance("useinbandfec=1") < 0.6 * distance("useinbandfec=0")
