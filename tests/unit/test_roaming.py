"""Who hears of a changed network, and who need not move."""

from __future__ import annotations

import asyncio
import sys
from ipaddress import ip_address

import pytest

from phoned.accounts.registry import Accounts
from phoned.config.schema import NetworkConfig
from phoned.model import AccountState, Cause
from phoned.network.snapshot import Interest, NetworkChange, Snapshot
from phoned.roaming import RESUMED, Roaming, has_way_out, source_of
from phoned.transport.flow import Address, FlowTarget
from tests.support.accounts import World
from tests.support.calls import CallWorld, virtual
from tests.support.network import LTE, OFFLINE, WIFI, FakeSource

S = AccountState


class Desk:
    """An online account on the Wi-Fi address, and what watches the network for it."""

    def __init__(self) -> None:
        self.world = World()
        self.calls = CallWorld()
        accounts = Accounts()
        accounts.add(self.world.account)
        self.source = FakeSource()
        self.roaming = Roaming(
            source=self.source,
            ignore_interfaces=("docker*",),
            accounts=accounts,
            calls=self.calls.manager,
            bus=self.world.bus,
        )

    async def online(self) -> None:
        await self.world.online()
        source = WIFI.default_devices()[0]
        interface = WIFI.interface(source)
        assert interface is not None
        self.world.flow.local = Address(str(interface.addresses[0].ip), 40_000)
        self.world.flow.remote = Address("203.0.113.5", 443)
        await self.roaming.start()

    def change(self, new: Snapshot, *, trigger: str | None = None) -> None:
        self.roaming.on_network_change(
            NetworkChange(generation=2, old=WIFI, new=new, reasons=("moved",), trigger=trigger)
        )


@virtual
async def test_an_account_whose_way_is_another_one_moves() -> None:
    desk = Desk()
    await desk.online()
    desk.change(LTE)
    await asyncio.sleep(0.1)
    assert desk.world.state() is S.SUSPECT
    events = await desk.world.events()
    told = next(event for event in events if event.type == "network.changed")
    assert (told.data["reasons"], told.data["generation"]) == (["moved"], 2)
    await desk.roaming.close()


@virtual
async def test_an_account_whose_way_is_the_same_stays() -> None:
    desk = Desk()
    await desk.online()
    desk.change(WIFI)
    await asyncio.sleep(0.1)
    assert desk.world.state() is S.ONLINE
    assert len(desk.world.dialer.flows) == 1
    await desk.roaming.close()


@virtual
async def test_without_any_way_out_the_account_waits_for_one() -> None:
    desk = Desk()
    await desk.online()
    desk.change(OFFLINE)
    await asyncio.sleep(0.1)
    assert desk.world.state() is S.NET_DOWN
    desk.change(LTE)
    await asyncio.sleep(0.1)
    assert desk.world.state() is S.SUSPECT
    await desk.roaming.close()


@pytest.mark.behaviour("W27")
@virtual
async def test_a_wake_up_doubts_every_flow() -> None:
    desk = Desk()
    await desk.online()
    desk.change(WIFI, trigger=f"{RESUMED} (resumed after 60 s)")
    await asyncio.sleep(0.1)
    assert desk.world.state() is S.SUSPECT
    reconnecting = [event for event in await desk.world.events() if event.type == "account.reconnecting"]
    assert reconnecting[0].data["cause"] == str(Cause.RESUME)
    await desk.roaming.close()


@virtual
async def test_a_check_that_is_asked_for_goes_the_same_way() -> None:
    desk = Desk()
    await desk.online()
    desk.roaming.trigger("asked for")
    await asyncio.sleep(1)
    assert desk.world.state() is S.SUSPECT
    assert desk.roaming.view().changes[-1].trigger == "asked for"
    await desk.roaming.close()


@virtual
async def test_the_monitor_is_told_whom_we_talk_to() -> None:
    desk = Desk()
    await desk.online()
    interests = set(desk.roaming._interests())
    assert Interest(remote=ip_address("203.0.113.5"), local=ip_address(desk.world.flow.local.host)) in interests
    await desk.roaming.close()


def test_a_closed_network_without_default_route_is_a_way_out() -> None:
    assert has_way_out(WIFI)
    assert not has_way_out(Snapshot())
    assert not has_way_out(OFFLINE)
    assert has_way_out(Snapshot(interfaces=WIFI.interfaces))


def test_a_server_on_this_machine_needs_no_network() -> None:
    for url, local in (
        ("ws://127.0.0.1:7080/", True),
        ("ws://localhost/", True),
        ("wss://[::1]/ws", True),
        ("wss://edge.example.org/ws", False),
        ("wss://192.0.2.1/ws", False),
    ):
        assert FlowTarget(url=url).is_loopback is local


async def test_without_netlink_the_network_is_polled_unless_netlink_was_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "phoned.network.netlink", None)
    chosen = source_of(NetworkConfig())
    await chosen.snapshot()
    assert chosen.name == "polling"
    chosen.close()
    with pytest.raises(OSError, match="netlink"):
        await source_of(NetworkConfig(source="netlink")).snapshot()
