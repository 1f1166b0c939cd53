from __future__ import annotations

import pytest

from phoned.sip.binding import Binding, read_binding
from phoned.sip.message import Response, parse
from phoned.sip.uri import Uri

INSTANCE = "urn:uuid:0191aaaa-bbbb-7ccc-8ddd-eeeeffff0001"
OURS = "sip:alice@ours.invalid;transport=ws"


def read(*headers: str, requested_s: int = 120) -> Binding | None:
    lines = [
        "SIP/2.0 200 OK",
        "Via: SIP/2.0/WSS ours.invalid;branch=z9hG4bKx",
        "From: <sip:alice@example.org>;tag=a",
        "To: <sip:alice@example.org>;tag=b",
        "Call-ID: c",
        "CSeq: 1 REGISTER",
        *headers,
    ]
    response = parse("\r\n".join([*lines, "", ""]).encode())
    assert isinstance(response, Response)
    return read_binding(response, contact=Uri.parse(OURS), instance_id=INSTANCE, reg_id=1, requested_s=requested_s)


def mine(parameters: str = "", uri: str = OURS) -> str:
    return f'Contact: <{uri}>;+sip.instance="<{INSTANCE}>"{parameters}'


# --- which binding is ours


@pytest.mark.parametrize(
    "contact",
    [
        f"Contact: <{OURS}>;expires=60",
        f"Contact: <{OURS};alias=10.0.0.1~5060~6>;expires=60",
        mine(";reg-id=1;expires=60"),
        mine(";expires=60"),
        mine(";expires=60", uri="sip:rewritten@192.0.2.1"),
        f'Contact: <{OURS}>;+sip.instance="<{INSTANCE.upper()}>";expires=60',
        f"m: <sip:other@x>;expires=5, <{OURS}>;expires=60",
        f"Contact: <sip:broken@[::1>, nonsense, <{OURS}>;expires=60",
    ],
)
def test_our_binding_is_found(contact: str) -> None:
    binding = read(contact)
    assert binding is not None
    assert binding.expires_s == 60


@pytest.mark.parametrize(
    "contact",
    [
        "Contact: <sip:alice@other.example>;expires=60",
        "Contact: <sip:bob@ours.invalid;transport=ws>;expires=60",
        mine(";reg-id=2;expires=60"),
        f'Contact: <{OURS}>;+sip.instance="<urn:uuid:00000000-0000-0000-0000-000000000000>";expires=60',
        "Contact: nonsense",
        "Contact: *",
        'Contact: "unclosed <sip:a@b>',
        "X-Nothing: here",
    ],
)
def test_what_is_not_our_binding_does_not_make_us_reachable(contact: str) -> None:
    assert read(contact) is None


def test_binding_of_an_earlier_life_does_not_stand_for_ours() -> None:
    ghost = mine(";expires=3000", uri="sip:alice@ghost.invalid")
    binding = read(ghost, mine(";expires=60"))
    assert binding is not None
    assert binding.expires_s == 60


def test_longest_of_several_equal_bindings_counts() -> None:
    binding = read(mine(";expires=10"), mine(), mine(";expires=60"))
    assert binding is not None
    assert binding.expires_s == 120


# --- for how long


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ((mine(";expires=60"), "Expires: 90"), 60),
        ((mine(), "Expires: 90"), 90),
        ((mine(),), 120),
        ((mine(";expires=1000000000"),), 86_400),
        ((mine(";expires=99999999999999999999"),), 86_400),
        ((mine(";expires=soon"),), 3600),
        (("Expires: 90",), 90),
    ],
)
def test_granted_time_is_the_contacts_then_expires_then_what_was_asked(
    headers: tuple[str, ...], expected: float
) -> None:
    binding = read(*headers)
    assert binding is not None
    assert binding.expires_s == expected


@pytest.mark.parametrize("headers", [(mine(";expires=0"),), (mine(), "Expires: 0"), ("Expires: 0",)])
def test_binding_for_no_time_is_none(headers: tuple[str, ...]) -> None:
    assert read(*headers) is None


# --- GRUU, Service-Route, Flow-Timer


def test_gruus_are_taken_from_our_binding() -> None:
    other = 'Contact: <sip:x@y>;pub-gruu="sip:x@y;gr=other"'
    binding = read(
        other,
        mine(f';pub-gruu="sip:alice@example.org;gr={INSTANCE}";temp-gruu="sip:tgruu.7hs==@example.org;gr";expires=60'),
    )
    assert binding is not None
    assert binding.pub_gruu == f"sip:alice@example.org;gr={INSTANCE}"
    assert binding.temp_gruu == "sip:tgruu.7hs==@example.org;gr"


@pytest.mark.parametrize("gruu", ['"mailto:a@b"', '"no uri"', '""'])
def test_gruu_that_cannot_be_a_contact_is_ignored(gruu: str) -> None:
    binding = read(mine(f";pub-gruu={gruu};expires=60"))
    assert binding is not None
    assert binding.pub_gruu is None


def test_service_route_is_kept_in_order() -> None:
    binding = read(mine(), "Service-Route: <sip:a;lr>, <sip:b;lr>", "Service-Route: <sip:c;lr>")
    assert binding is not None
    assert binding.service_route == ("<sip:a;lr>", "<sip:b;lr>", "<sip:c;lr>")


def test_service_route_that_cannot_be_read_is_none_at_all() -> None:
    binding = read(mine(), "Service-Route: <sip:a;lr>, <nonsense")
    assert binding is not None
    assert binding.service_route == ()


@pytest.mark.parametrize(("value", "expected"), [("120", 120.0), ("0", None), ("soon", None)])
def test_flow_timer_is_read_with_tolerance(value: str, expected: float | None) -> None:
    binding = read(mine(), f"Flow-Timer: {value}")
    assert binding is not None
    assert binding.flow_timer_s == expected
