"""What this user agent can do, as header values, and the refusals that follow from it (RFC 3261 8.2, 11).

It knows messages, no state.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final, TypeVar

from phoned.errors import MalformedMessage
from phoned.sip import message as messages
from phoned.sip.accessors import accept, allow, content_type, require
from phoned.sip.message import Request, Response

ValueT = TypeVar("ValueT")

ALLOWED: Final = ("INVITE", "ACK", "BYE", "CANCEL", "OPTIONS", "INFO", "MESSAGE", "PRACK", "UPDATE", "REFER", "NOTIFY")
KNOWN: Final = frozenset({*ALLOWED, "REGISTER", "SUBSCRIBE", "PUBLISH"})
SUPPORTED: Final = ("100rel", "gruu", "outbound", "replaces", "timer")
SDP: Final = "application/sdp"
SIPFRAG: Final = "message/sipfrag;version=2.0"
REFER: Final = "refer"
"""The event package of RFC 3515."""
ALLOW: Final = ", ".join(ALLOWED)


def respond_to(
    request: Request,
    status: int,
    *,
    tag: str | None = None,
    reason: str = "",
    headers: Iterable[tuple[str, str]] = (),
    body: bytes = b"",
) -> Response:
    """A response with what RFC 3261 8.2.6 and 12.1.1 copy; ``body`` is a session description."""
    response = messages.response_to(request, status, reason, to_tag=tag)
    if request.method == "INVITE" and 100 < status < 300:
        for route in request.headers.all("Record-Route"):
            response.headers.add("Record-Route", route)
    for name, value in headers:
        response.headers.add(name, value)
    if body:
        response.headers.add("Content-Type", SDP)
        response.body = body
    return response


def capabilities(*, reliable: bool = True) -> list[tuple[str, str]]:
    """Allow and Supported, for INVITE and its responses. ``reliable``: whether 100rel is among them."""
    tags = SUPPORTED if reliable else tuple(tag for tag in SUPPORTED if tag != "100rel")
    return [("Allow", ALLOW), ("Supported", ", ".join(tags))]


def lenient(read: Callable[[Request | Response], ValueT], message: Request | Response) -> ValueT | None:
    """What a header field says, or None when it cannot be read: for responses, which nobody can refuse."""
    try:
        return read(message)
    except MalformedMessage:
        return None


def methods_of(message: Request | Response) -> frozenset[str]:
    """The methods that the far end allows; empty when it does not say, or cannot be understood."""
    return frozenset(lenient(allow, message) or ())


def description_of(message: Request | Response) -> bytes | None:
    """The session description that a message carries, None when it carries none (or one that cannot be named)."""
    kind = lenient(content_type, message) if message.body else None
    return message.body if kind is not None and kind.essence == SDP else None


# --- judging a request before anybody looks at its meaning (RFC 3261 8.2.1 - 8.2.3)


def unacceptable(request: Request) -> Response | None:
    """The refusal that is owed whatever state we are in: method, extensions, content. None: go on.

    Raises MalformedMessage for a header field that cannot be read.
    """
    if request.method not in ALLOWED:
        status = 405 if request.method in KNOWN else 501
        return respond_to(request, status, headers=[("Allow", ALLOW)])
    unknown = [tag for tag in require(request) if tag not in SUPPORTED]
    if unknown:
        return respond_to(request, 420, headers=[("Unsupported", ", ".join(unknown))])
    return _bad_content(request)


def _bad_content(request: Request) -> Response | None:
    if request.body:
        if any(value.lower() != "identity" for value in request.headers.values("Content-Encoding")):
            return respond_to(request, 415, headers=[("Accept-Encoding", "identity")])
        kind = content_type(request)
        if request.method in ("INVITE", "UPDATE", "PRACK") and (kind is None or kind.essence != SDP):
            return respond_to(request, 415, headers=[("Accept", SDP)])
    wanted = accept(request) if request.method == "INVITE" else None
    if wanted and not {kind.essence for kind in wanted} & {SDP, "application/*", "*/*"}:
        return respond_to(request, 406, headers=[("Accept", SDP)])
    return None
