"""The forms of a trace."""

from __future__ import annotations

import shutil
import struct
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from api.trace import JSON, PCAP, TEXT, best, ladder, pcap
from phoned.model import SipMessageView, TraceView

AT = datetime(2026, 11, 21, 6, 0, 0, 250_000, tzinfo=UTC)
INVITE = "INVITE sip:200@example.org SIP/2.0\r\nCall-ID: abc\r\nCSeq: 1 INVITE\r\nContent-Length: 5\r\n\r\nv=0\r\n"
RINGING = "SIP/2.0 180 Ringing\r\nCall-ID: abc\r\nCSeq: 1 INVITE\r\nContent-Length: 0\r\n\r\n"


def view(after_s: float, text: str, *, sent: bool, flow: int = 1, local: str = "10.0.0.2:40000") -> SipMessageView:
    return SipMessageView(
        time=AT + timedelta(seconds=after_s),
        direction="sent" if sent else "received",
        sip_call_id="abc",
        flow=flow,
        transport="WSS",
        local=local,
        remote="[2001:db8::1]:443" if local.startswith("[") else "192.0.2.1:443",
        text=text,
    )


TRACE = TraceView(
    call="call_1",
    sip_call_ids=("abc",),
    complete=True,
    messages=(
        view(0, INVITE, sent=True),
        view(0.1, RINGING, sent=False),
        view(2, INVITE, sent=True, flow=2, local="[2001:db8::2]:40001"),
    ),
)


def test_a_ladder_has_a_line_for_each_message_and_each_change_of_the_socket() -> None:
    lines = ladder(TRACE).splitlines()
    assert lines[0] == "call_1  Call-ID abc"
    assert lines[1] == "-- flow 1: phoned 10.0.0.2:40000  WSS  192.0.2.1:443"
    assert lines[2].startswith("2026-11-21T06:00:00.250Z    +0.000  INVITE sip:200@example.org (SDP) ---")
    assert lines[2].endswith("->")
    assert lines[3].startswith("2026-11-21T06:00:00.350Z    +0.100  <---")
    assert lines[3].endswith("- 180 Ringing (INVITE)")
    assert lines[4].startswith("-- flow 2: phoned [2001:db8::2]:40001")
    assert len(lines) == 6
    assert "not all" in ladder(TraceView(call="c", sip_call_ids=(), complete=False, messages=()))


def test_a_capture_holds_each_message_as_a_datagram_between_the_real_addresses() -> None:
    made = pcap(TRACE)
    assert struct.unpack("<IHHiIII", made[:24]) == (0xA1B2C3D4, 2, 4, 0, 0, 262_144, 101)
    rest, packets = made[24:], []
    while rest:
        seconds, micros, kept, whole = struct.unpack("<IIII", rest[:16])
        assert kept == whole
        packets.append((seconds + micros / 1e6, rest[16 : 16 + kept]))
        rest = rest[16 + kept :]
    assert [round(at - packets[0][0], 3) for at, _ in packets] == [0.0, 0.1, 2.0]
    first, second, third = (packet for _, packet in packets)
    assert first[12:20] == bytes([10, 0, 0, 2, 192, 0, 2, 1])
    assert struct.unpack("!HH", first[20:24]) == (40000, 5060)
    assert first[28:] == INVITE.encode()
    assert struct.unpack("!HH", second[20:24]) == (5060, 40000)
    assert sum(struct.unpack("!10H", first[:20])) % 0xFFFF == 0, "the header's checksum"
    assert third[0] >> 4 == 6
    assert third[48:] == INVITE.encode()


def test_strangers_read_the_capture_as_sip(tmp_path: Path) -> None:
    tcpdump = shutil.which("tcpdump")
    if tcpdump is None:
        pytest.skip("tcpdump is not installed: apt-get install tcpdump")
    file = tmp_path / "call.pcap"
    file.write_bytes(pcap(TRACE))
    said = subprocess.run([tcpdump, "-n", "-r", str(file)], capture_output=True, text=True, check=True).stdout
    assert said.count("SIP: INVITE sip:200@example.org SIP/2.0") == 2
    assert said.count("SIP: SIP/2.0 180 Ringing") == 1
    assert "bad" not in said


@pytest.mark.parametrize(
    ("accept", "form"),
    [
        (None, JSON),
        ("*/*", JSON),
        ("text/plain", TEXT),
        ("text/html, text/plain;q=0.5", TEXT),
        (f"text/plain;q=0.5, {PCAP}", PCAP),
        ("text/plain;q=0", JSON),
        ("text/plain;q=x", JSON),
        ("application/json, text/plain", JSON),
    ],
)
def test_the_form_that_is_wanted_most_is_given(accept: str | None, form: str) -> None:
    assert best(accept) == form
