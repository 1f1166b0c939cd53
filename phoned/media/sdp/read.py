"""The tolerant reader of session descriptions (RFC 8866, 8839, 8842, 5763, 4145, 5761, 9143).

Owns bytes -> `SessionDescription`, in one pass over the lines. It takes what real phones, browsers and relays write:
LF line ends, session-level attributes, static payload types without rtpmap, attributes it does not know. What cannot
be read is status 400, what is merely not for us status 488. It decides nothing: `negotiate` does.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from phoned.errors import DescriptionError
from phoned.media.sdp.model import (
    MAX_BYTES,
    MAX_CANDIDATES,
    MAX_CODECS,
    SECURE_PROTOCOLS,
    AudioDescription,
    Candidate,
    Direction,
    Fingerprint,
    Origin,
    OtherMedia,
    PayloadType,
    SessionDescription,
    Setup,
)

MAX_LINES = 2000
MAX_MEDIA = 32

STATIC: dict[int, tuple[str, int]] = {
    0: ("pcmu", 8000),
    3: ("gsm", 8000),
    4: ("g723", 8000),
    8: ("pcma", 8000),
    9: ("g722", 8000),
    13: ("cn", 8000),
    15: ("g728", 8000),
    18: ("g729", 8000),
}
"""Payload types that need no rtpmap (RFC 3551 section 6), those of speech."""

_HEX_PAIRS = re.compile(r"[0-9A-F]{2}(:[0-9A-F]{2})+")
_ICE_TEXT = re.compile(r"[A-Za-z0-9+/]+")
_TOKEN = re.compile(r"[!#-'*+\-.0-9A-Z^-~]+")
_ADDRESS = re.compile(r"[!-~]{1,255}")


@dataclass(slots=True)
class _Section:
    """The lines of the session part or of one m-line, sorted by kind; the first value of an attribute wins."""

    media: str = ""
    address: str | None = None
    attributes: dict[str, str] = field(default_factory=dict)
    direction: Direction | None = None
    rtpmaps: dict[int, str] = field(default_factory=dict)
    fmtps: dict[int, str] = field(default_factory=dict)
    candidates: list[Candidate] = field(default_factory=list)
    fingerprints: list[Fingerprint] = field(default_factory=list)
    bundle: tuple[str, ...] = ()


def read(data: bytes) -> SessionDescription:
    """Read a description.

    Raises `DescriptionError`: status 400 when it is malformed, 488 when it is well formed but has no audio m-line of a
    kind that this phone can use at all (see `negotiate.check_usable` for the finer requirements).
    """
    if len(data) > MAX_BYTES:
        raise DescriptionError("the session description is too long", status=400)
    lines = data.decode("utf-8", "replace").replace("\r\n", "\n").replace("\r", "\n").split("\n")
    if len(lines) > MAX_LINES:
        raise DescriptionError("the session description has too many lines", status=400)
    origin: Origin | None = None
    session = _Section()
    section, sections = session, list[_Section]()
    started = False
    for line in lines:
        if not line.strip():
            continue
        kind, equals, value = line[:1], line[1:2], line[2:].strip()
        if equals != "=":
            raise DescriptionError("a line is not of the form x=...", status=400)
        if not started and (kind != "v" or value != "0"):
            raise DescriptionError("a session description begins with v=0", status=400)
        started = True
        if kind == "m":
            if len(sections) >= MAX_MEDIA:
                raise DescriptionError("too many m-lines", status=400)
            section = _Section(media=value)
            sections.append(section)
        elif kind == "a":
            _attribute(section, value)
        elif kind == "c":
            section.address = _connection(value)
        elif kind == "o" and origin is None:
            origin = _origin(value)
    if origin is None:
        raise DescriptionError("there is no o= line", status=400)
    return _assemble(origin, session, sections)


def _number(text: str, *, most: int, what: str) -> int:
    """A decimal number of 0..most, and nothing around it."""
    if not (text.isascii() and text.isdigit()) or len(text) > 20 or int(text) > most:
        raise DescriptionError(f"{what} is not a number in range", status=400)
    return int(text)


def _origin(value: str) -> Origin:
    parts = value.split()
    if len(parts) != 6:
        raise DescriptionError("the o= line has not six parts", status=400)
    return Origin(
        username=parts[0],
        session_id=_number(parts[1], most=10**20 - 1, what="the session id"),
        version=_number(parts[2], most=10**20 - 1, what="the session version"),
        address=parts[5],
    )


def _connection(value: str) -> str:
    parts = value.split()
    if len(parts) != 3 or parts[0] != "IN" or parts[1] not in ("IP4", "IP6"):
        raise DescriptionError("the c= line is malformed", status=400)
    return parts[2].partition("/")[0]  # a multicast TTL is none of our business


def _attribute(section: _Section, line: str) -> None:
    name, _, value = line.partition(":")
    name, value = name.strip().lower(), value.strip()
    match name:
        case "rtpmap" | "fmtp":
            number, _, rest = value.partition(" ")
            table = section.rtpmaps if name == "rtpmap" else section.fmtps
            if number.isascii() and number.isdigit() and len(number) <= 3:
                table.setdefault(int(number), rest.strip())
        case "candidate":
            if len(section.candidates) < MAX_CANDIDATES:
                candidate = parse_candidate(value)
                if candidate is not None:
                    section.candidates.append(candidate)
        case "fingerprint":
            algorithm, _, digest = value.partition(" ")
            digest = digest.strip().upper()
            if len(section.fingerprints) < 8 and len(digest) <= 191 and _HEX_PAIRS.fullmatch(digest):
                section.fingerprints.append(Fingerprint(algorithm=algorithm.lower(), value=digest))
        case "group":
            semantics, *mids = value.split() or [""]
            if semantics.upper() == "BUNDLE" and not section.bundle:
                section.bundle = tuple(mids)
        case "sendrecv" | "sendonly" | "recvonly" | "inactive":
            section.direction = Direction(name)
        case _:
            section.attributes.setdefault(name, value)


def parse_candidate(value: str) -> Candidate | None:
    """The value of ``a=candidate``, or None for one that must be skipped (RFC 8839: an agent ignores what it cannot
    read)."""
    parts = value.split()
    if len(parts) < 8 or parts[6].lower() != "typ":
        return None
    foundation, component, transport, priority, address, port, _, kind = parts[:8]
    numbers = (component, priority, port)
    if not all(text.isascii() and text.isdigit() and len(text) <= 10 for text in numbers):
        return None
    if not 1 <= int(component) <= 256 or int(priority) > 0xFFFFFFFF or not 1 <= int(port) <= 65535:
        return None
    if not _ICE_TEXT.fullmatch(foundation) or len(foundation) > 32 or not _ADDRESS.fullmatch(address):
        return None
    related_address: str | None = None
    related_port: int | None = None
    for key, text in zip(parts[8::2], parts[9::2], strict=False):
        if key == "raddr":
            related_address = text
        elif key == "rport" and text.isascii() and text.isdigit() and len(text) <= 5:
            related_port = int(text)
    return Candidate(
        foundation=foundation,
        component=int(component),
        transport=transport.lower(),
        priority=int(priority),
        address=address,
        port=int(port),
        type=kind.lower(),
        related_address=related_address,
        related_port=related_port,
    )


def _assemble(origin: Origin, session: _Section, sections: list[_Section]) -> SessionDescription:
    """Choose the audio m-line: the first live one with a secure profile, else the first rejected one of that kind."""
    media = [_media(section) for section in sections]
    secure = [n for n, m in enumerate(media) if m.kind == "audio" and m.protocol in SECURE_PROTOCOLS]
    live = [n for n in secure if media[n].port]
    if not secure:
        if any(m.kind == "audio" and m.port for m in media):
            raise DescriptionError("audio without DTLS-SRTP is refused", status=488)
        raise DescriptionError("there is no audio", status=488)
    chosen = (live or secure)[0]
    return SessionDescription(
        origin=origin,
        audio=_audio(media[chosen], session, sections[chosen]),
        others=tuple(m for n, m in enumerate(media) if n != chosen),
        audio_index=chosen,
        bundle=session.bundle,
    )


def _media(section: _Section) -> OtherMedia:
    parts = section.media.split()
    if len(parts) < 3:
        raise DescriptionError("an m-line is malformed", status=400)
    return OtherMedia(
        kind=parts[0].lower(),
        port=_number(parts[1].partition("/")[0], most=65535, what="the port of an m-line"),
        protocol=parts[2].upper(),
        formats=tuple(parts[3:]),
        mid=section.attributes.get("mid") or None,
    )


def _audio(media: OtherMedia, session: _Section, section: _Section) -> AudioDescription:
    def inherited(name: str) -> str | None:
        own = section.attributes.get(name)
        return session.attributes.get(name) if own is None else own

    address = section.address or session.address
    if address is None and media.port:
        raise DescriptionError("audio without a c= line", status=400)
    setup = inherited("setup")
    if setup is not None and setup.lower() not in frozenset(Setup):
        raise DescriptionError("an unknown setup role", status=400)
    ufrag, pwd = inherited("ice-ufrag") or "", inherited("ice-pwd") or ""
    for text in (ufrag, pwd):
        if text and (len(text) > 256 or not _ICE_TEXT.fullmatch(text)):
            raise DescriptionError("malformed ICE credentials", status=400)
    ssrc, cname = _ssrc(section.attributes.get("ssrc", ""))
    return AudioDescription(
        port=media.port,
        address=address or "0.0.0.0",
        protocol=media.protocol,
        payload_types=_payload_types(media.formats, section),
        direction=section.direction or session.direction or Direction.SENDRECV,
        mid=media.mid,
        ptime_ms=_milliseconds(inherited("ptime")),
        maxptime_ms=_milliseconds(inherited("maxptime")),
        ufrag=ufrag,
        pwd=pwd,
        ice_lite="ice-lite" in session.attributes or "ice-lite" in section.attributes,
        candidates=tuple((section.candidates or session.candidates)[:MAX_CANDIDATES]),
        end_of_candidates=inherited("end-of-candidates") is not None,
        fingerprints=tuple(section.fingerprints or session.fingerprints),
        setup=Setup(setup.lower()) if setup is not None else None,
        tls_id=inherited("tls-id"),
        rtcp_mux=inherited("rtcp-mux") is not None,
        ssrc=ssrc,
        cname=cname,
    )


def _milliseconds(text: str | None) -> int | None:
    """ptime and maxptime; some write fractions; nonsense counts as absent."""
    whole = (text or "").partition(".")[0]
    return int(whole) if whole.isascii() and whole.isdigit() and len(whole) <= 4 and int(whole) else None


def _ssrc(value: str) -> tuple[int | None, str | None]:
    number, _, attribute = value.partition(" ")
    if not (number.isascii() and number.isdigit() and len(number) <= 10 and int(number) <= 0xFFFFFFFF):
        return None, None
    name, _, text = attribute.partition(":")
    return int(number), text if name == "cname" and text else None


def _payload_types(formats: tuple[str, ...], section: _Section) -> tuple[PayloadType, ...]:
    """In the order of the m-line. At most `MAX_CODECS` codecs and as many helpers; those without a name are left
    out."""
    found: dict[int, PayloadType] = {}
    codecs = helpers = 0
    for text in formats:
        if not (text.isascii() and text.isdigit() and len(text) <= 3 and int(text) <= 127):
            continue
        number = int(text)
        payload_type = _payload_type(number, section.rtpmaps.get(number), section.fmtps.get(number, ""))
        if payload_type is None or number in found:
            continue
        if payload_type.name in ("telephone-event", "cn"):
            helpers += 1
            if helpers > MAX_CODECS:
                continue
        else:
            codecs += 1
            if codecs > MAX_CODECS:
                continue
        found[number] = payload_type
    return tuple(found.values())


def _payload_type(number: int, rtpmap: str | None, fmtp: str) -> PayloadType | None:
    if rtpmap is None:
        if number not in STATIC:
            return None
        name, clock_rate = STATIC[number]
        return PayloadType(number=number, name=name, clock_rate=clock_rate, fmtp=fmtp)
    parts = rtpmap.split("/")
    clock = parts[1] if len(parts) > 1 else ""
    channels = parts[2] if len(parts) > 2 else "1"
    for text in (clock, channels):
        if not (text.isascii() and text.isdigit() and len(text) <= 6 and int(text)):
            return None
    name = parts[0].strip().lower()
    if not _TOKEN.fullmatch(name):
        return None
    return PayloadType(number=number, name=name, clock_rate=int(clock), channels=int(channels), fmtp=fmtp)
