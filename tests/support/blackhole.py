"""Datagrams that vanish in the kernel: a packet filter on the UDP sockets of this process.

The sender sees success, the receiver sees nothing: what a dead path is like. Both ends may be in one process, and
nothing of the code under test is touched.
"""

from __future__ import annotations

import ctypes
import os
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

Kind = Literal["all", "rtp"]

_SO_ATTACH_FILTER, _SO_DETACH_FILTER = 26, 27
_RET, _LOAD_BYTE, _JUMP_GE, _JUMP_GT = 0x06, 0x30, 0x35, 0x25
_FIRST_BYTE = 8
"""Of the payload, behind the UDP header."""
_FAMILIES = (socket.AF_INET, socket.AF_INET6)
_PASS = 0xFFFF
_PROGRAMS: dict[Kind, tuple[tuple[int, int, int, int], ...]] = {
    "all": ((_RET, 0, 0, 0),),
    # RFC 7983: 128..191 is RTP and RTCP; STUN and DTLS pass
    "rtp": (
        (_LOAD_BYTE, 0, 0, _FIRST_BYTE),
        (_JUMP_GE, 0, 2, 128),
        (_JUMP_GT, 1, 0, 191),
        (_RET, 0, 0, 0),
        (_RET, 0, 0, _PASS),
    ),
}


def _sockets() -> Iterator[socket.socket]:
    """Every UDP socket of this process. ICE may use one for what it sends and hear on another."""
    for name in os.listdir("/proc/self/fd"):
        try:
            own = os.dup(int(name))
        except OSError:
            continue  # that of the listing itself
        try:
            found = socket.socket(fileno=own)
        except OSError:
            os.close(own)  # no socket
            continue
        with found:
            if found.family in _FAMILIES and found.type == socket.SOCK_DGRAM:
                yield found


def swallow(kind: Kind = "all") -> None:
    """From now on nothing (or no RTP) reaches the UDP sockets that there are; sockets made later hear everything."""
    program = _PROGRAMS[kind]
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *line) for line in program))
    filter_ = struct.pack("HL", len(program), ctypes.addressof(code))
    for each in _sockets():
        each.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, filter_)


def give_back() -> None:
    """Let everything pass again."""
    for each in _sockets():
        try:
            each.setsockopt(socket.SOL_SOCKET, _SO_DETACH_FILTER, 0)
        except FileNotFoundError:
            continue  # one that was made since


@contextmanager
def swallowed(kind: Kind = "all") -> Iterator[None]:
    """For a while."""
    swallow(kind)
    try:
        yield
    finally:
        give_back()
