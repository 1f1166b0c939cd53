"""The bounded WAV reader: every sample format, and files that lie about themselves."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from phoned.audio.wav import WavReader
from phoned.errors import InvalidValue


def chunk(name: bytes, data: bytes, length: int | None = None) -> bytes:
    return name + struct.pack("<I", len(data) if length is None else length) + data + bytes(len(data) % 2)


def fmt(code: int = 1, channels: int = 1, rate: int = 16000, bits: int = 16, extra: bytes = b"") -> bytes:
    block = channels * bits // 8
    values = (code, channels, rate, rate * block & 0xFFFFFFFF, block & 0xFFFF, bits)
    return chunk(b"fmt ", struct.pack("<HHIIHH", *values) + extra)


def wav(*chunks: bytes) -> bytes:
    return b"RIFF" + struct.pack("<I", 4 + sum(map(len, chunks))) + b"WAVE" + b"".join(chunks)


def reader(data: bytes) -> WavReader:
    return WavReader(io.BytesIO(data), len(data))


HALF = 16384


@pytest.mark.parametrize(
    ("code", "bits", "data"),
    [
        (1, 8, bytes([192, 64])),
        (1, 16, struct.pack("<hh", HALF, -HALF)),
        (1, 24, b"\x00\x00\x40\x00\x00\xc0"),
        (1, 32, struct.pack("<ii", HALF << 16, -(HALF << 16))),
        (3, 32, struct.pack("<ff", 0.50002, -0.50002)),
    ],
)
def test_every_format_comes_out_as_int16(code: int, bits: int, data: bytes) -> None:
    found = reader(wav(fmt(code, bits=bits), chunk(b"data", data))).read(10)
    assert found.dtype == np.int16
    assert found.tolist() == pytest.approx([HALF, -HALF], abs=1)


@pytest.mark.parametrize(
    ("code", "zero", "loud"),
    [(7, (0xFF, 0x7F), ((0x80, 32124), (0x00, -32124))), (6, (0xD5, 0x55), ((0xAA, 32256), (0x2A, -32256)))],
)
def test_g711_is_decoded(code: int, zero: tuple[int, int], loud: tuple[tuple[int, int], ...]) -> None:
    data = bytes([*zero, *(value for value, _ in loud)])
    found = reader(wav(fmt(code, rate=8000, bits=8), chunk(b"data", data))).read(10).tolist()
    assert [abs(value) <= 8 for value in found[:2]] == [True, True]
    assert found[2:] == [value for _, value in loud]


def test_extensible_formats_and_foreign_chunks_are_understood() -> None:
    extra = struct.pack("<HHIH", 22, 16, 4, 1) + bytes(14)
    data = wav(chunk(b"LIST", b"odd"), fmt(0xFFFE, extra=extra), chunk(b"fact", b"1234"), chunk(b"data", b"\x01\x00"))
    assert reader(data).read(5).tolist() == [1]


def test_channels_are_mixed_down() -> None:
    data = wav(fmt(channels=2), chunk(b"data", struct.pack("<hhhh", 100, 300, -100, 100)))
    assert reader(data).read(10).tolist() == [200, 0]


def test_not_a_number_is_silence() -> None:
    data = wav(fmt(3, bits=32), chunk(b"data", struct.pack("<fff", float("nan"), float("inf"), -9.0)))
    assert reader(data).read(3).tolist() == [0, 32767, -32767]


@pytest.mark.parametrize("stated", [0, 1 << 31, 0xFFFFFFFF, 999])
def test_the_real_size_counts_and_not_the_stated_one(stated: int) -> None:
    data = wav(fmt(), chunk(b"data", b"\x05\x00" * 8, stated))
    found = reader(data)
    assert found.duration_s == 8 / 16000
    assert len(found.read(1 << 20)) == 8
    assert len(found.read(10)) == 0


def test_half_a_sample_at_the_end_is_left_out() -> None:
    data = wav(fmt(channels=2), chunk(b"data", b"\x05\x00" * 3 + b"\x01"))
    assert reader(data).read(10).tolist() == [5]


def test_a_file_that_shrinks_while_it_is_read_ends() -> None:
    file = io.BytesIO(wav(fmt(), chunk(b"data", b"\x05\x00" * 100)))
    found = WavReader(file, len(file.getvalue()))
    found.read(10)
    file.truncate(70)
    assert len(found.read(100)) < 90
    assert len(found.read(100)) == 0


def test_rewind_begins_again() -> None:
    found = reader(wav(fmt(), chunk(b"data", b"\x01\x00\x02\x00")))
    assert found.read(2).tolist() == [1, 2]
    found.rewind()
    assert found.read(2).tolist() == [1, 2]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"RIFF",
        b"RIFX" + bytes(40),
        wav(),
        wav(fmt()),
        wav(fmt(), chunk(b"data", b"")),
        wav(chunk(b"data", b"\x00\x00"), fmt()),
        wav(chunk(b"fmt ", b"short"), chunk(b"data", b"\x00\x00")),
        wav(fmt(rate=0), chunk(b"data", bytes(4))),
        wav(fmt(rate=4_000_000_000), chunk(b"data", bytes(4))),
        wav(fmt(channels=0), chunk(b"data", bytes(4))),
        wav(fmt(channels=65535), chunk(b"data", bytes(4))),
        wav(fmt(bits=12), chunk(b"data", bytes(4))),
        wav(fmt(code=0x55), chunk(b"data", bytes(4))),
        wav(*[chunk(b"junk", b"")] * 100, fmt(), chunk(b"data", bytes(4))),
        b"RIFF\x00\x00\x00\x00WAVE" + b"fmt \xff\xff\xff\xff" + bytes(8),
    ],
)
def test_what_is_no_such_file_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidValue):
        reader(data)


@given(st.binary(max_size=200), st.integers(0, 60), st.integers(0, 255))
def test_any_damage_is_read_or_refused(tail: bytes, at: int, value: int) -> None:
    data = bytearray(wav(fmt(), chunk(b"data", tail)))
    data[at % len(data)] = value
    try:
        found = reader(bytes(data))
    except InvalidValue:
        return
    while len(found.read(16)):
        pass
