"""Do a STUN and a TURN server answer? One question each, on a socket of its own (RFC 8489, RFC 8656)."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from typing import Any

from aioice import stun
from aioice.turn import create_turn_endpoint

from phoned.media.options import TurnServer

REPEAT_S = 0.5
"""A datagram may be lost: the question is asked again."""
RELEASE_S = 1.0
"""How long the server may take to give an allocation back."""


class Unreachable(Exception):
    """The server gave nothing that can be used. ``status``: what it answered, None when nothing came."""

    def __init__(self, detail: str, status: int | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.status = status


class _Asker(asyncio.DatagramProtocol):
    """A socket that waits for the answer to one question."""

    def __init__(self, question: stun.Message) -> None:
        self._id = question.transaction_id
        self.answer: asyncio.Future[stun.Message] = asyncio.get_running_loop().create_future()

    def error_received(self, exc: Exception) -> None:
        if not self.answer.done():
            self.answer.set_exception(exc)

    def datagram_received(self, data: bytes, addr: tuple[Any, ...]) -> None:
        try:
            message = stun.parse_message(data)
        except ValueError:
            return
        if message.transaction_id == self._id and not self.answer.done():
            self.answer.set_result(message)


async def stun_address(host: str, port: int, deadline_s: float) -> str:
    """The address that the server sees us under, ``192.0.2.1:4711``. Raises `Unreachable`."""
    question = stun.Message(message_method=stun.Method.BINDING, message_class=stun.Class.REQUEST)
    try:
        async with asyncio.timeout(deadline_s):
            answer = await _ask(host, port, question)
    except TimeoutError:
        raise Unreachable(f"no answer within {deadline_s:g} s") from None
    except (OSError, UnicodeError) as error:
        raise Unreachable(_words(error)) from None
    seen = answer.attributes.get("XOR-MAPPED-ADDRESS") or answer.attributes.get("MAPPED-ADDRESS")
    if answer.message_class is not stun.Class.RESPONSE or seen is None:
        status, reason = answer.attributes.get("ERROR-CODE", (None, "no address in its answer"))
        raise Unreachable(f"it said {status or ''} {reason}".replace("  ", " "), status)
    return f"{seen[0]}:{seen[1]}"


async def _ask(host: str, port: int, question: stun.Message) -> stun.Message:
    loop = asyncio.get_running_loop()
    transport, asker = await loop.create_datagram_endpoint(lambda: _Asker(question), remote_addr=(host, port))
    try:
        while True:
            transport.sendto(bytes(question))
            done, _ = await asyncio.wait([asker.answer], timeout=REPEAT_S)
            if done:
                return asker.answer.result()
    finally:
        transport.close()
        asker.answer.cancel()


class _Relay(asyncio.DatagramProtocol):
    """The near end of an allocation."""

    def __init__(self) -> None:
        self.released = asyncio.Event()

    def connection_lost(self, exc: Exception | None) -> None:
        self.released.set()


async def turn_address(server: TurnServer, deadline_s: float) -> str:
    """The relayed address that the server gives us; it is given back. Raises `Unreachable`."""
    try:
        async with asyncio.timeout(deadline_s):
            transport, relay = await create_turn_endpoint(
                _Relay,
                (server.host, server.port),
                server.username,
                server.password,
                ssl=server.tls or None,
                transport=server.transport,
            )
    except TimeoutError:
        raise Unreachable(f"no answer within {deadline_s:g} s") from None
    except (OSError, UnicodeError) as error:  # TLS errors, too
        raise Unreachable(_words(error)) from None
    except stun.TransactionFailed as error:
        status, reason = error.response.attributes.get("ERROR-CODE", (None, ""))
        raise Unreachable(f"it said {status or ''} {reason}".strip(), status) from None
    except stun.TransactionError as error:
        raise Unreachable(str(error)) from None
    host, port = transport.get_extra_info("sockname")
    transport.close()
    try:
        async with asyncio.timeout(RELEASE_S):
            await relay.released.wait()
    except TimeoutError:
        pass  # the server frees it by itself after ten minutes
    return f"{host}:{port}"


def _words(error: OSError | UnicodeError) -> str:
    if isinstance(error, UnicodeError):
        return "no host can have this name"
    if isinstance(error, socket.gaierror):
        return f"its name is not found: {error.strerror}"
    if isinstance(error, ssl.SSLError):
        return str(error)  # its number is none of the system's
    return os.strerror(error.errno) if error.errno else str(error)
