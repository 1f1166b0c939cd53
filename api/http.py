"""uvicorn's protocol classes with what they lack: deadlines, limits, the peer's credentials, problem documents.

uvicorn alone has no deadline on receiving a request and no cap on the head of one that arrives in a single read. Here
the head has 10 s and the body 30 s; connections are counted per kind of listener, so that a flood on the loopback port
cannot lock the unix socket. `api.gate` judges whole requests; this module only what cannot reach it.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import sys
from email.utils import formatdate
from http import HTTPStatus
from typing import Any, Literal

import h11
from uvicorn._types import ASGISendEvent
from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from uvicorn.server import ServerState
from websockets.exceptions import InvalidState

from api.errors import MEDIA_TYPE, Problem, problem
from api.security import MAX_TARGET, Peer, answer_headers
from phoned.ids import new_id

HEADER_S = 10.0
BODY_S = 30.0
KEEP_ALIVE_S = 5
MAX_CONNECTIONS = 64
LINGER_S = 1.0
"""How long what is still being sent is read after a refusal."""
CLOSE_S = 2.0
"""How long a reader that was cut off has to take the close frame."""

Phase = Literal["head", "body"]


def peer_of(transport: asyncio.BaseTransport) -> Peer:
    """Whom the connection comes from; on a unix socket the kernel tells (SO_PEERCRED)."""
    sock: socket.socket = transport.get_extra_info("socket")
    if sock.family == socket.AF_UNIX:
        _, uid, gid = struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")))
        return Peer(unix=True, uid=uid, gid=gid)
    try:
        return Peer(unix=False, address=str(sock.getpeername()[0]))
    except OSError:
        return Peer(unix=False, address="gone")


def refusal(found: Problem) -> bytes:
    """A whole answer for a request that never became one. The connection ends with it."""
    body = found.body(instance="", request_id=new_id("req"))
    lines = [
        f"HTTP/1.1 {found.status} {HTTPStatus(found.status).phrase}",
        f"Date: {formatdate(usegmt=True)}",
        f"Content-Type: {MEDIA_TYPE}",
        f"Content-Length: {len(body)}",
        "Connection: close",
        *(f"{name}: {value}" for name, value in (*answer_headers("").items(), *found.headers)),
    ]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


class HttpProtocol(H11Protocol):
    """One HTTP connection. Driven by its transport."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._deadline: asyncio.TimerHandle | None = None
        self._phase: Phase | None = None
        self._touched = False
        self._refused = False
        self._lingering = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn
        super().connection_made(transport)
        peer = peer_of(transport)
        self.app_state = {**self.app_state, "peer": peer, "abort": transport.abort}
        others = sum(_is_unix(connection) == peer.unix for connection in self.connections if connection is not self)
        if others >= 2 * MAX_CONNECTIONS:
            transport.abort()
            return
        # answered at the first bytes: an answer before the request is lost when the client writes into the close
        self._refused = others >= MAX_CONNECTIONS
        self._arm("head")

    def connection_lost(self, exc: Exception | None) -> None:
        self._disarm()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._touched = True
        if self._lingering:
            return
        if self._refused:
            self._refuse(problem("too_many_connections", retry_after_s=5))
            return
        if self.transport.is_closing():
            return
        super().data_received(data)
        if self._lingering:
            return
        if self.transport.is_closing() or self.transport.get_protocol() is not self:
            self._disarm()  # refused, or a WebSocket now
        elif self.conn.their_state is h11.IDLE:
            self._arm("head")
        elif self.conn.their_state is h11.SEND_BODY:
            self._arm("body")
        else:
            self._disarm()

    def send_400_response(self, msg: str) -> None:
        """Called while h11's error is being handled; ``msg`` is uvicorn's and tells nothing."""
        error = sys.exc_info()[1]
        status = getattr(error, "error_status_hint", 400)
        if status != 431:
            self._refuse(problem("bad_request", f"{error}." if isinstance(error, h11.RemoteProtocolError) else ""))
        elif b"\n" not in self.conn.trailing_data[0][:MAX_TARGET]:
            self._refuse(problem("target_too_long"))
        else:
            self._refuse(problem("headers_too_large"))

    def _arm(self, phase: Phase) -> None:
        """Begin a phase; one that runs already keeps its deadline, whatever trickles in."""
        if self._phase == phase:
            return
        self._disarm()
        self._phase = phase
        self._deadline = self.loop.call_later(HEADER_S if phase == "head" else BODY_S, self._expired)

    def _disarm(self) -> None:
        self._phase = None
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _expired(self) -> None:
        if self._touched:
            self._refuse(problem("request_timeout"))
        else:
            self.transport.close()

    def _refuse(self, found: Problem) -> None:
        if self._lingering or self.transport.is_closing():
            return
        self._disarm()
        cycle: RequestResponseCycle | None = self.cycle  # uvicorn says it is never None, and begins with None
        if cycle is not None and cycle.response_started and not cycle.response_complete:
            self.transport.abort()  # half an answer is out: nothing that follows could be understood
            return
        if cycle is not None:
            cycle.disconnected = True  # whoever waits for the rest of the body need not wait
            cycle.message_event.set()
        # closing on unread bytes would reset the connection, and the answer with it: read on a little, to nowhere
        self._lingering = True
        self.flow.resume_reading()
        self.transport.write(refusal(found))
        try:
            self.transport.write_eof()
        except OSError:
            self.transport.abort()  # the peer is gone already
        else:
            self._deadline = self.loop.call_later(LINGER_S, self.transport.close)


UNREADABLE = "This asks for a WebSocket in a way that cannot be read: an upgrade has no body, and no line over 8 KiB."


class WebSocketProtocol(WebSocketsSansIOProtocol):
    """One WebSocket. Adds `cut`, which the application finds in the state of its scope."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, {**app_state, "cut": self.cut}, _loop)

    def cut(self, code: int, reason: str) -> None:
        """Close although the peer does not read: the close frame is queued behind what it left, then the line drops."""
        if not self.close_sent:
            try:
                self.conn.send_close(code, reason)
                self.transport.write(b"".join(self.conn.data_to_send()))
            except InvalidState:
                pass  # it is closing already
            self.close_sent = True
        self.loop.call_later(CLOSE_S, self.transport.abort)

    def data_received(self, data: bytes) -> None:
        """The head of the upgrade comes whole and first. One that websockets cannot read would wait here for ever,
        without an answer and without a deadline."""
        super().data_received(data)
        if not self.handshake_initiated and not self.transport.is_closing():
            self.transport.write(refusal(problem("bad_request", UNREADABLE)))
            self.transport.close()

    async def send(self, message: ASGISendEvent) -> None:
        """As uvicorn's, which takes an upgrade that was refused with an answer for one that nobody answered, and logs
        an error: anybody could write as many lines as they like."""
        await super().send(message)
        if message["type"] == "websocket.http.response.body" and not message.get("more_body", False):
            self.handshake_complete = True

    def shutdown(self) -> None:
        """The server ends. A peer that has just closed is let go, where uvicorn would close once more and raise."""
        try:
            super().shutdown()
        except InvalidState:
            self.transport.close()


def _is_unix(connection: object) -> bool:
    state: dict[str, Any] = getattr(connection, "app_state", {})
    peer = state.get("peer")
    return isinstance(peer, Peer) and peer.unix
