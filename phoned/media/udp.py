"""A UDP socket as an asyncio transport that is ready at once.

`loop.create_datagram_endpoint` takes two turns of the loop for each address; a busy loop turns once in some
milliseconds, and an offer waits for all of them. Owns the socket, and nothing of what goes through it.
"""

from __future__ import annotations

import asyncio
import socket
from typing import Any

READ_SIZE = 2_048
"""More than is ever let in. asyncio's own 256 KiB, allocated anew for every datagram, double the cost of a read."""


class UdpTransport(asyncio.DatagramTransport):
    """Made on the loop, of a bound socket that does not block and is closed with it. Nothing is queued: what the kernel
    does not take now is lost, like any datagram."""

    def __init__(self, bound: socket.socket, protocol: asyncio.DatagramProtocol) -> None:
        super().__init__({"socket": bound, "sockname": bound.getsockname()})
        self._socket = bound
        self._protocol = protocol
        self._loop = asyncio.get_running_loop()
        self._closing = False
        protocol.connection_made(self)
        self._loop.add_reader(bound.fileno(), self._readable)

    def _readable(self) -> None:
        try:
            data, address = self._socket.recvfrom(READ_SIZE)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._protocol.error_received(error)
            return
        self._protocol.datagram_received(data, address)

    def sendto(self, data: Any, addr: Any = None) -> None:
        """Send now. What the kernel says against it goes to the protocol's ``error_received``."""
        if self._closing:
            return
        try:
            self._socket.sendto(data, addr)
        except (BlockingIOError, InterruptedError):
            pass
        except OSError as error:
            self._protocol.error_received(error)

    def is_closing(self) -> bool:
        """Whether `close` was called."""
        return self._closing

    def close(self) -> None:
        """Close the socket. The protocol hears ``connection_lost`` in the next turn. Idempotent."""
        if not self._closing:
            self._closing = True
            self._loop.remove_reader(self._socket.fileno())
            self._socket.close()
            self._loop.call_soon(self._protocol.connection_lost, None)

    def abort(self) -> None:
        """The same: nothing waits here."""
        self.close()
