"""What a far end asks of an Opus encoder, and what we ask."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phoned.media.sdp import OpusFormat
from tests.support.cost import cost_s


def test_nothing_said_is_what_the_rfc_says() -> None:
    assert OpusFormat.parse("") == OpusFormat(
        playback_rate=48_000, bitrate=None, stereo=False, constant=False, fec=False, dtx=False
    )


def test_everything_that_can_be_asked_for_is_understood() -> None:
    asked = "minptime=10; maxplaybackrate=16000; maxaveragebitrate=20000;stereo=1;CBR=1; useinbandfec=1;usedtx=1"
    assert OpusFormat.parse(asked) == OpusFormat(
        playback_rate=16_000, bitrate=20_000, stereo=True, constant=True, fec=True, dtx=True
    )


@pytest.mark.parametrize("value", ["", "x", "-1", "0", "5999", "510001", "9" * 5000, "²"])
def test_numbers_out_of_range_are_as_good_as_not_said(value: str) -> None:
    read = OpusFormat.parse(f"maxaveragebitrate={value};maxplaybackrate={value};useinbandfec=1")
    assert (read.bitrate, read.fec) == (None, True)
    assert 8_000 <= read.playback_rate <= 48_000


def test_what_is_not_said_costs_no_more_to_read_than_what_is() -> None:
    said = cost_s(lambda: [OpusFormat.parse("maxaveragebitrate=20000;useinbandfec=1") for _ in range(20)])
    assert cost_s(lambda: [OpusFormat.parse("useinbandfec=1") for _ in range(20)]) < 10 * said


@given(
    st.builds(
        OpusFormat,
        playback_rate=st.sampled_from((8_000, 16_000, 48_000)),
        bitrate=st.none() | st.integers(6_000, 510_000),
        stereo=st.booleans(),
        constant=st.booleans(),
        fec=st.booleans(),
        dtx=st.booleans(),
    )
)
def test_what_is_written_is_read_again(asked: OpusFormat) -> None:
    assert OpusFormat.parse(str(asked)) == asked


def test_a_narrower_graph_says_so_and_a_full_one_says_nothing() -> None:
    assert str(OpusFormat(fec=True)) == "minptime=10;useinbandfec=1;stereo=0;sprop-stereo=0"
    assert str(OpusFormat(fec=True, playback_rate=16_000)).endswith("maxplaybackrate=16000;sprop-maxcapturerate=16000")
