"""How fast SIP messages are read and written: one core, a realistic INVITE of 900 bytes.

Messages per second of CPU time, so that what else the machine does falsifies little.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from phoned.sip.message import parse, serialise
from tests.bench.report import Report, Target, arguments, row

GATE = Target(limit=10_000, at_most=False, name="gate")
SIZE = 900
BATCH = 250

_HEAD = """\
INVITE sip:bob@example.com;transport=ws SIP/2.0
Via: SIP/2.0/WSS df7jal23ls0d.invalid;branch=z9hG4bK56sdasks{serial};rport;received=192.0.2.17
Via: SIP/2.0/WSS proxy.example.com:8443;branch=z9hG4bK2d47{serial}.1
Record-Route: <sip:proxy.example.com:8443;transport=ws;lr>
Max-Forwards: 69
To: "Bob" <sip:bob@example.com>
From: "Caller {serial}" <sip:+4930{serial}@example.com>;tag=asdyka{serial}
Call-ID: asidkj3ssa{serial}@df7jal23ls0d
CSeq: 1 INVITE
Contact: <sip:+4930{serial}@example.com;gr=urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6>;ob
Allow: INVITE, ACK, CANCEL, BYE, OPTIONS, UPDATE, PRACK, INFO, MESSAGE
Supported: outbound, path, gruu, timer, 100rel
Session-Expires: 1800
Min-SE: 90
User-Agent: phoned
Content-Type: application/sdp
Content-Length: {length}
"""


def invite(serial: int) -> bytes:
    """The message: 900 bytes, as a proxy hands it to a phone. Its body is cut where it is full.

    No two have the same caller, call or transaction, as on a line where strangers call: what the parser remembers of
    one message does not help it with the next.
    """
    body = (
        "v=0\r\no=- 20518 0 IN IP4 203.0.113.1\r\ns=-\r\nc=IN IP4 203.0.113.1\r\nt=0 0\r\n"
        "m=audio 54400 RTP/SAVPF 0 96\r\na=ice-ufrag:8hhY\r\na=mid:0\r\n"
    )
    head = _HEAD.replace("\n", "\r\n") + "\r\n"
    number = f"{serial:06d}"
    room = SIZE - len(head.format(serial=number, length=100))
    return (head.format(serial=number, length=room) + (body * 9)[:room]).encode()


def rate(work: Callable[[], object]) -> float:
    """How many messages a second, when ``work`` does a batch."""
    began = time.process_time_ns()
    work()
    return BATCH / max(1, time.process_time_ns() - began) * 1e9


def measure(seconds: float) -> Report:
    """Both figures, batch by batch in turn."""
    report = Report(name="sip")
    sent = [parse(invite(serial)) for serial in range(BATCH)]
    assert [parse(serialise(message)) for message in sent] == sent
    parsed: list[float] = []
    serialised: list[float] = []
    serial = BATCH
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        data = [invite(serial + offset) for offset in range(BATCH)]
        serial = (serial + BATCH) % 1_000_000
        parsed.append(rate(lambda: [parse(one) for one in data]))  # noqa: B023 - called at once
        serialised.append(rate(lambda: [serialise(message) for message in sent]))
    note = f"INVITE of {SIZE} bytes, {len(sent[0].headers)} header fields"
    report.add(row("parse_per_s", parsed, unit="messages/s", target=GATE, note=note))
    report.add(row("serialise_per_s", serialised, unit="messages/s", target=GATE, note=note))
    return report


def main() -> None:
    """Print the table, write ``build/bench/sip.json``."""
    options = arguments("how fast SIP messages are read and written").parse_args()
    measure(2.0 if options.quick else 8.0).publish(as_json=options.json)


if __name__ == "__main__":
    main()
