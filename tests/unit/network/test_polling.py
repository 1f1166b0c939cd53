"""What netifaces2 may say of machines that are not this one."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address
from typing import Any

import netifaces
import pytest

from phoned.network.polling import PollingSource

INET, INET6 = netifaces.InterfaceType.AF_INET, netifaces.InterfaceType.AF_INET6


class Machine:
    """Stands for the library: what it would read from another machine."""

    def __init__(self) -> None:
        self.addresses: dict[str, Any] = {
            "lo0": {INET: [{"addr": "127.0.0.1", "mask": "255.0.0.0"}]},
            "en0": {
                INET: [{"addr": "10.0.1.2", "mask": "255.255.255.0"}],
                INET6: [{"addr": "fe80::2%en0", "mask": "ffff:ffff:ffff:ffff::/64"}, {"mask": "ffff::"}],
            },
            "utun3": {INET: [{"addr": "10.9.0.2"}]},
        }
        self.gateways: Any = {
            INET: [("10.0.1.1", "en0", True), ("10.9.0.1", "utun3", True), ("10.3.0.1", "en0")],
            INET6: [("fe80::1%en0", "en0", True)],
        }

    def interfaces_by_index(self) -> dict[int, str]:
        return {2: "en0", 1: "lo0", 3: "utun3", 4: "gone0"}

    def ifaddresses(self, name: str) -> Any:
        if name not in self.addresses:
            raise ValueError(f"You must specify a valid interface name: {name}")
        return self.addresses[name]

    def read_gateways(self) -> Any:
        if isinstance(self.gateways, Exception):
            raise self.gateways
        return self.gateways


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    played = Machine()
    monkeypatch.setattr(netifaces, "interfaces_by_index", played.interfaces_by_index)
    monkeypatch.setattr(netifaces, "ifaddresses", played.ifaddresses)
    monkeypatch.setattr(netifaces, "gateways", played.read_gateways)
    return played


@pytest.fixture
def source() -> Iterator[PollingSource]:
    built = PollingSource()
    yield built
    built.close()


@pytest.mark.usefixtures("machine")
async def test_addresses_with_zones_odd_masks_and_none(source: PollingSource) -> None:
    now = await source.snapshot()
    assert [(each.name, [f"{own.ip}/{own.prefix}" for own in each.addresses]) for each in now.interfaces] == [
        ("lo0", ["127.0.0.1/8"]),
        ("en0", ["10.0.1.2/24", "fe80::2/64"]),
        ("utun3", ["10.9.0.2/32"]),
        ("gone0", []),
    ]


@pytest.mark.usefixtures("machine")
async def test_default_routes_keep_their_order_and_others_are_left_out(source: PollingSource) -> None:
    now = await source.snapshot()
    assert [(each.device, str(each.gateway), each.metric) for each in now.routes] == [
        ("en0", "10.0.1.1", 0),
        ("utun3", "10.9.0.1", 1),
        ("en0", "fe80::1", 0),
    ]
    assert now.default_devices() == ("en0", "utun3")


@pytest.mark.parametrize(
    "error", [RuntimeError("Cannot use the IP tool"), NotImplementedError(), ValueError("columns")]
)
async def test_a_machine_that_cannot_be_read_is_an_oserror(
    machine: Machine, source: PollingSource, error: Exception
) -> None:
    machine.gateways = error
    with pytest.raises(OSError, match="netifaces"):
        await source.snapshot()


async def test_a_source_address_that_no_interface_has_is_no_answer(machine: Machine, source: PollingSource) -> None:
    del machine.addresses["lo0"]  # this process runs here: the kernel answers with the address of its own loopback
    now = await source.snapshot([ip_address("127.0.0.1")])
    assert now.answers == {ip_address("127.0.0.1"): None}
