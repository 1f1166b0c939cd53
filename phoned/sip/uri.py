"""URIs: ``sip``, ``sips``, ``tel``, and every other scheme as opaque text (RFC 3261 19.1, RFC 3966, RFC 3986).

Parts are kept as they were written, escapes and all, so that a URI that came in goes out byte for byte. Meaning is
asked for by ``user``, ``password`` and ``parameter()``, which undo escapes exactly once.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Final
from urllib.parse import quote_from_bytes, unquote_to_bytes

from phoned.errors import InvalidValue, MalformedMessage
from phoned.sip.grammar import parse_host, parse_host_port
from phoned.sip.parameters import NO_PARAMETERS, Parameters

_no_scheme: Final = re.compile(r"[^a-z0-9+.\-]").search
_no_number: Final = re.compile(r"[^0-9+*#\-.()a-d]", re.IGNORECASE).search
# no URI holds these, whatever its scheme; the tolerance for the rest is deliberate (``#`` in a user part is common)
_forbidden: Final = re.compile(r'[ \t<>"\\^`{|}\0\r\n\x7f]').search
_forbidden_in_user: Final = re.compile(r'[ \t<>"\0\r\n\x7f]').search
# what stays unescaped when we write: RFC 3261 user-unreserved and param-unreserved (unreserved comes on its own)
_USER_SAFE: Final = "!*'()&=+$,;?/"
_PASSWORD_SAFE: Final = "!*'()&=+$,"
_PARAMETER_SAFE: Final = "!*'()[]/:&+$"
_HEADER_SAFE: Final = "!*'()[]/:$"
# RFC 3261 19.1.4: a URI that has one of these never equals a URI that lacks it
_TELLING: Final = ("user", "ttl", "method", "maddr", "transport")


def unescape(text: str) -> str:
    """Undo ``%HH`` once. Bytes that are not UTF-8 become surrogate escapes; a stray per cent sign stays."""
    if "%" not in text:
        return text
    return unquote_to_bytes(text.encode("utf-8", "surrogateescape")).decode("utf-8", "surrogateescape")


def _escape(text: str, safe: str) -> str:
    try:
        return quote_from_bytes(text.encode("utf-8", "surrogateescape"), safe)
    except UnicodeEncodeError:
        raise InvalidValue("text holds a lone surrogate") from None


@dataclass(frozen=True, slots=True, kw_only=True)
class Uri:
    """One URI. ``==`` compares what was written; ``equivalent`` compares by the rules of RFC 3261 19.1.4."""

    scheme: str
    """In lower case."""
    userinfo: str | None = None
    """``user[:password]`` still escaped; None without an at sign. sip and sips only."""
    host: str = ""
    """As written; IPv6 with its brackets. sip and sips only."""
    port: int | None = None
    parameters: Parameters = NO_PARAMETERS
    """URI parameters, still escaped: ask ``parameter()`` for meaning."""
    headers: str = ""
    """What follows the question mark, still escaped; never turned into headers of a message by itself."""
    opaque: str = ""
    """For every scheme but sip and sips: what follows the colon; for tel without its parameters."""

    @classmethod
    def parse(cls, text: str) -> Uri:
        """Any URI. Raises MalformedMessage."""
        scheme, colon, rest = text.partition(":")
        scheme = scheme.lower()
        if scheme in ("sip", "sips"):
            return cls._parse_sip(scheme, rest)
        if not colon or not rest or _no_scheme(scheme) or not "a" <= scheme[:1] <= "z":
            raise MalformedMessage("URI has no scheme")
        if _forbidden(rest):
            raise MalformedMessage("URI holds a character that no URI may hold")
        if scheme != "tel":
            return cls(scheme=scheme, opaque=rest)
        number, semicolon, parameters = rest.partition(";")
        if not number or _no_number(number) or (semicolon and not parameters):
            raise MalformedMessage("tel URI holds no number")
        return cls(scheme=scheme, opaque=number, parameters=Parameters.parse(parameters))

    @classmethod
    def _parse_sip(cls, scheme: str, rest: str) -> Uri:
        # the first at sign ends the user part, which may itself hold ";", "?" and "/" (RFC 3261 19.1.2). A second one
        # is refused by the host: where the user ends must not be a matter of taste
        userinfo: str | None = None
        before, at, after = rest.partition("@")
        if at:
            userinfo, rest = before, after
            if not userinfo or userinfo[0] == ":" or _forbidden_in_user(userinfo):
                raise MalformedMessage("user part of the URI is malformed")
        if _forbidden(rest):
            raise MalformedMessage("URI holds a character that no URI may hold")
        rest, question, headers = rest.partition("?")
        where, semicolon, tail = rest.partition(";")
        if (question and not headers) or (semicolon and not tail):
            raise MalformedMessage("URI ends with a separator")
        host, port = parse_host_port(where)
        return cls(
            scheme=scheme,
            userinfo=userinfo,
            host=host,
            port=port,
            parameters=Parameters.parse(tail) if tail else NO_PARAMETERS,
            headers=headers,
        )

    @classmethod
    def sip(
        cls, host: str, *, user: str | None = None, port: int | None = None, scheme: str = "sip", **parameters: str
    ) -> Uri:
        """A sip or sips URI from plain values; the user is escaped as needed. Raises InvalidValue."""
        if scheme not in ("sip", "sips") or user == "" or not (port is None or 0 < port < 65536):
            raise InvalidValue("a SIP URI needs scheme sip or sips, no empty user, and a port of 1 to 65535")
        try:
            parse_host(host)
        except MalformedMessage as error:
            raise InvalidValue(error.detail) from None
        uri = cls(scheme=scheme, userinfo=None if user is None else _escape(user, _USER_SAFE), host=host, port=port)
        for name, value in parameters.items():
            uri = uri.with_parameter(name, value)
        return uri

    @property
    def is_sip(self) -> bool:
        """Whether the scheme is sip or sips, and so host, port and user mean something."""
        return self.scheme in ("sip", "sips")

    @property
    def user(self) -> str | None:
        """The user part unescaped once, or None."""
        return None if self.userinfo is None else unescape(self.userinfo.partition(":")[0])

    @property
    def password(self) -> str | None:
        """The password part unescaped once, or None (its use is not recommended: RFC 3261 19.1.1)."""
        if self.userinfo is None:
            return None
        _, colon, password = self.userinfo.partition(":")
        return unescape(password) if colon else None

    def parameter(self, name: str) -> str | None:
        """The value of a URI parameter, unescaped once; "" for one without value; None when it is not there."""
        name = name.lower()
        for key, value in self.parameters.pairs:
            if unescape(key).lower() == name:
                return unescape(value or "")
        return None

    def with_parameter(self, name: str, value: str | None = None) -> Uri:
        """A copy in which this parameter is set; the value is escaped as needed."""
        raw = None if value is None else _escape(value, _PARAMETER_SAFE)
        pairs = self.without_parameters(name).parameters.pairs
        return replace(self, parameters=Parameters((*pairs, (_escape(name, _PARAMETER_SAFE), raw))))

    def without_parameters(self, *names: str) -> Uri:
        """A copy without these parameters, or without any when none is named."""
        gone = {name.lower() for name in names}
        kept = (pair for pair in self.parameters.pairs if gone and unescape(pair[0]).lower() not in gone)
        return replace(self, parameters=Parameters(tuple(kept)))

    def without_headers(self) -> Uri:
        """A copy without the part behind the question mark, as a Request-URI must be (RFC 3261 19.1.1)."""
        return replace(self, headers="")

    def with_header(self, name: str, value: str) -> Uri:
        """A copy with one more header in its part behind the question mark, escaped as needed."""
        pair = f"{_escape(name, _HEADER_SAFE)}={_escape(value, _HEADER_SAFE)}"
        return replace(self, headers=f"{self.headers}&{pair}" if self.headers else pair)

    @property
    def header_pairs(self) -> list[tuple[str, str]]:
        """The headers part, cut and unescaped once: what a caller may choose to honour (Replaces of a Refer-To)."""
        if not self.headers:
            return []
        cut = (field.partition("=") for field in self.headers.split("&"))
        return [(unescape(name), unescape(value)) for name, _, value in cut]

    def equivalent(self, other: Uri) -> bool:
        """Equality of RFC 3261 19.1.4 (sip, sips) or RFC 3966 4 (tel). It is not transitive, so it is no ``==``."""
        if self.scheme != other.scheme:
            return False
        if not self.is_sip:
            return _opaque_key(self) == _opaque_key(other)
        if (self.user, self.password, self.port) != (other.user, other.password, other.port):
            return False
        if self.host.lower() != other.host.lower():
            return False
        mine, theirs = _parameter_map(self), _parameter_map(other)
        if any((name in mine) != (name in theirs) for name in _TELLING):
            return False
        if any(mine[name] != theirs[name] for name in mine.keys() & theirs.keys()):
            return False
        return _header_map(self) == _header_map(other)

    def __str__(self) -> str:
        if not self.is_sip:
            return f"{self.scheme}:{self.opaque}{self.parameters}"
        user = "" if self.userinfo is None else f"{self.userinfo}@"
        port = "" if self.port is None else f":{self.port}"
        headers = f"?{self.headers}" if self.headers else ""
        return f"{self.scheme}:{user}{self.host}{port}{self.parameters}{headers}"


def _opaque_key(uri: Uri) -> tuple[str, frozenset[tuple[str, str]]]:
    # RFC 3966 4: visual separators mean nothing, case neither; other schemes are compared as they are
    if uri.scheme != "tel":
        return uri.opaque, frozenset()
    number = uri.opaque.translate(_NO_SEPARATORS).lower()
    return number, frozenset(_parameter_map(uri).items())


_NO_SEPARATORS: Final = {ord(sign): None for sign in "-.()"}


def _parameter_map(uri: Uri) -> dict[str, str]:
    return {unescape(name).lower(): unescape(value or "").lower() for name, value in uri.parameters.pairs}


def _header_map(uri: Uri) -> list[tuple[str, str]]:
    return sorted((name.lower(), value) for name, value in uri.header_pairs)
