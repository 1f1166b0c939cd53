"""SIP messages: bytes to ``Request`` or ``Response`` and back (RFC 3261 7, 8.2.6, 18.3, 20).

``parse`` is for whole messages: one WebSocket message (RFC 7118) or one datagram. It is tolerant where RFC 4475 says
valid, and raises MalformedMessage, nothing else, for the rest. ``serialise`` is strict.
Knows nothing of transactions, dialogs or transports.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from phoned.errors import InvalidValue, MalformedMessage
from phoned.sip.fields import CSeq, NameAddr, Via, check_address, check_call_id
from phoned.sip.grammar import is_token, parse_uint, split_list
from phoned.sip.head import Head
from phoned.sip.headers import SPELLED, Headers
from phoned.sip.limits import MAX_BODY, MAX_MESSAGE, MAX_VIAS
from phoned.sip.reasons import REASONS
from phoned.sip.uri import Uri

__all__ = [
    "Headers",
    "Message",
    "Request",
    "Response",
    "is_keepalive",
    "parse",
    "response_to",
    "salvaged",
    "serialise",
]

# every message has these, once each (RFC 3261 8.1.1); Via may come more often
_ONCE: Final = ("From", "To", "Call-ID", "CSeq")
# what a response repeats word for word (RFC 3261 8.2.6.2, 12.1.1), so that it must be fit to be written again
_COPIED: Final = ("Via", *_ONCE, "Record-Route", "Timestamp")
_URI_FORBIDDEN: Final = frozenset(" \t\r\n\0<>")


@dataclass(slots=True)
class Request:
    """A request. ``uri`` is the Request-URI as on the wire; ``Uri.parse`` of it does not raise after ``parse``."""

    method: str
    uri: str
    headers: Headers = field(default_factory=Headers)
    body: bytes = b""


@dataclass(slots=True)
class Response:
    """A response, status 100 to 699."""

    status: int
    reason: str = ""
    headers: Headers = field(default_factory=Headers)
    body: bytes = b""


Message = Request | Response


def parse(data: bytes) -> Message:
    """One whole message. Bytes after Content-Length are ignored; without that field the body is all that follows.

    Raises MalformedMessage with the status that answers such a request (400, 505, 513). ``salvaged`` tells whether
    there is a request that can be answered; otherwise, and for every response, the message is to be dropped.
    """
    if len(data) > MAX_MESSAGE:
        raise MalformedMessage("message is too large", status=513)
    if data.startswith((b"\r", b"\n")):
        data = data.lstrip(b"\r\n")  # RFC 3261 7.5
    head = Head(data)
    if head.lines[0][:4].upper() == "SIP/":
        if head.fault:
            raise head.fault
        return _parse_response(head)
    try:
        if head.fault:
            raise head.fault
        return _parse_request(head)
    except MalformedMessage as error:
        raise MalformedMessage(error.detail, status=error.status, request=_salvage(head)) from None


def _parse_request(head: Head) -> Request:
    # more than one space between the parts is let through, a fourth part is not (RFC 4475 3.1.2.8 to 3.1.2.10)
    parts = [part for part in head.lines[0].split(" ") if part]
    if len(parts) != 3:
        raise MalformedMessage("start line is malformed")
    method, uri, version = parts
    _check_version(version)
    if not is_token(method):
        raise MalformedMessage("method is malformed")
    Uri.parse(uri)
    seen = _collect(head.fields)
    if _check_mandatory(head, seen).method != method:
        raise MalformedMessage("CSeq names another method")
    if len(seen.get("Max-Forwards", ())) > 1:
        raise MalformedMessage("more than one Max-Forwards")
    _check_addresses(seen)
    return Request(method, uri, Headers.of_canonical(head.fields), _body(seen, head.rest))


def _parse_response(head: Head) -> Response:
    version, _, rest = head.lines[0].partition(" ")
    code, _, reason = rest.lstrip(" ").partition(" ")
    _check_version(version)
    if len(code) != 3:
        raise MalformedMessage("status code is malformed")
    status = parse_uint(code, "status code", maximum=699)
    if status < 100:
        raise MalformedMessage("status code is under 100")
    seen = _collect(head.fields)
    cseq = _check_mandatory(head, seen)
    # a registrar lists what others registered, a redirection what we may never call: no reason to drop those
    if status < 300 and cseq.method != "REGISTER":
        _check_addresses(seen)
    return Response(status, reason, Headers.of_canonical(head.fields), _body(seen, head.rest))


def _check_version(version: str) -> None:
    if version.upper() == "SIP/2.0":
        return
    if version[:4].upper() == "SIP/":
        raise MalformedMessage("another version of SIP", status=505)
    raise MalformedMessage("start line is malformed")


def _collect(fields: list[tuple[str, str]]) -> dict[str, list[str]]:
    seen: dict[str, list[str]] = {}
    for name, value in fields:
        lines = seen.get(name)
        if lines is None:
            seen[name] = [value]
        else:
            lines.append(value)
    return seen


def _check_mandatory(head: Head, seen: dict[str, list[str]]) -> CSeq:
    """What every message has: RFC 3261 8.1.1 for requests, 8.2.6.2 for responses."""
    vias = seen.get("Via")
    if not vias:
        raise MalformedMessage("Via is missing")
    top = vias[0]
    if len(vias) > 1 or "," in top:
        values = [value for line in vias for value in split_list(line)]
        if len(values) > MAX_VIAS:
            raise MalformedMessage("too many Vias", status=513)
        top = values[0]
    Via.parse(top)
    for name in _ONCE:
        if len(seen.get(name, ())) != 1:
            raise MalformedMessage(f"{name} must be there once")
    for name in _COPIED if head.has_nul else ():
        for value in seen.get(name, ()):
            if "\0" in value and not _is_writable(value):
                raise MalformedMessage(f"{name} holds a NUL outside quotes")
    check_call_id(seen["Call-ID"][0])
    check_address(seen["From"][0])
    check_address(seen["To"][0])
    return CSeq.parse(seen["CSeq"][0])


def _check_addresses(seen: dict[str, list[str]]) -> None:
    """What makes a dialog: so that no machine finds a broken one half way through (RFC 3261 12.1)."""
    for name in ("Contact", "Route", "Record-Route"):
        lines = seen.get(name)
        if lines is None or (name == "Contact" and lines == ["*"]):
            continue
        for line in lines:
            for part in split_list(line):
                if part:
                    check_address(part)


def _body(seen: dict[str, list[str]], rest: bytes) -> bytes:
    lengths = {parse_uint(value, "Content-Length") for value in seen.get("Content-Length", ())}
    if len(lengths) > 1:
        raise MalformedMessage("conflicting Content-Lengths")
    length = lengths.pop() if lengths else len(rest)
    if length > len(rest):
        raise MalformedMessage("body is shorter than Content-Length")
    if length > MAX_BODY:
        raise MalformedMessage("body is too large", status=513)
    return rest[:length]


def _salvage(head: Head) -> Request | None:
    """The request as far as it was read, when it says enough for an answer to find its way back."""
    method = head.lines[0].split(" ", 1)[0]
    headers = Headers.of_canonical(head.fields)
    if not is_token(method) or method == "ACK" or any(headers.get(name) is None for name in ("Via", *_ONCE)):
        return None
    if not all(_is_writable(value) for name in _COPIED for value in headers.all(name)):
        return None
    return Request(method, "", headers)


def salvaged(error: MalformedMessage) -> Request | None:
    """The request behind an error of ``parse``, good for ``response_to`` and nothing else; None: answer nothing."""
    request = error.facts.get("request")
    return request if isinstance(request, Request) else None


def serialise(message: Message) -> bytes:
    """The message as bytes, with canonical names and the right Content-Length as last header.

    Raises InvalidValue for anything that would break the start line or the line structure.
    """
    if isinstance(message, Request):
        if not is_token(message.method):
            raise InvalidValue(f"{message.method!r} is no method")
        if not message.uri or not _URI_FORBIDDEN.isdisjoint(message.uri):
            raise InvalidValue("Request-URI is malformed")
        lines = [f"{message.method} {message.uri} SIP/2.0"]
    else:
        if not 100 <= message.status <= 699:
            raise InvalidValue(f"{message.status} is no status code")
        lines = [f"SIP/2.0 {message.status} {message.reason}"]
        if not _is_writable(message.reason):
            raise InvalidValue("reason phrase holds a line break or NUL")
    for name, value in message.headers:
        if name not in SPELLED and not is_token(name):
            raise InvalidValue(f"{name!r} is no header name")
        if ("\r" in value or "\n" in value or "\0" in value) and not _is_writable(value):
            raise InvalidValue(f"{name} holds a line break or NUL")
        if name != "Content-Length":
            lines.append(f"{name}: {value}")
    lines.append(f"Content-Length: {len(message.body)}\r\n\r\n")
    try:
        return "\r\n".join(lines).encode("utf-8", "surrogateescape") + message.body
    except UnicodeEncodeError:
        raise InvalidValue("text holds a lone surrogate") from None


def _is_writable(value: str) -> bool:
    """No line break; NUL only behind a backslash, where a quoted string may hold it (RFC 3261 25.1 quoted-pair)."""
    return "\r" not in value and "\n" not in value and "\0" not in value.replace("\\\0", "")


def response_to(request: Request, status: int, reason: str = "", *, to_tag: str | None = None) -> Response:
    """The skeleton of RFC 3261 8.2.6.2: every Via, From, To, Call-ID and CSeq copied, Timestamp in a 100.

    ``to_tag`` is put on To when To has none. The reason phrase defaults to the RFC's. Also takes what was ``salvaged``.
    """
    source, headers = request.headers, Headers()
    for via in source.all("Via"):
        headers.add("Via", via)
    for name in _ONCE:
        value = source.get(name)
        if value is not None:
            headers.add(name, value)
    if to_tag is not None:
        if not is_token(to_tag):
            raise InvalidValue(f"{to_tag!r} is no tag")
        _add_tag(headers, to_tag)
    timestamp = source.get("Timestamp")
    if status == 100 and timestamp is not None:
        headers.add("Timestamp", timestamp)
    return Response(status, reason or REASONS.get(status, ""), headers)


def _add_tag(headers: Headers, tag: str) -> None:
    value = headers.get("To") or ""
    try:
        if NameAddr.parse(value).tag is None:
            headers.set("To", f"{value};tag={tag}")
    except MalformedMessage:
        pass  # of a salvaged request: To goes back as it came


def is_keepalive(data: bytes) -> bool:
    """Nothing but line ends: a ping or pong of RFC 5626 4.4.1, not a message."""
    return not data.strip(b"\r\n")
