"""Which local addresses media may use."""

from __future__ import annotations

import ipaddress

from phoned.media.addresses import local_addresses
from phoned.media.options import IceOptions


def test_chosen_addresses_are_taken_as_they_are_up_to_the_limit() -> None:
    options = IceOptions(addresses=("192.0.2.9", "127.0.0.1", "192.0.2.10"), max_hosts=2)
    assert local_addresses(options) == ["192.0.2.9", "127.0.0.1"]


def test_loopback_counts_only_when_allowed_and_comes_last() -> None:
    without = local_addresses(IceOptions())
    assert not any(ipaddress.ip_address(address).is_loopback for address in without)
    within = local_addresses(IceOptions(allow_loopback=True, max_hosts=16))
    assert within[: len(without)] == without[: len(within)]
    assert "127.0.0.1" in within


def test_only_addresses_of_chosen_interfaces_count() -> None:
    assert local_addresses(IceOptions(interfaces=("lo",), allow_loopback=True, use_ipv6=False)) == ["127.0.0.1"]
    assert local_addresses(IceOptions(interfaces=("no-such-interface",), allow_loopback=True)) == []


def test_nothing_link_local_and_no_ipv6_unless_wished() -> None:
    found = local_addresses(IceOptions(allow_loopback=True, use_ipv6=False, max_hosts=64))
    assert all(ipaddress.ip_address(address).version == 4 for address in found)
    found = local_addresses(IceOptions(allow_loopback=True, max_hosts=64))
    assert not any(ipaddress.ip_address(address).is_link_local for address in found)
    assert len(found) == len(set(found))
