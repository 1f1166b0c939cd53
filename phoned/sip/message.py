"""SIP messages: bytes to ``Request`` or ``Response`` and back (RFC 3261 7, 8.2.6, 18.3, 20).

``parse`` is for whole messages: one WebSocket message (RFC 7118) or one datagram. It is tolerant where RFC 4475 says
valid, and raises MalformedMessage, nothing else, for the rest. ``serialise`` is strict: it writes what it can vouch for.
Knows nothing of transactions, dialogs or transports.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from phoned.errors import InvalidValue, MalformedMessage
from phoned.sip.fields import CSeq, NameAddr, Via, check_call_id
from phoned.sip.grammar import is_token, parse_uint, split_list
from phoned.sip.headers import Headers, canonical
from phoned.sip.limits import MAX_BODY, MAX_HEADERS, MAX_LINE, MAX_MESSAGE, MAX_VIAS
from phoned.sip.reasons import REASONS
from phoned.sip.uri import Uri


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
    raise NotImplementedError


def serialise(message: Message) -> bytes:
    """The message as bytes, with canonical names and the right Content-Length as last header.

    Raises InvalidValue for anything that would break the line structure or the start line.
    """
    raise NotImplementedError


def salvaged(error: MalformedMessage) -> Request | None:
    """The request behind a ``parse`` error, good enough for ``response_to``; None when no answer can be built."""
    request = error.facts.get("request")
    return request if isinstance(request, Request) else None


def response_to(request: Request, status: int, reason: str = "", *, to_tag: str | None = None) -> Response:
    """The skeleton of RFC 3261 8.2.6.2: every Via, From, To, Call-ID and CSeq copied, Timestamp in a 100.

    ``to_tag`` is put on To when To has none. The reason phrase defaults to the RFC's.
    """
    raise NotImplementedError


def is_keepalive(data: bytes) -> bool:
    """Nothing but line ends: a ping or pong of RFC 5626 4.4.1, not a message."""
    return not data.strip(b"\r\n")
