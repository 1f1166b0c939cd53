"""How fast SIP messages are read and written: one core, a realistic INVITE of 900 bytes.

Messages per second of CPU time, so that what else the machine does falsifies little.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from phoned.sip.message import Request, parse, serialise
from tests.bench.report import Report, Target, arguments, row

GATE = Target(limit=10_000, at_most=False, name="gate")
SIZE = 900
BATCH = 250

_HEAD = """\
INVITE sip:bob@example.com;transport=ws SIP/2.0
Via: SIP/2.0/WSS df7jal23ls0d.invalid;branch=z9hG4bK56sdasks8e7f3a;rport;received=192.0.2.17
Via: SIP/2.0/WSS proxy.example.com:8443;branch=z9hG4bK2d4790.1
Record-Route: <sip:proxy.example.com:8443;transport=ws;lr>
Max-Forwards: 69
To: "Bob" <sip:bob@example.com>
From: "Alice Liddell" <sip:alice@example.com>;tag=asdyka899e4f
Call-ID: asidkj3ssa8f7e0c2b41@df7jal23ls0d
CSeq: 1 INVITE
Contact: <sip:alice@example.com;gr=urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6>;ob
Allow: INVITE, ACK, CANCEL, BYE, OPTIONS, UPDATE, PRACK, INFO, MESSAGE
Supported: outbound, path, gruu, timer, 100rel
Session-Expires: 1800
Min-SE: 90
User-Agent: phoned
Content-Type: application/sdp
Content-Length: {length}
"""


def invite() -> bytes:
    """The message: 900 bytes, as a proxy hands it to a phone. Its body is cut where it is full."""
    body = (
        "v=0\r\no=- 20518 0 IN IP4 203.0.113.1\r\ns=-\r\nc=IN IP4 203.0.113.1\r\nt=0 0\r\n"
        "m=audio 54400 RTP/SAVPF 0 96\r\na=ice-ufrag:8hhY\r\na=mid:0\r\n"
    )
    head = _HEAD.replace("\n", "\r\n") + "\r\n"
    room = SIZE - len(head.format(length=100))
    return (head.format(length=room) + (body * 9)[:room]).encode()


def rate(work: Callable[[], object], seconds: float) -> list[float]:
    """How often it is done per second, batch by batch."""
    for _ in range(BATCH):
        work()
    samples = []
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        began = time.process_time_ns()
        for _ in range(BATCH):
            work()
        samples.append(BATCH / max(1, time.process_time_ns() - began) * 1e9)
    return samples


def measure(seconds: float) -> Report:
    """Both figures, interleaved."""
    report = Report(name="sip")
    data = invite()
    message = parse(data)
    assert isinstance(message, Request)
    assert parse(serialise(message)) == message
    parsed: list[float] = []
    serialised: list[float] = []
    for _ in range(4):
        parsed += rate(lambda: parse(data), seconds / 8)
        serialised += rate(lambda: serialise(message), seconds / 8)
    note = f"INVITE of {len(data)} bytes, {len(message.headers)} header fields"
    report.add(row("parse_per_s", parsed, unit="messages/s", target=GATE, note=note))
    report.add(row("serialise_per_s", serialised, unit="messages/s", target=GATE, note=note))
    return report


def main() -> None:
    """Print the table, write ``build/bench/sip.json``."""
    options = arguments("how fast SIP messages are read and written").parse_args()
    measure(2.0 if options.quick else 8.0).publish(as_json=options.json)


if __name__ == "__main__":
    main()
