"""A connected TCP socket: DNS, happy eyeballs (RFC 8305), local binding, and an HTTP proxy's CONNECT (RFC 9110 9.3.6).

`connect` owns a socket until it returns it. Every step has its own deadline and its own cause; errno becomes a
`Cause` here and nowhere else.
"""

from __future__ import annotations

import asyncio
import base64
import errno
import os
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from ipaddress import ip_address
from itertools import zip_longest
from typing import Any

from phoned.model import Cause
from phoned.tasks import Tasks
from phoned.transport.flow import Address, DialStep, FlowError, FlowTarget, HttpProxy
from phoned.transport.resolver import Endpoint, Resolver

EYEBALLS_S = 0.25
"""RFC 8305 5, Connection Attempt Delay."""

USUAL_S = 5.0
"""The attempt deadline that most accounts have."""

_PROXY_ANSWER_MAX = 16_384

_NETWORK = {
    errno.ENETUNREACH,
    errno.EHOSTUNREACH,
    errno.ENETDOWN,
    errno.EHOSTDOWN,
    errno.EADDRNOTAVAIL,
    errno.ENODEV,
    errno.ENETRESET,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class StepDeadlines:
    """Seconds for each step of an attempt that may take `USUAL_S`; the attempt's own deadline stands above them."""

    dns_s: float = 2.0
    tcp_s: float = 3.0
    proxy_s: float = 3.0
    tls_s: float = 3.0
    upgrade_s: float = 3.0

    def within(self, attempt_s: float) -> StepDeadlines:
        """The same shares of an attempt that may take longer. A shorter one bounds its steps by itself."""
        factor = max(1.0, attempt_s / USUAL_S)
        return StepDeadlines(**{step: factor * seconds for step, seconds in asdict(self).items()})


def cause_of(error: BaseException | None) -> Cause:
    """What an exception of the socket layer means for a flow."""
    match error:
        case FlowError():
            return error.cause
        case ConnectionRefusedError():
            return Cause.REFUSED
        case TimeoutError():
            return Cause.TIMEOUT
        case OSError() if error.errno in _NETWORK:
            return Cause.NETWORK
    return Cause.CLOSED


def explain(error: BaseException) -> str:
    """One line about a socket error."""
    if isinstance(error, OSError) and error.errno is not None and not isinstance(error, ssl.SSLError):
        return os.strerror(error.errno)
    return str(error) or type(error).__name__


class Attempt:
    """The deadline of one dial, shared out to its steps."""

    def __init__(self, deadline_s: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._until = self._loop.time() + deadline_s

    def left(self, step_s: float) -> float:
        """Seconds that a step may take: its own limit, or what is left of the attempt."""
        return max(0.0, min(step_s, self._until - self._loop.time()))

    @asynccontextmanager
    async def step(self, what: str, step_s: float) -> AsyncIterator[None]:
        """Bound what is inside; overrunning raises `FlowError` with `Cause.TIMEOUT` that names the step."""
        limit_s = self.left(step_s)
        try:
            async with asyncio.timeout(limit_s):
                yield
        except TimeoutError:
            raise FlowError(Cause.TIMEOUT, f"{what}: not done in {limit_s:.1f} s") from None


async def connect(
    host: str,
    port: int,
    target: FlowTarget,
    resolver: Resolver,
    attempt: Attempt,
    steps: StepDeadlines,
    on_step: Callable[[DialStep], None],
) -> socket.socket:
    """A connected, non-blocking socket towards ``host:port``, through the target's proxy if it has one. ``on_step``
    hears each step as it begins."""
    proxy = target.http_proxy
    first = Address(proxy.host, proxy.port) if proxy else Address(host, port)
    on_step(DialStep.DNS)
    endpoints = _usable(await resolver.resolve(first.host, first.port, attempt.left(steps.dns_s)), target)
    on_step(DialStep.TCP)
    async with attempt.step(f"TCP connection to {first}", steps.tcp_s):
        sock = await _race(endpoints, target)
    if proxy is None:
        return sock
    on_step(DialStep.PROXY)
    try:
        async with attempt.step(f"CONNECT by HTTP proxy {first}", steps.proxy_s):
            await _ask_proxy(sock, proxy, str(Address(host, port)))
    except OSError as error:
        sock.close()
        raise FlowError(cause_of(error), f"HTTP proxy {first}: {explain(error)}") from None
    except BaseException:
        sock.close()
        raise
    return sock


def _usable(endpoints: list[Endpoint], target: FlowTarget) -> list[Endpoint]:
    """The endpoints of the source's family, the families interleaved as RFC 8305 4 has it."""
    if target.source_address is not None:
        family = socket.AF_INET6 if ip_address(target.source_address).version == 6 else socket.AF_INET
        endpoints = [endpoint for endpoint in endpoints if endpoint.family == family]
        if not endpoints:
            raise FlowError(Cause.NETWORK, f"no address of the family of {target.source_address}")
    first = [endpoint for endpoint in endpoints if endpoint.family == endpoints[0].family]
    second = [endpoint for endpoint in endpoints if endpoint.family != endpoints[0].family]
    return [endpoint for pair in zip_longest(first, second) for endpoint in pair if endpoint is not None]


async def _race(endpoints: list[Endpoint], target: FlowTarget) -> socket.socket:
    """The first socket that connects: attempts start `EYEBALLS_S` apart, or as soon as one has failed."""
    winner: asyncio.Future[socket.socket] = asyncio.get_running_loop().create_future()
    errors: list[FlowError] = []

    async def attempt(endpoint: Endpoint) -> None:
        try:
            sock = await _open(endpoint, target)
        except FlowError as error:
            errors.append(error)
            return
        if winner.done():
            sock.close()
        else:
            winner.set_result(sock)

    def crashed(name: str, error: BaseException) -> None:
        errors.append(FlowError(Cause.CLOSED, f"{name}: {error!r}"))

    tasks = Tasks("tcp-connect", crashed)
    pending: set[asyncio.Future[None]] = set()
    try:
        for endpoint in endpoints:
            newest = tasks.spawn(endpoint.address[0], attempt(endpoint))
            pending.add(newest)
            await asyncio.wait([newest, winner], timeout=EYEBALLS_S, return_when=asyncio.FIRST_COMPLETED)
            if winner.done():
                break
        while not winner.done() and (pending := {task for task in pending if not task.done()}):
            waited: set[asyncio.Future[Any]] = {*pending, winner}
            await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
        await tasks.close()
    except BaseException:
        await tasks.close()
        if winner.done():
            winner.result().close()
        raise
    if winner.done():
        return winner.result()
    raise _most_telling(errors)


def _most_telling(errors: list[FlowError]) -> FlowError:
    """One error for several addresses: a refusal proves the most, then silence, then a missing route."""
    rank = [Cause.REFUSED, Cause.TIMEOUT, Cause.NETWORK, Cause.CLOSED]
    cause = min((error.cause for error in errors), key=rank.index)
    return FlowError(cause, "; ".join(dict.fromkeys(error.detail for error in errors)))


async def _open(endpoint: Endpoint, target: FlowTarget) -> socket.socket:
    """One connected socket, or `FlowError`."""
    name = endpoint.address[0]
    try:
        sock = socket.socket(endpoint.family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    except OSError as error:  # out of descriptors
        raise FlowError(Cause.NETWORK, f"no socket: {explain(error)}") from None
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if target.interface is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, target.interface.encode() + b"\0")
        if target.source_address is not None:
            sock.bind((target.source_address, 0))
        await asyncio.get_running_loop().sock_connect(sock, endpoint.address)
    except OSError as error:
        sock.close()
        raise FlowError(cause_of(error), f"{name} port {endpoint.address[1]}: {explain(error)}") from None
    except BaseException:
        sock.close()
        raise
    return sock


async def _ask_proxy(sock: socket.socket, proxy: HttpProxy, authority: str) -> None:
    """Send CONNECT and take the whole answer, not a byte more."""
    lines = [f"CONNECT {authority} HTTP/1.1", f"Host: {authority}"]
    if proxy.username is not None:
        token = base64.b64encode(f"{proxy.username}:{proxy.password or ''}".encode()).decode()
        lines.append(f"Proxy-Authorization: Basic {token}")
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(sock, ("\r\n".join(lines) + "\r\n\r\n").encode())
    answer = b""
    while b"\r\n\r\n" not in answer:
        piece = await loop.sock_recv(sock, 4096)
        if not piece or len(answer) > _PROXY_ANSWER_MAX:
            raise FlowError(Cause.UPGRADE, f"HTTP proxy {proxy.host} gave no whole answer to CONNECT")
        answer += piece
    head, _, beyond = answer.partition(b"\r\n\r\n")
    status_line = head.split(b"\r\n", 1)[0].decode("latin-1")
    version, _, rest = status_line.partition(" ")
    status = int(rest[:3]) if rest[:3].isdecimal() and rest[:3].isascii() else 0
    if not version.startswith("HTTP/1.") or not 200 <= status < 300 or beyond:
        raise FlowError(Cause.UPGRADE, f"HTTP proxy {proxy.host} said {status_line[:80]!r} to CONNECT", status=status)
