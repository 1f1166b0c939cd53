"""One attempt over HTTP: to an address that was looked at, within a deadline, with a bound on what is read.

Stands on httpcore rather than on httpx, because a network backend of our own is part of its interface: the connection
goes to the address that the guard chose while Host, SNI and the certificate's name stay those of the URL, and the
pool keeps connections by name. It follows no redirect, keeps no cookie and looks at no proxy of the environment.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterable, Mapping
from typing import Any

import httpcore

from phoned.errors import DeadlineExceeded, PhonedError, UnavailableError
from phoned.services.tls import system_tls
from phoned.services.webhooks.config import SCHEMES
from phoned.services.webhooks.decision import MAX_BODY
from phoned.services.webhooks.values import Answer
from phoned.urls import UrlGuard, read_url

CONNECT_S = 10.0
"""For name, TCP and TLS together, where the attempt has more."""
IDLE_S = 3.0
"""A kept connection is younger than what servers close after: 5 s is usual."""
IDLE_MAX = 32


class GuardedBackend(httpcore.AsyncNetworkBackend):
    """Connects where the guard allows. One for each scheme and degree of trust: so much is known when it connects."""

    def __init__(self, guard: UrlGuard, scheme: str, trusted: bool) -> None:
        self._guard = guard
        self._scheme = scheme
        self._trusted = trusted
        self._plain = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """The first address that answers."""
        deadline_s = timeout or CONNECT_S
        destination = read_url(
            f"{self._scheme}://[{host}]:{port}" if ":" in host else f"{self._scheme}://{host}:{port}", SCHEMES
        )
        addresses = await self._guard.addresses(destination, trusted=self._trusted, deadline_s=deadline_s)
        share_s = deadline_s / len(addresses)
        for address in addresses[:-1]:
            try:
                return await self._plain.connect_tcp(address, port, share_s, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                continue
        return await self._plain.connect_tcp(addresses[-1], port, share_s, local_address, socket_options)


class Sender:
    """All connections of the service. Driven by `post`; `close` at the end."""

    def __init__(self, guard: UrlGuard, *, agent: str, tls: ssl.SSLContext | None = None) -> None:
        self._guard = guard
        self._agent = agent
        self._tls = tls
        self._pools: dict[tuple[str, bool], httpcore.AsyncConnectionPool] = {}

    async def post(self, url: str, headers: Mapping[str, str], body: str, *, trusted: bool, timeout_s: float) -> Answer:
        """Send it once. Raises `PhonedError` with a reason for people when there is no answer."""
        pool = await self._pool(url.partition(":")[0].lower(), trusted)
        sent = [("Content-Type", "application/json"), ("User-Agent", self._agent), *headers.items()]
        try:
            async with (
                asyncio.timeout(timeout_s),
                pool.stream(
                    "POST",
                    url,
                    headers=sent,
                    content=body.encode(),
                    extensions={"timeout": {"connect": min(CONNECT_S, timeout_s)}},
                ) as response,
            ):
                return Answer(
                    status=response.status,
                    retry_after=_header(response, b"retry-after"),
                    body=await _start_of(response),
                )
        except TimeoutError:
            raise DeadlineExceeded(f"no answer within {timeout_s:g} s") from None
        except PhonedError:
            raise
        except (httpcore.NetworkError, httpcore.TimeoutException, httpcore.ProtocolError, OSError) as error:
            raise UnavailableError(_reason(error)) from None

    async def close(self) -> None:
        """Close what is kept."""
        pools, self._pools = self._pools, {}
        for pool in pools.values():
            await pool.aclose()

    async def _pool(self, scheme: str, trusted: bool) -> httpcore.AsyncConnectionPool:
        if scheme == "https" and self._tls is None:
            self._tls = await asyncio.to_thread(system_tls)
        if (scheme, trusted) not in self._pools:
            self._pools[scheme, trusted] = httpcore.AsyncConnectionPool(
                ssl_context=self._tls,
                max_keepalive_connections=IDLE_MAX,
                keepalive_expiry=IDLE_S,
                network_backend=GuardedBackend(self._guard, scheme, trusted),
            )
        return self._pools[scheme, trusted]


def _header(response: httpcore.Response, name: bytes) -> str | None:
    return next((value.decode("latin-1") for key, value in response.headers if key.lower() == name), None)


async def _start_of(response: httpcore.Response) -> bytes:
    """The body as far as it counts, and one byte more to tell that there is more. What is left unread ends the
    connection."""
    read = bytearray()
    async for piece in response.aiter_stream():
        read += piece
        if len(read) > MAX_BODY:
            break
    return bytes(read[: MAX_BODY + 1])


def _reason(error: Exception) -> str:
    """What happened, in a line; an exception of a library may say nothing."""
    cause: BaseException | None = error
    while cause is not None and not str(cause):
        cause = cause.__cause__ or cause.__context__
    kind = {
        httpcore.ConnectError: "no connection",
        httpcore.ConnectTimeout: "no connection in time",
        httpcore.ReadError: "the connection broke",
        httpcore.WriteError: "the connection broke",
        httpcore.RemoteProtocolError: "the answer is no HTTP",
    }.get(type(error), type(error).__name__)
    return f"{kind}: {cause}"[:300] if cause is not None else kind
