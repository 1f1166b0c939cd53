"""Which addresses a URL that somebody gave us may reach: the one place that decides it, for everything that dials.

URLs of the configuration file are trusted whatever their range. Those that came in over the API reach public addresses
only, and private ones that ``[network] allow_private`` lists. A name is resolved once for each connection and the
connection goes to an address that was looked at, so that a name that changes its mind (DNS rebinding) gains nothing.
`Reach` and `read_url` are pure; `UrlGuard` asks the resolver.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from urllib.parse import urlsplit

from phoned.errors import Denied, InvalidValue

MAX_URL = 2048
PLAIN = frozenset({"http", "ws"})
"""Schemes without encryption."""
_PORTS = {"http": 80, "ws": 80, "https": 443, "wss": 443}
_HOST = re.compile(
    r"(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.)*[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.?", re.ASCII
)

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
Resolve = Callable[[str, int, float], Awaitable[Sequence[str]]]
"""Host, port, seconds to the addresses. Raises `UnavailableError`."""

_REFUSED: tuple[tuple[str, str], ...] = (
    ("0.0.0.0/8", "this network (RFC 1122)"),
    ("10.0.0.0/8", "private (RFC 1918)"),
    ("100.64.0.0/10", "carrier-grade NAT (RFC 6598)"),
    ("127.0.0.0/8", "loopback"),
    ("169.254.0.0/16", "link-local"),
    ("172.16.0.0/12", "private (RFC 1918)"),
    ("192.0.0.0/24", "reserved (RFC 6890)"),
    ("192.0.2.0/24", "documentation"),
    ("192.88.99.0/24", "6to4 relay (RFC 7526)"),
    ("192.168.0.0/16", "private (RFC 1918)"),
    ("198.18.0.0/15", "benchmarking (RFC 2544)"),
    ("198.51.100.0/24", "documentation"),
    ("203.0.113.0/24", "documentation"),
    ("224.0.0.0/4", "multicast"),
    ("240.0.0.0/4", "reserved"),
    ("::/128", "unspecified"),
    ("::1/128", "loopback"),
    ("::/96", "IPv4-compatible"),
    ("::ffff:0:0/96", "IPv4-mapped"),
    ("::ffff:0:0:0/96", "IPv4-translated"),
    ("64:ff9b::/96", "NAT64"),
    ("64:ff9b:1::/48", "NAT64"),
    ("100::/64", "discard-only"),
    ("2001::/23", "reserved (RFC 2928)"),
    ("2001:db8::/32", "documentation"),
    ("2002::/16", "6to4"),
    ("3fff::/20", "documentation"),
    ("5f00::/16", "segment routing"),
    ("fc00::/7", "private (RFC 4193)"),
    ("fe80::/10", "link-local"),
    ("fec0::/10", "site-local"),
    ("ff00::/8", "multicast"),
)
REFUSED: tuple[tuple[Network, str], ...] = tuple((ip_network(text), what) for text, what in _REFUSED)
"""What no URL of the API reaches unless it is listed, with its name for people."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Destination:
    """Where a URL leads."""

    scheme: str
    host: str
    """In lower case, without brackets."""
    port: int


def read_url(url: str, schemes: Sequence[str], *, pointer: str = "") -> Destination:
    """The destination of an absolute URL. Raises `InvalidValue` for anything that two readers could read in two ways,
    and for credentials in it."""

    def wrong(why: str) -> InvalidValue:
        return InvalidValue(why, pointer=pointer)

    if len(url) > MAX_URL:
        raise wrong(f"the URL is longer than {MAX_URL} characters")
    if not url.isascii() or any(char <= " " or char in '\x7f\\"<>^`{|}' for char in url):
        raise wrong("the URL has characters that a URL cannot have; write them as %XX, and names in Punycode")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise wrong("this is no URL: write https://host/path") from None
    if parts.scheme not in schemes:
        raise wrong(f"the URL must begin with {' or '.join(f'{scheme}://' for scheme in schemes)}")
    if "@" in parts.netloc:
        raise wrong("no user and password in a URL: it stands in logs")
    if parts.fragment:
        raise wrong("a fragment (#...) is never sent: leave it out")
    if not (_HOST.fullmatch(host) or _literal(host)) or port == 0 or parts.netloc.endswith(":"):
        raise wrong("the URL names no host that can be reached")
    return Destination(scheme=parts.scheme, host=host, port=port or _PORTS[parts.scheme])


def _literal(host: str) -> Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None


class Reach:
    """What may be reached; ``allow_private`` are networks such as ``127.0.0.0/8``."""

    def __init__(self, allow_private: Sequence[str] = ()) -> None:
        self._allowed: tuple[Network, ...] = tuple(ip_network(text) for text in allow_private)

    def listed(self, address: str) -> bool:
        """Whether the administrator listed it: then it is as good as a public one, and may be reached unencrypted."""
        found = ip_address(address)
        inner = _inside(found)
        return self._in_list(found) and (inner is None or _what(inner) is None or self._in_list(inner))

    def refusal(self, address: str) -> str | None:
        """What speaks against an address, in a few words; None for one that may be reached."""
        found = ip_address(address)
        what = _what(found)
        return None if what is None or self.listed(address) else what

    def _in_list(self, address: Address) -> bool:
        return any(address.version == network.version and address in network for network in self._allowed)


def _what(address: Address) -> str | None:
    """Which special range an address is in; None for a public one."""
    for network, what in REFUSED:
        if address.version == network.version and address in network:
            return what
    return None if address.is_global and not address.is_reserved else "not public"


def _inside(address: Address) -> IPv4Address | None:
    """The IPv4 address that an IPv6 one leads to (RFC 4291 2.5.5, RFC 6052 2.1, RFC 3056)."""
    if not isinstance(address, IPv6Address):
        return None
    if address.ipv4_mapped is not None or address.sixtofour is not None:
        return address.ipv4_mapped or address.sixtofour
    if address in ip_network("64:ff9b::/96") or address in ip_network("::ffff:0:0:0/96"):
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return None


class UrlGuard:
    """Decides for each connection. Driven by whoever dials: `check` when a URL comes in, `addresses` to connect."""

    def __init__(self, reach: Reach, resolve: Resolve) -> None:
        self._reach = reach
        self._resolve = resolve

    async def check(self, destination: Destination, deadline_s: float = 3.0) -> None:
        """Whether a URL of the API has a chance. A name that cannot be resolved now is no reason against it: each
        connection is looked at anyway. Raises `Denied`, and `UnavailableError` when the resolver has no answer."""
        await self.addresses(destination, trusted=False, deadline_s=deadline_s)

    async def addresses(self, destination: Destination, *, trusted: bool, deadline_s: float) -> tuple[str, ...]:
        """The addresses that a connection may go to, at least one, from one lookup. Raises `Denied` when none may be
        reached, `UnavailableError` when there is none."""
        found = tuple(await self._resolve(destination.host, destination.port, deadline_s))
        if trusted:
            return found
        plain = destination.scheme in PLAIN
        usual = destination.port in (80, 443) or destination.port >= 1024
        good: list[str] = []
        why = ""
        for address in found:
            refusal = self._reach.refusal(address)
            if refusal is not None:
                why = why or f"{destination.host} is {refusal}: list its network in [network] allow_private"
            elif not self._reach.listed(address) and plain:
                why = why or f"{destination.scheme}:// goes unencrypted: use {destination.scheme}s://"
            elif not self._reach.listed(address) and not usual:
                why = why or f"port {destination.port} belongs to something else: use 443, 80 or one above 1023"
            else:
                good.append(address)
        if not good:
            raise Denied(f"this URL may not be reached: {why}", code="address_not_allowed")
        return tuple(good)
