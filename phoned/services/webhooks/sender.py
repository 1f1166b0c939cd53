"""One attempt over HTTP: to an address that was looked at, within a deadline, with a bound on what is read.

What it stands on is `phoned.web`; the pool keeps connections by name.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping

import httpcore

from phoned.errors import DeadlineExceeded, PhonedError, UnavailableError
from phoned.services.webhooks.decision import MAX_BODY
from phoned.services.webhooks.values import Answer
from phoned.urls import UrlGuard
from phoned.web import CONNECT_S, FAILURES, GuardedBackend, header_of, reason_of, system_tls

IDLE_S = 3.0
"""A kept connection is younger than what servers close after: 5 s is usual."""
IDLE_MAX = 32


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
                    retry_after=header_of(response, b"retry-after"),
                    body=await _start_of(response),
                )
        except TimeoutError:
            raise DeadlineExceeded(f"no answer within {timeout_s:g} s") from None
        except PhonedError:
            raise
        except FAILURES as error:
            raise UnavailableError(reason_of(error)) from None

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


async def _start_of(response: httpcore.Response) -> bytes:
    """The body as far as it counts, and one byte more to tell that there is more. What is left unread ends the
    connection."""
    read = bytearray()
    async for piece in response.aiter_stream():
        read += piece
        if len(read) > MAX_BODY:
            break
    return bytes(read[: MAX_BODY + 1])
