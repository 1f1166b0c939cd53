"""The sandbox's sockets: a WebSocket server on loopback (RFC 7118), its faults, and the media engine of its lines."""

from __future__ import annotations

import asyncio
import itertools
import logging
import ssl
from http import HTTPStatus

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request as HttpRequest
from websockets.http11 import Response as HttpResponse
from websockets.typing import Subprotocol

from phoned.media.engine import MediaEngine
from phoned.media.options import EngineOptions, IceOptions, SessionOptions
from phoned.model import Cause
from phoned.sandbox.delay import Delay
from phoned.sandbox.exchange import Exchange
from phoned.sandbox.faults import Faults
from phoned.tasks import Tasks
from phoned.transport.flow import Address, TransportName

log = logging.getLogger(__name__)

DOMAIN = "sandbox.test"
USERS = {name: f"{name}-secret" for name in ("alice", "bob", "carol")}
"""Who may register, and with which password. Known to everybody: the sandbox guards nothing."""
MAX_MESSAGE = 65_536
QUEUE = 1_000
SIP = Subprotocol("sip")
KEEP_ALIVE = b"\r\n\r\n"


class ServerFlow:
    """One phone's socket, as `phoned.transport.flow.Flow`."""

    def __init__(
        self, connection: ServerConnection, generation: int, faults: Faults, transport: TransportName = "WS"
    ) -> None:
        self.generation = generation
        self.transport: TransportName = transport
        self.is_open = True
        self.last_received = 0.0
        self._connection = connection
        self._faults = faults
        self._delay = Delay()
        self._out: asyncio.Queue[bytes] = asyncio.Queue(maxsize=QUEUE)

    @property
    def local(self) -> Address:
        return Address(*self._connection.local_address[:2])

    @property
    def remote(self) -> Address:
        return Address(*self._connection.remote_address[:2])

    def send(self, data: bytes) -> bool:
        if self.is_open and not self._faults.mute:
            self._delay.later(self._faults.delay_ms / 1000, lambda: self._queue(data))
        return self.is_open

    def _queue(self, data: bytes) -> None:
        try:
            self._out.put_nowait(data)
        except asyncio.QueueFull:
            self.abort()

    async def ping(self, timeout_s: float) -> float:
        """The sandbox does not ping."""
        return 0.0

    def set_user_timeout(self, seconds: float) -> None:
        """Nothing to set on loopback."""

    def close(self) -> None:
        self.abort()

    def abort(self, cause: Cause = Cause.CLOSED, detail: str = "aborted") -> None:
        """Cut the socket without a close frame, as a crash would."""
        self.is_open = False
        self._connection.transport.abort()

    async def write(self) -> None:
        """Send what is queued, until the socket is gone."""
        try:
            while True:
                data = await self._out.get()
                await self._connection.send(data.decode("utf-8", "surrogateescape"))
        except ConnectionClosed:
            pass  # the reader sees it too, and ends the flow


class Sandbox:
    """The exchange on a port. `start`, `order`, `stop`."""

    def __init__(self, *, domain: str = DOMAIN, users: dict[str, str] | None = None) -> None:
        self.domain = domain
        self.users = dict(USERS if users is None else users)
        self.faults = Faults()
        self._generations = itertools.count(1)
        self._flows: set[ServerFlow] = set()
        self._server: Server | None = None
        self._transport: TransportName = "WS"
        self._engine = MediaEngine(EngineOptions())
        self._tasks = Tasks("sandbox", self._on_crash)

    async def start(self, host: str = "127.0.0.1", port: int = 0, *, tls: ssl.SSLContext | None = None) -> str:
        """Listen, with TLS where a context is given; returns the URL."""
        self._transport = "WS" if tls is None else "WSS"
        await self._engine.start()
        options = SessionOptions(ice=IceOptions(addresses=(host,), allow_loopback=True))
        self.exchange = Exchange(
            domain=self.domain,
            users=self.users,
            media=lambda call, on_event: self._engine.session(call, options, on_event),
            faults=self.faults,
        )
        self._server = await serve(
            self._serve,
            host,
            port,
            ssl=tls,
            subprotocols=[SIP],
            process_request=self._admit,
            compression=None,
            max_size=MAX_MESSAGE,
            ping_interval=None,
            close_timeout=1,
        )
        taken = next(iter(self._server.sockets)).getsockname()[1]
        return f"{self._transport.lower()}://{host}:{taken}/"

    async def stop(self) -> None:
        """Close every socket and the port."""
        self.cut()
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()
        await self._tasks.close()
        await self.exchange.close()
        await self._engine.stop()

    def order(self, order: dict[str, object]) -> None:
        """Carry out a fault order; see `Faults.set`. Raises `InvalidValue`."""
        if self.faults.set(order):
            self.cut()

    def cut(self) -> None:
        """Cut every socket."""
        for flow in tuple(self._flows):
            flow.abort()

    def _on_crash(self, name: str, error: BaseException) -> None:
        log.error("%s crashed", name, exc_info=error)

    def _admit(self, connection: ServerConnection, request: HttpRequest) -> HttpResponse | None:
        if self.faults.refuse:
            return connection.respond(HTTPStatus(self.faults.refuse), "refused by the fault switch\n")
        return None

    async def _serve(self, connection: ServerConnection) -> None:
        flow = ServerFlow(connection, next(self._generations), self.faults, self._transport)
        self._flows.add(flow)
        writing = self._tasks.spawn(f"write-{flow.generation}", flow.write())
        try:
            await self._read(connection, flow)
        finally:
            writing.cancel()
            flow.is_open = False
            self._flows.discard(flow)
            self.exchange.on_closed(flow, Cause.CLOSED, "closed")

    async def _read(self, connection: ServerConnection, flow: ServerFlow) -> None:
        try:
            async for frame in connection:
                data = frame.encode("utf-8", "surrogateescape") if isinstance(frame, str) else frame
                if not data.strip():
                    if data == KEEP_ALIVE:
                        flow.send(b"\r\n")
                    continue
                self.exchange.on_message(flow, data)
        except ConnectionClosed:
            pass  # the ordinary end of a socket
