"""On which line of a TOML text each key stands. The text has been parsed by `tomllib` already, so it is well-formed.

This walks keys, headers, strings, brackets and comments, and nothing else (TOML 1.0).
"""

from __future__ import annotations

import tomllib

from phoned.config.report import Location

_BARE = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")


def key_lines(text: str) -> dict[Location, int]:
    """Line numbers, from 1, of every table header and key outside inline tables."""
    return _Walk(text.replace("\r\n", "\n")).run()


class _Walk:
    def __init__(self, text: str) -> None:
        self._text = text + "\n"
        self._at = 0
        self._lines: dict[Location, int] = {}
        self._arrays: dict[tuple[str, ...], int] = {}
        """Arrays of tables: how many there have been."""

    def run(self) -> dict[Location, int]:
        table: Location = ()
        while self._skip_blank():
            line = self._text.count("\n", 0, self._at) + 1
            if self._text[self._at] == "[":
                table = self._header()
                self._lines.setdefault(table, line)
            else:
                location = table
                for part in self._dotted_key():
                    location = (*location, part)
                    self._lines.setdefault(location, line)
                self._at += 1  # the equals sign
                self._skip_value()
        return self._lines

    def _skip_blank(self) -> bool:
        """Move to the next key or header; False at the end."""
        while self._at < len(self._text):
            if self._text[self._at] == "#":
                self._at = self._text.index("\n", self._at)
            elif not self._text[self._at].isspace():
                return True
            self._at += 1
        return False

    def _header(self) -> Location:
        is_array = self._text.startswith("[[", self._at)
        self._at += 2 if is_array else 1
        names = tuple(self._dotted_key())
        self._at = self._text.index("\n", self._at)
        if is_array:
            self._arrays[names] = self._arrays.get(names, 0) + 1
        location: Location = ()
        for length in range(1, len(names) + 1):
            location = (*location, names[length - 1])
            count = self._arrays.get(names[:length])
            if count is not None:
                location = (*location, count - 1)
        return location

    def _dotted_key(self) -> list[str]:
        parts: list[str] = []
        while True:
            self._skip_spaces()
            start = self._at
            if self._text[start] in "\"'":
                self._skip_string()
                parts.append(str(tomllib.loads(f"v = {self._text[start : self._at]}")["v"]))
            else:
                while self._text[self._at] in _BARE:
                    self._at += 1
                parts.append(self._text[start : self._at])
            self._skip_spaces()
            if self._text[self._at] != ".":
                return parts
            self._at += 1

    def _skip_spaces(self) -> None:
        while self._text[self._at] in " \t":
            self._at += 1

    def _skip_string(self) -> None:
        quote = self._text[self._at]
        end = quote * 3 if self._text.startswith(quote * 3, self._at) else quote
        self._at += len(end)
        while not self._text.startswith(end, self._at):
            self._at += 2 if quote == '"' and self._text[self._at] == "\\" else 1
        self._at += len(end)
        while len(end) == 3 and self._text[self._at] == quote:
            self._at += 1  # up to two quotes may stand before the closing three

    def _skip_value(self) -> None:
        depth = 0
        while True:
            character = self._text[self._at]
            if character in "\"'":
                self._skip_string()
                continue
            if character == "#":
                self._at = self._text.index("\n", self._at)
                continue
            if character in "[{":
                depth += 1
            elif character in "]}":
                depth -= 1
            elif character == "\n" and depth == 0:
                return
            self._at += 1
