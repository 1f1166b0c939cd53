"""The little of D-Bus that we speak, against bytes taken from the specification's rules."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phoned.network.dbus import LONGEST_MESSAGE, Field, Message, MessageType, WireError, length_of, read

HELLO = Message(
    type=MessageType.METHOD_CALL,
    serial=1,
    fields={
        Field.PATH: "/org/freedesktop/DBus",
        Field.INTERFACE: "org.freedesktop.DBus",
        Field.DESTINATION: "org.freedesktop.DBus",
        Field.MEMBER: "Hello",
    },
)
SIGNAL = Message(
    type=MessageType.SIGNAL,
    serial=77,
    fields={
        Field.PATH: "/org/freedesktop/login1",
        Field.INTERFACE: "org.freedesktop.login1.Manager",
        Field.MEMBER: "PrepareForSleep",
        Field.SIGNATURE: "b",
    },
    body=(False,),
)
# by hand: big-endian signal with one u field and no body
FOREIGN = b"B\x04\x00\x01" + struct.pack(">III", 0, 9, 8) + b"\x05\x01u\x00" + struct.pack(">I", 42)


def written(message: Message) -> bytes:
    """The signature is the body's: it is not given twice."""
    fields = {code: value for code, value in message.fields.items() if code != Field.SIGNATURE}
    return Message(type=message.type, serial=message.serial, fields=fields, body=message.body).write()


@pytest.mark.parametrize("message", [HELLO, SIGNAL])
def test_what_is_written_is_read_again(message: Message) -> None:
    data = written(message)
    assert length_of(data[:16]) == len(data)
    assert read(data) == message


def test_hello_has_the_bytes_that_every_bus_knows() -> None:
    data = HELLO.write()
    assert data[:16] == b"l\x01\x00\x01" + struct.pack("<III", 0, 1, 0x6E)
    assert data[16:] == (
        b"\x01\x01o\x00\x15\x00\x00\x00/org/freedesktop/DBus\x00\x00\x00"
        b"\x02\x01s\x00\x14\x00\x00\x00org.freedesktop.DBus\x00\x00\x00\x00"
        b"\x06\x01s\x00\x14\x00\x00\x00org.freedesktop.DBus\x00\x00\x00\x00"
        b"\x03\x01s\x00\x05\x00\x00\x00Hello\x00\x00\x00"
    )


def test_the_other_byte_order_is_read() -> None:
    assert length_of(FOREIGN) == len(FOREIGN)
    assert read(FOREIGN) == Message(type=MessageType.SIGNAL, serial=9, fields={Field.REPLY_SERIAL: 42})


def test_a_body_of_several_values() -> None:
    message = Message(type=MessageType.METHOD_RETURN, serial=3, body=("héllo", True, 7))
    assert read(message.write()).body == ("héllo", True, 7)


@pytest.mark.parametrize("start", [b"", b"x" * 16, b"l\x01\x00\x01", HELLO.write()[:15]])
def test_what_is_no_message_is_refused(start: bytes) -> None:
    with pytest.raises(WireError):
        length_of(start)


def test_a_message_beyond_reason_is_refused_before_it_is_read() -> None:
    with pytest.raises(WireError, match="bytes"):
        length_of(b"l\x04\x00\x01" + struct.pack("<III", LONGEST_MESSAGE, 1, 0))


def test_a_body_of_containers_is_refused() -> None:
    data = bytearray(written(SIGNAL))
    at = data.index(b"\x01b\x00")
    data[at + 1 : at + 2] = b"a"
    with pytest.raises(WireError, match="type a"):
        read(bytes(data))


@given(st.integers(0, len(written(SIGNAL)) - 1), st.binary(max_size=4))
def test_damaged_messages_never_raise_anything_else(at: int, damage: bytes) -> None:
    data = written(SIGNAL)
    for damaged in (data[:at], data[:at] + damage + data[at + len(damage) :]):
        try:
            read(damaged)
        except WireError:
            pass  # refused: that is what it is for
