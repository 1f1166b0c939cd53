"""Streams as the world sends them, packet by packet into a receiver on simulated time: what is heard of a tone.

A *hole* is a stretch of 5 ms windows in which the tone is 12 dB or more too soft. Concealed sound is no hole: not to be
heard is its point.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import pytest
from numpy.typing import NDArray

from phoned.media import codecs, rtcp, rtp
from phoned.media.receiver import RtpReceiver
from phoned.media.sdp import AgreedCodec, Agreement, Direction

TONE_HZ = 440.0
TONE_PEAK = 8000.0
SECONDS = 6.0
EVENT_S = 3.0
PLAIN = {
    "pcmu": AgreedCodec(name="pcmu", clock_rate=8000, channels=1, send_payload_type=0, receive_payload_type=0),
    "pcma": AgreedCodec(name="pcma", clock_rate=8000, channels=1, send_payload_type=8, receive_payload_type=8),
    "g722": AgreedCodec(name="g722", clock_rate=8000, channels=1, send_payload_type=9, receive_payload_type=9),
    "opus": AgreedCodec(name="opus", clock_rate=48000, channels=2, send_payload_type=111, receive_payload_type=111),
}
AGREEMENT = Agreement(
    codecs=tuple(PLAIN.values()),
    telephone_events=(),
    comfort_noise=13,
    direction=Direction.SENDRECV,
    remote_hold=False,
    ptime_ms=20,
    rtcp_mux=True,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Timed:
    """A packet on its way, and when it arrives."""

    at: float
    packet: rtp.Packet


def tone(rate: int, seconds: float = SECONDS) -> NDArray[np.int16]:
    at = np.arange(int(rate * seconds)) / rate
    return (TONE_PEAK * np.sin(2 * np.pi * TONE_HZ * at)).astype(np.int16)


def stream(name: str = "opus", *, ptime_ms: int = 20, seconds: float = SECONDS) -> list[Timed]:
    """The tone as a well-behaved sender packs it."""
    codec = codecs.create(name, 16_000)
    agreed = PLAIN[name]
    sound = tone(16_000, seconds)
    payloads = [codec.encode(sound[at : at + 320].tobytes()) for at in range(0, len(sound) - 319, 320)]
    if ptime_ms != 20:
        payloads = list(repacked(name, payloads, ptime_ms))
    step = agreed.clock_rate * ptime_ms // 1000
    return [
        Timed(
            at=(n + 1) * ptime_ms / 1000,
            packet=rtp.Packet(agreed.receive_payload_type, 65_000 + n & 0xFFFF, n * step, 1, payload),
        )
        for n, payload in enumerate(payloads)
    ]


def repacked(name: str, payloads: list[bytes], ptime_ms: int) -> Iterator[bytes]:
    """Frames of 20 ms as longer packets, or halves of them."""
    if name == "opus":  # code 3 packets (RFC 6716 section 3.2.5): several frames of one configuration
        count = ptime_ms // 20
        for at in range(0, len(payloads) - count + 1, count):
            group = payloads[at : at + count]
            lengths = b"".join(
                bytes([len(p) - 1]) if len(p) - 1 < 252 else bytes([252 + (len(p) - 1 & 3), (len(p) - 253) >> 2])
                for p in group[:-1]
            )
            yield bytes([group[0][0] & 0xFC | 3, 0x80 | count]) + lengths + b"".join(p[1:] for p in group)
        return
    whole = b"".join(payloads)
    size = 8 * ptime_ms
    for at in range(0, len(whole) - size + 1, size):
        yield whole[at : at + size]


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    sound: NDArray[np.int16]
    rate: int
    receiver: RtpReceiver

    def holes(self, since: float = 0.5, until: float = SECONDS - 0.2) -> list[tuple[float, float]]:
        """Start and length in seconds of the stretches where the tone is missing."""
        size = self.rate // 200
        count = len(self.sound) // size
        blocks = self.sound[: count * size].reshape(count, size).astype(float)
        rms = np.sqrt((blocks**2).mean(axis=1))
        soft = rms < TONE_PEAK / np.sqrt(2) * 10 ** (-12 / 20)
        found: list[tuple[float, float]] = []
        for number in range(int(since * 200), min(count, int(until * 200))):
            if soft[number]:
                at = number / 200
                if found and abs(found[-1][0] + found[-1][1] - at) < 1e-9:
                    found[-1] = (found[-1][0], found[-1][1] + 0.005)
                else:
                    found.append((at, 0.005))
        return found

    def longest_hole(self, since: float = 0.5, until: float = SECONDS - 0.2) -> float:
        return max((length for _, length in self.holes(since, until)), default=0.0)


def listen(
    packets: list[Timed],
    *,
    rate: int = 16_000,
    seconds: float = SECONDS,
    agreement: Agreement = AGREEMENT,
    during: Callable[[RtpReceiver, float], None] = lambda receiver, now: None,
) -> Heard:
    """What one end hears, tick by tick. Nothing becomes silence."""
    receiver = RtpReceiver(rate, lambda name: codecs.create(name, rate))
    receiver.use(agreement)
    coming = sorted(packets, key=lambda timed: timed.at)
    at = 0
    heard: list[bytes] = []
    silence = bytes(rate // 25)
    for tick in range(int(seconds * 50)):
        now = 0.013 + tick * 0.02
        while at < len(coming) and coming[at].at <= now:
            receiver.packet(rtp.serialise(coming[at].packet), coming[at].at)
            at += 1
        during(receiver, now)
        frame = receiver.frame(now)
        assert frame is None or len(frame) == len(silence)
        heard.append(silence if frame is None else frame)
    return Heard(sound=np.frombuffer(b"".join(heard), np.int16), rate=rate, receiver=receiver)


def changed(packets: list[Timed], since: float = EVENT_S, **shifts: int) -> list[Timed]:
    """From then on sequence, timestamp or SSRC are shifted."""
    made = []
    for timed in packets:
        packet = timed.packet
        if timed.at > since:
            packet = packet._replace(
                sequence=packet.sequence + shifts.get("sequence", 0) & 0xFFFF,
                timestamp=packet.timestamp + shifts.get("timestamp", 0) & 0xFFFFFFFF,
                ssrc=packet.ssrc + shifts.get("ssrc", 0),
            )
        made.append(replace(timed, packet=packet))
    return made


@pytest.mark.parametrize("rate", [8000, 16000, 48000])
@pytest.mark.parametrize("name", PLAIN)
def test_the_tone_is_whole_at_each_rate_of_the_graph(name: str, rate: int) -> None:
    heard = listen(stream(name), rate=rate)
    assert heard.holes() == []
    assert heard.receiver.concealed_ms == 0
    spectrum = np.abs(np.fft.rfft(heard.sound[rate : 2 * rate] * np.hanning(rate)))
    assert int(spectrum.argmax()) == pytest.approx(TONE_HZ, abs=1)


@pytest.mark.parametrize(
    ("name", "ptime_ms"),
    [("pcmu", 10), ("pcmu", 30), ("pcmu", 40), ("pcmu", 60), ("g722", 10), ("opus", 40), ("opus", 60)],
)
def test_packets_of_other_lengths_are_whole(name: str, ptime_ms: int) -> None:
    heard = listen(stream(name, ptime_ms=ptime_ms))
    assert heard.holes() == []
    assert heard.receiver.concealed_ms == 0


@pytest.mark.parametrize("ptime_ms", [10, 20, 40, 60])
def test_a_lost_packet_of_any_length_is_covered_and_nothing_beside_it(ptime_ms: int) -> None:
    packets = stream("opus" if ptime_ms != 10 else "pcmu", ptime_ms=ptime_ms)
    heard = listen([timed for n, timed in enumerate(packets) if n != 50])
    # libopus's own concealment makes a pure tone softer, for no longer than what is missing
    assert heard.longest_hole() <= ptime_ms / 1000 + 0.005
    assert heard.receiver.concealed_ms <= max(20, ptime_ms)
    assert not np.any(np.all(heard.sound[8_000:80_000].reshape(-1, 160) == 0, axis=1))


SHIFTS = {
    "SSRC": {"ssrc": 5},
    "everything": {"ssrc": 5, "sequence": 20_000, "timestamp": 987_654_321},
    "sequence forward": {"sequence": 5_000},
    "sequence back": {"sequence": -5_000},
    "timestamp far forward": {"timestamp": 900_000_000},
    "timestamp a second forward": {"timestamp": 48_000},
    "timestamp half a second forward": {"timestamp": 24_000},
    "timestamp 60 ms forward": {"timestamp": 2_880},
    "timestamp 60 ms back": {"timestamp": -2_880},
    "timestamp half a second back": {"timestamp": -24_000},
    "timestamp a second back": {"timestamp": -48_000},
    "timestamp far back": {"timestamp": -900_000_000},
}


@pytest.mark.parametrize("name", ["opus", "pcmu"])
@pytest.mark.parametrize("what", SHIFTS)
def test_a_jump_of_the_sender_s_numbers_is_hardly_heard(what: str, name: str) -> None:
    shifts = dict(SHIFTS[what])
    if name == "pcmu" and "timestamp" in shifts:
        shifts["timestamp"] //= 6
    heard = listen(changed(stream(name), **shifts))
    assert heard.longest_hole() <= 0.025
    assert heard.holes(EVENT_S + 0.1) == []
    assert heard.receiver.buffer_s < 0.06
    assert heard.receiver.concealed_ms <= 20


@pytest.mark.parametrize("shifts", [{"ssrc": 5}, {"timestamp": -24_000}, {"timestamp": 24_000}, {"sequence": 7_000}])
def test_a_jump_on_a_path_with_jitter_leaves_the_delay_where_it_was(shifts: dict[str, int]) -> None:
    chance = random.Random(3)
    delayed = [replace(timed, at=timed.at + chance.uniform(0, 0.03)) for timed in stream(seconds=12)]
    before = listen(delayed, seconds=12)
    heard = listen(changed(delayed, **shifts), seconds=12)
    assert heard.receiver.buffer_s <= before.receiver.buffer_s + 0.025
    assert heard.longest_hole(EVENT_S - 0.1, EVENT_S + 0.4) <= 0.065
    assert sum(length for _, length in heard.holes(EVENT_S + 0.4, 11.5)) <= 0.1


SWITCHES = [("pcmu", "pcma"), ("pcmu", "g722"), ("opus", "pcmu"), ("pcmu", "opus"), ("g722", "opus")]


@pytest.mark.parametrize(("first", "then"), SWITCHES)
def test_another_payload_type_in_mid_stream_is_hardly_heard(first: str, then: str) -> None:
    """Same SSRC, sequence goes on, timestamps too, in the new clock."""
    packets = [timed for timed in stream(first) if timed.at <= EVENT_S]
    packets += [timed for timed in stream(then) if timed.at > EVENT_S]
    heard = listen(packets)
    assert heard.receiver.codec_name == then
    assert heard.longest_hole() <= 0.065
    assert heard.holes(EVENT_S + 0.2) == []


def test_a_pause_without_a_word_about_it_leaves_the_next_sound_whole() -> None:
    packets = [timed for timed in stream() if not EVENT_S < timed.at <= EVENT_S + 1]
    packets = [
        # no packets, and no hole in the numbers: DTX
        replace(timed, packet=timed.packet._replace(sequence=timed.packet.sequence - 50 & 0xFFFF))
        if timed.at > EVENT_S
        else timed
        for timed in packets
    ]
    heard = listen(packets)
    holes = heard.holes(EVENT_S - 0.1)
    assert sum(length for _, length in holes) <= 1.03
    assert heard.holes(EVENT_S + 1.1) == []


@pytest.mark.parametrize("ppm", [-200, 200, 1000])
def test_a_drifting_clock_is_never_heard_as_more_than_a_frame(ppm: int) -> None:
    """A minute of a tone without any pause: the hardest case, since there is no silence to hide a frame in."""
    packets = [replace(timed, at=timed.at * (1 + ppm * 1e-6)) for timed in stream("pcmu", seconds=60)]
    heard = listen(packets, seconds=60)
    assert heard.longest_hole(0.5, 59.5) <= 0.025
    assert sum(length for _, length in heard.holes(0.5, 59.5)) <= 0.06
    assert heard.receiver.buffer_s < 0.11


def test_a_goodbye_is_no_end_of_the_stream() -> None:
    session = rtcp.RtcpSession(7, "me", 0.0)
    goodbye = rtcp.build(rtcp.ReceiverReport(ssrc=1), rtcp.Goodbye(ssrcs=(1,), reason="transfer"))

    def during(receiver: RtpReceiver, now: float) -> None:
        if abs(now - EVENT_S) < 0.02:
            assert not session.received(rtcp.parse(goodbye), now, unix_s=now)

    assert listen(stream(), during=during).holes() == []
