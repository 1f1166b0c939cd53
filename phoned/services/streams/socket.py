"""The WebSocket to a bot: dialled where the guard allows, bounded both ways, with every failure in words of ours.

It follows no redirect, looks at no proxy of the environment and compresses nothing.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from typing import Protocol

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException

from phoned.config.stream import SCHEMES
from phoned.errors import Denied, InvalidValue, PhonedError
from phoned.model import StreamRequest
from phoned.services.streams.protocol import MAX_MESSAGE, Message
from phoned.twilio import TwilioAccount
from phoned.urls import Destination, UrlGuard, read_url
from phoned.web import system_tls

MAX_WAITING = 4
"""Messages of a bot that are read ahead; more, and it has to wait."""
WRITE_LIMIT = 32 * 1024
"""Bytes that wait for a bot that does not read: 3 s of Twilio's JSON, 1 s of PCM at 16 kHz. Then the sender waits."""
CLOSE_S = 1.0
PING_S = 20.0
CLEAN = frozenset({1000, 1001, 1005})
"""Close codes that a bot sends because it is done; 1005: it gave none."""
AGAIN = frozenset({408, 425, 429})
"""HTTP statuses of a client's fault after which another try makes sense."""


class Lost(Exception):
    """There is no connection, or none any more. ``clean``: the bot closed it. ``final``: dialling again is of no
    use."""

    def __init__(self, why: str, *, clean: bool = False, final: bool = False) -> None:
        super().__init__(why)
        self.why = why
        self.clean = clean
        self.final = final


class Socket(Protocol):
    """A connection to a bot."""

    async def send(self, message: Message) -> None:
        """Returns when there is room for more. Raises `Lost`."""
        ...

    async def receive(self) -> Message:
        """The next message. Raises `Lost`."""
        ...

    async def close(self, code: int) -> None:
        """Say good-bye, within a second."""
        ...

    def abort(self) -> None:
        """Leave without a word."""
        ...


class BotSocket:
    """`Socket` over websockets."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection

    async def send(self, message: Message) -> None:
        try:
            await self._connection.send(message)
        except ConnectionClosed as closed:
            raise _lost(closed) from None

    async def receive(self) -> Message:
        try:
            return await self._connection.recv()
        except ConnectionClosed as closed:
            raise _lost(closed) from None

    async def close(self, code: int) -> None:
        await self._connection.close(code)

    def abort(self) -> None:
        self._connection.transport.abort()


def _lost(closed: ConnectionClosed) -> Lost:
    if closed.rcvd is not None and (closed.sent is None or closed.rcvd_then_sent):
        code = closed.rcvd.code
        return Lost(f"the bot closed the connection ({code})", clean=code in CLEAN)
    if closed.sent is not None and closed.sent.code == 1009:
        return Lost(f"the bot sent a message of more than {MAX_MESSAGE} bytes")
    if closed.sent is not None and closed.sent.code != 1011:
        return Lost(f"the bot broke the WebSocket protocol ({closed.sent.code})")
    return Lost("the connection to the bot broke")


class BotDialer:
    """Driven by the links."""

    def __init__(self, guard: UrlGuard, twilio: Callable[[], TwilioAccount | None], *, agent: str) -> None:
        self._guard = guard
        self._twilio = twilio
        self._agent = agent
        self._tls: ssl.SSLContext | None = None

    async def check(self, request: StreamRequest) -> None:
        """Raises `InvalidValue`, `Denied`, `UnavailableError`."""
        destination = read_url(request.url, SCHEMES, pointer="/url")
        if not request.trusted:
            await self._guard.check(destination)

    async def dial(self, request: StreamRequest, deadline_s: float) -> BotSocket:
        """Raises `Lost`."""
        try:
            async with asyncio.timeout(deadline_s):
                return BotSocket(await self._dial(request, deadline_s))
        except TimeoutError:
            raise Lost(f"the bot does not answer within {deadline_s:.0f} s") from None
        except (Denied, InvalidValue) as error:
            raise Lost(error.detail, final=True) from None
        except PhonedError as error:
            raise Lost(error.detail) from None
        except InvalidStatus as refused:
            status = refused.response.status_code
            final = 400 <= status < 500 and status not in AGAIN
            raise Lost(f"the bot answers the upgrade with HTTP {status}", final=final) from None
        except ssl.SSLCertVerificationError as error:  # an OSError and a ValueError
            raise Lost(f"the bot's certificate: {error.verify_message}", final=True) from None
        except OSError as error:
            raise Lost(f"no connection to the bot: {error.strerror or type(error).__name__}") from None
        except (WebSocketException, ValueError) as error:
            # websockets looks where a redirect leads before it refuses to follow, and has another error for each place
            if isinstance(error.__context__, InvalidStatus):
                raise Lost("the bot answers with a redirect: give the URL that it leads to", final=True) from None
            raise Lost("the bot's answer is no WebSocket upgrade") from None

    async def _dial(self, request: StreamRequest, deadline_s: float) -> ClientConnection:
        destination = read_url(request.url, SCHEMES)
        addresses = await self._guard.addresses(destination, trusted=request.trusted, deadline_s=deadline_s)
        secure = destination.scheme == "wss"
        if secure and self._tls is None:
            self._tls = await asyncio.to_thread(system_tls)
        connected = await _reach(addresses, destination, deadline_s / len(addresses))
        headers = dict(request.headers)
        account = self._twilio()
        if account is not None and request.protocol == "twilio":
            headers["X-Twilio-Signature"] = account.signature(request.url)
        try:
            return await connect(
                request.url,
                sock=connected,
                ssl=self._tls if secure else None,
                server_hostname=destination.host if secure else None,
                additional_headers=headers,
                user_agent_header=self._agent,
                compression=None,
                proxy=None,
                open_timeout=None,
                ping_interval=PING_S,
                ping_timeout=PING_S,
                close_timeout=CLOSE_S,
                max_size=MAX_MESSAGE,
                max_queue=MAX_WAITING,
                write_limit=WRITE_LIMIT,
            )
        except BaseException:
            connected.close()
            raise


async def _reach(addresses: tuple[str, ...], destination: Destination, share_s: float) -> socket.socket:
    """TCP to the first address that answers."""
    trouble: OSError = OSError("no address")
    for address in addresses:
        sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
        try:
            sock.setblocking(False)
            async with asyncio.timeout(share_s):
                await asyncio.get_running_loop().sock_connect(sock, (address, destination.port))
            return sock
        except OSError as error:  # TimeoutError is one
            sock.close()
            trouble = error
        except BaseException:
            sock.close()
            raise
    raise trouble
