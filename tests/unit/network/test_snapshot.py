"""Where packets go, and which changes of the network matter to a phone."""

from __future__ import annotations

from dataclasses import dataclass, replace
from ipaddress import ip_address, ip_network

import pytest

from phoned.network.snapshot import Address, Interest, Interface, Path, Route, Snapshot, diff

PROXY, PROXY_6, PEER = "203.0.113.5", "2001:db8:ffff::5", "198.51.100.7"


def address(text: str, *, tentative: bool = False, deprecated: bool = False) -> Address:
    ip, _, prefix = text.partition("/")
    return Address(ip=ip_address(ip), prefix=int(prefix), tentative=tentative, deprecated=deprecated)


def interface(name: str, *addresses: str | Address, kind: str = "", up: bool = True, carrier: bool = True) -> Interface:
    owned = tuple(each if isinstance(each, Address) else address(each) for each in addresses)
    return Interface(name=name, index=hash(name) % 1000, kind=kind, up=up, carrier=carrier, addresses=owned)


def route(
    destination: str,
    device: str | None,
    gateway: str | None = None,
    *,
    metric: int = 0,
    source: str | None = None,
    table: int = 254,
) -> Route:
    return Route(
        destination=ip_network(destination),
        device=device,
        gateway=ip_address(gateway) if gateway else None,
        metric=metric,
        source=ip_address(source) if source else None,
        table=table,
    )


def path(device: str, source: str, gateway: str | None = None) -> Path:
    return Path(device=device, source=ip_address(source), gateway=ip_address(gateway) if gateway else None)


LO = interface("lo", "127.0.0.1/8", "::1/128")
WIFI = interface("wlan0", "10.0.1.2/24", "2001:db8:1::2/64", "fe80::2/64")
WIRE = interface("eth0", "10.0.2.2/24")
WIFI_ROUTES = (
    route("0.0.0.0/0", "wlan0", "10.0.1.1", metric=600),
    route("10.0.1.0/24", "wlan0", source="10.0.1.2", metric=600),
    route("2001:db8:1::/64", "wlan0", metric=256),
    route("::/0", "wlan0", "fe80::1", metric=1024),
)
WIRE_ROUTES = (
    route("0.0.0.0/0", "eth0", "10.0.2.1", metric=100),
    route("10.0.2.0/24", "eth0", source="10.0.2.2", metric=100),
)
AT_HOME = Snapshot(interfaces=(LO, WIFI), routes=WIFI_ROUTES)
DOCKED = Snapshot(interfaces=(LO, WIFI, WIRE), routes=(*WIFI_ROUTES, *WIRE_ROUTES))
ONLINE = (Interest.of(PROXY, "10.0.1.2"), Interest.of(PEER, "10.0.1.2"))


# ---------------------------------------------------------------- looking a path up


@pytest.mark.parametrize(
    ("snapshot", "towards", "expected"),
    [
        pytest.param(AT_HOME, PROXY, path("wlan0", "10.0.1.2", "10.0.1.1"), id="by the default route"),
        pytest.param(AT_HOME, "10.0.1.77", path("wlan0", "10.0.1.2"), id="on the link"),
        pytest.param(DOCKED, PROXY, path("eth0", "10.0.2.2", "10.0.2.1"), id="the lower metric wins"),
        pytest.param(DOCKED, "10.0.1.77", path("wlan0", "10.0.1.2"), id="the longer prefix wins over the metric"),
        pytest.param(AT_HOME, PROXY_6, path("wlan0", "2001:db8:1::2", "fe80::1"), id="IPv6"),
        pytest.param(Snapshot(interfaces=(LO, WIRE), routes=WIRE_ROUTES), PROXY_6, None, id="no route of that family"),
        pytest.param(AT_HOME, "127.0.0.1", path("lo", "127.0.0.1"), id="ourselves, by loopback"),
        pytest.param(AT_HOME, "10.0.1.2", path("wlan0", "10.0.1.2"), id="ourselves, by an address"),
        pytest.param(Snapshot(), PROXY, None, id="nothing at all"),
        pytest.param(
            replace(DOCKED, interfaces=(LO, WIFI, replace(WIRE, carrier=False))), PROXY,
            path("wlan0", "10.0.1.2", "10.0.1.1"), id="a dead link is passed over, as Linux does not",
        ),
        pytest.param(
            replace(DOCKED, interfaces=(LO, WIFI, replace(WIRE, up=False))), PROXY,
            path("wlan0", "10.0.1.2", "10.0.1.1"), id="an interface that is down",
        ),
        pytest.param(
            replace(DOCKED, interfaces=(LO, WIFI)), PROXY, path("wlan0", "10.0.1.2", "10.0.1.1"),
            id="a route whose device is gone",
        ),
        pytest.param(
            replace(DOCKED, interfaces=(LO, WIFI, interface("eth0"))), PROXY, path("wlan0", "10.0.1.2", "10.0.1.1"),
            id="a device without an address yet",
        ),
        pytest.param(
            replace(AT_HOME, routes=(route("203.0.113.0/24", None), *WIFI_ROUTES)), PROXY, None,
            id="an unreachable route refuses",
        ),
        pytest.param(
            replace(DOCKED, routes=(*WIFI_ROUTES, *(replace(each, table=100) for each in WIRE_ROUTES))), PROXY,
            path("wlan0", "10.0.1.2", "10.0.1.1"), id="tables behind rules are not guessed at",
        ),
        pytest.param(
            Snapshot(interfaces=(WIFI, WIRE), routes=(replace(WIRE_ROUTES[0], table=253), *WIFI_ROUTES)), PROXY,
            path("wlan0", "10.0.1.2", "10.0.1.1"), id="the table main comes before the table default",
        ),
        pytest.param(
            replace(AT_HOME, answers={ip_address(PROXY): path("wlan0", "10.0.1.9")}), PROXY,
            path("wlan0", "10.0.1.9"), id="the kernel knows better",
        ),
        pytest.param(
            replace(AT_HOME, answers={ip_address(PROXY): None}), PROXY, None, id="the kernel says that there is no way"
        ),
        pytest.param(
            replace(AT_HOME, answers={ip_address(PROXY): path("eth0", "10.0.2.2")}), PROXY,
            path("wlan0", "10.0.1.2", "10.0.1.1"), id="the kernel names a dead link",
        ),
    ],
)  # fmt: skip
def test_route_to(snapshot: Snapshot, towards: str, expected: Path | None) -> None:
    assert snapshot.route_to(ip_address(towards)) == expected


@pytest.mark.parametrize(
    ("addresses", "routed_by", "expected"),
    [
        ((address("10.0.1.9/24", deprecated=True), "10.0.1.2/24"), route("0.0.0.0/0", "x", "10.0.1.1"), "10.0.1.2"),
        ((address("10.0.1.9/24", tentative=True), "10.0.1.2/24"), route("0.0.0.0/0", "x", "10.0.1.1"), "10.0.1.2"),
        (("192.168.0.2/24", "10.0.1.2/24"), route("0.0.0.0/0", "x", "10.0.1.1"), "10.0.1.2"),
        (("192.168.0.2/24", "10.0.1.2/24"), route("0.0.0.0/0", "x"), "192.168.0.2"),
        (("169.254.3.4/16", "10.0.1.2/24"), route("0.0.0.0/0", "x"), "10.0.1.2"),
        (("10.0.1.2/24", "10.0.1.3/24"), route("0.0.0.0/0", "x", "10.0.1.1", source="10.0.1.3"), "10.0.1.3"),
    ],
    ids=["deprecated", "tentative", "of the router's network", "the first", "not a self-made one", "the preferred one"],
)
def test_the_source_address_is_the_one_that_works(
    addresses: tuple[str | Address, ...], routed_by: Route, expected: str
) -> None:
    found = Snapshot(interfaces=(interface("x", *addresses),), routes=(routed_by,)).route_to(ip_address(PROXY))
    assert found is not None
    assert str(found.source) == expected


def test_a_link_local_address_reaches_only_the_link() -> None:
    snapshot = Snapshot(
        interfaces=(interface("eth0", "fe80::2/64"),),
        routes=(route("::/0", "eth0", "fe80::1"), route("fe80::/64", "eth0")),
    )
    assert snapshot.route_to(ip_address(PROXY_6)) is None
    assert snapshot.route_to(ip_address("fe80::9")) == path("eth0", "fe80::2")


def test_default_devices_are_named_best_first_and_once() -> None:
    assert DOCKED.default_devices() == ("eth0", "wlan0")
    assert replace(DOCKED, interfaces=(LO, WIFI, replace(WIRE, carrier=False))).default_devices() == ("wlan0",)
    assert Snapshot(interfaces=(WIFI,), routes=(route("0.0.0.0/0", None),)).default_devices() == ()


def test_an_interest_is_read_from_what_sockets_say() -> None:
    assert Interest.of("fe80::1%eth0", "fe80::2%eth0") == Interest.of("fe80::1", "fe80::2")
    assert Interest.of("::ffff:192.0.2.1", "::ffff:10.0.1.2") == Interest.of("192.0.2.1", "10.0.1.2")
    with pytest.raises(ValueError, match="does not appear"):
        Interest.of("sip.example.com")


# ---------------------------------------------------------------- what matters


@dataclass(frozen=True)
class Case:
    """Two moments and what a phone must make of them."""

    old: Snapshot
    new: Snapshot
    reasons: tuple[str, ...] = ()
    unusable: tuple[str, ...] = ()
    interests: tuple[Interest, ...] = ONLINE
    ignore: tuple[str, ...] = ("docker*", "veth*", "br-*")


def with_interfaces(snapshot: Snapshot, *more: Interface) -> Snapshot:
    names = {each.name for each in more}
    kept = tuple(each for each in snapshot.interfaces if each.name not in names)
    return replace(snapshot, interfaces=(*kept, *more))


def with_routes(snapshot: Snapshot, *more: Route) -> Snapshot:
    return replace(snapshot, routes=(*snapshot.routes, *more))


def answering(snapshot: Snapshot, towards: str, answer: Path | None) -> Snapshot:
    return replace(snapshot, answers={**snapshot.answers, ip_address(towards): answer})


DOCKER = interface("docker0", "172.17.0.1/16", kind="bridge")
CONTAINER = interface("vethab12", "fe80::42/64", kind="veth")
DOCKER_ROUTE = route("172.17.0.0/16", "docker0", source="172.17.0.1")
IN_A_CONTAINER = (Interest.of("172.17.0.2", "172.17.0.1"),)
V6 = (Interest.of(PROXY_6, "2001:db8:1::2"),)
PRIVACY = interface("wlan0", "10.0.1.2/24", address("2001:db8:1::2/64", deprecated=True), "2001:db8:1::abcd/64")
RENUMBERED = interface("wlan0", "10.0.1.2/24", address("2001:db8:1::2/64", deprecated=True), "2001:db8:2::2/64")

MATTERS = {
    "a better uplink appears": Case(AT_HOME, DOCKED, ("default route moved wlan0 -> eth0",)),
    "the metrics change places": Case(
        DOCKED, replace(DOCKED, routes=(*WIFI_ROUTES, *(replace(each, metric=700) for each in WIRE_ROUTES))),
        ("default route moved eth0 -> wlan0",),
    ),
    "handover": Case(
        AT_HOME, Snapshot(interfaces=(LO, interface("wlan0", carrier=False), WIRE), routes=WIRE_ROUTES),
        ("default route moved wlan0 -> eth0", "wlan0 lost its carrier"), ("10.0.1.2",),
    ),
    "the interface is pulled out": Case(
        AT_HOME, Snapshot(interfaces=(LO,)), ("default route gone (was wlan0)", "wlan0 is gone"), ("10.0.1.2",)
    ),
    "the interface is taken down": Case(
        AT_HOME, with_interfaces(AT_HOME, replace(WIFI, up=False)),
        ("default route gone (was wlan0)", "wlan0 went down"), ("10.0.1.2",),
    ),
    "another address on the same interface": Case(
        AT_HOME, replace(
            with_interfaces(AT_HOME, interface("wlan0", "10.0.1.9/24")),
            routes=(WIFI_ROUTES[0], replace(WIFI_ROUTES[1], source=ip_address("10.0.1.9"))),
        ),
        ("address 10.0.1.2 gone from wlan0", "source on wlan0 changed 10.0.1.2 -> 10.0.1.9"), ("10.0.1.2",),
    ),
    "the source in use changes while the old one stays": Case(
        answering(AT_HOME, PROXY, path("wlan0", "10.0.1.2")),
        answering(with_interfaces(AT_HOME, interface("wlan0", "10.0.1.2/24", "10.0.1.9/24")), PROXY,
                  path("wlan0", "10.0.1.9")),
        ("source on wlan0 changed 10.0.1.2 -> 10.0.1.9",),
    ),
    "another router": Case(
        AT_HOME, replace(AT_HOME, routes=(route("0.0.0.0/0", "wlan0", "10.0.1.254"), *WIFI_ROUTES[1:])),
        ("router on wlan0 changed 10.0.1.1 -> 10.0.1.254",),
    ),
    "a VPN takes the proxy alone": Case(
        AT_HOME, with_routes(with_interfaces(AT_HOME, interface("wg0", "10.9.0.2/32", kind="wireguard")),
                             route("203.0.113.0/24", "wg0")),
        (f"route to {PROXY} moved wlan0 -> wg0",),
    ),
    "a VPN takes everything by a rule": Case(
        answering(AT_HOME, PROXY, path("wlan0", "10.0.1.2", "10.0.1.1")),
        answering(with_interfaces(AT_HOME, interface("wg0", "10.9.0.2/32")), PROXY, path("wg0", "10.9.0.2")),
        ("default route moved wlan0 -> wg0",),
    ),
    "the network comes back": Case(
        Snapshot(interfaces=(LO,)), AT_HOME, ("default route appeared on wlan0",), (), (Interest.of(PROXY),)
    ),
    "the network comes back and nobody is known yet": Case(
        Snapshot(interfaces=(LO,)), AT_HOME, ("default route appeared on wlan0",), (), ()
    ),
    "a closed network comes back and nobody was reached yet": Case(
        Snapshot(interfaces=(LO, interface("eth0", "fe80::9/64"))),
        Snapshot(interfaces=(LO, WIRE), routes=WIRE_ROUTES[1:]),
        ("network appeared on eth0",), (), (Interest.of("192.0.2.1"),),
    ),
    "the way to one host comes back": Case(
        AT_HOME, with_routes(with_interfaces(AT_HOME, interface("tun0", "10.8.0.2/24")), route("fd00::/8", "tun0"),
                             route("192.0.2.0/24", "tun0")),
        ("route to 192.0.2.9 moved wlan0 -> tun0",), (), (Interest.of("192.0.2.9"),),
    ),
    "the only way to one host comes": Case(
        Snapshot(interfaces=(WIRE,), routes=WIRE_ROUTES[1:]),
        Snapshot(interfaces=(WIRE,), routes=(*WIRE_ROUTES[1:], route("192.0.2.0/24", "eth0", "10.0.2.1"))),
        ("route to 192.0.2.9 appeared on eth0",), (), (Interest.of("192.0.2.9"),),
    ),
    "an address in use fails though the proxy's path stays": Case(
        replace(DOCKED, routes=(*WIFI_ROUTES, *WIRE_ROUTES)), replace(with_interfaces(DOCKED, interface("wlan0")),
                                                                     routes=WIRE_ROUTES),
        ("address 10.0.1.2 gone from wlan0",), ("10.0.1.2",), (Interest.of(PEER, "10.0.1.2"),),
    ),
    "the source of a connection in the making is lost": Case(
        AT_HOME, Snapshot(interfaces=(LO,)), ("default route gone (was wlan0)", "wlan0 is gone"), ("10.0.1.2",),
        (Interest.of(PROXY),),
    ),
    "IPv6 is renumbered": Case(
        answering(AT_HOME, PROXY_6, path("wlan0", "2001:db8:1::2", "fe80::1")),
        answering(with_interfaces(AT_HOME, RENUMBERED), PROXY_6, path("wlan0", "2001:db8:2::2", "fe80::1")),
        ("source on wlan0 changed 2001:db8:1::2 -> 2001:db8:2::2",), (), V6,
    ),
    "the rotated IPv6 address in use expires at last": Case(
        answering(with_interfaces(AT_HOME, PRIVACY), PROXY_6, path("wlan0", "2001:db8:1::abcd", "fe80::1")),
        answering(with_interfaces(AT_HOME, interface("wlan0", "10.0.1.2/24", "2001:db8:1::abcd/64")), PROXY_6,
                  path("wlan0", "2001:db8:1::abcd", "fe80::1")),
        ("address 2001:db8:1::2 gone from wlan0",), ("2001:db8:1::2",), V6,
    ),
    "a path moves onto a container's bridge": Case(
        with_interfaces(AT_HOME, DOCKER),
        with_routes(with_interfaces(AT_HOME, DOCKER), route("203.0.113.0/24", "docker0", source="172.17.0.1")),
        (f"route to {PROXY} moved wlan0 -> docker0",),
    ),
    "a path moves from a container's bridge into the world": Case(
        with_routes(with_interfaces(AT_HOME, DOCKER), DOCKER_ROUTE),
        with_routes(with_interfaces(AT_HOME, replace(DOCKER, carrier=False)), DOCKER_ROUTE),
        ("route to 172.17.0.2 moved docker0 -> wlan0",), (), IN_A_CONTAINER,
    ),
}  # fmt: skip

NOISE = {
    "nothing": Case(AT_HOME, AT_HOME),
    "docker starts": Case(AT_HOME, with_routes(with_interfaces(AT_HOME, DOCKER, CONTAINER), DOCKER_ROUTE)),
    "docker stops": Case(with_routes(with_interfaces(AT_HOME, DOCKER, CONTAINER), DOCKER_ROUTE), AT_HOME),
    "a container's bridge of any name, known by its route alone": Case(
        AT_HOME,
        with_routes(with_interfaces(AT_HOME, interface("lxdbr0", "10.55.0.1/24", kind="bridge")),
                    route("10.55.0.0/24", "lxdbr0")),
        ignore=(),
    ),
    "the container that we talk to restarts": Case(
        Snapshot(interfaces=(LO, DOCKER), routes=(DOCKER_ROUTE,)),
        Snapshot(interfaces=(LO, replace(DOCKER, carrier=False)), routes=(DOCKER_ROUTE,)),
        interests=IN_A_CONTAINER,
    ),
    "a second uplink of a worse metric": Case(
        AT_HOME,
        replace(DOCKED, routes=(*WIFI_ROUTES, *(replace(each, metric=9000) for each in WIRE_ROUTES))),
    ),
    "the unused uplink loses its carrier": Case(
        replace(DOCKED, routes=(*WIFI_ROUTES, *(replace(each, metric=9000) for each in WIRE_ROUTES))), AT_HOME
    ),
    "the metric of the only route changes": Case(
        AT_HOME, replace(AT_HOME, routes=(replace(WIFI_ROUTES[0], metric=50), *WIFI_ROUTES[1:]))
    ),
    "an IPv6 privacy address rotates": Case(
        answering(AT_HOME, PROXY_6, path("wlan0", "2001:db8:1::2", "fe80::1")),
        answering(with_interfaces(AT_HOME, PRIVACY), PROXY_6, path("wlan0", "2001:db8:1::abcd", "fe80::1")),
        interests=V6,
    ),
    "a link-local address comes and goes": Case(
        AT_HOME, with_interfaces(AT_HOME, interface("wlan0", "10.0.1.2/24", "2001:db8:1::2/64")),
        interests=(*ONLINE, *V6),
    ),
    "a second router is preferred, the first is still there": Case(
        AT_HOME, replace(AT_HOME, routes=(route("0.0.0.0/0", "wlan0", "10.0.1.254", metric=10), *WIFI_ROUTES))
    ),
    "the network goes while nobody uses it": Case(AT_HOME, Snapshot(interfaces=(LO,)), interests=()),
    "IPv6 arrives after IPv4": Case(
        replace(AT_HOME, routes=WIFI_ROUTES[:2]), AT_HOME, interests=(Interest.of(PROXY, "10.0.1.2"),)
    ),
    "a default route on an ignored interface": Case(
        Snapshot(interfaces=(LO,)),
        Snapshot(interfaces=(LO, DOCKER), routes=(route("0.0.0.0/0", "docker0", source="172.17.0.1"),)),
        interests=(),
    ),
    "somebody new, of whom the kernel was not asked before": Case(
        AT_HOME, answering(AT_HOME, PROXY, path("wlan0", "10.0.1.77"))
    ),
    "an address that we never had": Case(AT_HOME, AT_HOME, interests=(Interest.of(PROXY, "192.0.2.200"),)),
    "an address that did not work before either": Case(
        with_interfaces(AT_HOME, interface("eth0", "10.0.2.2/24", carrier=False)), AT_HOME,
        interests=(Interest.of(PROXY, "10.0.2.2"),),
    ),
    "unreachable before and after": Case(Snapshot(), Snapshot(interfaces=(LO,))),
}  # fmt: skip


@pytest.mark.parametrize("name", MATTERS)
def test_what_matters_is_told_with_its_reasons(name: str) -> None:
    case = MATTERS[name]
    change = diff(case.old, case.new, case.interests, generation=7, ignore_interfaces=case.ignore)
    assert change is not None
    assert (change.reasons, tuple(map(str, change.became_unusable))) == (case.reasons, case.unusable)
    assert (change.generation, change.old, change.new, change.trigger) == (7, case.old, case.new, None)


@pytest.mark.parametrize("name", NOISE)
def test_noise_is_not_told(name: str) -> None:
    case = NOISE[name]
    assert diff(case.old, case.new, case.interests, generation=7, ignore_interfaces=case.ignore) is None


def test_a_renewed_lease_leaves_two_snapshots_equal() -> None:
    assert replace(AT_HOME) == AT_HOME


def test_many_interests_on_one_path_give_one_reason() -> None:
    interests = tuple(Interest.of(f"198.51.100.{host}", "10.0.1.2") for host in range(1, 200))
    change = diff(AT_HOME, DOCKED, interests, generation=1)
    assert change is not None
    assert change.reasons == ("default route moved wlan0 -> eth0",)


def test_a_second_closed_network_is_no_news_nor_is_the_first_of_an_interface_that_nobody_cares_about() -> None:
    closed, nobody = Snapshot(interfaces=(LO, WIRE)), [Interest.of("192.0.2.1")]
    second = Snapshot(interfaces=(LO, WIRE, interface("eth1", "10.7.0.2/24")))
    assert diff(closed, second, nobody, generation=1) is None
    assert diff(Snapshot(interfaces=(LO,)), closed, nobody, generation=1, ignore_interfaces=("eth*",)) is None
    tentative = interface("eth0", address("10.0.2.2/24", tentative=True))
    assert diff(Snapshot(interfaces=(LO,)), Snapshot(interfaces=(tentative,)), nobody, generation=1) is None
