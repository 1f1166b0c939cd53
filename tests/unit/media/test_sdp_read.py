"""The tolerant reader: what phones, browsers and relays write, and what nobody should."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phoned.errors import DescriptionError
from phoned.media import sdp
from phoned.media.sdp.model import MAX_BYTES, MAX_CANDIDATES, MAX_CODECS, Direction, PayloadType, Setup
from phoned.media.sdp.read import parse_candidate
from tests.support.cost import cost_s

SAMPLES = sorted((Path(__file__).parents[2] / "data" / "sdp").glob("*.sdp"))
PRINT = "AA:" * 31 + "AA"

BASE = f"""v=0
o=- 42 7 IN IP4 127.0.0.1
s=-
c=IN IP4 192.0.2.9
t=0 0
a=ice-ufrag:abcd
a=ice-pwd:0123456789012345678901
a=fingerprint:sha-256 {PRINT}
a=setup:actpass
m=audio 40000 UDP/TLS/RTP/SAVPF 0
"""


def read(text: str) -> sdp.SessionDescription:
    return sdp.read(text.encode())


def refused(text: str | bytes) -> int:
    with pytest.raises(DescriptionError) as caught:
        sdp.read(text if isinstance(text, bytes) else text.encode())
    return caught.value.status


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
def test_descriptions_of_real_peers_are_read_and_can_be_used(path: Path) -> None:
    description = sdp.read(path.read_bytes())
    sdp.check_usable(description, answer="answer" in path.stem)
    audio = description.audio
    assert audio.codecs
    assert len(audio.ufrag) >= 4
    assert len(audio.pwd) >= 22
    assert [fingerprint.algorithm for fingerprint in audio.fingerprints] == ["sha-256"]
    # an answer to our own hold says recvonly, and is no hold of the peer's
    assert sdp.remote_hold(audio) == path.stem.endswith("offer-hold")
    assert sdp.read(sdp.write(description)).audio.codecs == audio.codecs


def test_session_level_attributes_count_for_the_audio() -> None:
    audio = read(BASE).audio
    assert (audio.ufrag, audio.setup, audio.address, audio.port) == ("abcd", Setup.ACTPASS, "192.0.2.9", 40000)
    assert audio.fingerprints == (sdp.Fingerprint(algorithm="sha-256", value=PRINT),)
    assert audio.direction is Direction.SENDRECV
    assert (audio.mid, audio.rtcp_mux, audio.ssrc, audio.cname, audio.ptime_ms) == (None, False, None, None, None)


def test_the_media_level_wins_over_the_session_level() -> None:
    text = BASE.replace("t=0 0", "t=0 0\na=recvonly") + (
        "c=IN IP6 2001:db8::1\na=setup:passive\na=ice-ufrag:wxyz\na=sendonly\na=fingerprint:SHA-256 "
        + "bb:" * 31
        + "bb\n"
    )
    audio = read(text).audio
    assert (audio.address, audio.setup, audio.ufrag) == ("2001:db8::1", Setup.PASSIVE, "wxyz")
    assert audio.direction is Direction.SENDONLY
    assert [f.value for f in audio.fingerprints] == ["BB:" * 31 + "BB"]


def test_a_direction_at_session_level_is_taken() -> None:
    assert read(BASE.replace("t=0 0", "t=0 0\na=inactive")).audio.direction is Direction.INACTIVE


def test_static_payload_types_need_no_rtpmap_and_the_m_line_orders() -> None:
    text = BASE.replace("SAVPF 0", "SAVPF 18 111 0 8 9 13 101 77 x 300 0") + (
        "a=rtpmap:101 telephone-event/8000\na=rtpmap:111 OPUS/48000/2\n"
        "a=fmtp:18 annexb=no\na=fmtp:111 UseInbandFec=1; x\n"
    )
    types = read(text).audio.payload_types
    assert [(p.number, p.name) for p in types] == [
        (18, "g729"),
        (111, "opus"),
        (0, "pcmu"),
        (8, "pcma"),
        (9, "g722"),
        (13, "cn"),
        (101, "telephone-event"),
    ]
    assert types[1] == PayloadType(number=111, name="opus", clock_rate=48000, channels=2, fmtp="UseInbandFec=1; x")
    assert types[1].parameters == {"useinbandfec": "1", "x": ""}
    assert PayloadType(number=0, name="pcmu", clock_rate=8000).parameters == {}
    audio = read(text).audio
    assert [p.number for p in audio.telephone_events] == [101]
    assert audio.comfort_noise is not None
    assert audio.comfort_noise.number == 13
    assert 101 not in [p.number for p in audio.codecs]


@pytest.mark.parametrize("rtpmap", ["opus", "opus/0", "opus/x/2", "opus/48000/0", "op us/48000", "/8000"])
def test_a_payload_type_that_cannot_be_read_is_left_out(rtpmap: str) -> None:
    text = BASE.replace("SAVPF 0", "SAVPF 111 0") + f"a=rtpmap:111 {rtpmap}\na=rtpmap:x opus/48000\n"
    assert [p.number for p in read(text).audio.payload_types] == [0]


def test_codecs_and_helpers_are_capped() -> None:
    numbers = " ".join(str(n) for n in range(40, 100))
    maps = "".join(f"a=rtpmap:{n} c{n}/8000\n" for n in range(40, 70))
    maps += "".join(f"a=rtpmap:{n} telephone-event/{n}000\n" for n in range(70, 100))
    audio = read(BASE.replace("SAVPF 0", f"SAVPF {numbers}") + maps).audio
    assert len(audio.codecs) == MAX_CODECS
    assert len(audio.telephone_events) == MAX_CODECS


def test_other_m_lines_are_kept_in_their_place() -> None:
    text = BASE.replace(
        "m=audio 40000 UDP/TLS/RTP/SAVPF 0",
        "m=video 9 UDP/TLS/RTP/SAVPF 96\na=mid:v\nm=audio 0 UDP/TLS/RTP/SAVPF 8\nm=audio 40000/1 RTP/SAVPF 0\na=mid:a",
    )
    description = read(
        text.replace("s=-", "s=-\na=group:LS v\na=group:BUNDLE v a\na=group:BUNDLE z") + "m=image 0 udptl t38\n"
    )
    assert description.audio_index == 2
    assert (description.audio.mid, description.audio.protocol, description.audio.port) == ("a", "RTP/SAVPF", 40000)
    assert [(m.kind, m.port, m.mid) for m in description.others] == [
        ("video", 9, "v"),
        ("audio", 0, None),
        ("image", 0, None),
    ]
    assert description.bundle == ("v", "a")


def test_a_rejected_audio_line_is_read_as_rejected() -> None:
    description = read("v=0\no=- 1 1 IN IP4 1.1.1.1\nm=audio 0 UDP/TLS/RTP/SAVPF 0\n")
    assert description.audio.port == 0
    assert description.audio.address == "0.0.0.0"
    with pytest.raises(DescriptionError):
        sdp.check_usable(description)


def test_line_ends_blank_lines_and_unknown_attributes_do_not_matter() -> None:
    for end in ("\r\n", "\n", "\r"):
        text = (BASE + "b=AS:64\na=x-odd\na=:\na=group:\n\na=ssrc:123 cname:me\na=maxptime:60\na=ptime:20.0\n").replace(
            "\n", end
        )
        audio = read(text).audio
        assert (audio.ssrc, audio.cname, audio.maxptime_ms, audio.ptime_ms) == (123, "me", 60, 20)


@pytest.mark.parametrize(
    ("line", "ssrc", "cname"),
    [("a=ssrc:x cname:me", None, None), ("a=ssrc:5 msid:x", 5, None), ("a=ssrc:99999999999 cname:x", None, None)],
)
def test_odd_ssrc_lines(line: str, ssrc: int | None, cname: str | None) -> None:
    audio = read(BASE + line + "\na=ptime:0\na=maxptime:huge\n").audio
    assert (audio.ssrc, audio.cname, audio.ptime_ms, audio.maxptime_ms) == (ssrc, cname, None, None)


def test_candidates_are_read_and_odd_ones_skipped() -> None:
    text = BASE + (
        "a=candidate:1 1 UDP 2130706431 192.0.2.1 5000 typ host generation 0 network-id 1\n"
        "a=candidate:2 1 udp 1694498815 198.51.100.1 5001 typ srflx raddr 192.0.2.1 rport 5000\n"
        "a=candidate:3 1 tcp 1 192.0.2.1 9 typ host tcptype active\n"
        "a=candidate:4 1 udp 1 x.local 9 typ host raddr 0.0.0.0 rport x\n"
        "a=candidate:broken\na=candidate:5 0 udp 1 1.1.1.1 9 typ host\na=candidate:5 1 udp 1 1.1.1.1 0 typ host\n"
        "a=candidate:5 1 udp 99999999999 1.1.1.1 9 typ host\na=candidate:5 x udp 1 1.1.1.1 9 typ host\n"
        "a=candidate:5 1 udp 1 1.1.1.1 9 type host\na=candidate:! 1 udp 1 1.1.1.1 9 typ host\n"
        "a=candidate:6 1 udp 9999999999 1.1.1.1 9 typ host\n"
        "a=candidate:5 1 udp 1 h\u00f6st 9 typ host\na=end-of-candidates\n"
    )
    audio = read(text).audio
    assert [c.foundation for c in audio.candidates] == ["1", "2", "3", "4"]
    assert audio.end_of_candidates
    second = audio.candidates[1]
    assert (second.related_address, second.related_port, second.type) == ("192.0.2.1", 5000, "srflx")
    assert parse_candidate(str(second)) == second
    assert audio.candidates[3].related_port is None


def test_a_thousand_candidates_are_capped() -> None:
    text = BASE + "".join(f"a=candidate:{n} 1 udp 1 10.0.0.1 {n + 1} typ host\n" for n in range(1000))
    assert len(read(text).audio.candidates) == MAX_CANDIDATES


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\r\n\r\n",
        "hello",
        "v=1\n",
        "o=- 1 1 IN IP4 1.1.1.1\n",
        "v=0\nm=audio 1 RTP/SAVPF 0\n",
        "v=0\no=- 1 IN IP4\n",
        "v=0\no=- x 1 IN IP4 1.1.1.1\n",
        "v=0\no=- 1 " + "9" * 30 + " IN IP4 1.1.1.1\n",
        BASE + "nonsense\n",
        BASE + "c=IN IP4\n",
        BASE + "c=IN IP9 1.1.1.1\n",
        BASE + "a=setup:maybe\n",
        BASE.replace("c=IN IP4 192.0.2.9\n", ""),
        BASE.replace("40000", "65536"),
        BASE.replace("40000", "-1"),
        BASE.replace("m=audio 40000 UDP/TLS/RTP/SAVPF 0", "m=audio 1"),
        BASE.replace("ufrag:abcd", "ufrag:a b"),
        BASE.replace("ufrag:abcd", "ufrag:" + "a" * 300),
        BASE + "m=video 0 x y\n" * 40,
        BASE + "\n" * 3000,
        BASE + "a=x\n" * MAX_BYTES,
        "v=0\no=- \u0661 1 IN IP4 1.1.1.1\n",
    ],
)
def test_malformed_descriptions_are_400(text: str) -> None:
    assert refused(text) == 400


@pytest.mark.parametrize(
    "text",
    [
        "v=0\no=- 1 1 IN IP4 1.1.1.1\n",
        BASE.replace("m=audio", "m=video"),
        BASE.replace("UDP/TLS/RTP/SAVPF", "RTP/AVP"),
        BASE.replace("40000 UDP/TLS/RTP/SAVPF", "0 RTP/AVP"),
    ],
)
def test_descriptions_that_are_not_for_us_are_488(text: str) -> None:
    assert refused(text) == 488


def test_the_time_is_linear() -> None:
    hostile = (BASE + "a=fingerprint:sha-256 " + "AA:" * 15000).encode()[:MAX_BYTES]
    for data in (hostile, (BASE + "a=candidate:" + "1 " * 30000).encode(), (BASE + "a=" + ":" * 60000).encode()):
        assert cost_s(lambda data=data: sdp.read(data)) < 0.2  # type: ignore[misc]  # bound to this round


LINES = [
    *BASE.splitlines(),
    "a=mid:0",
    "a=group:BUNDLE 0",
    "a=rtpmap:111 opus/48000/2",
    "a=candidate:1 1 udp 1 10.0.0.1 1 typ host",
    "m=video 9 RTP/AVP 1",
    "a=ssrc:1 cname:x",
]


@settings(max_examples=100)
@given(
    st.lists(st.one_of(st.sampled_from(LINES), st.text(max_size=30)), max_size=30),
    st.integers(0, 400),
    st.binary(max_size=4),
)
def test_any_input_is_a_description_or_a_description_error(lines: list[str], at: int, noise: bytes) -> None:
    data = "\r\n".join(["v=0", *lines]).encode("utf-8", "surrogatepass")
    for candidate in (data, data[:at] + noise + data[at:]):
        try:
            sdp.check_usable(sdp.read(candidate))
        except DescriptionError:
            pass
