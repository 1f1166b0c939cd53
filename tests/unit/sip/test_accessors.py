"""Typed reading of whole messages."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from phoned.errors import MalformedMessage
from phoned.sip import accessors
from phoned.sip.accessors import (
    accept,
    allow,
    asserted_identities,
    call_id,
    contact_is_star,
    contacts,
    content_disposition,
    content_type,
    cseq,
    event,
    expires,
    flow_timer,
    from_,
    max_forwards,
    min_expires,
    min_se,
    proxy_require,
    rack,
    readable_contacts,
    reasons,
    record_routes,
    refer_to,
    referred_by,
    replaces,
    require,
    retry_after,
    routes,
    rseq,
    service_routes,
    session_expires,
    subscription_state,
    supported,
    to,
    unsupported,
    via_top,
    vias,
)
from phoned.sip.message import Headers, Message, Request


def _message(*fields: tuple[str, str]) -> Request:
    return Request("INVITE", "sip:bob@example.com", Headers(fields))


def test_mandatory_fields() -> None:
    message = _message(
        ("Via", "SIP/2.0/WS a.invalid, SIP/2.0/UDP b.invalid"),
        ("f", "<sip:alice@example.com>;tag=1"),
        ("t", "<sip:bob@example.com>"),
        ("i", "c1"),
        ("CSeq", "1 INVITE"),
    )
    assert (via_top(message).host, len(vias(message))) == ("a.invalid", 2)
    assert (from_(message).tag, to(message).tag) == ("1", None)
    assert (call_id(message), cseq(message).method) == ("c1", "INVITE")


@pytest.mark.parametrize("read", [via_top, from_, to, call_id, cseq])
def test_missing_mandatory_field_is_a_malformed_message(read: Callable[[Message], object]) -> None:
    with pytest.raises(MalformedMessage):
        read(_message())


@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("Contact", contacts),
        ("Route", routes),
        ("Record-Route", record_routes),
        ("Service-Route", service_routes),
        ("P-Asserted-Identity", asserted_identities),
    ],
)
def test_address_lists_go_over_lines_and_commas(name: str, read: Callable[[Message], list[object]]) -> None:
    assert read(_message()) == []
    message = _message((name, "<sip:a@example.com>, <sip:b@example.com;lr>"), (name, "sip:c@example.com"))
    assert len(read(message)) == 3
    with pytest.raises(MalformedMessage):
        read(_message((name, "<sip:>")))


def test_star_is_no_address() -> None:
    message = _message(("m", "*"))
    assert contact_is_star(message)
    assert contacts(message) == []


def test_readable_contacts_skip_what_cannot_be_read() -> None:
    message = _message(
        ("Contact", '"open <sip:a@example.com>'),
        ("Contact", "<sip:x@exa mple.com>, <sip:b@example.com>;expires=60"),
    )
    assert [(str(contact.uri), contact.expires) for contact in readable_contacts(message)] == [
        ("sip:b@example.com", 60)
    ]


def test_refer_fields() -> None:
    message = _message(("r", "<sip:c@example.com?Replaces=x>"), ("b", "<sip:b@example.com>"))
    refer, by = refer_to(message), referred_by(message)
    assert refer is not None
    assert refer.uri.header_pairs == [("Replaces", "x")]
    assert by is not None
    assert by.uri.user == "b"
    assert refer_to(_message()) is None
    assert referred_by(_message()) is None
    with pytest.raises(MalformedMessage):
        refer_to(_message(("r", "<sip:c@example.com>"), ("r", "<sip:d@example.com>")))


@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("Max-Forwards", max_forwards),
        ("Min-Expires", min_expires),
        ("Flow-Timer", flow_timer),
        ("RSeq", rseq),
        ("Retry-After", retry_after),
    ],
)
def test_numbers_are_none_when_missing_or_malformed(name: str, read: Callable[[Message], int | None]) -> None:
    assert read(_message((name, "0017"))) == 17
    for text in ("x", "-1", "", "99999999999999999999"):
        assert read(_message((name, text))) is None
    assert read(_message()) is None


def test_rseq_of_zero_is_none() -> None:
    assert rseq(_message(("RSeq", "0"))) is None


def test_retry_after_drops_comment_and_parameters() -> None:
    assert retry_after(_message(("Retry-After", "18 (in a meeting);duration=3600"))) == 18
    assert retry_after(_message(("Retry-After", "120 ;duration=3600"))) == 120


def test_expires_is_lenient() -> None:
    assert expires(_message()) is None
    assert [expires(_message(("Expires", text))) for text in ("5", "soon", "9" * 99)] == [5, 3600, 2**32 - 1]


@pytest.mark.parametrize(
    ("name", "read"),
    [("Require", require), ("Proxy-Require", proxy_require), ("Supported", supported), ("Unsupported", unsupported)],
)
def test_option_tags_are_in_lower_case(name: str, read: Callable[[Message], tuple[str, ...]]) -> None:
    assert read(_message((name, "Timer, 100rel"), (name, "replaces"))) == ("timer", "100rel", "replaces")
    assert read(_message()) == ()


def test_allow_keeps_case() -> None:
    assert allow(_message(("Allow", "INVITE, foo"))) == ("INVITE", "foo")


def test_empty_accept_is_not_a_missing_one() -> None:
    assert accept(_message()) is None
    assert accept(_message(("Accept", ""))) == []
    found = accept(_message(("Accept", "application/sdp, text/plain;q=0.5")))
    assert found is not None
    assert [kind.essence for kind in found] == ["application/sdp", "text/plain"]


def test_fields_of_one_value_are_none_when_missing() -> None:
    for read in (
        content_type, content_disposition, event, subscription_state, session_expires, min_se, rack, replaces,
    ):  # fmt: skip
        assert read(_message()) is None


def test_fields_of_one_value() -> None:
    message = _message(
        ("c", "application/sdp"),
        ("Content-Disposition", "session;handling=optional"),
        ("o", "refer;id=93809824"),
        ("Subscription-State", "active;expires=60"),
        ("x", "1800;refresher=uas"),
        ("Min-SE", "90"),
        ("RAck", "1 2 INVITE"),
        ("Replaces", "c1;to-tag=1;from-tag=2"),
    )
    found = [content_type(message), content_disposition(message), event(message), subscription_state(message)]
    found_too = [session_expires(message), min_se(message), rack(message), replaces(message)]
    assert [str(value) for value in found] == [
        "application/sdp", "session;handling=optional", "refer;id=93809824", "active;expires=60",
    ]  # fmt: skip
    assert [str(value) for value in found_too] == ["1800;refresher=uas", "90", "1 2 INVITE", "c1;to-tag=1;from-tag=2"]


def test_two_replaces_are_refused() -> None:
    with pytest.raises(MalformedMessage):
        replaces(_message(("Replaces", "c1;to-tag=1;from-tag=2"), ("Replaces", "c2;to-tag=1;from-tag=2")))


def test_reasons_that_cannot_be_read_are_skipped() -> None:
    message = _message(("Reason", "SIP;cause=200, Q.850;cause=16"), ("Reason", "(broken"), ("Reason", 'SIP;text="x'))
    assert [reason.cause for reason in reasons(message)] == [200, 16]


def test_every_accessor_names_its_rfc() -> None:
    public = [
        value for name, value in vars(accessors).items() if getattr(value, "__module__", "") == accessors.__name__
    ]
    for function in public:
        if not function.__name__.startswith("_"):
            assert function.__doc__
