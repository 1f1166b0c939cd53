"""Parameters of URIs and of header fields: ``;name=value;flag``, in their order, names compared without case.

Values are kept as they were written. ``get`` gives their meaning; a parameter that is quoted comes back without quotes.
RFC 3261 7.3.1, 19.1.1 and 25.1 (``generic-param``).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from phoned.errors import InvalidValue, MalformedMessage
from phoned.sip.grammar import WSP, is_token, quote, split_list, unquote

# what we write without quotes: a token, or a host (RFC 3261 gen-value)
_no_plain: Final = re.compile(r"[^A-Za-z0-9\-.!%*_+`'~\[\]:]").search
# what no unquoted value may hold; everything else is let through
_forbidden: Final = re.compile(r'[ \t"<>,\0]').search


@dataclass(frozen=True, slots=True)
class Parameters:
    """An immutable, ordered list of parameters. ``bool()`` is whether there are any; iteration gives the names."""

    pairs: tuple[tuple[str, str | None], ...] = ()
    """Name and raw value; None for a flag (``;lr``)."""

    @classmethod
    def parse(cls, text: str) -> Parameters:
        """``a=b;c`` (what follows the first semicolon). Empty text is no parameter. Raises MalformedMessage."""
        if not text:
            return NO_PARAMETERS
        pairs: list[tuple[str, str | None]] = []
        for part in split_list(text, ";") if '"' in text or "<" in text else text.split(";"):
            name, equals, value = part.partition("=")
            if not is_token(name):
                name = name.strip(WSP)
                if not is_token(name):
                    raise MalformedMessage("parameter name is malformed")
            if not equals:
                pairs.append((name, None))
                continue
            if not value or _forbidden(value):
                value = value.strip(WSP)
                if value[:1] == '"':
                    unquote(value)  # only to see that it can be read
                elif not value or _forbidden(value):
                    raise MalformedMessage(f"value of parameter {name} is malformed")
            pairs.append((name, value))
        return cls(tuple(pairs))

    def get(self, name: str) -> str | None:
        """The meaning of the first parameter of that name; None when there is none, or when it has no value."""
        raw = self.raw(name)
        return raw if raw is None else unquote(raw)

    def raw(self, name: str) -> str | None:
        """The value as written; None when there is none."""
        name = name.lower()
        for key, value in self.pairs:
            if key == name or key.lower() == name:
                return value
        return None

    def with_(self, name: str, value: str | None = None) -> Parameters:
        """A copy in which ``name`` is there once, at its old place or at the end; quoted when it must be."""
        if not is_token(name):
            raise InvalidValue(f"{name!r} is no parameter name")
        raw = value if value is None or (value and not _no_plain(value)) else quote(value)
        if name not in self:
            return Parameters((*self.pairs, (name, raw)))
        pairs: list[tuple[str, str | None]] = []
        written = False
        for key, old in self.pairs:
            if key.lower() != name.lower():
                pairs.append((key, old))
            elif not written:
                pairs.append((key, raw))
                written = True
        return Parameters(tuple(pairs))

    def without(self, *names: str) -> Parameters:
        """A copy without these."""
        gone = {name.lower() for name in names}
        return Parameters(tuple(pair for pair in self.pairs if pair[0].lower() not in gone))

    def __contains__(self, name: str) -> bool:
        name = name.lower()
        return any(key.lower() == name for key, _ in self.pairs)

    def __iter__(self) -> Iterator[str]:
        return (name for name, _ in self.pairs)

    def __len__(self) -> int:
        return len(self.pairs)

    def __str__(self) -> str:
        """``;a=b;c``, with the leading semicolon; empty when there are none."""
        return "".join(f";{name}" if value is None else f";{name}={value}" for name, value in self.pairs)


NO_PARAMETERS: Final = Parameters()
