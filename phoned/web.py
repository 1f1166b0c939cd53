"""HTTP to where the guard allows: what everything that asks for a URL of somebody else's stands on.

Stands on httpcore rather than on httpx, because a network backend of our own is part of its interface: the connection
goes to the address that the guard chose while Host, SNI and the certificate's name stay those of the URL. It follows no
redirect, keeps no cookie and looks at no proxy of the environment.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterable
from typing import Any

import httpcore

from phoned.urls import UrlGuard, read_url

SCHEMES = ("https", "http")
CONNECT_S = 10.0
"""For name, TCP and TLS together, where the attempt has more."""
FAILURES = (httpcore.NetworkError, httpcore.TimeoutException, httpcore.ProtocolError, OSError)
"""What a request may raise beside `PhonedError`; `reason_of` puts it into words."""


def system_tls() -> ssl.SSLContext:
    """TLS 1.2 at least, with the system's authorities. Reads their files: call it on a thread."""
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


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


def header_of(response: httpcore.Response, name: bytes) -> str | None:
    """The first header of that name, in lower case."""
    return next((value.decode("latin-1") for key, value in response.headers if key.lower() == name), None)


def reason_of(error: Exception) -> str:
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
