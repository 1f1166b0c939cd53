"""Typed header values: what they read, refuse and write."""

from __future__ import annotations

import time

import pytest

from phoned.errors import InvalidValue, MalformedMessage
from phoned.sip.extension_fields import FieldToken, RAck, Reason, Replaces
from phoned.sip.fields import ContentType, CSeq, NameAddr, SessionExpires, Via, check_address
from phoned.sip.grammar import quote, unquote
from phoned.sip.parameters import NO_PARAMETERS, Parameters
from phoned.sip.uri import Uri


@pytest.mark.parametrize(
    ("text", "name", "uri", "tag"),
    [
        ("<sip:a@example.com>;tag=1", "", "sip:a@example.com", "1"),
        ("sip:a@example.com;tag=1", "", "sip:a@example.com", "1"),
        ("sip:a@example.com", "", "sip:a@example.com", None),
        ("sip:a@example.com ; tag = 1 ", "", "sip:a@example.com", "1"),
        ('"A \\"B\\" \\\\"<sip:a@example.com;x=1>', 'A "B" \\', "sip:a@example.com;x=1", None),
        ("Bell, Alexander < sip:a@example.com >;TAG=\"q\"", "Bell, Alexander", "sip:a@example.com", "q"),
        ("Jörg <sip:a@example.com>", "Jörg", "sip:a@example.com", None),
        ('"" <sip:a@example.com>', "", "sip:a@example.com", None),
    ],
)  # fmt: skip
def test_name_addr_is_read(text: str, name: str, uri: str, tag: str | None) -> None:
    value = NameAddr.parse(text)
    assert (value.display_name, str(value.uri), value.tag) == (name, uri, tag)
    assert NameAddr.parse(str(value)) == value


@pytest.mark.parametrize(
    "text",
    [
        "", '"a', '"a" sip:a@example.com', '"a\\"', "<sip:a@example.com", "<sip:a@example.com>x",
        "<sip:a@example.com>;",
        "sip:a@example.com;", "sip:a@example.com;tag=a b", "sip:a@example.com?x=y", "sip:a,b@example.com", "/",
        'a"b <sip:a@example.com>', '<sip:a@example.com>;x="y"z', '<sip:a@example.com>;x="y',
    ],
)  # fmt: skip
def test_malformed_name_addr_is_refused(text: str) -> None:
    with pytest.raises(MalformedMessage):
        NameAddr.parse(text)


def test_name_addr_is_written_quoted_and_in_brackets() -> None:
    value = NameAddr(uri=Uri.parse("sip:a@example.com"), display_name='A "B"')
    value = value.with_parameter("tag", "1").with_parameter("+sip.instance", "<urn:uuid:1>").with_parameter("ob")
    assert str(value) == '"A \\"B\\"" <sip:a@example.com>;tag=1;+sip.instance="<urn:uuid:1>";ob'
    assert value.parameters.get("+sip.instance") == "<urn:uuid:1>"
    assert str(value.without_parameters("+SIP.instance", "ob", "tag")) == '"A \\"B\\"" <sip:a@example.com>'


def test_line_breaks_are_not_quoted() -> None:
    with pytest.raises(InvalidValue):
        quote("a\r\nb")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("60", 60), (" 60", 60), ("x", 3600), ("-1", 3600), ("280297596632815", 2**32 - 1), ("0", 0), ("٣", 3600)],
)
def test_contact_expires_is_read_leniently(text: str, seconds: int) -> None:
    assert NameAddr.parse("<sip:a@example.com>").with_parameter("expires", text).expires == seconds


def test_contact_without_expires_has_none() -> None:
    assert NameAddr.parse("<sip:a@example.com>").expires is None


@pytest.mark.parametrize(
    ("text", "q"),
    [("0.5", 0.5), ("1", 1.0), ("0", 0.0), ("1.9", 1.0), ("0.12345", 0.123), ("x", 1.0), ("0.x", 1.0), ("1e9", 1.0)],
)
def test_contact_q_is_read_leniently(text: str, q: float) -> None:
    assert NameAddr.parse(f"<sip:a@example.com>;q={text}").q == q
    assert NameAddr.parse("<sip:a@example.com>").q == 1.0


def test_parameters_keep_order_and_compare_names_without_case() -> None:
    parameters = Parameters.parse('a=1 ; B ;c="x;y" ;a=2')
    assert list(parameters) == ["a", "B", "c", "a"]
    assert (parameters.get("A"), parameters.get("b"), parameters.get("C")) == ("1", None, "x;y")
    assert parameters.get("d") is None
    assert parameters.raw("c") == '"x;y"'
    assert "b" in parameters
    assert "d" not in parameters
    assert str(parameters.with_("A", "3")) == ';A=3;B;c="x;y"'.replace("A", "a")
    assert str(parameters.with_("B", "")) == ';a=1;B="";c="x;y";a=2'
    assert str(parameters.without("A", "c")) == ";B"
    assert not NO_PARAMETERS
    assert Parameters.parse("") is NO_PARAMETERS


@pytest.mark.parametrize("text", [";", "a;", "a b", "a=", "a= ", "=b", "a=b c", 'a="b', 'a=b"', "a=<b>", "a=\0"])
def test_malformed_parameters_are_refused(text: str) -> None:
    with pytest.raises(MalformedMessage):
        Parameters.parse(text)


def test_parameter_names_are_checked_on_writing() -> None:
    with pytest.raises(InvalidValue):
        NO_PARAMETERS.with_("a b", "c")


@pytest.mark.parametrize(("text", "meaning"), [("plain", "plain"), ('"a\\\\\\"b\\c"', 'a\\"bc'), ('""', "")])
def test_unquote(text: str, meaning: str) -> None:
    assert unquote(text) == meaning


@pytest.mark.parametrize("text", ['"', '"a"b', '"a\\'])
def test_unquote_refuses_what_does_not_close(text: str) -> None:
    with pytest.raises(MalformedMessage):
        unquote(text)


def test_via_is_read_through_its_white_space() -> None:
    via = Via.parse("SIP /\t2.0  / wss   Host.invalid : 5060 ; branch = z9 ;rport=7;received=[::1]")
    assert (via.transport, via.host, via.port, via.branch) == ("WSS", "Host.invalid", 5060, "z9")
    assert (via.rport, via.received, via.sent_by) == (7, "::1", "host.invalid:5060")
    assert str(via) == "SIP/2.0/WSS Host.invalid:5060;branch=z9;rport=7;received=[::1]"


def test_via_of_an_old_peer_has_no_branch() -> None:
    via = Via.parse("SIP/2.0/UDP Host")
    assert (via.branch, via.rport, via.received, via.sent_by) == (None, None, None, "host")
    assert Via.parse("SIP/2.0/UDP h;rport").rport is None
    assert Via.parse("SIP/2.0/UDP h;rport=99999").rport is None
    assert str(via.with_parameter("received", "2001:db8::1")) == "SIP/2.0/UDP Host;received=2001:db8::1"


@pytest.mark.parametrize(
    "text",
    ["", "SIP/2.0", "SIP/2.0/UDP", "SIP/1.0/UDP h", "XIP/2.0/UDP h", "SIP/2.0/U(P h", "SIP/2.0/UDP h x", "SIP/2.0/ h",
     "SIP/2.0/UDP h;", "SIP/2.0/UDP h;;a", "SIP/2.0/UDP h:0x1", "SIP/2.0/UDP [::1] 5060"],
)  # fmt: skip
def test_malformed_via_is_refused(text: str) -> None:
    with pytest.raises(MalformedMessage):
        Via.parse(text)


def test_cseq_and_rack() -> None:
    assert CSeq.parse("0009\t  INVITE") == CSeq(number=9, method="INVITE")
    assert str(CSeq(number=1, method="BYE")) == "1 BYE"
    rack = RAck.parse("776656 1 INVITE")
    assert (rack.rseq, rack.cseq.number, str(rack)) == (776656, 1, "776656 1 INVITE")
    for text in ("", "1", "1 ", "x INVITE", "1 IN VITE", "1 (", "99999999999 INVITE"):
        with pytest.raises(MalformedMessage):
            CSeq.parse(text)
    for text in ("1 INVITE", "x 1 INVITE", ""):
        with pytest.raises(MalformedMessage):
            RAck.parse(text)


def test_session_expires() -> None:
    assert SessionExpires.parse("1800 ; Refresher=UAC") == SessionExpires(seconds=1800, refresher="uac")
    assert SessionExpires.parse("90;refresher=nobody;x") == SessionExpires(seconds=90)
    assert SessionExpires.parse("90;refresher") == SessionExpires(seconds=90)
    assert str(SessionExpires(seconds=90, refresher="uas")) == "90;refresher=uas"
    assert str(SessionExpires(seconds=90)) == "90"
    with pytest.raises(MalformedMessage):
        SessionExpires.parse("soon")


def test_reason() -> None:
    value = Reason.parse('SIP ;cause=200 ;text="Call completed elsewhere"')
    assert value == Reason(protocol="SIP", cause=200, text="Call completed elsewhere")
    assert str(value) == 'SIP;cause=200;text="Call completed elsewhere"'
    assert Reason.parse("Q.850;cause=x") == Reason(protocol="Q.850")
    assert str(Reason(protocol="Q.850")) == "Q.850"
    with pytest.raises(MalformedMessage):
        Reason.parse("(;cause=1")


def test_replaces() -> None:
    value = Replaces.parse("c1@example.com ;to-tag=1;from-tag=2;early-only")
    assert value == Replaces(call_id="c1@example.com", to_tag="1", from_tag="2", early_only=True)
    assert str(value) == "c1@example.com;to-tag=1;from-tag=2;early-only"
    assert str(Replaces.parse("c1;from-tag=2;to-tag=1")) == "c1;to-tag=1;from-tag=2"
    for text in ("c1;to-tag=1", "c1;from-tag=1", "c1", ";to-tag=1;from-tag=2", "c 1;to-tag=1;from-tag=2"):
        with pytest.raises(MalformedMessage):
            Replaces.parse(text)


def test_media_types_and_tokens() -> None:
    assert ContentType.parse("Application / SDP;charset=utf-8").essence == "application/sdp"
    assert str(ContentType.parse("multipart/mixed;boundary=7a")) == "multipart/mixed;boundary=7a"
    assert str(FieldToken.parse("Terminated;reason=timeout")) == "terminated;reason=timeout"
    for text in ("", "application", "application/", "a b/c"):
        with pytest.raises(MalformedMessage):
            ContentType.parse(text)
    with pytest.raises(MalformedMessage):
        FieldToken.parse("a b;c")


@pytest.mark.parametrize(
    "text",
    [
        "<sip:" + "a" * 8000,
        "<sip:a@b" + ";a" * 4000,
        "<sip:a@b" + ";a=b" * 2000 + ";>",
        "<sip:a@b>" + ";a=b" * 2000 + ";(",
        '<sip:a@b>;x="' + "a" * 8000,
        '"' * 8000,
        '"' + "\\" * 8000,
        "a " * 4000 + "(",
        "<sip:" + "a:" * 4000 + "@",
    ],
)
def test_hostile_address_costs_little(text: str) -> None:
    started = time.process_time()
    with pytest.raises(MalformedMessage):
        check_address(text)
    assert time.process_time() - started < 0.05
