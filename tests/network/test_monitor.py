"""The monitor on the kernel's own messages, in a namespace with two uplinks."""

from __future__ import annotations

import asyncio
import logging
import statistics
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from phoned.network.monitor import NetworkMonitor
from phoned.network.netlink import NetlinkSource
from phoned.network.snapshot import Interest, NetworkChange
from tests.support.netns import CORE_ADDRESS, CORE_ADDRESS_6, SEGMENTS, Lab, Uplink
from tests.support.network import KeptChanges

TOLD_WITHIN_S = 0.2
PATIENCE_S = 10.0
QUIET_S = 0.5
WIFI, LTE = SEGMENTS["wifi"].address, SEGMENTS["lte"].address


class Phone:
    """A monitor, and the flows of a phone that always follows what it is told."""

    def __init__(self, remotes: tuple[str, ...], source: NetlinkSource) -> None:
        self.heard = KeptChanges()
        self.keeps: str | None = None
        """The local address that its flows keep, whatever would be better."""
        self._remotes = tuple(Interest.of(remote).remote for remote in remotes)
        self.monitor = NetworkMonitor(source, self.heard, self._interests, ignore_interfaces=("docker*", "br-*"))

    def _interests(self) -> list[Interest]:
        paths = ((remote, self.monitor.snapshot.route_to(remote)) for remote in self._remotes)
        keeps = None if self.keeps is None else Interest.of(self.keeps).remote
        return [Interest(remote=remote, local=keeps or (path.source if path else None)) for remote, path in paths]

    async def do(self, what: Callable[[], float]) -> float:
        """Something happens to the phone, beside its loop; CLOCK_MONOTONIC when it began, which is the loop's."""
        return await asyncio.to_thread(what)

    async def told(self, wanted: Callable[[NetworkChange], bool]) -> float:
        """When the first such change was told; the loop's time."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                for change, at in zip(self.heard.changes, self.heard.at, strict=True):
                    if wanted(change):
                        return at
                await asyncio.sleep(0.005)

    async def calm(self) -> None:
        """All that happened has been told."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                known = len(self.heard.changes)
                await asyncio.sleep(QUIET_S)
                if len(self.heard.changes) == known:
                    return

    def forget(self) -> None:
        self.heard.changes.clear()
        self.heard.at.clear()


@asynccontextmanager
async def watching(
    lab: Lab, *remotes: str, receive_buffer: int | None = None, uplink: Uplink | None = None
) -> AsyncIterator[Phone]:
    if uplink is not None:
        await asyncio.to_thread(lab.handover, uplink)
    phone = Phone(remotes or (CORE_ADDRESS,), NetlinkSource(receive_buffer=receive_buffer))
    await phone.monitor.start()
    try:
        await phone.calm()
        yield phone
    finally:
        await phone.monitor.close()
    assert len(asyncio.all_tasks()) == 1


def now() -> float:
    return asyncio.get_running_loop().time()


def path_is_by(uplink: Uplink) -> Callable[[NetworkChange], bool]:
    def wanted(change: NetworkChange) -> bool:
        path = change.new.route_to(Interest.of(CORE_ADDRESS).remote)
        return path is not None and path.device == uplink and str(path.source) == SEGMENTS[uplink].address

    return wanted


def assert_fast(delays_s: list[float]) -> None:
    assert statistics.median(delays_s) < TOLD_WITHIN_S, f"told after {[round(1000 * delay) for delay in delays_s]} ms"


async def test_a_handover_is_told_within_200_ms(phone: Lab) -> None:
    delays = []
    async with watching(phone, uplink="wifi") as watched:
        targets: list[Uplink] = ["lte", "wifi"] * 4
        for target in targets:
            watched.forget()
            await watched.do(lambda target=target: phone.handover(target))  # type: ignore[misc]  # bound now
            ended = now()  # it takes three commands: the whole is there only now
            delays.append(await watched.told(path_is_by(target)) - ended)
            await watched.calm()
            assert len(watched.heard.changes) <= 3
            unusable = {str(each) for change in watched.heard.changes for each in change.became_unusable}
            assert unusable == {WIFI if target == "lte" else LTE}
    assert_fast(delays)


async def test_a_moved_default_route_is_told_and_nothing_became_unusable(phone: Lab) -> None:
    delays = []
    async with watching(phone) as watched:
        moves: list[tuple[Uplink, str]] = [("lte", "wifi -> lte"), ("wifi", "lte -> wifi")] * 3
        for target, text in moves:
            watched.forget()
            began = await watched.do(lambda target=target: phone.default_route(target))  # type: ignore[misc]  # bound now
            delays.append(await watched.told(path_is_by(target)) - began)
            await watched.calm()
            (change,) = watched.heard.changes
            assert (change.reasons, change.became_unusable) == ((f"default route moved {text}",), ())
    assert_fast(delays)


async def test_another_address_is_told(phone: Lab) -> None:
    delays = []
    async with watching(phone) as watched:
        for address, other in [("10.77.1.9", WIFI), (WIFI, "10.77.1.9")] * 3:

            def renumber(address: str = address, other: str = other) -> float:
                return phone.ip(
                    "phone",
                    f"addr del {other}/24 dev wifi",
                    f"addr add {address}/24 dev wifi",
                    f"route replace default via {SEGMENTS['wifi'].gateway} dev wifi metric 100",
                )

            watched.forget()
            began = await watched.do(renumber)
            delays.append(await watched.told(lambda change: bool(change.became_unusable)) - began)
            await watched.calm()
            reasons = [reason for change in watched.heard.changes for reason in change.reasons]
            assert f"address {other} gone from wifi" in reasons
            assert len(watched.heard.changes) <= 2
    assert_fast(delays)


async def test_a_lost_carrier_is_told_though_linux_keeps_the_route(phone: Lab) -> None:
    async with watching(phone, uplink="wifi") as watched:
        began = await watched.do(lambda: phone.carrier("wifi", False))
        at = await watched.told(lambda change: "wifi lost its carrier" in change.reasons)
        assert at - began < PATIENCE_S
        assert watched.monitor.snapshot.route_to(Interest.of(CORE_ADDRESS).remote) is None
        await watched.do(lambda: phone.carrier("wifi", True))
        await watched.told(path_is_by("wifi"))
        assert "default route appeared on wifi" in watched.heard.changes[-1].reasons


async def test_a_flapping_link_settles_in_a_bounded_number_of_changes(phone: Lab) -> None:
    async with watching(phone, uplink="wifi") as watched:
        for _ in range(20):
            await watched.do(lambda: phone.carrier("wifi", False))
            await watched.do(lambda: phone.carrier("wifi", True))
        await watched.calm()
        assert len(watched.heard.changes) <= 20
        path = watched.monitor.snapshot.route_to(Interest.of(CORE_ADDRESS).remote)
        assert path is not None
        assert (path.device, str(path.source)) == ("wifi", WIFI)
        view = watched.monitor.view()
        assert next(each for each in view.interfaces if each.name == "wifi").carrier


def _containers(lab: Lab, bridge: str, count: int) -> float:
    """What an engine does for each container, then undoes."""
    at = lab.ip(
        "phone", f"link add {bridge} type bridge", f"addr add 172.18.0.1/16 dev {bridge}", f"link set {bridge} up"
    )
    for number in range(count):
        lab.ip(
            "phone",
            f"link add veth{number} type veth peer name eth{number}x",
            f"link set veth{number} master {bridge}",
            f"link set veth{number} up",
            f"link set eth{number}x up",
        )
        lab.ip("phone", f"link del veth{number}")
    lab.ip("phone", f"link del {bridge}")
    return at


@pytest.mark.parametrize("bridge", ["br-0a1b2c", "lxdbr0"])
async def test_containers_that_come_and_go_are_not_told(phone: Lab, bridge: str) -> None:
    async with watching(phone) as watched:
        reads = watched.monitor.snapshot
        await watched.do(lambda: _containers(phone, bridge, 10))
        await watched.calm()
        assert watched.heard.changes == []
        assert watched.monitor.snapshot is not reads, "it did look"


async def test_a_renewed_lease_is_not_told(phone: Lab) -> None:
    async with watching(phone) as watched:
        for lifetime_s in (300, 600, 900):
            renew = f"addr change {WIFI}/24 dev wifi valid_lft {lifetime_s} preferred_lft {lifetime_s}"
            await watched.do(lambda renew=renew: phone.ip("phone", renew))  # type: ignore[misc]  # bound now
        await watched.calm()
        assert watched.heard.changes == []


async def test_a_rotated_ipv6_privacy_address_is_not_told_until_the_old_one_in_use_expires(phone: Lab) -> None:
    old = SEGMENTS["wifi"].address_6
    async with watching(phone, CORE_ADDRESS_6) as watched:
        watched.keeps = old
        rotate = ("addr add fd77:1::abcd/64 dev wifi nodad", f"addr change {old}/64 dev wifi preferred_lft 0")
        await watched.do(lambda: phone.ip("phone", *rotate))
        await watched.calm()
        path = watched.monitor.snapshot.route_to(Interest.of(CORE_ADDRESS_6).remote)
        assert path is not None
        assert str(path.source) == "fd77:1::abcd", "the kernel does prefer the new one"
        assert watched.heard.changes == []
        await watched.do(lambda: phone.ip("phone", f"addr del {old}/64 dev wifi"))
        await watched.told(lambda change: bool(change.became_unusable))
        assert watched.heard.reasons == [(f"address {old} gone from wifi",)]


async def test_a_vpn_that_takes_over_by_a_rule_is_told(phone: Lab) -> None:
    async with watching(phone) as watched:
        before = watched.monitor.snapshot.routes
        await watched.do(
            lambda: phone.ip(
                "phone",
                f"route add default via {SEGMENTS['lte'].gateway} dev lte table 200",
                f"rule add to {CORE_ADDRESS} table 200 pref 50",
            )
        )
        await watched.told(path_is_by("lte"))
        main = [route for route in watched.monitor.snapshot.routes if route.table == 254]
        assert main == [route for route in before if route.table == 254], "the main table says nothing of it"


async def test_an_overrun_of_the_kernels_messages_means_look_again(
    phone: Lab, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG, logger="phoned.network.netlink"):
        async with watching(phone, receive_buffer=2048) as watched:
            # the loop stands still while all this happens: the kernel has to drop
            noise = [f"addr {verb} 192.0.2.{host}/32 dev lo" for verb in ("add", "del") for host in range(1, 250)]
            phone.ip("phone", *noise)
            phone.default_route("lte")
            await watched.told(path_is_by("lte"))
    assert "netlink overrun" in caplog.text


async def test_a_black_hole_is_not_seen_here_for_nothing_tells_of_it(phone: Lab) -> None:
    async with watching(phone) as watched:
        await watched.do(lambda: phone.blackhole("wifi"))
        await watched.calm()
        assert watched.heard.changes == []
