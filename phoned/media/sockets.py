"""The sockets of all calls, read together: at once after a pause, then at most every 2 ms.

asyncio wakes up for every datagram, asks the kernel what is ready and makes a handle for it, which costs more than the
datagram does. Here all media sockets are in an epoll set of our own, and that set is all that asyncio watches. When
datagrams come in quick succession the set is left alone for `REST_S`, so that a busy process wakes up some hundred
times a second and not for each packet. Owns when sockets are read; knows nothing of what is in a datagram.
"""

from __future__ import annotations

import asyncio
import select
import socket
from collections.abc import Callable
from typing import Any

REST_S = 0.002
"""How much later a datagram may be read than it came. Of no effect on the sound, which waits for the clock anyway, and
well below the slack that the jitter buffer adds to the spread that it sees."""
READ_SIZE = 2_048
"""More than any datagram that is let in (`datagram.MAX_DATAGRAM`)."""
ROUNDS = 4
"""Datagrams of one socket that are read at a time; more wait for the next look."""
MOST_READY = 1_024


class MediaSocket(asyncio.DatagramTransport):
    """A bound, non-blocking socket of ours as asyncio's protocols know it. It queues nothing: what the kernel does not
    take now is lost, as on the wire."""

    def __init__(self, sockets: MediaSockets, own: socket.socket, protocol: asyncio.DatagramProtocol) -> None:
        super().__init__({"sockname": own.getsockname(), "socket": own})
        self._sockets = sockets
        self._own = own
        self._protocol = protocol
        self._receive = own.recvfrom
        self._take = protocol.datagram_received

    def read(self) -> None:
        """Take one datagram."""
        try:
            data, source = self._receive(READ_SIZE)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._protocol.error_received(error)
        else:
            self._take(data, source)

    def sendto(self, data: Any, addr: Any = None) -> None:
        """Send now, or never."""
        try:
            self._own.sendto(data, addr)
        except (BlockingIOError, InterruptedError):
            pass
        except OSError as error:
            self._protocol.error_received(error)

    def is_closing(self) -> bool:
        """It was closed."""
        return self._own.fileno() < 0

    def close(self) -> None:
        """Close the socket now; `connection_lost` follows. Idempotent."""
        if not self.is_closing():
            self._sockets.remove(self._own.fileno())
            self._own.close()
            asyncio.get_running_loop().call_soon(self._protocol.connection_lost, None)

    def abort(self) -> None:
        """The same: nothing is queued."""
        self.close()


class MediaSockets:
    """The sockets of one loop. Holds nothing of the loop or the kernel while none is open."""

    def __init__(self) -> None:
        self._readers: dict[int, Callable[[], None]] = {}
        self._set: select.epoll
        self._loop: asyncio.AbstractEventLoop
        self._rest: asyncio.TimerHandle | None = None
        self._again = 0.0
        """Before this nothing is read."""

    def open(self, own: socket.socket, protocol: asyncio.DatagramProtocol) -> MediaSocket:
        """Read a bound, non-blocking socket from now on. It belongs to the transport then."""
        if not self._readers:
            self._loop = asyncio.get_running_loop()
            self._set = select.epoll()
            self._loop.add_reader(self._set.fileno(), self._ready)
        transport = MediaSocket(self, own, protocol)
        self._set.register(own.fileno(), select.EPOLLIN)
        self._readers[own.fileno()] = transport.read
        protocol.connection_made(transport)
        return transport

    def remove(self, number: int) -> None:
        """Read this descriptor no more."""
        self._set.unregister(number)
        del self._readers[number]
        if not self._readers:
            self._loop.remove_reader(self._set.fileno())
            self._set.close()
            if self._rest is not None:
                self._rest.cancel()
                self._rest = None

    def _ready(self) -> None:
        """asyncio's word that something has come."""
        if self._loop.time() < self._again:
            self._loop.remove_reader(self._set.fileno())
            self._rest = self._loop.call_at(self._again, self._look)
        else:
            self._read()

    def _look(self) -> None:
        """The end of a rest. While there is always something, asyncio need not watch."""
        self._rest = None
        found = self._read()
        if self._readers and self._rest is None:
            if found:
                self._rest = self._loop.call_at(self._again, self._look)
            else:
                self._loop.add_reader(self._set.fileno(), self._ready)

    def _read(self) -> bool:
        """Take what there is. False when there was nothing."""
        found = False
        for _ in range(ROUNDS):
            ready = self._set.poll(0, MOST_READY) if self._readers else []
            if not ready:
                break
            found = True
            for number, _ in ready:
                self._take(number)
        self._again = self._loop.time() + REST_S
        return found

    def _take(self, number: int) -> None:
        read = self._readers.get(number)  # the one before may have closed it
        if read is None:
            return
        try:
            read()
        except Exception as error:
            self._loop.call_exception_handler({"message": "a datagram could not be handled", "exception": error})
