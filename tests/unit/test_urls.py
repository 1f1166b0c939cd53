from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phoned.errors import Denied, InvalidValue
from phoned.urls import Destination, Reach, UrlGuard, read_url

WEB = ("https", "http")


@pytest.mark.parametrize(
    ("url", "destination"),
    [
        ("https://example.org/x?y=1", ("https", "example.org", 443)),
        ("http://EXAMPLE.org:8080", ("http", "example.org", 8080)),
        ("https://[2001:db8::1]:8443/", ("https", "2001:db8::1", 8443)),
        ("https://127.0.0.1/", ("https", "127.0.0.1", 443)),
        ("https://example.org./", ("https", "example.org.", 443)),
    ],
)
def test_where_a_url_leads(url: str, destination: tuple[str, str, int]) -> None:
    found = read_url(url, WEB)
    assert (found.scheme, found.host, found.port) == destination


@pytest.mark.parametrize(
    "url",
    [
        "",
        "example.org",
        "//example.org/",
        "ftp://example.org/",
        "ws://example.org/",
        "https://",
        "https:///path",
        "https://user@example.org/",
        "https://user:secret@example.org/",
        "https://example.org:0/",
        "https://example.org:/",
        "https://example.org:99999/",
        "https://example.org:x/",
        "https://exa mple.org/",
        "https://example.org\\@evil.org/",
        "https://exämple.org/",
        "https://example.org/\n",
        "https://[::1/",
        "https://[fe80::zz]/",
        "https://example.org/#part",
        "https://-.org/",
        "https://a..b/",
        "https://" + "a" * 64 + ".org/",
        "https://example.org/" + "a" * 2048,
    ],
)
def test_what_is_no_url_is_refused(url: str) -> None:
    with pytest.raises(InvalidValue) as caught:
        read_url(url, WEB, pointer="/url")
    assert caught.value.pointer == "/url"
    assert "secret" not in caught.value.detail


@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.0",
        "10.1.2.3",
        "100.64.0.1",
        "127.0.0.1",
        "127.255.255.255",
        "169.254.169.254",
        "172.16.0.1",
        "172.31.255.255",
        "192.168.1.1",
        "192.0.2.1",
        "198.18.0.1",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::127.0.0.1",
        "::ffff:127.0.0.1",
        "::ffff:8.8.8.8",
        "64:ff9b::7f00:1",
        "64:ff9b::808:808",
        "64:ff9b:1::1",
        "2002:7f00:1::1",
        "2001::1",
        "2001:db8::1",
        "fc00::1",
        "fd12::1",
        "fe80::1",
        "fe80::1%eth0",
        "fec0::1",
        "ff02::1",
    ],
)
def test_addresses_that_are_not_public_are_refused(address: str) -> None:
    assert Reach().refusal(address)


@pytest.mark.parametrize("address", ["8.8.8.8", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "2a00:1450::1"])
def test_public_addresses_may_be_reached(address: str) -> None:
    assert Reach().refusal(address) is None
    assert not Reach().listed(address)


def test_what_is_listed_may_be_reached_and_nothing_beside_it() -> None:
    reach = Reach(["10.1.0.0/16", "fd00::/8"])
    assert reach.refusal("10.1.2.3") is None
    assert reach.refusal("fd00::1") is None
    assert reach.refusal("10.2.0.1")
    assert reach.refusal("::ffff:10.1.2.3")


def test_a_translated_address_needs_both_of_its_halves() -> None:
    reach = Reach(["64:ff9b::/96", "2002::/16", "::ffff:0:0/96"])
    assert reach.refusal("64:ff9b::808:808") is None
    assert reach.refusal("64:ff9b::7f00:1")
    assert reach.refusal("2002:7f00:1::")
    assert reach.refusal("::ffff:10.0.0.1")
    assert Reach(["::ffff:0:0/96", "10.0.0.0/8"]).refusal("::ffff:10.0.0.1") is None


@given(st.ip_addresses())
def test_what_python_calls_private_is_never_reached(address: object) -> None:
    found = ip_address(str(address))
    if found.is_private or found.is_loopback or found.is_link_local or found.is_multicast or found.is_unspecified:
        assert Reach().refusal(str(found))
    if isinstance(found, IPv6Address) and found.ipv4_mapped:
        assert Reach().refusal(str(found))


async def addresses(found: Sequence[str], url: str, *, allow: Sequence[str] = (), trusted: bool = False) -> object:
    async def resolve(host: str, port: int, deadline_s: float) -> Sequence[str]:
        return found

    guard = UrlGuard(Reach(allow), resolve)
    destination: Destination = read_url(url, WEB)
    return await guard.addresses(destination, trusted=trusted, deadline_s=1.0)


async def test_of_several_addresses_only_good_ones_are_dialled() -> None:
    assert await addresses(["127.0.0.1", "8.8.8.8", "10.0.0.1"], "https://x.test/") == ("8.8.8.8",)


async def test_a_url_of_the_configuration_is_trusted() -> None:
    assert await addresses(["127.0.0.1", "8.8.8.8"], "http://x.test:25/", trusted=True) == ("127.0.0.1", "8.8.8.8")


@pytest.mark.parametrize(
    ("found", "url", "why"),
    [
        (["127.0.0.1"], "https://x.test/", "x.test is loopback: list its network in .network. allow_private"),
        (["8.8.8.8"], "http://x.test/", "unencrypted: use https://"),
        (["8.8.8.8"], "https://x.test:25/", "port 25"),
        (["10.0.0.1", "8.8.8.8"], "http://x.test/", "private"),
    ],
)
async def test_a_refusal_names_its_reason(found: list[str], url: str, why: str) -> None:
    with pytest.raises(Denied, match=why) as caught:
        await addresses(found, url)
    assert caught.value.code == "address_not_allowed"


async def test_a_listed_network_may_be_reached_unencrypted_at_any_port() -> None:
    assert await addresses(["10.0.0.1"], "http://x.test:25/", allow=["10.0.0.0/8"]) == ("10.0.0.1",)
