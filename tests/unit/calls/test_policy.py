"""Whom one may call, what an address means, and which rule an incoming call meets."""

from __future__ import annotations

import pytest

from phoned.calls.policy import DialPolicy, Target, checked_headers, target_of
from phoned.config.schema import DialConfig
from phoned.errors import AtCapacity, Denied, InvalidValue
from phoned.model import MAX_HEADERS

AOR = "sip:alice@example.org"


@pytest.mark.parametrize(
    ("to", "uri", "number"),
    [
        ("200", "sip:200@example.org", "200"),
        ("bob", "sip:bob@example.org", "bob"),
        ("j.doe", "sip:j.doe@example.org", "j.doe"),
        ("+49 (30) 123-45", "sip:+493012345@example.org", "+493012345"),
        ("tel:+1-201-555;phone-context=x", "sip:+1201555@example.org", "+1201555"),
        ("TEL:112", "sip:112@example.org", "112"),
        ("sip:bob@other.net:5070", "sip:bob@other.net:5070", "bob"),
        ("sips:1-1-2@other.net", "sips:1-1-2@other.net", "112"),
        ("bob@other.net", "sip:bob@other.net", "bob"),
        ("sip:%31%31%32@other.net", "sip:%31%31%32@other.net", "112"),
        ("112;x=1", "sip:112;x=1@example.org", "112"),
        ("%31%31%32", "sip:%31%31%32@example.org", "112"),
    ],
)
def test_an_address_is_read_as_a_person_means_it(to: str, uri: str, number: str) -> None:
    assert target_of(to, AOR) == Target(uri=uri, number=number)


@pytest.mark.parametrize(
    "to", ["", "not an address", "sip:@x", "sip:x", "mailto:a@b", "sip:a@b?Subject=x", "\uff11\uff11\uff12", "a@b@c d"]
)
def test_what_is_no_address_is_refused_with_its_place(to: str) -> None:
    with pytest.raises(InvalidValue) as refusal:
        target_of(to, AOR)
    assert refusal.value.pointer == "/to"


@pytest.mark.parametrize(
    "to", ["112", "1-1-2", "+112", "tel:112", "sip:112@else.where", "112;a=b", "%3112", "sip:1%2D12@x", "sip:112:p@x"]
)
def test_an_emergency_number_is_blocked_however_it_is_written(to: str) -> None:
    with pytest.raises(Denied) as refusal:
        DialPolicy(DialConfig()).check(target_of(to, AOR), active=0, now=0)
    assert refusal.value.code == "emergency_disabled"
    DialPolicy(DialConfig(emergency="allow")).check(target_of(to, AOR), active=0, now=0)


@pytest.mark.parametrize("to", ["0900123", "sip:0900123@premium.example", "0900-123", "%30900123", "0900123;x"])
def test_a_denied_destination_is_denied_however_it_is_written(to: str) -> None:
    policies = (DialConfig(deny=("0900*",)), DialConfig(deny=("sip:0900*@*",)), DialConfig(allow=("1*", "sip:1*")))
    for policy in policies:
        with pytest.raises(Denied) as refusal:
            DialPolicy(policy).check(target_of(to, AOR), active=0, now=0)
        assert refusal.value.code == "destination_denied"


def test_calls_a_minute_are_counted_over_the_last_minute() -> None:
    policy, target = DialPolicy(DialConfig(max_per_minute=2)), target_of("1", AOR)
    policy.check(target, active=0, now=100)
    policy.check(target, active=0, now=110)
    with pytest.raises(Denied) as refusal:
        policy.check(target, active=0, now=130)
    assert (refusal.value.code, refusal.value.retry_after_s) == ("destination_denied", 30)
    policy.check(target, active=0, now=160)


def test_a_full_phone_refuses_and_does_not_count_the_refusal() -> None:
    policy, target = DialPolicy(DialConfig(max_concurrent=1, max_per_minute=1)), target_of("1", AOR)
    assert policy.capacity == 1
    with pytest.raises(AtCapacity):
        policy.check(target, active=1, now=0)
    policy.check(target, active=0, now=0)


def test_the_shortest_duration_counts() -> None:
    policy = DialPolicy(DialConfig(max_duration_s=100))
    assert [policy.duration_cap_s(asked) for asked in (None, 50.0, 500.0)] == [100, 50, 100]


def test_headers_of_ones_own_may_be_added() -> None:
    assert checked_headers({"X-A": "1", "Subject": "Hi"}) == (("X-A", "1"), ("Subject", "Hi"))


@pytest.mark.parametrize(
    ("headers", "pointer"),
    [
        ({"Via": "x"}, "/headers/Via"),
        ({"X-": "x"}, "/headers/X-"),
        ({"Subject-Line": "x"}, "/headers/Subject-Line"),
        ({"X-A\n": "x"}, "/headers/X-A\n"),
        ({"X-A/~": "x"}, "/headers/X-A~1~0"),
        ({"X-A": "a\r\nVia: b"}, "/headers/X-A"),
        ({"X-A": "x" * 1025}, "/headers/X-A"),
        ({"X-Ä": "x"}, "/headers/X-Ä"),
        ({f"X-{n}": "x" for n in range(MAX_HEADERS + 1)}, "/headers"),
    ],
)
def test_no_other_header_may(headers: dict[str, str], pointer: str) -> None:
    with pytest.raises(InvalidValue) as refusal:
        checked_headers(headers)
    assert refusal.value.pointer == pointer


def test_other_rules_count_at_once_and_forget_nothing_of_the_last_minute() -> None:
    policy, target = DialPolicy(DialConfig(max_per_minute=5)), target_of("0900", AOR)
    for _ in range(2):
        policy.check(target, active=0, now=100)
    policy.change(DialConfig(max_per_minute=2, max_concurrent=7, max_duration_s=9))
    assert (policy.capacity, policy.duration_cap_s(None)) == (7, 9)
    with pytest.raises(Denied):
        policy.check(target, active=0, now=130)
    policy.change(DialConfig(deny=("0900*",)))
    with pytest.raises(Denied):
        policy.check(target, active=0, now=200)
    with pytest.raises(Denied):
        DialPolicy(DialConfig(allow=())).allow(target)
    emergency = target_of("112", AOR)
    policy.change(DialConfig(emergency="allow"))
    policy.allow(emergency)
    policy.change(DialConfig(emergency_numbers=("112", "116117")))
    for number in ("112", "116117"):
        with pytest.raises(Denied):
            policy.allow(target_of(number, AOR))
