"""``Headers``: the ordered multimap of a message's header fields (RFC 3261 7.3), and the names of the fields.

Names are looked up without case and by their compact form; they are kept and written in their canonical long form.
Values are ``str``, unfolded and stripped, otherwise raw: reading them is for ``fields`` and ``accessors``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from phoned.sip.grammar import split_list

# RFC 3261 7.3.3, and the compact forms that later RFCs registered
_COMPACT: Final = {
    "a": "Accept-Contact", "b": "Referred-By", "c": "Content-Type", "d": "Request-Disposition", "e": "Content-Encoding",
    "f": "From", "i": "Call-ID", "j": "Reject-Contact", "k": "Supported", "l": "Content-Length", "m": "Contact",
    "n": "Identity-Info", "o": "Event", "r": "Refer-To", "s": "Subject", "t": "To", "u": "Allow-Events", "v": "Via",
    "x": "Session-Expires", "y": "Identity",
}  # fmt: skip
_LONG: Final = (
    *_COMPACT.values(),
    "Accept", "Accept-Encoding", "Accept-Language", "Alert-Info", "Allow", "Authentication-Info", "Authorization",
    "Call-Info", "Content-Disposition", "Content-Language", "CSeq", "Date", "Diversion", "Error-Info", "Expires",
    "Flow-Timer", "History-Info", "In-Reply-To", "Info-Package", "Join", "Max-Forwards", "Min-Expires", "Min-SE",
    "MIME-Version", "Organization", "P-Access-Network-Info", "P-Asserted-Identity", "P-Called-Party-ID",
    "P-Preferred-Identity", "Path", "Priority", "Privacy", "Proxy-Authenticate", "Proxy-Authentication-Info",
    "Proxy-Authorization", "Proxy-Require", "RAck", "Reason", "Record-Route", "Recv-Info", "Refer-Sub",
    "Remote-Party-ID", "Replaces", "Reply-To", "Require", "Retry-After", "Route", "RSeq", "Security-Client",
    "Security-Server", "Server", "Service-Route", "SIP-ETag", "SIP-If-Match", "Subscription-State", "Target-Dialog",
    "Timestamp", "Unsupported", "User-Agent", "Warning", "WWW-Authenticate",
)  # fmt: skip
_CANONICAL: Final = {name.lower(): name for name in _LONG} | _COMPACT
SPELLED: Final = {name: name for name in _LONG} | _CANONICAL | {key.upper(): name for key, name in _COMPACT.items()}
"""Every spelling that is met often, straight to its long form: one look-up on the hot path."""


def canonical(name: str) -> str:
    """The long form in the RFC's spelling; an unknown name as it is."""
    known = SPELLED.get(name)
    return known if known is not None else _CANONICAL.get(name.lower(), name)


class Headers:
    """Ordered header fields of one message. Driven by whoever builds or reads the message; checks nothing.

    What may be written is checked once, by ``message.serialise``.
    """

    __slots__ = ("_fields",)

    def __init__(self, fields: list[tuple[str, str]] | tuple[tuple[str, str], ...] | None = None) -> None:
        self._fields = [(canonical(name), value) for name, value in fields or ()]

    @classmethod
    def of_canonical(cls, fields: list[tuple[str, str]]) -> Headers:
        """From pairs whose names went through ``canonical`` already; the list is taken over, not copied."""
        headers = cls()
        headers._fields = fields
        return headers

    def get(self, name: str) -> str | None:
        """The first value of that name, as one line; None when there is none."""
        key = canonical(name)
        for known, value in self._fields:
            if known == key:
                return value
        return self._get_unknown(key)

    def all(self, name: str) -> list[str]:
        """Every value of that name, one for each line, in order."""
        matches = self._matcher(name)
        return [value for known, value in self._fields if known in matches]

    def values(self, name: str) -> list[str]:
        """The elements of a comma-separated field over all its lines, in order, empty ones dropped.

        Only for fields that are lists: not for Date, Subject, Authorization or a challenge. Raises MalformedMessage.
        """
        return [part for line in self.all(name) for part in split_list(line) if part]

    def add(self, name: str, value: str) -> None:
        """Append one line."""
        self._fields.append((canonical(name), value))

    def set(self, name: str, value: str) -> None:
        """One line, in the place of the first of that name, or at the end; the others go."""
        matches = self._matcher(name)
        for index, (known, _) in enumerate(self._fields):
            if known in matches:
                rest = [field for field in self._fields[index + 1 :] if field[0] not in matches]
                self._fields[index:] = [(canonical(name), value), *rest]
                return
        self.add(name, value)

    def prepend(self, name: str, value: str) -> None:
        """One line before all others: how a Via or Route is put on top."""
        self._fields.insert(0, (canonical(name), value))

    def remove(self, name: str) -> None:
        """Drop every line of that name; none is no error."""
        matches = self._matcher(name)
        self._fields = [field for field in self._fields if field[0] not in matches]

    def copy(self) -> Headers:
        """An independent copy."""
        return Headers.of_canonical(self._fields.copy())

    def _get_unknown(self, key: str) -> str | None:
        if key in SPELLED:
            return None
        key = key.lower()
        return next((value for known, value in self._fields if known.lower() == key), None)

    def _matcher(self, name: str) -> frozenset[str]:
        # the spellings in this message under which the name is found: one for a known name, any for an unknown one
        key = canonical(name)
        if key in SPELLED:
            return frozenset((key,))
        key = key.lower()
        return frozenset(known for known, _ in self._fields if known.lower() == key)

    def __contains__(self, name: str) -> bool:
        return self.get(name) is not None

    def __iter__(self) -> Iterator[tuple[str, str]]:
        """Pairs of canonical name and value, in order."""
        return iter(self._fields)

    def __len__(self) -> int:
        return len(self._fields)

    def __eq__(self, other: object) -> bool:
        return self._fields == other._fields if isinstance(other, Headers) else NotImplemented

    __hash__ = None  # type: ignore[assignment]  # mutable

    def __repr__(self) -> str:
        # names alone: a value may be a credential
        return f"Headers({', '.join(name for name, _ in self._fields)})"
