"""What a flow is to the rest of phoned: protocols and values, no sockets (RFC 5626 3.1, RFC 7118).

A flow is one live connection to an outbound proxy. It is dialled by a `Dialer`, carries whole SIP messages both ways,
and dies once. It is never used again after loss: the next dial gives a new flow with a higher ``generation``. This
module knows neither SIP nor WebSocket; when to dial, ping or give up is decided elsewhere.

The contract of every adapter:

* After `Dialer.dial` returned, `FlowListener.on_closed` is called exactly once, whoever ended the flow, and never from
  within `Flow.send`, `Flow.close` or `Flow.abort`. No message follows it.
* `FlowListener.on_message` gets one whole message; keep-alives are answered below and never passed up.
* Nothing raised by a listener reaches the network library: it is logged, and the flow goes on.
* No method blocks. Every wait has a deadline.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Literal, NamedTuple, Protocol
from urllib.parse import urlsplit

from phoned.errors import UnavailableError
from phoned.model import Cause

TransportName = Literal["WS", "WSS"]
"""The transport parameter of Via and Contact (RFC 7118 4)."""


class Address(NamedTuple):
    """An IP address without brackets or scope, and a port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class FlowError(UnavailableError):
    """A flow could not be had, or a step on a living one failed. ``status``: the HTTP status, when there was one."""

    code = "flow"

    def __init__(
        self,
        cause: Cause,
        detail: str = "",
        *,
        status: int | None = None,
        retry_after_s: float | None = None,
        certificate_error: int | None = None,
    ) -> None:
        super().__init__(detail, retry_after_s=retry_after_s)
        self.cause = cause
        self.status = status
        self.certificate_error = certificate_error
        """OpenSSL's X509_V_ERR_... number, when the certificate was not believed."""

    def __str__(self) -> str:
        return f"{self.cause}: {self.detail}" if self.detail else str(self.cause)


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsPolicy:
    """How the server proves itself. TLS 1.2 is the least that is spoken."""

    ca_file: Path | None = None
    """Trusted instead of the system's authorities."""
    pin_sha256: tuple[str, ...] = ()
    """SHA-256 of the server key's SubjectPublicKeyInfo, hex or base64; one must match, in addition to the CA check."""
    insecure_skip_verify: bool = False
    """No CA and no name check. Pins still hold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpProxy:
    """An HTTP proxy that is asked to CONNECT (RFC 9110 9.3.6). The environment is never consulted."""

    host: str
    port: int
    username: str | None = None
    password: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowTarget:
    """Where and how to dial."""

    url: str
    """``ws://`` or ``wss://``."""
    tls: TlsPolicy = TlsPolicy()
    http_proxy: HttpProxy | None = None
    source_address: str | None = None
    """Local IP address to bind; addresses of the other family are not tried."""
    interface: str | None = None
    """Network interface to bind to (SO_BINDTODEVICE)."""

    @property
    def is_loopback(self) -> bool:
        """The server is on this machine, by its name or address in the URL."""
        host = urlsplit(self.url).hostname or ""
        try:
            return host == "localhost" or ipaddress.ip_address(host).is_loopback
        except ValueError:
            return False


class DialStep(StrEnum):
    """What a dial does, in this order. A proxy is not always asked, and ``ws://`` has no TLS."""

    DNS = "dns"
    TCP = "tcp"
    PROXY = "proxy"
    TLS = "tls"
    UPGRADE = "upgrade"


class Flow(Protocol):
    """One live connection. Driven by whoever dialled it and by the network."""

    @property
    def generation(self) -> int:
        """Unique within the process, and rising."""
        ...

    @property
    def transport(self) -> TransportName: ...

    @property
    def local(self) -> Address: ...

    @property
    def remote(self) -> Address:
        """The peer of the socket: the proxy of `FlowTarget.http_proxy` when there is one."""
        ...

    @property
    def last_received(self) -> float:
        """Loop time of the newest byte from the peer, of whatever kind."""
        ...

    @property
    def is_open(self) -> bool: ...

    def send(self, data: bytes) -> bool:
        """Queue one SIP message. False, and nothing is sent, when the flow is no longer open. A peer that does not
        read makes the queue pass its bound, which ends the flow."""
        ...

    async def ping(self, timeout_s: float) -> float:
        """Measure one round trip in seconds. Raises `FlowError`: `Cause.PING` without an answer in time, the flow's
        own cause when it ends meanwhile. The flow stays as it is."""
        ...

    def set_user_timeout(self, seconds: float) -> None:
        """How long sent bytes may stay unacknowledged before the kernel ends the flow (TCP_USER_TIMEOUT); 0: its
        default."""
        ...

    def close(self) -> None:
        """End politely: what is queued is sent and the peer is told, within one second."""
        ...

    def abort(self, cause: Cause = Cause.CLOSED, detail: str = "aborted") -> None:
        """End now, waiting for nothing. ``cause`` and ``detail`` reach `FlowListener.on_closed`."""
        ...


class FlowListener(Protocol):
    """What hears a flow."""

    def on_message(self, flow: Flow, data: bytes) -> None:
        """One SIP message, at most 64 KiB, never empty."""
        ...

    def on_closed(self, flow: Flow, cause: Cause, detail: str) -> None:
        """The flow is gone. Exactly once."""
        ...


class Dialer(Protocol):
    """Makes flows."""

    async def dial(self, target: FlowTarget, listener: FlowListener, *, deadline_s: float) -> Flow:
        """A flow that is open and has agreed on subprotocol ``sip``, within ``deadline_s`` seconds. Raises `FlowError`.
        The direct awaiter has the flow in hand before its first message is delivered. Cancelling leaves nothing
        behind."""
        ...
