"""A call's SIP in the forms that people read: a ladder of lines, and a capture that Wireshark opens.

The capture is made up: each message as one UDP datagram to or from port 5060, between the addresses of the WebSocket
that it took. Pure.
"""

from __future__ import annotations

import ipaddress
import struct

from phoned.clock import rfc3339
from phoned.model import SipMessageView, TraceView

PCAP = "application/vnd.tcpdump.pcap"
SIP_PORT = 5060
_MAGIC, _RAW_IP, _SNAPLEN = 0xA1B2C3D4, 101, 262_144
_UDP, _TTL = 17, 64
_WIDTH = 58


JSON, TEXT = "application/json", "text/plain"


def best(accept: str | None) -> str:
    """Which of the three forms a client wants most (RFC 9110 section 12.5.1); JSON when it does not say, or wants what
    there is not."""
    wishes: list[tuple[float, str]] = []
    for part in (accept or "").split(","):
        kind, *parameters = (piece.strip().lower() for piece in part.split(";"))
        weight = next((p[2:] for p in parameters if p.startswith("q=")), "1")
        try:
            wishes.append((-float(weight), kind))
        except ValueError:
            continue
    for rank, kind in sorted(wishes, key=lambda wish: wish[0]):
        if kind in (JSON, TEXT, PCAP) and rank < 0:
            return kind
    return JSON


def ladder(trace: TraceView) -> str:
    """One line a message: when, which way, what; a line of its own where the socket changes."""
    lines = [f"{trace.call}  Call-ID {', '.join(trace.sip_call_ids) or 'unknown'}"]
    if not trace.complete:
        lines.append("(not all of it is kept)")
    flow: int | None = None
    began = trace.messages[0].time if trace.messages else None
    for message in trace.messages:
        if message.flow != flow:
            flow = message.flow
            lines.append(f"-- flow {flow}: phoned {message.local}  {message.transport}  {message.remote}")
        assert began is not None
        after_s = (message.time - began).total_seconds()
        what = _summary(message.text)[:_WIDTH]
        arrow = (
            f"{what} {'-' * (_WIDTH - len(what))}>"
            if message.direction == "sent"
            else f"<{'-' * (_WIDTH - len(what))} {what}"
        )
        lines.append(f"{rfc3339(message.time)} {after_s:+9.3f}  {arrow}")
    return "\n".join(lines) + "\n"


def _summary(text: str) -> str:
    """The start line, and which request a response is for."""
    head, _, body = text.partition("\r\n\r\n")
    first, *fields = head.split("\r\n")
    described = " (SDP)" if body.startswith("v=0") else ""
    if not first.startswith("SIP/2.0 "):
        return first.removesuffix(" SIP/2.0") + described
    method = next(
        (value.split()[-1] for name, _, value in (f.partition(":") for f in fields) if _is_cseq(name, value)), ""
    )
    return f"{first[8:]} ({method}){described}"


def _is_cseq(name: str, value: str) -> bool:
    return name.strip().lower() == "cseq" and bool(value.split())


def pcap(trace: TraceView) -> bytes:
    """The classic format, link type RAW (bare IP)."""
    made = [struct.pack("<IHHiIII", _MAGIC, 2, 4, 0, 0, _SNAPLEN, _RAW_IP)]
    for message in trace.messages:
        packet = _packet(message)
        seconds = message.time.timestamp()
        whole = int(seconds)
        made.append(struct.pack("<IIII", whole, int((seconds - whole) * 1e6), len(packet), len(packet)))
        made.append(packet)
    return b"".join(made)


def _packet(message: SipMessageView) -> bytes:
    here, far = _address(message.local), _address(message.remote)
    sent = message.direction == "sent"
    source, target = (here, far) if sent else (far, here)
    if source[0].version != target[0].version:  # a name that is no address: any of the right family will do
        target = (type(source[0])(0), target[1])
    ports = (source[1], SIP_PORT) if sent else (SIP_PORT, target[1])
    data = message.text.encode()[:60_000]
    udp = struct.pack("!HHHH", *ports, 8 + len(data), 0) + data
    if source[0].version == 4:
        head = (
            struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(udp), 0, 0, _TTL, _UDP, 0) + source[0].packed + target[0].packed
        )
        head = head[:10] + struct.pack("!H", _checksum(head)) + head[12:]
        return head + udp
    pseudo = source[0].packed + target[0].packed + struct.pack("!II", len(udp), _UDP)
    udp = udp[:6] + struct.pack("!H", _checksum(pseudo + udp) or 0xFFFF) + udp[8:]
    return struct.pack("!IHBB", 6 << 28, len(udp), _UDP, _TTL) + source[0].packed + target[0].packed + udp


def _address(text: str) -> tuple[ipaddress.IPv4Address | ipaddress.IPv6Address, int]:
    host, _, port = text.rpartition(":")
    try:
        address = ipaddress.ip_address(host.strip("[]").partition("%")[0])
    except ValueError:
        address = ipaddress.IPv4Address(0)
    return address, int(port) if port.isdecimal() else 0


def _checksum(data: bytes) -> int:
    """RFC 1071."""
    if len(data) % 2:
        data += b"\0"
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
