"""Network facts from the kernel (rtnetlink(7), by pyroute2): told within milliseconds.

Owns the socket that listens and the thread that dumps. Knows nothing of what matters: every message of the groups
that it binds means "look again". The dump runs in a thread of its own, not in the loop's default executor: name
look-ups that hang in a dead network would fill that one, and just then the dump is wanted.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from ipaddress import ip_address, ip_network
from typing import Any

from pyroute2 import AsyncIPRoute
from pyroute2.netlink.exceptions import NetlinkError
from pyroute2.netlink.rtnl import (
    RTMGRP_IPV4_IFADDR,
    RTMGRP_IPV4_ROUTE,
    RTMGRP_IPV4_RULE,
    RTMGRP_IPV6_IFADDR,
    RTMGRP_IPV6_ROUTE,
    RTMGRP_IPV6_RULE,
    RTMGRP_LINK,
)

from phoned.network.snapshot import Address, Interface, IPAddress, IPNetwork, Path, Route, Snapshot

logger = logging.getLogger(__name__)

# not the default groups: neighbour messages come by the second on a busy network
GROUPS = (
    RTMGRP_LINK
    | RTMGRP_IPV4_IFADDR
    | RTMGRP_IPV6_IFADDR
    | RTMGRP_IPV4_ROUTE
    | RTMGRP_IPV6_ROUTE
    | RTMGRP_IPV4_RULE  # a VPN may move everything by one rule and no route in the main table
    | RTMGRP_IPV6_RULE
)
DUMP_DEADLINE_S = 2.0
MOST_READINGS = 5
MOST_ROUTES = 4096
MOST_ANSWERS = 64

# if.h, if_addr.h, rtnetlink.h
_IFF_UP, _IFF_RUNNING = 0x1, 0x40
_IFA_F_DADFAILED, _IFA_F_DEPRECATED, _IFA_F_TENTATIVE = 0x08, 0x20, 0x40
_RTN_UNICAST, _RTN_LOCAL, _RTN_REFUSING = 1, 2, frozenset({6, 7, 8})
_RT_TABLE_LOCAL = 255
_FAMILIES = frozenset({socket.AF_INET, socket.AF_INET6})


class NetlinkSource:
    """A `phoned.network.source.NetworkSource` for Linux. Needs no privilege. Driven by its monitor."""

    name = "netlink"

    def __init__(self, *, receive_buffer: int | None = None) -> None:
        """``receive_buffer`` in bytes bounds what may wait unread; None leaves the system's default."""
        self._receive_buffer = receive_buffer
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="network")

    async def run(self, on_dirty: Callable[[], None]) -> None:
        """See `NetworkSource.run`. Messages that the kernel had to drop (ENOBUFS) mean "look again" too."""
        while True:
            try:
                await self._listen(on_dirty)
            except (OSError, NetlinkError) as error:
                if _number(error) != errno.ENOBUFS:
                    raise OSError(_number(error), f"netlink: {error}") from None
                logger.debug("< netlink overrun, looking again")

    async def _listen(self, on_dirty: Callable[[], None]) -> None:
        async with AsyncIPRoute() as netlink:
            if self._receive_buffer is not None:
                netlink.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self._receive_buffer)
            await netlink.bind(GROUPS)
            on_dirty()
            while True:  # `get` ends after each datagram
                heard = False
                async for message in netlink.get():
                    heard = True
                    logger.debug("< netlink %s", message.get("event"))
                on_dirty()
                if not heard:
                    raise OSError(errno.ECONNRESET, "the socket was closed")

    async def snapshot(self, towards: Sequence[IPAddress] = ()) -> Snapshot:
        """See `NetworkSource.snapshot`."""
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(2 * DUMP_DEADLINE_S):
            return await loop.run_in_executor(self._thread, _dump_here, tuple(towards)[:MOST_ANSWERS])

    def close(self) -> None:
        """See `NetworkSource.close`."""
        self._thread.shutdown(wait=False, cancel_futures=True)


def _dump_here(towards: tuple[IPAddress, ...]) -> Snapshot:
    """Runs in the thread, with a loop and a deadline of its own: the thread never outlives its usefulness."""
    return asyncio.run(_dump(towards))


async def _dump(towards: tuple[IPAddress, ...]) -> Snapshot:
    try:
        async with asyncio.timeout(DUMP_DEADLINE_S), AsyncIPRoute() as netlink:
            return await _read(netlink, towards)
    except NetlinkError as error:
        raise OSError(error.code, f"netlink: {error}") from None


async def _read(netlink: Any, towards: tuple[IPAddress, ...]) -> Snapshot:
    """Links, addresses, routes, answers: four questions, and the network may move between two of them.

    A snapshot whose routes are newer than its addresses would tell of a source that nobody has: so the addresses are
    asked for again at the end, and all of it is if they differ. What moves later brings a message and another reading.
    """
    addresses = await _addresses(netlink)
    for _ in range(MOST_READINGS):
        links = [link async for link in await netlink.get_links()]
        names = {int(link["index"]): str(link.get_attr("IFLA_IFNAME")) for link in links}
        routes: list[Route] = []
        async for message in await netlink.get_routes():
            if len(routes) < MOST_ROUTES:
                routes.extend(_routes(message, names))
        answers = {address: await _answer(netlink, address, names) for address in towards}
        interfaces = tuple(_interface(link, addresses) for link in sorted(links, key=lambda link: int(link["index"])))
        snapshot = Snapshot(interfaces=interfaces, routes=tuple(routes), answers=answers)
        before, addresses = addresses, await _addresses(netlink)
        if before == addresses:
            return snapshot
    raise OSError(errno.EAGAIN, "netlink: the network does not stand still")


async def _addresses(netlink: Any) -> list[tuple[int, Address]]:
    """Every address with the index of its interface."""
    messages = [message async for message in await netlink.get_addr()]
    return [(int(message["index"]), _address(message)) for message in messages if message["family"] in _FAMILIES]


async def _answer(netlink: Any, address: IPAddress, names: dict[int, str]) -> Path | None:
    """What ``ip route get`` says."""
    try:
        for message in await netlink.route("get", dst=str(address)):
            source = message.get_attr("RTA_PREFSRC")
            device = names.get(message.get_attr("RTA_OIF"))
            if message["type"] in (_RTN_UNICAST, _RTN_LOCAL) and device is not None and source is not None:
                return Path(device=device, source=ip_address(source), gateway=_gateway(message))
    except NetlinkError as error:
        logger.debug("< netlink no route to %s: %s", address, error)
    return None


def _interface(link: Any, addresses: Iterable[tuple[int, Address]]) -> Interface:
    info = link.get_attr("IFLA_LINKINFO")
    return Interface(
        name=str(link.get_attr("IFLA_IFNAME")),
        index=int(link["index"]),
        kind=str(info.get_attr("IFLA_INFO_KIND") or "") if info is not None else "",
        up=bool(link["flags"] & _IFF_UP),
        carrier=bool(link["flags"] & _IFF_RUNNING),
        addresses=tuple(address for index, address in addresses if index == link["index"]),
    )


def _address(message: Any) -> Address:
    flags = message.get_attr("IFA_FLAGS") or message["flags"]
    return Address(
        # on a point-to-point link IFA_ADDRESS is the far end
        ip=ip_address(message.get_attr("IFA_LOCAL") or message.get_attr("IFA_ADDRESS")),
        prefix=int(message["prefixlen"]),
        tentative=bool(flags & (_IFA_F_TENTATIVE | _IFA_F_DADFAILED)),
        deprecated=bool(flags & _IFA_F_DEPRECATED),
    )


def _routes(message: Any, names: dict[int, str]) -> Iterable[Route]:
    """One route, or one for each hop of a multipath route; nothing for local, broadcast and multicast ones."""
    table = message.get_attr("RTA_TABLE") or message["table"]
    if message["family"] not in _FAMILIES or table == _RT_TABLE_LOCAL:
        return
    if message["type"] != _RTN_UNICAST and message["type"] not in _RTN_REFUSING:
        return
    source = message.get_attr("RTA_PREFSRC")
    refuses = message["type"] in _RTN_REFUSING
    hops = [] if refuses else message.get_attr("RTA_MULTIPATH") or []
    for device, gateway in [(names.get(hop["oif"]), _gateway(hop)) for hop in hops] or [
        (names.get(message.get_attr("RTA_OIF")), _gateway(message))
    ]:
        if device is None and not refuses:
            continue
        yield Route(
            destination=_destination(message),
            device=None if refuses else device,
            gateway=gateway,
            metric=int(message.get_attr("RTA_PRIORITY") or 0),
            source=ip_address(source) if source else None,
            table=int(table),
        )


def _destination(message: Any) -> IPNetwork:
    everything = "0.0.0.0" if message["family"] == socket.AF_INET else "::"
    return ip_network((message.get_attr("RTA_DST") or everything, message["dst_len"]), strict=False)


def _gateway(message: Any) -> IPAddress | None:
    """The router's address; of the other family for IPv4 over an IPv6 router (RFC 5549)."""
    gateway = message.get_attr("RTA_GATEWAY")
    if gateway is None and (via := message.get_attr("RTA_VIA")) is not None:
        gateway = via["addr"]
    return ip_address(gateway) if gateway is not None else None


def _number(error: OSError | NetlinkError) -> int:
    number = error.code if isinstance(error, NetlinkError) else error.errno
    return int(number or errno.EIO)
