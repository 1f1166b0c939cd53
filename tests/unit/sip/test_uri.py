"""URIs: reading, writing, meaning, equality (RFC 3261 19.1, RFC 3966)."""

from __future__ import annotations

import pytest

from phoned.errors import InvalidValue, MalformedMessage
from phoned.sip.uri import Uri, unescape


@pytest.mark.parametrize(
    "text",
    [
        "sip:alice@example.com",
        "sip:example.com",
        "sips:alice:secret@example.com:5061;transport=ws;lr?Subject=a&Priority=b",
        "sip:alice@[2001:db8::1]:5070",
        "sip:al%20ice@example.com",
        "sip:+1-201;phone-context=x@gw.example.com;user=phone",
        "sip:a#b@example.com",
        "tel:+1-201-555-0123;phone-context=example.com",
        "urn:service:sos",
        "soap.beep://192.0.2.103:3002",
    ],
)
def test_uri_is_written_as_it_was_read(text: str) -> None:
    assert str(Uri.parse(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        "", "alice", ":x", "1sip:x", "s(p:x", "sip:", "sip:@example.com", "sip::p@example.com", "sip:a b@example.com",
        "sip:exa mple.com", "sip:example.com:port", "sip:example.com:65536", "sip:example.com:", "sip:a@example.com?",
        "sip:a@example.com;", "sip:a@example.com;=x", "sip:a@example.com;x=", "sip:a@b@c", "sip:[::1", "sip:[::1]5060",
        "sip:[x]", "sip:a@example.com;x=<y", "sip:a@example.com?x=\"", "tel:", "tel:abcz", "tel:+1;x=", "tel:+1;",
        "urn:a b", "urn:",
        "sip:exämple.com",
    ],
)  # fmt: skip
def test_malformed_uri_is_refused(text: str) -> None:
    with pytest.raises(MalformedMessage):
        Uri.parse(text)


def test_parts_mean_what_they_say() -> None:
    uri = Uri.parse("SIPS:al%69ce:s%65cret@Example.COM:5061;Transport=WS;lr;m=%2541?Subject=a%20b&x")
    assert (uri.scheme, uri.user, uri.password, uri.host, uri.port) == ("sips", "alice", "secret", "Example.COM", 5061)
    assert (uri.parameter("transport"), uri.parameter("LR"), uri.parameter("m")) == ("WS", "", "%41")
    assert uri.parameter("maddr") is None
    assert uri.header_pairs == [("Subject", "a b"), ("x", "")]
    assert uri.is_sip


def test_uri_without_user_has_neither_user_nor_password() -> None:
    uri = Uri.parse("sip:example.com")
    assert (uri.user, uri.password, uri.header_pairs) == (None, None, [])
    assert Uri.parse("sip:a@example.com").password is None


def test_unescape_undoes_once_and_keeps_stray_signs_and_odd_bytes() -> None:
    assert unescape("a%2541%Zx%") == "a%41%Zx%"
    assert unescape("%ff").encode("utf-8", "surrogateescape") == b"\xff"


def test_built_uri_is_escaped() -> None:
    uri = Uri.sip("example.com", user="al ice@home", port=5060, scheme="sips", transport="ws")
    assert str(uri) == "sips:al%20ice%40home@example.com:5060;transport=ws"
    assert uri.user == "al ice@home"
    assert str(Uri.sip("[::1]")) == "sip:[::1]"


@pytest.mark.parametrize(
    ("host", "user", "port", "scheme"),
    [("exa mple", "a", None, "sip"), ("h", "", None, "sip"), ("h", "a", 0, "sip"), ("h", "a", 65536, "sip"),
     ("h", "a", None, "tel"), ("h", "\ud800", None, "sip")],
)  # fmt: skip
def test_uri_that_cannot_be_is_not_built(host: str, user: str, port: int | None, scheme: str) -> None:
    with pytest.raises(InvalidValue):
        Uri.sip(host, user=user, port=port, scheme=scheme)


def test_parameters_are_set_replaced_and_dropped() -> None:
    uri = Uri.parse("sip:a@example.com;l%72;x=1?y=2")
    assert str(uri.with_parameter("x", "2;3")) == "sip:a@example.com;l%72;x=2%3B3?y=2"
    assert str(uri.with_parameter("ob")) == "sip:a@example.com;l%72;x=1;ob?y=2"
    assert str(uri.without_parameters("lr")) == "sip:a@example.com;x=1?y=2"
    assert str(uri.without_parameters().without_headers()) == "sip:a@example.com"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        # RFC 3261 19.1.4, the examples
        ("sip:%61lice@atlanta.com;transport=TCP", "sip:alice@AtLanTa.CoM;Transport=tcp"),
        ("sip:carol@chicago.com", "sip:carol@chicago.com;newparam=5"),
        ("sip:carol@chicago.com", "sip:carol@chicago.com;security=on"),
        ("sip:biloxi.com;transport=tcp;method=REGISTER?to=sip:bob%40biloxi.com",
         "sip:biloxi.com;method=REGISTER;transport=tcp?to=sip:bob%40biloxi.com"),
        ("sip:alice@atlanta.com?subject=project%20x&priority=urgent",
         "sip:alice@atlanta.com?priority=urgent&subject=project%20x"),
        ("tel:+1-201-555-0123", "tel:+1.201.5550123"),
        ("urn:service:sos", "URN:service:sos"),
    ],
)  # fmt: skip
def test_equivalent_uris(one: str, other: str) -> None:
    assert Uri.parse(one).equivalent(Uri.parse(other))
    assert Uri.parse(other).equivalent(Uri.parse(one))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("SIP:ALICE@AtLanTa.CoM;Transport=udp", "sip:alice@AtLanTa.CoM;Transport=UDP"),
        ("sip:bob@biloxi.com", "sip:bob@biloxi.com:5060"),
        ("sip:bob@biloxi.com", "sip:bob@biloxi.com;transport=udp"),
        ("sip:bob@biloxi.com", "sip:bob@biloxi.com:6000;transport=tcp"),
        ("sip:carol@chicago.com", "sip:carol@chicago.com?Subject=next%20meeting"),
        ("sip:bob@phone21.boxesbybob.com", "sip:bob@192.0.2.4"),
        ("sip:carol@chicago.com;security=on", "sip:carol@chicago.com;security=off"),
        ("sip:a@example.com", "sips:a@example.com"),
        ("sip:a:x@example.com", "sip:a@example.com"),
        ("tel:+1201;ext=1", "tel:+1201;ext=2"),
        ("urn:service:sos", "urn:service:SOS"),
    ],
)
def test_uris_that_differ(one: str, other: str) -> None:
    assert not Uri.parse(one).equivalent(Uri.parse(other))
    assert not Uri.parse(other).equivalent(Uri.parse(one))
