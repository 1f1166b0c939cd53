"""Dials WebSocket flows: DNS, TCP, an HTTP proxy, TLS and the upgrade, each step with its deadline and its cause.

It owns what outlives a flow: remembered DNS answers, TLS contexts, and the counter of generations that it is given.
When to dial, and where, is decided elsewhere.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Iterator
from typing import Protocol

from websockets.exceptions import InvalidURI
from websockets.uri import parse_uri

from phoned.errors import InvalidValue
from phoned.model import Cause
from phoned.transport.connect import Attempt, StepDeadlines, cause_of, connect, explain
from phoned.transport.flow import DialStep, FlowError, FlowListener, FlowTarget
from phoned.transport.resolver import Resolver
from phoned.transport.tls import Contexts
from phoned.transport.websocket import WebSocketFlow


class DialWatch(Protocol):
    """Who wants to know how far a dial came, for diagnosis."""

    def on_step(self, step: DialStep) -> None:
        """This step begins. When the dial fails, the last one that began is the one that failed."""
        ...

    def on_flow(self, flow: WebSocketFlow) -> None:
        """TCP is connected. What becomes known later (certificate, the server's date) is read from ``flow``."""
        ...


class Unwatched:
    """Nobody wants to know."""

    def on_step(self, step: DialStep) -> None:
        """Nothing."""

    def on_flow(self, flow: WebSocketFlow) -> None:
        """Nothing."""


class WebSocketDialer:
    """Dials WebSocket flows (`phoned.transport.flow.Dialer`). One for the process; a ``watch`` hears of one dial at a
    time, so whoever gives one has a dialer of its own."""

    def __init__(
        self,
        *,
        generations: Iterator[int],
        resolver: Resolver | None = None,
        steps: StepDeadlines | None = None,
        watch: DialWatch | None = None,
    ) -> None:
        self._generations = generations
        self._resolver = resolver or Resolver()
        self._steps = steps or StepDeadlines()
        self._contexts = Contexts()
        self._watch = watch or Unwatched()

    async def dial(self, target: FlowTarget, listener: FlowListener, *, deadline_s: float) -> WebSocketFlow:
        try:
            uri = parse_uri(target.url)
        except (InvalidURI, ValueError) as error:
            raise InvalidValue(f"not a WebSocket URL: {error}") from None
        if uri.user_info is not None:
            raise InvalidValue("no user and password in the URL of a proxy")
        attempt, steps = Attempt(deadline_s), self._steps.within(deadline_s)
        watch = self._watch
        sock = await connect(uri.host, uri.port, target, self._resolver, attempt, steps, watch.on_step)
        flow = WebSocketFlow(generation=next(self._generations), uri=uri, target=target, listener=listener)
        watch.on_flow(flow)
        try:
            if uri.secure:
                watch.on_step(DialStep.TLS)
                await self._start_tls(flow, sock, uri.host, target, attempt, steps)
            else:
                await asyncio.get_running_loop().create_connection(lambda: flow, sock=sock)
            watch.on_step(DialStep.UPGRADE)
            async with attempt.step(f"WebSocket upgrade at {uri.host}", steps.upgrade_s):
                await flow.upgrade()
            flow.hand_over()
        except BaseException:
            flow.discard(sock)
            raise
        return flow

    async def _start_tls(
        self,
        flow: WebSocketFlow,
        sock: socket.socket,
        host: str,
        target: FlowTarget,
        attempt: Attempt,
        steps: StepDeadlines,
    ) -> None:
        """The TLS handshake, with causes told apart: a bad certificate is not a lost connection."""
        loop = asyncio.get_running_loop()
        try:
            async with attempt.step(f"TLS handshake with {host}", steps.tls_s):
                context = await self._contexts.get(target.tls)
                await loop.create_connection(lambda: flow, sock=sock, ssl=context, server_hostname=host)
        except ssl.SSLCertVerificationError as error:
            self._contexts.forget(target.tls)
            detail = f"certificate of {host}: {error.verify_message}"
            raise FlowError(Cause.TLS, detail, certificate_error=error.verify_code) from None
        except ssl.SSLError as error:
            raise FlowError(Cause.TLS, f"TLS with {host}: {error.reason or error}") from None
        except OSError as error:
            raise FlowError(cause_of(error), f"during the TLS handshake with {host}: {explain(error)}") from None
