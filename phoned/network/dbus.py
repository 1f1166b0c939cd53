"""Just enough of the D-Bus wire format to call a method and to hear a signal (D-Bus Specification 0.43, "Message
Protocol"). Pure: bytes in, values out; sockets are `logind`'s.

Little-endian both ways out; either order in. Only basic types can stand in a body. Anything else is skipped by length.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum

FIXED_HEADER = 16
LONGEST_MESSAGE = 1 << 20
"""Bytes; the specification allows 128 MiB, nothing that we wait for comes near this."""

Value = str | int | bool


class MessageType(IntEnum):
    """The second byte of a message."""

    METHOD_CALL = 1
    METHOD_RETURN = 2
    ERROR = 3
    SIGNAL = 4


class Field(IntEnum):
    """Codes of header fields."""

    PATH = 1
    INTERFACE = 2
    MEMBER = 3
    ERROR_NAME = 4
    REPLY_SERIAL = 5
    DESTINATION = 6
    SENDER = 7
    SIGNATURE = 8


_TYPES = {
    Field.PATH: "o", Field.INTERFACE: "s", Field.MEMBER: "s", Field.ERROR_NAME: "s", Field.REPLY_SERIAL: "u",
    Field.DESTINATION: "s", Field.SENDER: "s", Field.SIGNATURE: "g",
}  # fmt: skip


class WireError(ValueError):
    """Bytes that are no D-Bus message, or one that is longer than we read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A message; the body as far as it consists of strings, numbers and booleans."""

    type: MessageType
    serial: int
    fields: Mapping[int, Value] = field(default_factory=dict)
    body: tuple[Value, ...] = ()

    def write(self) -> bytes:
        """The bytes of it."""
        body, signature = _Writer(), ""
        for value in self.body:
            kind = "s" if isinstance(value, str) else "b" if isinstance(value, bool) else "u"
            signature += kind
            body.put(kind, value)
        header = _Writer()
        for code, value in (*self.fields.items(), *(((Field.SIGNATURE, signature),) if signature else ())):
            header.align(8)
            header.data += bytes([code])
            header.put("g", _TYPES[Field(code)])
            header.put(_TYPES[Field(code)], value)
        start = struct.pack("<cBBBIII", b"l", self.type, 0, 1, len(body.data), self.serial, len(header.data))
        header.align(8)
        return start + bytes(header.data) + bytes(body.data)


class _Writer:
    def __init__(self) -> None:
        self.data = bytearray()

    def align(self, size: int) -> None:
        self.data += bytes(-len(self.data) % size)

    def put(self, kind: str, value: Value) -> None:
        if kind == "g":
            text = str(value).encode()
            self.data += bytes([len(text)]) + text + b"\0"
            return
        self.align(4)
        if kind in "so":
            text = str(value).encode()
            self.data += struct.pack("<I", len(text)) + text + b"\0"
        else:
            self.data += struct.pack("<I", int(value))


def length_of(start: bytes) -> int:
    """How long the message is that begins with these 16 bytes."""
    order = {b"l": "<", b"B": ">"}.get(start[:1])
    if order is None or len(start) < FIXED_HEADER:
        raise WireError("no D-Bus message")
    body, _serial, fields = struct.unpack_from(f"{order}III", start, 4)
    length = FIXED_HEADER + fields + (-fields % 8) + body
    if length > LONGEST_MESSAGE:
        raise WireError(f"a message of {length} bytes")
    return int(length)


def read(data: bytes) -> Message:
    """The message in exactly these bytes. Raises `WireError`."""
    try:
        order = {"l": "<", "B": ">"}[chr(data[0])]
        _body, serial, fields_length = struct.unpack_from(f"{order}III", data, 4)
        header = _Reader(data, FIXED_HEADER, order)
        fields: dict[int, Value] = {}
        while header.at < FIXED_HEADER + fields_length:
            header.align(8)
            code = data[header.at]
            header.at += 1
            fields[code] = header.get(str(header.get("g")))
        header.align(8)
        # offsets in a body count from its start, which is aligned to eight: the same thing
        body = tuple(header.get(kind) for kind in str(fields.get(Field.SIGNATURE, "")))
        return Message(type=MessageType(data[1]), serial=serial, fields=fields, body=body)
    except (IndexError, KeyError, ValueError, struct.error) as error:
        raise WireError(f"no D-Bus message: {error}") from None


class _Reader:
    def __init__(self, data: bytes, at: int, order: str) -> None:
        self._data = data
        self.at = at
        self._order = order

    def align(self, size: int) -> None:
        self.at += -self.at % size

    def get(self, kind: str) -> Value:
        if kind == "g":
            length = self._data[self.at]
            self.at += 1
            return self._text(length)
        if kind not in ("s", "o", "u", "b"):
            raise WireError(f"a value of type {kind}")
        self.align(4)
        (number,) = struct.unpack_from(f"{self._order}I", self._data, self.at)
        self.at += 4
        if kind in "so":
            return self._text(number)
        return bool(number) if kind == "b" else int(number)

    def _text(self, length: int) -> str:
        text = self._data[self.at : self.at + length]
        if len(text) != length:
            raise WireError("cut short")
        self.at += length + 1
        return text.decode()
