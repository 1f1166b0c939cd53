"""Which local addresses media may use, the default route's first. Asks the kernel; sends nothing."""

from __future__ import annotations

import ipaddress
import socket
from functools import lru_cache

import netifaces

from phoned.media.options import IceOptions

_parsed = lru_cache(maxsize=256)(ipaddress.ip_address)
"""The same few are asked for at each offer; to read one takes 20 us."""


def local_addresses(options: IceOptions, *, last: str | None = None) -> list[str]:
    """Addresses to bind, best first, at most ``options.max_hosts``.

    ``last`` ranks last: nobody was reached from there. Chromium tries no pair that ranks below the one in use before
    that was silent for 2.5 s, so what shall replace a dead path must not.
    """
    return sorted(_by_rank(options), key=lambda address: address == last)[: options.max_hosts]


def _by_rank(options: IceOptions) -> list[str]:
    if options.addresses:
        return list(options.addresses)
    found = [*_default_sources(), *_interface_addresses(options.interfaces)]
    allowed = set(_interface_addresses(options.interfaces)) if options.interfaces else None
    chosen: list[str] = []
    for address in found:
        if address in chosen or (allowed is not None and address not in allowed):
            continue
        if _fits(address, options):
            chosen.append(address)
    # loopback last: a real address is better whenever there is one
    chosen.sort(key=lambda address: _parsed(address).is_loopback)
    return chosen


def _fits(address: str, options: IceOptions) -> bool:
    value = _parsed(address)
    if value.version == 6 and not options.use_ipv6:
        return False
    if value.is_loopback:
        return options.allow_loopback
    return not (value.is_link_local or value.is_multicast or value.is_unspecified)


def _default_sources() -> list[str]:
    """The source addresses that the kernel would choose towards the internet; connecting UDP sends nothing."""
    sources = []
    for family, anywhere in ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1")):
        try:
            with socket.socket(family, socket.SOCK_DGRAM) as probe:
                probe.connect((anywhere, 9))
                sources.append(str(probe.getsockname()[0]))
        except OSError:
            continue  # no route of this family
    return sources


def _interface_addresses(interfaces: tuple[str, ...]) -> list[str]:
    addresses = []
    for name in interfaces or netifaces.interfaces():
        try:
            families = netifaces.ifaddresses(name)
        except ValueError:
            continue  # the interface went away, or never was
        for family in (netifaces.InterfaceType.AF_INET, netifaces.InterfaceType.AF_INET6):
            found = [str(entry["addr"]).partition("%")[0] for entry in families.get(family) or []]
            # one per family: IPv6 privacy addresses would make many
            addresses += [address for address in found if not _parsed(address).is_link_local][:1]
    return addresses
