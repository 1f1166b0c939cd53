"""Dials WebSocket flows: DNS, TCP, an HTTP proxy, TLS and the upgrade, each step with its deadline and its cause.

It owns what outlives a flow: remembered DNS answers, TLS contexts, and the counter of generations that it is given.
When to dial, and where, is decided elsewhere.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Iterator

from websockets.exceptions import InvalidURI
from websockets.uri import parse_uri

from phoned.errors import InvalidValue
from phoned.model import Cause
from phoned.transport.connect import Attempt, StepDeadlines, cause_of, connect, explain
from phoned.transport.flow import FlowError, FlowListener, FlowTarget
from phoned.transport.resolver import Resolver
from phoned.transport.tls import Contexts
from phoned.transport.websocket import WebSocketFlow


class WebSocketDialer:
    """Dials WebSocket flows (`phoned.transport.flow.Dialer`). One for the process."""

    def __init__(
        self, *, generations: Iterator[int], resolver: Resolver | None = None, steps: StepDeadlines | None = None
    ) -> None:
        self._generations = generations
        self._resolver = resolver or Resolver()
        self._steps = steps or StepDeadlines()
        self._contexts = Contexts()

    async def dial(self, target: FlowTarget, listener: FlowListener, *, deadline_s: float) -> WebSocketFlow:
        try:
            uri = parse_uri(target.url)
        except (InvalidURI, ValueError) as error:
            raise InvalidValue(f"not a WebSocket URL: {error}") from None
        if uri.user_info is not None:
            raise InvalidValue("no user and password in the URL of a proxy")
        attempt = Attempt(deadline_s)
        sock = await connect(uri.host, uri.port, target, self._resolver, attempt, self._steps)
        flow = WebSocketFlow(generation=next(self._generations), uri=uri, target=target, listener=listener)
        try:
            if uri.secure:
                await self._start_tls(flow, sock, uri.host, target, attempt)
            else:
                await asyncio.get_running_loop().create_connection(lambda: flow, sock=sock)
            async with attempt.step(f"WebSocket upgrade at {uri.host}", self._steps.upgrade_s):
                await flow.upgrade()
            flow.hand_over()
        except BaseException:
            flow.discard(sock)
            raise
        return flow

    async def _start_tls(
        self, flow: WebSocketFlow, sock: socket.socket, host: str, target: FlowTarget, attempt: Attempt
    ) -> None:
        """The TLS handshake, with causes told apart: a bad certificate is not a lost connection."""
        loop = asyncio.get_running_loop()
        try:
            async with attempt.step(f"TLS handshake with {host}", self._steps.tls_s):
                context = await self._contexts.get(target.tls)
                await loop.create_connection(lambda: flow, sock=sock, ssl=context, server_hostname=host)
        except ssl.SSLCertVerificationError as error:
            self._contexts.forget(target.tls)
            raise FlowError(Cause.TLS, f"certificate of {host}: {error.verify_message}") from None
        except ssl.SSLError as error:
            raise FlowError(Cause.TLS, f"TLS with {host}: {error.reason or error}") from None
        except OSError as error:
            raise FlowError(cause_of(error), f"during the TLS handshake with {host}: {explain(error)}") from None
