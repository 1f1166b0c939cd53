"""Typed values of the header fields of RFC 3261, and Session-Expires (RFC 4028).

``parse`` reads one value (tolerant), ``str`` writes it (strict).

Each ``parse`` raises MalformedMessage and nothing else. The fields of a whole message are read by ``accessors``,
and what later RFCs added is in ``extension_fields``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Final

from phoned.errors import MalformedMessage
from phoned.sip.grammar import WSP, closing_quote, is_token, parse_host_port, parse_uint, quote, unescape_quoted
from phoned.sip.limits import MAX_UINT32
from phoned.sip.parameters import NO_PARAMETERS, Parameters
from phoned.sip.uri import Uri

# the common shape of an address. Every quantifier is possessive: no character is looked at twice, nothing backtracks
_PARAMETER: Final = r";[A-Za-z0-9\-.!%*_+`'~]++"
_plain_address: Final = re.compile(
    r'(?:"[^"\\]*+"[ \t]*+|[A-Za-z0-9\-.]++[ \t]++)?+'  # display name
    r'<sips?:(?:[^@:\s<>"\0\x7f][^@\s<>"\0\x7f]*+@)?'  # user
    r"[A-Za-z0-9\-._]++(?::[0-9]{1,4}+)?+"  # host and port
    rf"(?:{_PARAMETER}(?:=[A-Za-z0-9\-.!%*_+'~\[\]:/&$]++)?+)*+>"
    rf"(?:{_PARAMETER}(?:=[A-Za-z0-9\-.!%*_+`'~\[\]:]++|=\"[^\"\\]*+\")?+)*+"
).fullmatch


def check_address(text: str) -> None:
    """Raise MalformedMessage exactly when ``NameAddr.parse`` would; the common shape costs one look instead."""
    if not _plain_address(text):
        NameAddr.parse(text)


@dataclass(frozen=True, slots=True, kw_only=True)
class NameAddr:
    """``name-addr`` or ``addr-spec`` with its header parameters: From, To, Contact, Route, ... (RFC 3261 20.10)."""

    uri: Uri
    display_name: str = ""
    """Without quotes."""
    parameters: Parameters = NO_PARAMETERS
    """Parameters of the header field, not of the URI."""

    @classmethod
    def parse(cls, text: str) -> NameAddr:
        """One value. Without brackets all parameters belong to the field, and ``?`` or ``,`` is refused (20.10)."""
        if text[:1] == '"':
            end = closing_quote(text, 0) + 1
            name, rest = unescape_quoted(text[1 : end - 1]), text[end:].lstrip(WSP)
            if rest[:1] != "<":
                raise MalformedMessage("no address after the display name")
        else:
            at = text.find("<")
            if at < 0:
                return cls._parse_addr_spec(text)
            # more than tokens is let through: unquoted UTF-8 names and commas are common
            name, rest = text[:at].rstrip(WSP), text[at:]
            if '"' in name:
                raise MalformedMessage("display name is malformed")
        inner, bracket, tail = rest[1:].partition(">")
        if not bracket:
            raise MalformedMessage("angle bracket does not close")
        parameters = tail_parameters(tail) if tail else NO_PARAMETERS
        return cls(uri=Uri.parse(inner.strip(WSP)), display_name=name, parameters=parameters)

    @classmethod
    def _parse_addr_spec(cls, text: str) -> NameAddr:
        spec, semicolon, tail = text.partition(";")
        if "?" in spec or "," in spec:
            raise MalformedMessage("URI with a question mark or a comma stands without brackets")
        return cls(uri=Uri.parse(spec.rstrip(WSP)), parameters=tail_parameters(semicolon + tail))

    @property
    def tag(self) -> str | None:
        """The tag of From and To (RFC 3261 19.3)."""
        return self.parameters.get("tag")

    @property
    def expires(self) -> int | None:
        """``expires`` of a Contact in seconds; a malformed one counts as 3600 (RFC 3261 20.10, 10.2.1.1)."""
        text = self.parameters.get("expires")
        return None if text is None else lenient_seconds(text)

    @property
    def q(self) -> float:
        """The preference of a Contact, 0 to 1; 1 when it is missing or malformed (RFC 3261 20.10)."""
        text = self.parameters.get("q") or ""
        whole, _, fraction = text.partition(".")
        if whole not in ("0", "1") or not (fraction == "" or (fraction.isascii() and fraction.isdigit())):
            return 1.0
        return min(float(f"{whole}.{fraction[:3] or '0'}"), 1.0)

    def with_parameter(self, name: str, value: str | None = None) -> NameAddr:
        """A copy with this field parameter, quoted as needed: ``tag``, ``expires``, ``+sip.instance``."""
        return replace(self, parameters=self.parameters.with_(name, value))

    def without_parameters(self, *names: str) -> NameAddr:
        """A copy without these field parameters."""
        return replace(self, parameters=self.parameters.without(*names))

    def __str__(self) -> str:
        # always quoted and always in brackets: no reader can then take a parameter for the wrong one's
        name = f"{quote(self.display_name)} " if self.display_name else ""
        return f"{name}<{self.uri}>{self.parameters}"


def tail_parameters(tail: str) -> Parameters:
    """What follows a value: nothing, or a semicolon and parameters."""
    tail = tail.strip(WSP)
    if not tail:
        return NO_PARAMETERS
    if tail[0] != ";" or len(tail) == 1:
        raise MalformedMessage("text where parameters should be")
    return Parameters.parse(tail[1:])


def lenient_seconds(text: str) -> int:
    """``delta-seconds``: too large counts as 2**32-1, malformed as 3600 (RFC 3261 20.19, 10.3 step 7)."""
    text = text.strip(WSP)
    if not (text.isascii() and text.isdigit()):
        return 3600
    try:
        return parse_uint(text, "seconds")
    except MalformedMessage:
        return MAX_UINT32


@dataclass(frozen=True, slots=True, kw_only=True)
class Via:
    """One Via value (RFC 3261 20.42, RFC 3581, RFC 7118 5.2)."""

    transport: str
    """In upper case: UDP, TCP, TLS, WS, WSS, or one that nobody knows."""
    host: str
    port: int | None = None
    parameters: Parameters = NO_PARAMETERS

    @classmethod
    def parse(cls, text: str) -> Via:
        """One value; white space is allowed round the slashes and the colon."""
        sent, semicolon, tail = text.partition(";")
        protocol, slash, rest = sent.partition("/")
        version, slash2, rest = rest.partition("/")
        if not slash or not slash2 or protocol.strip(WSP).upper() != "SIP" or version.strip(WSP) != "2.0":
            raise MalformedMessage("Via names another protocol")
        transport, _, sent_by = rest.replace("\t", " ").lstrip(" ").partition(" ")
        if not is_token(transport):
            raise MalformedMessage("Via transport is malformed")
        host, port = parse_host_port(sent_by.strip(" "))
        parameters = tail_parameters(semicolon + tail) if semicolon else NO_PARAMETERS
        return cls(transport=transport.upper(), host=host, port=port, parameters=parameters)

    @property
    def branch(self) -> str | None:
        """The transaction's name; None from an RFC 2543 peer."""
        return self.parameters.get("branch")

    @property
    def received(self) -> str | None:
        """Where the request came from; IPv6 with or without brackets on the wire, here without (RFC 5118 4.5)."""
        text = self.parameters.get("received")
        return text.strip("[]") if text else None

    @property
    def rport(self) -> int | None:
        """The port the request came from; None when absent, not filled in, or malformed (RFC 3581)."""
        text = self.parameters.get("rport")
        try:
            return parse_uint(text, "rport", maximum=65535) if text else None
        except MalformedMessage:
            return None

    @property
    def sent_by(self) -> str:
        """``host[:port]`` in lower case, which matches transactions (RFC 3261 17.2.3)."""
        return self.host.lower() if self.port is None else f"{self.host.lower()}:{self.port}"

    def with_parameter(self, name: str, value: str | None = None) -> Via:
        """A copy with this parameter."""
        return replace(self, parameters=self.parameters.with_(name, value))

    def __str__(self) -> str:
        port = "" if self.port is None else f":{self.port}"
        return f"SIP/2.0/{self.transport} {self.host}{port}{self.parameters}"


@dataclass(frozen=True, slots=True, kw_only=True)
class CSeq:
    """CSeq (RFC 3261 20.16)."""

    number: int
    """0 to 2**32-1; what we send stays below 2**31 (RFC 3261 8.1.1.5)."""
    method: str
    """Case matters."""

    @classmethod
    def parse(cls, text: str) -> CSeq:
        """``number method``."""
        words = text.replace("\t", " ").split(" ")
        number, method = words[0], words[-1]
        if len(words) < 2 or any(words[1:-1]) or not is_token(method):
            raise MalformedMessage("CSeq is malformed")
        return cls(number=parse_uint(number, "CSeq"), method=method)

    def __str__(self) -> str:
        return f"{self.number} {self.method}"


def check_call_id(text: str) -> str:
    """A Call-ID (RFC 3261 20.8): one word, taken as it is. Raises MalformedMessage."""
    if not text or " " in text or "\t" in text or "\0" in text:
        raise MalformedMessage("Call-ID is malformed")
    return text


@dataclass(frozen=True, slots=True, kw_only=True)
class ContentType:
    """A media type (RFC 3261 20.15), also good for one value of Accept."""

    essence: str
    """``type/subtype`` in lower case."""
    parameters: Parameters = NO_PARAMETERS

    @classmethod
    def parse(cls, text: str) -> ContentType:
        """``type/subtype[;parameter=value]``."""
        essence, semicolon, tail = text.partition(";")
        kind, _, subtype = essence.partition("/")
        kind, subtype = kind.strip(WSP), subtype.strip(WSP)
        if not is_token(kind) or not is_token(subtype):
            raise MalformedMessage("media type is malformed")
        return cls(essence=f"{kind}/{subtype}".lower(), parameters=tail_parameters(semicolon + tail))

    def __str__(self) -> str:
        return f"{self.essence}{self.parameters}"


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionExpires:
    """Session-Expires (RFC 4028 4); Min-SE has the same shape without refresher (5)."""

    seconds: int
    refresher: str | None = None
    """``uac`` or ``uas`` in lower case; None when it is not said."""

    @classmethod
    def parse(cls, text: str) -> SessionExpires:
        """``delta-seconds [;refresher=uac|uas]``; unknown parameters and refreshers are ignored."""
        number, semicolon, tail = text.partition(";")
        refresher = tail_parameters(semicolon + tail).get("refresher")
        refresher = refresher.lower() if refresher else None
        return cls(
            seconds=parse_uint(number.rstrip(WSP), "Session-Expires"),
            refresher=refresher if refresher in ("uac", "uas") else None,
        )

    def __str__(self) -> str:
        return f"{self.seconds};refresher={self.refresher}" if self.refresher else str(self.seconds)
