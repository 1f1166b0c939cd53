"""The head of a message, cut into lines and header fields (RFC 3261 7.3, 7.5). Knows no field's meaning.

It never gives up: it reads on past the first fault, so that ``message`` can answer a request that was wrong somewhere.
"""

from __future__ import annotations

from phoned.errors import MalformedMessage
from phoned.sip.grammar import WSP, is_token
from phoned.sip.headers import SPELLED, canonical
from phoned.sip.limits import MAX_HEADERS, MAX_LINE


class Head:
    """Start line and header fields, read as far as they can be; ``fault`` is the first thing that was wrong."""

    __slots__ = ("fault", "fields", "has_nul", "lines", "rest")

    def __init__(self, data: bytes) -> None:
        self.fault: MalformedMessage | None = None
        self.fields: list[tuple[str, str]] = []
        # the blank line, after CRLF or after a bare LF
        end = data.find(b"\n\r\n")
        bare = data.find(b"\n\n", 0, end if end >= 0 else len(data))
        if bare >= 0:
            head, self.rest = data[:bare], data[bare + 2 :]
        elif end >= 0:
            head, self.rest = data[:end], data[end + 3 :]
        else:
            head, self.rest = data, b""
            self._blame("header section does not end")
        if len(head) > MAX_LINE and max(map(len, head.split(b"\n"))) > MAX_LINE:
            self._blame("a line is too long", status=513)
        text = head.decode("utf-8", "surrogateescape").replace("\r\n", "\n").removesuffix("\r")
        self.has_nul = "\0" in text
        if "\r" in text:
            self._blame("a carriage return stands alone")
        self.lines = text.split("\n")
        if "\n " in text or "\n\t" in text:
            self._unfold()
        if len(self.lines) > MAX_HEADERS + 1:
            self._blame("too many header fields", status=513)
        self._read_fields()

    def _blame(self, detail: str, *, status: int = 400) -> None:
        if self.fault is None:
            self.fault = MalformedMessage(detail, status=status)

    def _unfold(self) -> None:
        # a line that starts with white space continues the one before; the fold is one space (RFC 3261 7.3.1)
        logical: list[list[str]] = [[self.lines[0]]]
        for line in self.lines[1:]:
            if not line.startswith((" ", "\t")):
                logical.append([line])
            elif len(logical) == 1:
                self._blame("start line is folded")
            else:
                logical[-1].append(line.strip(WSP))
        self.lines = [" ".join(parts) for parts in logical]
        if max(map(len, self.lines)) > MAX_LINE:
            self._blame("a folded line is too long", status=513)

    def _read_fields(self) -> None:
        for line in self.lines[1 : MAX_HEADERS + 1]:
            name, colon, value = line.partition(":")
            known = SPELLED.get(name)
            if known is None:
                name = name.rstrip(WSP)
                if not is_token(name):
                    self._blame("header name is malformed")
                    continue
                known = canonical(name)
            if not colon:
                self._blame("header line without a colon")
                continue
            self.fields.append((known, value.strip(WSP)))
