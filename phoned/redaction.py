"""Text that may be shown: secrets replaced, control characters of peers made visible.

`Redactor` replaces what looks like a secret in SIP, SDP, HTTP and URLs, and the exact secrets that it was told of. It
is used by logs, traces and error texts. Every pattern is linear in the length of the text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

HIDDEN = "***"

_SHORTEST_EXACT = 6
"""A shorter secret cannot be searched for without spoiling ordinary text; the patterns still hide it in its place."""

_LINE = r"(?:(?!\\[rn])[^\r\n])*"
"""The rest of a line, also of one that was printed with repr()."""
_START = r"(?:\b|(?<=\\[nrt]))"
"""Where a word begins, also after an escape of repr()."""
_VALUE = r"(?:\"(?:[^\"\\\r\n]|\\.)*\"?|'[^'\r\n]*'?|[^\s,;&'\"<>]*)"

_PATTERNS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(rf"{_START}((?:proxy-)?authorization\b['\"]?\s*[:=]\s*){_LINE}", re.IGNORECASE), rf"\1{HIDDEN}"),
    (re.compile(rf"{_START}((?:bearer|basic)\s+)[A-Za-z0-9._~+/=-]{{6,}}", re.IGNORECASE), rf"\1{HIDDEN}"),
    (re.compile(rf"{_START}(response|cnonce|rspauth)(\s*=\s*){_VALUE}", re.IGNORECASE), rf"\1\2{HIDDEN}"),
    (
        re.compile(
            # "/etc/phoned/alice.secret: no such file" names a file, not a value
            rf"{_START}(?<![./])(access_token|auth_token|token|ticket|password|passwd|credential|secret|api_key)(['\"]?\s*[=:]\s*){_VALUE}",
            re.IGNORECASE,
        ),
        rf"\1\2{HIDDEN}",
    ),
    (re.compile(rf"{_START}whsec_[A-Za-z0-9+/=_-]+"), f"whsec_{HIDDEN}"),
    (re.compile(rf"{_START}phoned_[A-Za-z0-9_-]{{16,}}"), f"phoned_{HIDDEN}"),
    (re.compile(r"(ice-pwd['\"]?\s*[:=]\s*)[^\s\\]+", re.IGNORECASE), rf"\1{HIDDEN}"),
    (re.compile(rf"(a=crypto:){_LINE}", re.IGNORECASE), rf"\1{HIDDEN}"),
    (re.compile(r"(\b[A-Za-z][A-Za-z0-9+.-]{0,15}://)[^\s/@\"'<>]{1,256}@"), rf"\1{HIDDEN}@"),
    (re.compile(r"(\bsips?:[^\s:@<>\"']{1,256}:)[^\s@<>\"']{1,256}@", re.IGNORECASE), rf"\1{HIDDEN}@"),
)

_CONTROL = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]|\r(?!\n)"
)


class Redactor:
    """Replaces secrets. Cheap to make; `hide` adds exact ones, such as the passwords of the configuration."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._exact: tuple[str, ...] = ()
        for secret in secrets:
            self.hide(secret)

    def hide(self, secret: str) -> None:
        """Never show ``secret`` again, wherever it stands."""
        if len(secret) >= _SHORTEST_EXACT and secret not in self._exact:
            self._exact = tuple(sorted((*self._exact, secret), key=len, reverse=True))

    def __call__(self, text: str) -> str:
        for secret in self._exact:
            if secret in text:
                text = text.replace(secret, HIDDEN)
        for pattern, replacement in _PATTERNS:
            text = pattern.sub(replacement, text)
        return text


def visible(text: str) -> str:
    """Control characters, and those that turn the direction of writing, as escapes. Tabs and line ends stay: what
    prints lines must indent the ones that follow the first (`one_entry`)."""
    return _CONTROL.sub(lambda found: _escape(found[0]), text)


def one_entry(text: str) -> str:
    """`visible`, with every further line marked, so that no peer can write a line that looks like one of ours."""
    return visible(text).replace("\r\n", "\n").rstrip("\n").replace("\n", "\n    | ")


def _escape(character: str) -> str:
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
