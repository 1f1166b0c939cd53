"""Challenges and credentials of HTTP authentication: their grammar, one pass, no opinion (RFC 3261 25.1, RFC 7235 2.1).

A line may hold several challenges, and commas stand both between challenges and between their parameters; what tells
them apart is the ``=`` after a name. Unknown schemes parse like known ones.
"""

from __future__ import annotations

import string
from dataclasses import dataclass, field
from typing import Final

from phoned.errors import MalformedMessage
from phoned.sip.grammar import WSP, closing_quote, is_token, unquote
from phoned.sip.limits import MAX_AUTH_PARAMETERS, MAX_CHALLENGES
from phoned.sip.message import Message

_TOKEN68: Final = frozenset(string.ascii_letters + string.digits + "-._~+/=")
_WORD_ENDS: Final = frozenset(' \t,="')
_VALUE_ENDS: Final = frozenset(' \t,"')


@dataclass(frozen=True, slots=True, kw_only=True)
class Challenge:
    """One challenge of WWW-Authenticate or Proxy-Authenticate (RFC 3261 20.44, RFC 7616 3.3)."""

    scheme: str
    """As written; ask ``is_digest``."""
    parameters: tuple[tuple[str, str], ...] = ()
    """Names in lower case, values without quotes."""
    token68: str = ""
    """What follows the scheme when it is no list of parameters (Basic, Negotiate)."""

    @classmethod
    def parse(cls, text: str) -> Challenge:
        """A line of exactly one challenge. Raises MalformedMessage."""
        found = parse_challenges(text)
        if len(found) != 1:
            raise MalformedMessage("not exactly one challenge")
        return found[0]

    def get(self, name: str) -> str | None:
        """The value of a parameter."""
        return next((value for key, value in self.parameters if key == name), None)

    @property
    def is_digest(self) -> bool:
        """Whether this is a Digest challenge that can be looked at: it has a realm and a nonce."""
        return self.scheme.lower() == "digest" and self.get("realm") is not None and bool(self.get("nonce"))

    @property
    def realm(self) -> str:
        """The realm, "" when missing. Realms are compared as they are."""
        return self.get("realm") or ""

    @property
    def nonce(self) -> str:
        """The nonce, "" when missing."""
        return self.get("nonce") or ""

    @property
    def opaque(self) -> str | None:
        """To be sent back as it is."""
        return self.get("opaque")

    @property
    def algorithm(self) -> str:
        """In upper case; MD5 when it is not said (RFC 7616 3.3)."""
        return (self.get("algorithm") or "MD5").upper()

    @property
    def qop(self) -> tuple[str, ...]:
        """In lower case; none is the form of RFC 2069."""
        return tuple(part.strip(WSP).lower() for part in (self.get("qop") or "").split(",") if part.strip(WSP))

    @property
    def stale(self) -> bool:
        """The credentials were right, the nonce was too old."""
        return (self.get("stale") or "").lower() == "true"


def parse_challenges(text: str) -> list[Challenge]:
    """Every challenge of one line, in order. Raises MalformedMessage."""
    found: list[_Open] = []
    at = _skip(text, 0, " \t,")
    while at < len(text):
        word, at = _until(text, at, _WORD_ENDS)
        if not is_token(word):
            raise MalformedMessage("challenge is malformed")
        at = _skip(text, at)
        if found and text.startswith("=", at):
            value, at = _value(text, _skip(text, at + 1))
            found[-1].put(word.lower(), value)
        elif len(found) == MAX_CHALLENGES:
            raise MalformedMessage("too many challenges")
        else:
            token68, at = _token68(text, at)
            found.append(_Open(word, token68))
        at = _skip(text, at, " \t,")
    return [one.close() for one in found]


class _Open:
    """A challenge that is being read."""

    __slots__ = ("parameters", "scheme", "token68")

    def __init__(self, scheme: str, token68: str) -> None:
        self.scheme = scheme
        self.token68 = token68
        self.parameters: dict[str, str] = {}

    def put(self, name: str, value: str) -> None:
        if name in self.parameters:
            raise MalformedMessage(f"challenge says {name} twice")
        if len(self.parameters) == MAX_AUTH_PARAMETERS:
            raise MalformedMessage("challenge has too many parameters")
        self.parameters[name] = value

    def close(self) -> Challenge:
        return Challenge(scheme=self.scheme, parameters=tuple(self.parameters.items()), token68=self.token68)


def _skip(text: str, at: int, signs: str = WSP) -> int:
    while at < len(text) and text[at] in signs:
        at += 1
    return at


def _until(text: str, at: int, ends: frozenset[str]) -> tuple[str, int]:
    start = at
    while at < len(text) and text[at] not in ends:
        at += 1
    return text[start:at], at


def _value(text: str, at: int) -> tuple[str, int]:
    if text.startswith('"', at):
        end = closing_quote(text, at) + 1
        return unquote(text[at:end]), end
    # more than tokens are let through: unquoted nonces in base 64 are met
    return _until(text, at, _VALUE_ENDS)


def _token68(text: str, at: int) -> tuple[str, int]:
    """The one word behind a scheme, if it is that and no parameter: ``=`` at its end only, then a comma or nothing."""
    end = at
    while end < len(text) and text[end] in _TOKEN68:
        end += 1
    behind = _skip(text, end)
    word = text[at:end]
    if "=" in word.rstrip("=") or not (behind == len(text) or text[behind] == ","):
        return "", at
    return word, behind


def challenges(message: Message, name: str) -> list[Challenge]:
    """Every challenge of a response over all lines of ``WWW-Authenticate`` (401) or ``Proxy-Authenticate`` (407).

    A line that cannot be read is skipped: the others may do.
    """
    found: list[Challenge] = []
    for line in message.headers.all(name):
        try:
            found.extend(parse_challenges(line))
        except MalformedMessage:
            pass  # one broken line must not hide a good one
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """The value of Authorization or Proxy-Authorization, as a server reads it (RFC 7616 3.4); ``repr`` hides it."""

    scheme: str
    parameters: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    token68: str = field(default="", repr=False)

    @classmethod
    def parse(cls, text: str) -> Credentials:
        """One line, one set of credentials. Raises MalformedMessage."""
        parsed = Challenge.parse(text)
        return cls(scheme=parsed.scheme, parameters=parsed.parameters, token68=parsed.token68)

    def get(self, name: str) -> str | None:
        """The value of a parameter."""
        return next((value for key, value in self.parameters if key == name), None)
