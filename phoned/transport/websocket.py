"""SIP over WebSocket (RFC 7118): the client's flow.

`WebSocketFlow` is a thin asyncio protocol around the sans-IO client of the ``websockets`` library (RFC 6455), so that
sending, closing and aborting are plain calls with bounded queues and no task of their own. It owns the socket, the
frames, the CRLF keep-alive (RFC 5626 3.5.1) and the measuring of round trips. It must not know SIP, accounts, or when a
flow should be pinged or given up. `dialer` makes flows.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from enum import Enum
from typing import Any, cast

from websockets.client import ClientProtocol
from websockets.exceptions import InvalidStatus
from websockets.frames import CloseCode, Frame, Opcode
from websockets.http11 import Response
from websockets.protocol import State as FrameState
from websockets.typing import Subprotocol
from websockets.uri import WebSocketURI

from phoned.model import Cause
from phoned.transport.connect import cause_of, explain
from phoned.transport.flow import Address, FlowError, FlowListener, FlowTarget, TransportName
from phoned.transport.tls import check_pins

_log = logging.getLogger(__name__)

MAX_MESSAGE = 65_536
"""Bytes of one SIP message; a bigger one is refused with close code 1009."""

MAX_QUEUED = 262_144
"""Bytes that may wait for a peer that does not read."""

STALL_S = 10.0
"""How long anything may wait for a peer that does not read."""

CLOSE_S = 1.0
"""How long a polite close may take."""

INSECURE_REMINDER_S = 3600.0

_SIP = Subprotocol("sip")
_HIGH_WATER = 32_768


class FlowState(Enum):
    """The life of a flow; the names are those of RFC 6455's readyState."""

    CONNECTING = "connecting"
    OPEN = "open"
    CLOSING = "closing"
    CLOSED = "closed"


LEGAL = {
    FlowState.CONNECTING: {FlowState.OPEN, FlowState.CLOSED},
    FlowState.OPEN: {FlowState.CLOSING, FlowState.CLOSED},
    FlowState.CLOSING: {FlowState.CLOSED},
    FlowState.CLOSED: set(),
}


class WebSocketFlow(asyncio.Protocol):
    """One WebSocket towards a SIP proxy (`phoned.transport.flow.Flow`). Driven by its transport and its owner."""

    def __init__(self, *, generation: int, uri: WebSocketURI, target: FlowTarget, listener: FlowListener) -> None:
        self.generation = generation
        self.transport: TransportName = "WSS" if uri.secure else "WS"
        self.local = Address("", 0)
        self.remote = Address("", 0)
        self.certificate: bytes | None = None
        """What the server showed (DER), once TLS is up; believed or not is the policy's matter."""
        self.tls_version: str | None = None
        self.server_date: str | None = None
        """The Date of its answer to the upgrade, also of a refusal."""
        self._loop = asyncio.get_running_loop()
        self.last_received = self._loop.time()
        self._transport: asyncio.Transport | None = None
        self._target = target
        self._listener = listener
        self._state = FlowState.CONNECTING
        self._frames = ClientProtocol(uri, subprotocols=[_SIP], max_size=MAX_MESSAGE, logger=_log)
        self._upgraded: asyncio.Future[None] = self._loop.create_future()
        self._handed_over = False
        self._held: list[bytes] | None = []
        """Messages that came before the dialler's caller had the flow in hand."""
        self._message = bytearray()
        self._message_is_text = False
        self._pings: dict[bytes, tuple[float, asyncio.Future[float]]] = {}
        self._ping_count = 0
        self._stall: asyncio.TimerHandle | None = None
        self._closing: asyncio.TimerHandle | None = None
        self._reminder: asyncio.TimerHandle | None = None
        self._ended: tuple[Cause, str] = (Cause.CLOSED, "not open")

    def __repr__(self) -> str:
        return f"<{self.transport} flow {self.generation} {self._state.value} {self.local} > {self.remote}>"

    @property
    def _io(self) -> asyncio.Transport:
        assert self._transport is not None, "no transport before connection_made"
        return self._transport

    # ------------------------------------------------------------------ the owner's verbs

    @property
    def is_open(self) -> bool:
        return self._state is FlowState.OPEN

    def send(self, data: bytes) -> bool:
        if self._state is not FlowState.OPEN or self._frames.state is not FrameState.OPEN:
            return False
        if _is_text(data):
            self._frames.send_text(data)
        else:
            self._frames.send_binary(data)  # RFC 7118 5: a message that is no UTF-8 must not be a text frame
        self._flush()
        return self.is_open

    async def ping(self, timeout_s: float) -> float:
        if self._state is not FlowState.OPEN or self._frames.state is not FrameState.OPEN:
            raise FlowError(*self._ended)
        self._ping_count += 1
        payload = self._ping_count.to_bytes(8, "big")
        answer: asyncio.Future[float] = self._loop.create_future()
        self._pings[payload] = (self._loop.time(), answer)
        self._frames.send_ping(payload)
        self._flush()
        try:
            async with asyncio.timeout(timeout_s):
                return await answer
        except TimeoutError:
            raise FlowError(Cause.PING, f"no pong in {timeout_s:.1f} s") from None
        finally:
            self._pings.pop(payload, None)

    def set_user_timeout(self, seconds: float) -> None:
        if self._state is FlowState.CLOSED:
            return
        sock: socket.socket = self._io.get_extra_info("socket")
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, round(seconds * 1000))

    def close(self) -> None:
        if self._state is not FlowState.OPEN:
            return
        self._enter(FlowState.CLOSING)
        self._ended = (Cause.CLOSED, "closed by us")
        if self._frames.state is FrameState.OPEN:
            self._frames.send_close(CloseCode.NORMAL_CLOSURE)
        self._closing = self._loop.call_later(CLOSE_S, self._finish, *self._ended)
        self._flush()

    def abort(self, cause: Cause = Cause.CLOSED, detail: str = "aborted") -> None:
        self._finish(cause, detail)

    # ------------------------------------------------------------------ the dialler's verbs

    async def upgrade(self) -> None:
        """Check the server's key, then ask for the upgrade. Raises `FlowError`."""
        tls: ssl.SSLObject | None = self._io.get_extra_info("ssl_object")
        if tls is not None:
            self.certificate, self.tls_version = tls.getpeercert(binary_form=True), tls.version()
            check_pins(self.certificate, self._target.tls.pin_sha256)
        self._frames.send_request(self._frames.connect())
        self._flush()
        await self._upgraded

    def hand_over(self) -> None:
        """From now on the listener hears; the first message comes in a later turn of the loop."""
        if self._state is FlowState.CLOSED:
            raise FlowError(*self._ended)
        self._handed_over = True
        self._loop.call_soon(self._release)
        if self.transport == "WSS" and self._target.tls.insecure_skip_verify:
            self._warn_insecure()

    def discard(self, sock: socket.socket) -> None:
        """Undo a dial that did not work out, whatever it had reached."""
        if self._transport is None:
            sock.close()
        self._finish(Cause.CLOSED, "given up")

    # ------------------------------------------------------------------ asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        if self._state is FlowState.CLOSED:  # the dial was given up in the same turn
            self._transport.abort()
            return
        self._transport.set_write_buffer_limits(high=_HIGH_WATER)
        self.local = Address(*transport.get_extra_info("sockname")[:2])
        self.remote = Address(*transport.get_extra_info("peername")[:2])

    def data_received(self, data: bytes) -> None:
        self.last_received = self._loop.time()
        if self._state is FlowState.CLOSED:
            return
        self._frames.receive_data(data)
        self._flush()
        self._process()

    def eof_received(self) -> bool | None:
        if self._state is not FlowState.CLOSED:
            self._frames.receive_eof()
            self._process()
        return None  # the transport closes itself

    def connection_lost(self, exc: Exception | None) -> None:
        if self._closing is not None:
            self._closing.cancel()
        if self._state is FlowState.CLOSING:
            self._finish(*self._ended)
        elif exc is None:
            self._finish(Cause.CLOSED, f"the server closed the connection while {self._state.value}")
        else:
            cause = Cause.TLS if isinstance(exc, ssl.SSLError) else cause_of(exc)
            self._finish(cause, f"connection lost while {self._state.value}: {explain(exc)}")

    def pause_writing(self) -> None:
        if self._state is FlowState.CLOSED:
            return
        self._stall = self._loop.call_later(
            STALL_S, self._finish, Cause.TIMEOUT, f"the server has not read for {STALL_S:.0f} s"
        )

    def resume_writing(self) -> None:
        if self._stall is not None:
            self._stall.cancel()
            self._stall = None

    # ------------------------------------------------------------------ frames

    def _flush(self) -> None:
        """Hand the library's bytes to the transport, and hold the bound."""
        for data in self._frames.data_to_send():
            if data and self._state is not FlowState.CLOSED:
                self._io.write(data)
        queued = 0 if self._state is FlowState.CLOSED else self._io.get_write_buffer_size()
        if queued > MAX_QUEUED:
            self._finish(Cause.TIMEOUT, f"the server does not read: {queued} bytes are queued")

    def _process(self) -> None:
        for event in self._frames.events_received():
            if self._state is FlowState.CLOSED:
                return
            if isinstance(event, Response):
                self._on_response(event)
            elif isinstance(event, Frame):
                self._on_frame(event)
        if self._state is FlowState.CONNECTING and self._frames.handshake_exc is not None:
            self._refuse_upgrade(self._frames.handshake_exc)
        elif self._state in (FlowState.OPEN, FlowState.CLOSING) and self._frames.state is not FrameState.OPEN:
            self._on_close()

    def _on_response(self, response: Response) -> None:
        self.server_date = next(iter(response.headers.get_all("Date")), None)
        if self._frames.handshake_exc is not None:
            return
        if self._frames.subprotocol != _SIP:
            self._finish(Cause.UPGRADE, "the server did not agree on subprotocol 'sip' (RFC 7118 4.1)")
            return
        self._enter(FlowState.OPEN)
        if not self._upgraded.done():  # cancelled in this turn: the dialler is about to discard us
            self._upgraded.set_result(None)

    def _refuse_upgrade(self, error: Exception) -> None:
        """The server's answer is no upgrade: say what it was."""
        closed = isinstance(error.__cause__, EOFError)
        cause = Cause.CLOSED if closed else Cause.UPGRADE
        detail = "the server closed the connection during the upgrade" if closed else str(error.__cause__ or error)
        status = retry_after_s = None
        if isinstance(error, InvalidStatus):
            response = error.response
            status = response.status_code
            detail = f"the server said {status} {response.reason_phrase!r}"
            retry_after = response.headers.get("Retry-After", "")
            if retry_after.isascii() and retry_after.isdecimal() and len(retry_after) < 8:
                retry_after_s = float(retry_after)
        if not self._upgraded.done():
            self._upgraded.set_exception(FlowError(cause, detail, status=status, retry_after_s=retry_after_s))
        self._finish(cause, detail)

    def _on_frame(self, frame: Frame) -> None:
        match frame.opcode:
            case Opcode.TEXT | Opcode.BINARY | Opcode.CONT:
                if frame.opcode is not Opcode.CONT:
                    self._message_is_text = frame.opcode is Opcode.TEXT
                self._message += frame.data
                if frame.fin:
                    data, self._message = bytes(self._message), bytearray()
                    self._on_message(data)
            case Opcode.PONG:
                self._on_pong(bytes(frame.data))

    def _on_message(self, data: bytes) -> None:
        if self._state is not FlowState.OPEN:
            return
        if self._message_is_text and not _is_text(data):
            self._frames.fail(CloseCode.INVALID_DATA, "invalid UTF-8")  # RFC 6455 8.1
            self._flush()
        elif not data.strip(b"\r\n"):
            if b"\r\n\r\n" in data:
                self.send(b"\r\n")
        elif self._held is not None:
            self._held.append(data)
        else:
            self._deliver(data)

    def _on_pong(self, payload: bytes) -> None:
        """A pong answers its ping and every ping before it (RFC 6455 5.5.3)."""
        if payload not in self._pings:
            return
        now = self._loop.time()
        for earlier in list(self._pings):
            sent, answer = self._pings.pop(earlier)
            if not answer.done():
                answer.set_result(now - sent)
            if earlier == payload:
                return

    def _on_close(self) -> None:
        """The closing handshake has begun or is over: the flow is of no more use."""
        if self._state is FlowState.CLOSING and self._frames.close_rcvd is None and self._frames.close_sent:
            return  # our close() waits for the peer's answer
        received, sent = self._frames.close_rcvd, self._frames.close_sent
        if self._state is FlowState.CLOSING:
            cause, detail = self._ended
        elif received is not None and self._frames.close_rcvd_then_sent is not False:
            cause, detail = Cause.CLOSED, f"the server closed with {received.code} {received.reason!r}"
        elif sent is not None:
            cause, detail = Cause.CLOSED, f"protocol error of the server: {sent.code} {sent.reason!r}"
        else:
            cause, detail = Cause.CLOSED, "the server closed the connection"
        self._finish(cause, detail, polite=True)

    # ------------------------------------------------------------------ the listener

    def _release(self) -> None:
        held, self._held = self._held or [], None
        for data in held:
            if self._state is FlowState.OPEN:
                self._deliver(data)

    def _deliver(self, data: bytes) -> None:
        try:
            self._listener.on_message(self, data)
        except Exception:
            _log.exception("a message of %r was not handled", self)

    def _notify(self) -> None:
        try:
            self._listener.on_closed(self, *self._ended)
        except Exception:
            _log.exception("the end of %r was not handled", self)

    def _warn_insecure(self) -> None:
        _log.warning("TLS of %s is not verified: insecure_skip_verify is on", self.remote)
        self._reminder = self._loop.call_later(INSECURE_REMINDER_S, self._warn_insecure)

    # ------------------------------------------------------------------ state

    def _finish(self, cause: Cause, detail: str, polite: bool = False) -> None:
        """The one way to the end. Polite: what is queued may still go out, for a second."""
        if self._state is FlowState.CLOSED:
            return
        self._ended = (cause, detail)
        self._enter(FlowState.CLOSED)
        if self._transport is not None:
            if polite:
                self._transport.close()
                self._closing = self._loop.call_later(CLOSE_S, self._transport.abort)
            else:
                self._transport.abort()
        waiters: list[asyncio.Future[Any]] = [self._upgraded, *(answer for _, answer in self._pings.values())]
        for waiter in waiters:
            if not waiter.done():
                waiter.set_exception(FlowError(cause, detail))
                waiter.exception()  # whoever waited may be gone: that is no leak
        if self._handed_over:
            self._loop.call_soon(self._notify)

    def _enter(self, state: FlowState) -> None:
        assert state in LEGAL[self._state], f"{self._state} -> {state}"
        self._state = state
        for timer in (self._stall, self._closing, self._reminder):
            if timer is not None and state is FlowState.CLOSED:
                timer.cancel()
        _log.debug("%r", self)


def _is_text(data: bytes) -> bool:
    if data.isascii():
        return True
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True
