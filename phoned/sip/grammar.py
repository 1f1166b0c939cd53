"""The small grammar that URIs and header fields share: tokens, quoted strings, lists, hosts (RFC 3261 25.1).

Every function is one pass over its text. Text is what ``message.parse`` decoded: UTF-8, with bytes that are not UTF-8
kept as surrogate escapes, so that whatever came in can go out again unchanged. The regular expressions are single
character classes: they find a character and can do nothing else, least of all backtrack.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Final

from phoned.errors import InvalidValue, MalformedMessage
from phoned.sip.limits import MAX_UINT32

WSP: Final = " \t"
_no_token: Final = re.compile(r"[^A-Za-z0-9\-.!%*_+`'~]").search
# the underscore is no host character, but machines are called that
_no_host: Final = re.compile(r"[^A-Za-z0-9\-._]").search
_quote_or_backslash: Final = re.compile(r'["\\]').search
_marks: Final = {",": re.compile(r'[,"<]').search, ";": re.compile(r'[;"<]').search}


def is_token(text: str) -> bool:
    """``token`` of RFC 3261 25.1: at least one of the token characters, and nothing else."""
    return text != "" and _no_token(text) is None


def parse_uint(text: str, what: str, *, maximum: int = MAX_UINT32) -> int:
    """``1*DIGIT`` up to ``maximum``; never Python's wider idea of an integer. Raises MalformedMessage."""
    if not (text.isascii() and text.isdigit()):
        raise MalformedMessage(f"{what} is not a number")
    digits = text.lstrip("0")
    # the length is looked at first: int() of a very long number is neither cheap nor wanted
    if len(digits) > 10 or (number := int(digits or "0")) > maximum:
        raise MalformedMessage(f"{what} is over {maximum}")
    return number


def parse_host(text: str) -> str:
    """A host: name, IPv4 address or bracketed IPv6 reference. Returned as given. Raises MalformedMessage."""
    if text[:1] == "[":
        # the grammar of RFC 3261 made some write three colons; RFC 5118 4.10 corrects it and asks to bear with them
        address = text[1:-1].replace(":::", "::", 1)
        try:
            if not text.endswith("]") or "%" in address:
                raise ValueError
            ipaddress.IPv6Address(address)
        except ValueError:
            raise MalformedMessage("IPv6 reference is malformed") from None
    elif not text or _no_host(text):
        raise MalformedMessage("host is malformed")
    return text


def parse_host_port(text: str) -> tuple[str, int | None]:
    """``host [":" port]``, white space round the colon allowed. Raises MalformedMessage."""
    if text[:1] != "[":
        host, colon, port = text.partition(":")
        host = host.rstrip(WSP)
    else:
        host, bracket, rest = text.partition("]")
        host, rest = host + bracket, rest.lstrip(WSP)
        if rest and rest[0] != ":":
            raise MalformedMessage("text after an IPv6 reference")
        colon, port = rest[:1], rest[1:]
    return parse_host(host), parse_uint(port.strip(WSP), "port", maximum=65535) if colon else None


def closing_quote(text: str, start: int) -> int:
    """Where the quoted string that opens at ``start`` closes; a backslash escapes. Raises MalformedMessage."""
    at = start + 1
    while found := _quote_or_backslash(text, at):
        if found[0] == '"':
            return found.start()
        at = found.end() + 1
    raise MalformedMessage("quoted string does not end")


def unquote(text: str) -> str:
    """The meaning of a quoted string; any other text is returned as it is. Raises MalformedMessage."""
    if not text.startswith('"'):
        return text
    if closing_quote(text, 0) != len(text) - 1:
        raise MalformedMessage("text after a quoted string")
    return unescape_quoted(text[1:-1])


def unescape_quoted(inner: str) -> str:
    """The meaning of what stands between the quotes."""
    if "\\" not in inner:
        return inner
    # a pair of backslashes is one: cut there first, so that every other backslash only vanishes
    return "\\".join(part.replace("\\", "") for part in inner.split("\\\\"))


def quote(text: str) -> str:
    """A quoted string that means ``text``. CR and LF cannot be written in one: InvalidValue."""
    if "\r" in text or "\n" in text:
        raise InvalidValue("a quoted string holds no line break")
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\0", "\\\0")
    return f'"{escaped}"'


def split_list(text: str, separator: str = ",") -> list[str]:
    """The parts between separators that stand outside quotes and angle brackets, stripped; empty ones are kept.

    Raises MalformedMessage when a quote or a bracket does not close.
    """
    if separator not in text and '"' not in text and "<" not in text:
        return [text.strip(WSP)]
    parts: list[str] = []
    search, start, at = _marks[separator], 0, 0
    while found := search(text, at):
        at = found.end()
        if found[0] == separator:
            parts.append(text[start : at - 1].strip(WSP))
            start = at
        elif found[0] == '"':
            at = closing_quote(text, at - 1) + 1
        else:
            at = text.find(">", at) + 1
            if not at:
                raise MalformedMessage("angle bracket does not close")
    parts.append(text[start:].strip(WSP))
    return parts
