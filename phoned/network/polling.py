"""Network facts by asking every two seconds (netifaces2): the portable fallback where there is no netlink.

Sees addresses, default routes and the source address towards the addresses that it is asked about. Does not see a lost
carrier, metrics, or routes other than default ones: the kernel's answer for a path (a connected UDP socket; nothing is
sent) covers what matters of those. Reads in a thread of its own, for on Linux netifaces2 runs `ip`.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from ipaddress import ip_address, ip_network
from typing import Any

import netifaces

from phoned.network.snapshot import Address, Interface, IPAddress, Path, Route, Snapshot

PERIOD_S = 2.0
READ_DEADLINE_S = 2.0
MOST_ANSWERS = 64

_FAMILIES = (netifaces.InterfaceType.AF_INET, netifaces.InterfaceType.AF_INET6)
_ANY_PORT = 9  # discard: a connected UDP socket must name one


class PollingSource:
    """A `phoned.network.source.NetworkSource` for any system. Driven by its monitor."""

    name = "polling"

    def __init__(self, *, period_s: float = PERIOD_S) -> None:
        self._period_s = period_s
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="network")

    async def run(self, on_dirty: Callable[[], None]) -> None:
        """See `NetworkSource.run`: every period something may have changed."""
        while True:
            on_dirty()
            await asyncio.sleep(self._period_s)

    async def snapshot(self, towards: Sequence[IPAddress] = ()) -> Snapshot:
        """See `NetworkSource.snapshot`."""
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(READ_DEADLINE_S):
            return await loop.run_in_executor(self._thread, _read, tuple(towards)[:MOST_ANSWERS])

    def close(self) -> None:
        """See `NetworkSource.close`."""
        self._thread.shutdown(wait=False, cancel_futures=True)


def _read(towards: tuple[IPAddress, ...]) -> Snapshot:
    """Runs in the thread."""
    try:
        indices = {name: index for index, name in netifaces.interfaces_by_index().items()}
        interfaces = tuple(_interface(name, index) for name, index in sorted(indices.items(), key=lambda item: item[1]))
        gateways = netifaces.gateways()
    except (RuntimeError, ValueError) as error:  # what netifaces2 raises for "cannot tell"
        raise OSError(f"netifaces: {error}") from None
    facts = Snapshot(interfaces=interfaces, routes=_routes(gateways))
    answers = {address: _answer(facts, address) for address in towards}
    return Snapshot(interfaces=interfaces, routes=facts.routes, answers=answers)


def _interface(name: str, index: int) -> Interface:
    try:
        known = netifaces.ifaddresses(name)
    except ValueError:  # it went away between the two questions
        known = {}
    addresses = tuple(_address(entry) for family in _FAMILIES for entry in known.get(family, ()) if "addr" in entry)
    return Interface(name=name, index=index, addresses=addresses)


def _address(entry: Mapping[Any, str]) -> Address:
    ip = ip_address(str(entry["addr"]).partition("%")[0])
    mask = str(entry.get("mask", "")).partition("/")[0]
    return Address(ip=ip, prefix=int(ip_address(mask)).bit_count() if mask else ip.max_prefixlen)


def _routes(gateways: Mapping[Any, Sequence[Sequence[Any]]]) -> tuple[Route, ...]:
    """Default routes, in the order of preference in which they are listed."""
    routes = []
    for family, everything in zip(_FAMILIES, ("0.0.0.0/0", "::/0"), strict=True):
        for rank, (gateway, device, *default) in enumerate(gateways.get(family, ())):
            if default and default[0]:
                hop = ip_address(str(gateway).partition("%")[0])
                routes.append(Route(destination=ip_network(everything), device=device, gateway=hop, metric=rank))
    return tuple(routes)


def _answer(facts: Snapshot, address: IPAddress) -> Path | None:
    """The source address that the system would use, by a connected socket; its device by who holds that address."""
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((str(address), _ANY_PORT))
        except OSError:
            return None
        source = ip_address(probe.getsockname()[0].partition("%")[0])
    holder = facts.holder(source)
    if holder is None:
        return None
    on_link = source == address or any(address in own.network for own in holder.addresses if own.ip == source)
    routers = (
        route.gateway
        for route in facts.routes
        if route.device == holder.name and route.destination.version == address.version and not on_link
    )
    return Path(device=holder.name, source=source, gateway=next(routers, None))
