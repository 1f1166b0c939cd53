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
    raise NotImplementedError


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
