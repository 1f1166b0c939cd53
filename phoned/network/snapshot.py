"""What the machine's network looks like at one moment, and whether a change of it matters to us. Pure.

Owns the frozen values (`Interface`, `Route`, `Snapshot`), the lookup `Snapshot.route_to` and the filter `diff`. Knows
neither netlink nor clocks nor tasks; sources build snapshots, `phoned.network.monitor` compares them.

The filter asks one question: did the route or the source address *towards somebody we talk to* change, or did a local
address that we use stop working? Containers, bridges, DHCP renewals, rotating IPv6 privacy addresses (RFC 8981) and
link-local noise answer no without being named, because no path of ours leads through what they change.

Lookup is by longest prefix, then metric, over interfaces that have a carrier: Linux goes on using a route whose link is
down, a phone must not. Where the source asked the kernel itself (policy rules, VPN tables), that answer comes first.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

IPAddress = IPv4Address | IPv6Address
IPNetwork = IPv4Network | IPv6Network

MAIN_TABLE, DEFAULT_TABLE = 254, 253
"""The routing tables that are searched without any rule of the operator; others only count by the kernel's answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """One address of an interface. Lifetimes are left out on purpose: renewing a lease changes nothing."""

    ip: IPAddress
    prefix: int
    tentative: bool = False
    """Duplicate detection (RFC 4862 5.4) is not done or has failed: no socket can use the address."""
    deprecated: bool = False
    """Still good for what uses it, not for anything new (RFC 4862 5.5.4)."""

    @property
    def network(self) -> IPNetwork:
        """The prefix that is on the link."""
        return ip_network((self.ip, self.prefix), strict=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Interface:
    """A network interface. ``kind`` is the kernel's word for a virtual one: ``veth bridge wireguard``, else empty."""

    name: str
    index: int
    kind: str = ""
    up: bool = True
    carrier: bool = True
    addresses: tuple[Address, ...] = ()

    @property
    def usable(self) -> bool:
        """Can carry packets now."""
        return self.up and self.carrier


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """A route. Without a ``device`` it refuses what it matches (``unreachable``, ``blackhole``, ``prohibit``)."""

    destination: IPNetwork
    device: str | None
    gateway: IPAddress | None = None
    metric: int = 0
    source: IPAddress | None = None
    """The preferred source address, when the route names one."""
    table: int = MAIN_TABLE

    @property
    def default(self) -> bool:
        """Leads everywhere."""
        return self.destination.prefixlen == 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Path:
    """How packets to somebody leave this machine."""

    device: str
    source: IPAddress
    gateway: IPAddress | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Interest:
    """Somebody we talk to, or want to: a proxy or the far end of an ICE pair, and our own address on that path."""

    remote: IPAddress
    local: IPAddress | None = None

    @classmethod
    def of(cls, remote: str, local: str | None = None) -> Interest:
        """From text as sockets give it: zones (``%eth0``) go, ``::ffff:192.0.2.1`` is IPv4. Raises ValueError."""
        return cls(remote=_address(remote), local=None if local is None else _address(local))


def _address(text: str) -> IPAddress:
    address = ip_address(text.partition("%")[0])
    mapped = address.ipv4_mapped if address.version == 6 else None
    return mapped or address


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """Interfaces and routes at one moment."""

    interfaces: tuple[Interface, ...] = ()
    routes: tuple[Route, ...] = ()
    answers: Mapping[IPAddress, Path | None] = field(default_factory=dict)
    """What the kernel says of the addresses that it was asked for: it knows policy rules, this module does not."""

    def interface(self, name: str) -> Interface | None:
        """The interface of that name."""
        return next((interface for interface in self.interfaces if interface.name == name), None)

    def holder(self, address: IPAddress) -> Interface | None:
        """The interface that has ``address``, whether it works or not."""
        return next((each for each in self.interfaces if any(own.ip == address for own in each.addresses)), None)

    def can_use(self, address: IPAddress) -> bool:
        """A socket bound to ``address`` can send now."""
        return any(
            own.ip == address and not own.tentative
            for interface in self.interfaces
            if interface.usable
            for own in interface.addresses
        )

    def route_to(self, address: IPAddress) -> Path | None:
        """The device and source address that packets to ``address`` should use; None when there is no way."""
        if address in self.answers:
            answer = self.answers[address]
            if answer is None or self._usable(answer.device):
                return answer
        return self.look_up(address)

    def default_devices(self) -> tuple[str, ...]:
        """The devices that lead everywhere and work, best first."""
        found = [
            route.device
            for route in self._ranked(route for route in self.routes if route.default)
            if route.device is not None and self._source(route, route.destination.network_address) is not None
        ]
        return tuple(dict.fromkeys(found))

    def devices_beyond_the_link(self) -> tuple[str, ...]:
        """The devices with an address that others can answer to. A closed network has no default route."""
        return tuple(
            interface.name
            for interface in self.interfaces
            if interface.usable
            and any(not (own.tentative or own.ip.is_link_local or own.ip.is_loopback) for own in interface.addresses)
        )

    def look_up(self, address: IPAddress) -> Path | None:
        """As `route_to`, from the tables alone."""
        own = self.holder(address)
        if own is not None:
            return Path(device=own.name, source=address)
        matching = (
            route
            for route in self.routes
            if route.destination.version == address.version and address in route.destination
        )
        for route in self._ranked(matching):
            if route.device is None:
                return None
            source = self._source(route, address)
            if source is not None:
                return Path(device=route.device, source=source, gateway=route.gateway)
        return None

    def _ranked(self, routes: Iterable[Route]) -> list[Route]:
        """Those that work, in the order in which Linux tries them."""
        usable = (
            route
            for route in routes
            if route.table in (MAIN_TABLE, DEFAULT_TABLE) and (route.device is None or self._usable(route.device))
        )
        return sorted(usable, key=lambda route: (-route.table, -route.destination.prefixlen, route.metric))

    def _usable(self, device: str) -> bool:
        interface = self.interface(device)
        return interface is not None and interface.usable

    def _source(self, route: Route, towards: IPAddress) -> IPAddress | None:
        """The source address for ``route``: the one it names, else the best of its device (RFC 6724 in short)."""
        if route.source is not None:
            return route.source
        interface = self.interface(route.device or "")
        candidates = [
            (own.deprecated, own.ip.is_link_local, route.gateway not in own.network if route.gateway else False, own.ip)
            for own in (interface.addresses if interface else ())
            if own.ip.version == route.destination.version and not own.tentative
            # an IPv6 link-local address reaches nobody beyond the link
            if own.ip.version == 4 or not own.ip.is_link_local or towards.is_link_local
        ]
        return min(candidates, key=lambda candidate: candidate[:3])[3] if candidates else None


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkChange:
    """The network changed in a way that matters, or somebody asked to behave as if it had (``trigger``)."""

    generation: int
    old: Snapshot
    new: Snapshot
    became_unusable: tuple[IPAddress, ...] = ()
    """Local addresses that were in use and can no longer send."""
    reasons: tuple[str, ...] = ()
    """Short texts for people, the weightiest first: ``default route moved eth0 -> wlan0``."""
    trigger: str | None = None
    """Why it was asked for; None when the network itself moved."""


def diff(
    old: Snapshot,
    new: Snapshot,
    interests: Iterable[Interest],
    *,
    generation: int,
    ignore_interfaces: tuple[str, ...] = (),
) -> NetworkChange | None:
    """What changed between two snapshots that matters to ``interests``; None when nothing did.

    Counts: the device, the source or the router towards a remote; a local address in use that can no longer send; the
    first working default route, or network at all, after a time without any. ``ignore_interfaces`` are globs: what
    happens among such interfaces never counts, a path that moves between one of them and another does.
    """
    ignored = _Globs(ignore_interfaces)
    reasons: dict[str, None] = {}
    unusable: dict[IPAddress, None] = {}
    for interest in dict.fromkeys(interests):
        before, after = _paths(old, new, interest.remote)
        local = interest.local or (before.source if before else None)
        if local is not None and (lost := _loss(old, new, local, ignored)) is not None:
            unusable[local] = None
            reasons[lost] = None
        if (moved := _move(old, new, interest.remote, before, after, ignored)) is not None:
            reasons[moved] = None
    appeared = ignored.without(new.default_devices())
    if appeared and not ignored.without(old.default_devices()):
        reasons[f"default route appeared on {appeared[0]}"] = None
    networks = ignored.without(new.devices_beyond_the_link())
    if not reasons and networks and not ignored.without((*old.default_devices(), *old.devices_beyond_the_link())):
        reasons[f"network appeared on {networks[0]}"] = None
    if not reasons:
        return None
    return NetworkChange(
        generation=generation,
        old=old,
        new=new,
        became_unusable=tuple(unusable),
        reasons=tuple(sorted(reasons, key=lambda reason: not reason.startswith("default route"))),
    )


class _Globs:
    """Interface names that the operator does not care about."""

    def __init__(self, patterns: tuple[str, ...]) -> None:
        self._patterns = patterns

    def __contains__(self, device: str) -> bool:
        return any(fnmatchcase(device, pattern) for pattern in self._patterns)

    def without(self, devices: Iterable[str]) -> tuple[str, ...]:
        return tuple(device for device in devices if device not in self)


def _loss(old: Snapshot, new: Snapshot, local: IPAddress, ignored: _Globs) -> str | None:
    """Why ``local`` can no longer send, when it could before."""
    holder = old.holder(local)
    if holder is None or holder.name in ignored or not old.can_use(local) or new.can_use(local):
        return None
    now = new.interface(holder.name)
    if now is None:
        return f"{holder.name} is gone"
    if not now.up:
        return f"{holder.name} went down"
    if not now.carrier:
        return f"{holder.name} lost its carrier"
    return f"address {local} gone from {holder.name}"


def _paths(old: Snapshot, new: Snapshot, remote: IPAddress) -> tuple[Path | None, Path | None]:
    """The path before and after, like with like: the kernel's choice of a source is finer than ours."""
    if (remote in old.answers) == (remote in new.answers):
        return old.route_to(remote), new.route_to(remote)
    return old.look_up(remote), new.look_up(remote)


def _move(
    old: Snapshot, new: Snapshot, remote: IPAddress, before: Path | None, after: Path | None, ignored: _Globs
) -> str | None:
    """How the path to ``remote`` changed, when it did."""
    if before == after or all(path is None or path.device in ignored for path in (before, after)):
        return None
    if after is None:
        return None if before is None else f"{_route(old, remote)} gone (was {before.device})"
    if before is None:
        return f"{_route(new, remote)} appeared on {after.device}"
    if before.device != after.device:
        return f"{_route(new, remote)} moved {before.device} -> {after.device}"
    if before.source != after.source and not _rotated(new, before, after):
        return f"source on {after.device} changed {before.source} -> {after.source}"
    if before.gateway != after.gateway and not _still_routed(new, before):
        return f"router on {after.device} changed {before.gateway} -> {after.gateway}"
    return None


def _route(snapshot: Snapshot, remote: IPAddress) -> str:
    """``default route`` when no route but a default one leads there, else one with the remote's name."""
    matching = [
        route
        for route in snapshot.routes
        if route.destination.version == remote.version and remote in route.destination
    ]
    return "default route" if matching and all(route.default for route in matching) else f"route to {remote}"


def _rotated(new: Snapshot, before: Path, after: Path) -> bool:
    """Another address of the same IPv6 prefix is preferred now, the old one still works (RFC 8981 3.4)."""
    if before.source.version == 4 or not new.can_use(before.source):
        return False
    interface = new.interface(after.device)
    return interface is not None and any(
        after.source == own.ip and before.source in own.network for own in interface.addresses
    )


def _still_routed(new: Snapshot, before: Path) -> bool:
    """The old router is still in the table: several routers, or a redirect (RFC 4861 8), not another network."""
    return any(route.gateway == before.gateway and route.device == before.device for route in new.routes)
