"""What the netlink and the polling source make of what a kernel can hold."""

from __future__ import annotations

import asyncio
import errno
from ipaddress import ip_address, ip_network

import pytest
from pyroute2 import AsyncIPRoute

from phoned.network import netlink
from phoned.network.netlink import NetlinkSource
from phoned.network.polling import PollingSource
from phoned.network.snapshot import Route, Snapshot
from tests.support.netns import CORE_ADDRESS, SEGMENTS, Lab

WIFI, LTE = SEGMENTS["wifi"], SEGMENTS["lte"]


async def facts(*towards: str) -> Snapshot:
    source = NetlinkSource()
    try:
        return await source.snapshot([ip_address(each) for each in towards])
    finally:
        source.close()


def towards(snapshot: Snapshot, destination: str) -> list[Route]:
    return [route for route in snapshot.routes if route.destination == ip_network(destination)]


async def test_kinds_and_states_of_interfaces(phone: Lab) -> None:
    phone.ip("phone", "link add br-7 type bridge", "link add v0 type veth peer name v1", "link set v0 up")
    snapshot = await facts()
    known = {each.name: (each.kind, each.up, each.carrier) for each in snapshot.interfaces}
    assert known["lo"] == ("", True, True)
    assert known["wifi"] == ("veth", True, True)
    assert known["br-7"] == ("bridge", False, False)
    assert known["v0"] == ("veth", True, False), "its peer is down"
    assert [each.index for each in snapshot.interfaces] == sorted(each.index for each in snapshot.interfaces)


async def test_addresses_and_what_they_are_good_for(phone: Lab) -> None:
    phone.ip(
        "phone",
        "addr add fd77:9::1/64 dev wifi nodad",
        "addr change fd77:9::1/64 dev wifi preferred_lft 0",
        "addr add 10.9.9.1 peer 10.9.9.2/32 dev lo",
    )
    snapshot = await facts()
    wifi, lo = snapshot.interface("wifi"), snapshot.interface("lo")
    assert wifi is not None
    assert lo is not None
    old = next(own for own in wifi.addresses if str(own.ip) == "fd77:9::1")
    assert (old.deprecated, old.tentative, old.prefix) == (True, False, 64)
    assert "10.9.9.1" in [str(own.ip) for own in lo.addresses], "our end of a point-to-point link, not the far one"


async def test_an_address_under_duplicate_detection_is_tentative(phone: Lab) -> None:
    phone.run("phone", ["sysctl", "-qw", "net.ipv6.conf.wifi.accept_dad=1", "net.ipv6.conf.wifi.dad_transmits=100"])
    phone.ip("phone", "addr add fd77:8::1/64 dev wifi")
    snapshot = await facts()
    assert not snapshot.can_use(ip_address("fd77:8::1"))
    assert snapshot.holder(ip_address("fd77:8::1")) is not None


async def test_routes_of_all_shapes(phone: Lab) -> None:
    phone.ip(
        "phone",
        "route add unreachable 192.0.2.0/24",
        "route add blackhole 198.51.100.0/24 metric 7",
        f"route add 203.0.113.0/24 via {WIFI.gateway} src {WIFI.address} metric 5",
        f"route add 100.64.0.0/10 nexthop via {WIFI.gateway} dev wifi nexthop via {LTE.gateway} dev lte",
        f"route add 172.31.0.0/16 via inet6 {WIFI.gateway_6} dev wifi",
        "route add multicast 224.1.0.0/16 dev wifi",
    )
    snapshot = await facts("192.0.2.1", "203.0.113.9", "172.31.0.1", "127.0.0.1", WIFI.address)
    (unreachable,), (black,) = towards(snapshot, "192.0.2.0/24"), towards(snapshot, "198.51.100.0/24")
    assert (unreachable.device, black.device, black.metric) == (None, None, 7)
    assert snapshot.route_to(ip_address("192.0.2.1")) is None
    (named,) = towards(snapshot, "203.0.113.0/24")
    assert (str(named.source), named.metric, str(named.gateway)) == (WIFI.address, 5, WIFI.gateway)
    assert [(each.device, str(each.gateway)) for each in towards(snapshot, "100.64.0.0/10")] == [
        ("wifi", WIFI.gateway),
        ("lte", LTE.gateway),
    ]
    (over_v6,) = towards(snapshot, "172.31.0.0/16")
    assert str(over_v6.gateway) == WIFI.gateway_6
    path = snapshot.route_to(ip_address("172.31.0.1"))
    assert path is not None
    assert str(path.gateway) == WIFI.gateway_6
    assert towards(snapshot, "224.1.0.0/16") == []
    own = snapshot.answers[ip_address(WIFI.address)]
    assert own is not None
    assert own.device == "lo"
    assert {route.table for route in snapshot.routes} == {254, WIFI.table, LTE.table}


async def test_the_tables_and_the_kernel_agree(phone: Lab) -> None:
    for metric in (50, 150):
        phone.ip("phone", f"route replace default via {LTE.gateway} dev lte metric {metric}")
        snapshot = await facts(CORE_ADDRESS)
        assert snapshot.look_up(ip_address(CORE_ADDRESS)) == snapshot.answers[ip_address(CORE_ADDRESS)]
        phone.ip("phone", f"route del default via {LTE.gateway} dev lte metric {metric}")


async def test_more_routes_than_anybody_needs_are_not_kept(phone: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(netlink, "MOST_ROUTES", 20)
    phone.ip("phone", *(f"route add 172.20.{number}.0/24 dev wifi" for number in range(50)))
    assert len((await facts()).routes) == 20


@pytest.mark.parametrize(("moves", "settles"), [(1, True), (100, False)])
async def test_a_network_that_moves_during_the_reading_is_read_again(
    phone: Lab, monkeypatch: pytest.MonkeyPatch, moves: int, settles: bool
) -> None:
    """Found when a path was read whose source no interface had yet: the loss of the old one was never told."""
    hosts = iter(range(10, 10 + moves))

    class Moving(AsyncIPRoute):  # type: ignore[misc]  # the library has no types
        async def get_routes(self, *arguments: object, **options: object) -> object:
            for host in hosts:
                phone.ip("phone", "addr flush dev wifi scope global", f"addr add 10.77.1.{host}/24 dev wifi")
                phone.ip("phone", f"route replace default via {WIFI.gateway} dev wifi metric 100")
                break
            return await super().get_routes(*arguments, **options)

    monkeypatch.setattr(netlink, "AsyncIPRoute", Moving)
    if settles:
        path = (await facts(CORE_ADDRESS)).answers[ip_address(CORE_ADDRESS)]
        assert path is not None
        assert str(path.source) == "10.77.1.10"
        assert (await facts()).can_use(path.source)
    else:
        with pytest.raises(OSError, match="does not stand still"):
            await facts(CORE_ADDRESS)


async def test_a_dump_that_takes_too_long_is_given_up(phone: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(netlink, "DUMP_DEADLINE_S", 0.0)
    with pytest.raises(TimeoutError):
        await facts()


async def test_a_process_without_descriptors_raises_what_the_monitor_expects(
    phone: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none_left(*_arguments: object) -> None:
        raise OSError(errno.EMFILE, "too many open files")

    monkeypatch.setattr(netlink, "AsyncIPRoute", none_left)
    source = NetlinkSource()
    with pytest.raises(OSError, match="too many open files"):
        await source.snapshot()
    with pytest.raises(OSError, match="netlink") as caught:
        await source.run(lambda: None)
    assert caught.value.errno == errno.EMFILE
    source.close()


async def test_polling_sees_what_it_promises(phone: Lab) -> None:
    phone.ip("phone", f"route add default via {LTE.gateway} dev lte metric 900")
    source = PollingSource()
    try:
        snapshot = await source.snapshot([ip_address(CORE_ADDRESS), ip_address(WIFI.gateway), ip_address(WIFI.address)])
        assert snapshot.default_devices() == ("wifi", "lte")
        far, near, own = (snapshot.answers[ip_address(each)] for each in (CORE_ADDRESS, WIFI.gateway, WIFI.address))
        assert far is not None
        assert (far.device, str(far.source), str(far.gateway)) == ("wifi", WIFI.address, WIFI.gateway)
        assert near is not None
        assert near.gateway is None
        assert own is not None
        assert own.gateway is None
        phone.ip("phone", f"rule add to {CORE_ADDRESS} table {LTE.table} pref 50")
        moved = (await source.snapshot([ip_address(CORE_ADDRESS)])).route_to(ip_address(CORE_ADDRESS))
        assert moved is not None
        assert moved.device == "lte", "the answer of the kernel covers rules"
    finally:
        source.close()


async def test_polling_without_any_uplink(phone: Lab) -> None:
    for each in ("wifi", "lte"):
        phone.ip("phone", f"link del {each}")
    source = PollingSource(period_s=0.01)
    try:
        snapshot = await source.snapshot([ip_address(CORE_ADDRESS)])
        assert [each.name for each in snapshot.interfaces] == ["lo"]
        assert snapshot.answers == {ip_address(CORE_ADDRESS): None}
        assert snapshot.routes == ()
    finally:
        source.close()
        await asyncio.sleep(0)
