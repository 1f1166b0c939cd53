"""Which URLs a caller may have dialled: of bots any for ``admin``, those of ``[api] stream_urls`` for ``media``. What
is played from a URL is the matter of ``admin``. Pure.

A pattern is a URL whose host, port and path may hold ``*`` and ``?`` as in a shell; each part is held against its part
of the URL. Where such a URL leads is looked at, too, when it is dialled (`phoned.urls`).
"""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase
from urllib.parse import unquote, urlsplit

from api.access import TWILIO, Principal, check_scope, require_scope
from api.errors import ProblemError, problem
from api.schemas import Play
from phoned.config.stream import SCHEMES, StreamOrder
from phoned.errors import Denied, InvalidValue
from phoned.urls import read_url

TOO_SMALL = (
    "A bot needs the scope 'media'; the caller has {!r}. Start it with such a token once the call is up (POST"
    " /v1/calls/ID/streams), or place the call with one of the scope 'admin'."
)
"""A token has one scope, and none but ``admin`` covers a call with its bot."""


def permit(caller: Principal, order: StreamOrder, patterns: Iterable[str]) -> None:
    """Raises `ProblemError` for a scope that is too small, `Denied` for a bot that is not listed.

    Whoever has the password of ``[twilio]`` needs no scope: a call with a bot is what Twilio's API is for."""
    if caller.id != TWILIO and check_scope(caller, "media") is not None:
        raise ProblemError(problem("insufficient_scope", TOO_SMALL.format(caller.scope), scope="media"))
    if caller.scope == "admin" or any(matches(pattern, order.url) for pattern in patterns):
        return
    raise Denied(
        "no pattern of [api] stream_urls fits this bot: list it there, or ask with a token of the scope admin",
        code="stream_url_not_allowed",
    )


def permit_sound(caller: Principal, play: Play | None) -> None:
    """Raises `ProblemError`."""
    if play is not None and play.url is not None:
        require_scope(caller, "admin")


def matches(pattern: str, url: str) -> bool:
    """Whether a URL that was looked at already (`StreamOrder`) fits."""
    scheme, _, rest = pattern.partition("://")
    host, _, path = rest.partition("/")
    try:
        there = read_url(url, SCHEMES)
    except InvalidValue:
        return False
    parts = urlsplit(url)
    if any(step in (".", "..") for step in unquote(parts.path).split("/")):
        return False  # where that leads is for the server to say
    asked = f"{parts.path.removeprefix('/')}{'?' + parts.query if parts.query else ''}"
    named, colon, port = host.lower().rpartition(":")
    if not colon or "]" in port:  # no port: the scheme's; an IPv6 address has colons of its own
        named, port = host.lower(), {"ws": "80", "wss": "443"}.get(scheme, "")
    return (
        there.scheme == scheme
        and fnmatchcase(there.host, named.strip("[]"))
        and fnmatchcase(str(there.port), port)
        and fnmatchcase(asked, path)
    )


def pattern(text: str) -> str:
    """A pattern as it may stand in the configuration. Raises ValueError."""
    scheme, separator, rest = text.partition("://")
    if scheme not in SCHEMES or not separator or not rest.partition("/")[0] or not text.isascii() or "@" in text:
        raise ValueError(f"{text!r} is no pattern for bots: write it like wss://bots.example.org/*")
    return text
