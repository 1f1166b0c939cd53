"""Codecs: sound survives them, loss is covered, and no payload breaks them."""

from __future__ import annotations

import random
from itertools import pairwise

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from phoned.companding import Law, decode_table, encode_table
from phoned.errors import InternalError, InvalidValue
from phoned.media import codecs
from phoned.media.codecs import Codec, libopus
from phoned.media.codecs.conceal import Concealer
from phoned.media.codecs.playout import Playout
from phoned.media.codecs.resample import Resampler
from phoned.media.jitter import JitterBuffer
from phoned.media.rtp import Packet

RATES = (8000, 16000, 48000)
EVERY = [(name, rate) for name in codecs.NAMES for rate in RATES]


def voice(rate: int, seconds: float = 2.0) -> NDArray[np.int16]:
    at = np.arange(int(rate * seconds)) / rate
    sound = sum(4000 / k * np.sin(2 * np.pi * 150 * k * at + k) for k in range(1, 15))
    return np.asarray(sound * (0.6 + 0.4 * np.sin(2 * np.pi * 3 * at))).astype(np.int16)


def frames(sound: NDArray[np.int16], rate: int) -> list[bytes]:
    size = rate // 50
    return [sound[at : at + size].tobytes() for at in range(0, len(sound) - size + 1, size)]


def snr_db(sent: NDArray[np.int16], heard: bytes, rate: int) -> float:
    """The best signal-to-noise ratio over delays up to 15 ms."""
    whole = np.frombuffer(heard, np.int16).astype(float)
    part = sent[rate // 2 : rate].astype(float)
    best = -99.0
    for delay in range(rate * 15 // 1000):
        error = whole[rate // 2 + delay : rate + delay] - part
        best = max(best, float(10 * np.log10((part @ part) / (error @ error + 1))))
    return best


@pytest.mark.parametrize(("name", "rate"), EVERY)
def test_sound_survives(name: str, rate: int) -> None:
    codec = codecs.create(name.upper(), rate)
    assert (codec.name, codec.sample_rate) == (name, rate)
    sound = voice(rate)
    payloads = [codec.encode(frame) for frame in frames(sound, rate)]
    assert all(codec.duration(payload) == codec.clock_rate // 50 for payload in payloads)
    heard = b"".join(map(codec.decode, payloads))
    assert len(heard) == len(sound) * 2
    assert snr_db(sound, heard, rate) > (5 if name == "opus" else 15)


@pytest.mark.parametrize(("name", "rate"), EVERY)
def test_concealment_has_the_length_of_a_frame_and_fades(name: str, rate: int) -> None:
    codec = codecs.create(name, rate)
    for frame in frames(voice(rate, 0.5), rate):
        codec.decode(codec.encode(frame))
    lost = [np.frombuffer(codec.conceal(), np.int16).astype(float) for _ in range(15)]
    assert {len(frame) for frame in lost} == {rate // 50}
    power = [float(frame @ frame) for frame in lost]
    assert power[0] > 1000 * rate // 50
    assert power[-1] < power[0] / 20


@pytest.mark.parametrize(("name", "rate"), EVERY)
def test_hostile_payloads_are_sound_of_some_kind(name: str, rate: int) -> None:
    codec = codecs.create(name, rate)
    chance = random.Random(8)
    for size in (0, 1, 2, 3, 7, 100, 160, 161, 1275, 1400):
        payload = chance.randbytes(size)
        assert len(codec.decode(payload)) % 2 == 0
        codec.decode_fec(payload)
        assert codec.duration(payload) >= 0
    assert len(codec.decode(b"")) == rate // 25


@pytest.mark.parametrize(("name", "rate"), EVERY)
def test_a_frame_of_the_wrong_size_is_our_own_fault(name: str, rate: int) -> None:
    with pytest.raises(InternalError):
        codecs.create(name, rate).encode(bytes(10))


def test_opus_recovers_a_lost_frame_from_the_next_packet() -> None:
    rate = 16000
    codec = codecs.create("opus", rate, expected_loss_pct=20, bitrate=32000)
    at = np.arange(rate * 4) / rate
    pitch = 2 * np.pi * np.cumsum(180 + 80 * np.sin(2 * np.pi * 3.3 * at)) / rate  # a voice that never holds still
    sound = sum(3000 / k * np.sin(k * pitch) for k in range(1, 12)) * (np.sin(2 * np.pi * 4.1 * at) > -0.3)
    payloads = [codec.encode(frame) for frame in frames(np.asarray(sound).astype(np.int16), rate)]
    whole, plain, fec = (codecs.create("opus", rate) for _ in range(3))
    error_plain = error_fec = 0.0
    for n, payload in enumerate(payloads[:-1]):
        right = np.frombuffer(whole.decode(payload), np.int16).astype(float)
        if n % 5 != 4:
            plain.decode(payload)
            fec.decode(payload)
            continue
        error_plain += float(((np.frombuffer(plain.conceal(), np.int16) - right) ** 2).sum())
        error_fec += float(((np.frombuffer(fec.decode_fec(payloads[n + 1]) or b"", np.int16) - right) ** 2).sum())
    assert error_fec < 0.6 * error_plain


def test_opus_dtx_sends_next_to_nothing_in_silence() -> None:
    codec = codecs.create("opus", 16000, dtx=True)
    sizes = [len(codec.encode(bytes(640))) for _ in range(100)]
    assert sizes[50:].count(0) > 40


def test_stereo_opus_of_a_peer_is_heard_as_mono() -> None:
    encoder = av.CodecContext.create("libopus", "w")
    assert isinstance(encoder, av.AudioCodecContext)
    encoder.sample_rate, encoder.layout, encoder.format = 48000, "stereo", "s16"
    frame = av.AudioFrame(format="s16", layout="stereo", samples=960)
    frame.planes[0].update(np.repeat(voice(48000, 0.02), 2).tobytes())
    frame.sample_rate = 48000
    payload = bytes([*encoder.encode(frame), *encoder.encode(None)][0])
    codec = codecs.create("opus", 16000)
    assert codec.duration(payload) == 960
    assert len(codec.decode(payload)) == 640


@pytest.mark.parametrize("name", ["pcmu", "pcma"])
def test_g711_agrees_with_ffmpeg(name: Law) -> None:
    codec = codecs.create(name, 8000)
    decoder = av.CodecContext.create("pcm_mulaw" if name == "pcmu" else "pcm_alaw", "r")
    assert isinstance(decoder, av.AudioCodecContext)
    decoder.sample_rate, decoder.layout = 8000, "mono"
    every = bytes(range(256))
    (reference,) = decoder.decode(av.Packet(every))
    assert codec.decode(every) == bytes(reference.planes[0])[:512]
    table = decode_table(name)
    by_bits = np.arange(-32768, 32768).astype(np.int16)
    back = table[encode_table(name)[by_bits.view(np.uint16)]].astype(int)
    error = np.abs(back - by_bits.astype(int))
    limit = np.maximum(16, np.abs(by_bits.astype(int)) // 16)
    inside = np.abs(by_bits.astype(int)) < 32200
    assert (error[inside] <= limit[inside]).all()
    codes = encode_table(name)[table.view(np.uint16)]
    assert (table[codes] == table).all()


def test_unknown_codecs_and_rates_are_refused() -> None:
    for name, rate in (("speex", 16000), ("opus", 44100)):
        with pytest.raises(InvalidValue):
            codecs.create(name, rate)
    with pytest.raises(InternalError):
        codecs.create("opus", 16000, complexity=99)
    with pytest.raises(InvalidValue):
        Resampler(8000, 44100)


def test_libopus_is_found_here_and_its_absence_is_no_crash() -> None:
    assert codecs.available() == codecs.NAMES
    assert libopus.load().version.startswith("libopus")
    assert libopus.open_first(["/nowhere/libopus.so"]) is None


def test_the_copy_inside_pyav_can_be_used_alone() -> None:
    bundled = [path for path in libopus._paths() if "av.libs" in path]
    assert libopus._paths()[: len(bundled)] == bundled  # PyAV has loaded it: a second libopus is not wanted
    library = libopus.open_first(["/nowhere/libopus.so", *bundled])
    assert library is None or library.path in bundled


@pytest.mark.parametrize(
    ("source", "target"), [(8000, 16000), (16000, 8000), (8000, 48000), (48000, 8000), (48000, 16000)]
)
def test_resampling_keeps_a_tone_and_leaves_no_image(source: int, target: int) -> None:
    resampler = Resampler(source, target)
    at = np.arange(source) / source
    tone = (8000 * np.sin(2 * np.pi * 1000 * at)).astype(np.int16)
    size = source // 50
    out = np.concatenate([resampler.process(tone[n : n + size]) for n in range(0, source, size)]).astype(float)
    spectrum = np.abs(np.fft.rfft(out[target // 4 : target // 4 + target // 2])) / (target // 4)
    peak = int(spectrum.argmax())
    assert peak == 500
    assert spectrum[peak] == pytest.approx(8000, rel=0.02)
    spectrum[peak - 3 : peak + 4] = 0
    assert spectrum.max() < 8000 * 10 ** (-50 / 20)


def test_resampling_is_the_same_whatever_the_frame_length() -> None:
    sound = voice(8000, 0.3)
    whole = Resampler(8000, 16000).process(sound)
    pieces = Resampler(8000, 16000)
    cut = [0, 160, 400, 401, 1000, 2400]
    joined = np.concatenate([pieces.process(sound[a:b]) for a, b in pairwise(cut)])
    assert np.abs(joined.astype(int) - whole.astype(int)).max() <= 1
    with pytest.raises(InvalidValue):
        Resampler(48000, 8000).process(sound[:7])


def test_concealment_joins_without_a_click() -> None:
    rate = 8000
    sound = voice(rate, 1.0)
    concealer = Concealer(rate)
    heard = [concealer.good(sound[n : n + 160]) for n in range(0, 4000, 160)]
    heard += [concealer.conceal()]
    heard += [concealer.good(sound[n : n + 160]) for n in range(4160, 6000, 160)]
    jumps = np.abs(np.diff(np.concatenate(heard).astype(int)))
    assert jumps[3800:4400].max() <= 1.6 * np.abs(np.diff(sound.astype(int))).max()


@pytest.mark.parametrize("packet_ms", [5, 10, 20, 40])
def test_concealment_finds_the_pitch_whatever_the_packet_length(packet_ms: int) -> None:
    at = np.arange(8000) / 8000
    sound = (6000 * np.sin(2 * np.pi * 100 * at) + 3000 * np.sin(2 * np.pi * 300 * at)).astype(np.int16)
    concealer = Concealer(8000)
    size = 8 * packet_ms
    for n in range(0, 3200, size):
        concealer.good(sound[n : n + size])
    made_up, right = concealer.conceal().astype(float), sound[3200:3360].astype(float)
    assert made_up @ right > 0.9 * np.sqrt((made_up @ made_up) * (right @ right))


def playout(rate: int = 16000, name: str = "pcmu") -> tuple[Playout, Codec, JitterBuffer]:
    jitter, codec = JitterBuffer(8000), codecs.create(name, rate)
    return Playout(jitter, {0: codec}, rate), codec, jitter


@pytest.mark.parametrize("ptime_ms", [10, 20, 30, 40, 60])
def test_playout_gives_one_frame_a_tick_for_any_packet_length(ptime_ms: int) -> None:
    out, codec, jitter = playout(8000)
    encoded = b"".join(codec.encode(frame) for frame in frames(voice(8000), 8000))
    size = 8 * ptime_ms
    heard = b""
    sent = 0
    for tick in range(90):
        while sent * ptime_ms <= tick * 20:
            jitter.put(Packet(0, sent, sent * size, 1, encoded[sent * size :][:size]), sent * ptime_ms / 1000, size)
            sent += 1
        frame = out.frame(tick * 0.02 + 0.001)
        assert len(frame) == 320
        heard += frame
    decoded = codecs.create("pcmu", 8000).decode(encoded)
    start = heard.find(decoded[:200])
    assert start >= 0
    assert heard[start:] == decoded[: len(heard) - start]
    assert out.concealed_ms == 0


def test_playout_conceals_counts_and_hears_silence() -> None:
    out, codec, jitter = playout()
    assert out.frame(0.0) == bytes(640)
    assert out.quiet()
    payloads = [codec.encode(frame) for frame in frames(voice(16000, 1.0), 16000)]
    for n, payload in enumerate(payloads):
        if n != 20:
            jitter.put(Packet(0, n, n * 160, 1, payload), n * 0.02, 160)
        out.frame(n * 0.02 + 0.01)
    assert out.concealed_ms == 20
    assert not out.quiet()
    jitter.put(Packet(99, 50, 8000, 1, b"x"), 1.0, 160)
    frames_heard = [out.frame(1.01 + n * 0.02) for n in range(2)]
    assert frames_heard[1] == bytes(640), "a payload type never agreed is silence"


def test_playout_uses_the_copy_inside_opus() -> None:
    jitter, codec = JitterBuffer(48000), codecs.create("opus", 16000)
    out = Playout(jitter, {111: codec}, 16000)
    for n, frame in enumerate(frames(voice(16000, 1.0), 16000)):
        if n != 20:
            jitter.put(Packet(111, n, n * 960, 1, codec.encode(frame)), n * 0.02, 960)
        assert len(out.frame(n * 0.02 + 0.01)) == 640
    assert out.concealed_ms == 20


def test_a_packet_shorter_than_its_length_says_is_filled_up() -> None:
    out, codec, jitter = playout(8000)
    jitter.put(Packet(0, 0, 0, 1, codec.encode(voice(8000, 0.02).tobytes())[:80]), 0.0, 160)
    frame = out.frame(0.03)
    assert len(frame) == 320
    assert frame[160:] == bytes(160)


def test_playout_takes_other_codecs_in_mid_call() -> None:
    out, codec, jitter = playout()
    out.use({})
    jitter.put(Packet(0, 0, 0, 1, b"\xff" * 160), 0.0, 160)
    assert out.frame(0.03) == bytes(640)
    assert out.frame(0.05) == bytes(640)
    out.use({8: codec})
    out.use({9: codec})
    jitter.put(Packet(9, 1, 160, 1, codec.encode(voice(16000, 0.02).tobytes())), 0.06, 160)
    assert any(out.frame(0.07 + n * 0.02) != bytes(640) for n in range(3))
