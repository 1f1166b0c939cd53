"""Parsing limits and strict writing; the classes of malformed input are in test_samples."""

from __future__ import annotations

import pytest

from phoned.errors import InvalidValue, MalformedMessage
from phoned.sip.limits import MAX_MESSAGE
from phoned.sip.message import (
    Headers,
    Message,
    Request,
    Response,
    is_keepalive,
    parse,
    response_to,
    salvaged,
    serialise,
)
from tests.support.cost import cost_s

_MANDATORY = (
    ("Via", "SIP/2.0/WSS a.invalid;branch=z9hG4bKa"),
    ("From", "<sip:alice@example.com>;tag=1"),
    ("To", "<sip:bob@example.com>"),
    ("Call-ID", "c1"),
    ("CSeq", "1 INVITE"),
)


def _request(*fields: tuple[str, str], body: bytes = b"") -> Request:
    return Request("INVITE", "sip:bob@example.com", Headers((*_MANDATORY, *fields)), body)


def test_written_message_is_canonical_and_its_length_right() -> None:
    data = serialise(_request(("l", "999"), ("s", "x"), ("X-own", "y"), body=b"abc"))
    assert data == (
        b"INVITE sip:bob@example.com SIP/2.0\r\n"
        b"Via: SIP/2.0/WSS a.invalid;branch=z9hG4bKa\r\n"
        b"From: <sip:alice@example.com>;tag=1\r\n"
        b"To: <sip:bob@example.com>\r\n"
        b"Call-ID: c1\r\n"
        b"CSeq: 1 INVITE\r\n"
        b"Subject: x\r\n"
        b"X-own: y\r\n"
        b"Content-Length: 3\r\n"
        b"\r\n"
        b"abc"
    )


def test_written_response() -> None:
    assert serialise(Response(486, "Busy Here")) == b"SIP/2.0 486 Busy Here\r\nContent-Length: 0\r\n\r\n"


@pytest.mark.parametrize("value", ["a\r\nVia: b", "a\nb", "a\rb", "a\0b", "\\\\\0\0", "\ud800"])
def test_no_value_breaks_its_line(value: str) -> None:
    for message in (_request(("Subject", value)), Response(200, value)):
        with pytest.raises(InvalidValue):
            serialise(message)


@pytest.mark.parametrize(
    "message",
    [
        Request("IN VITE", "sip:bob@example.com"),
        Request("", "sip:bob@example.com"),
        Request("INVITE", ""),
        Request("INVITE", "sip:bob@example.com SIP/2.0\r\nEvil: x"),
        Request("INVITE", "sip:b ob@example.com"),
        Request("INVITE", "sip:bob@example.com", Headers([("Bad Name", "x")])),
        Request("INVITE", "sip:bob@example.com", Headers([("Evil: x\r\nBad", "x")])),
        Response(99),
        Response(700),
    ],
)
def test_no_start_line_or_name_is_written_that_could_not_be_read(message: Message) -> None:
    with pytest.raises(InvalidValue):
        serialise(message)


def test_message_over_the_limit_is_not_looked_at() -> None:
    with pytest.raises(MalformedMessage) as caught:
        parse(b"x" * (MAX_MESSAGE + 1))
    assert caught.value.status == 513
    assert salvaged(caught.value) is None


@pytest.mark.parametrize("data", [b"", b"\r\n\r\n", b"\0", b"\xff\xfe", b" ", b":", b"SIP/2.0", b"\n:\n\n"])
def test_rubbish_is_refused_without_an_answer(data: bytes) -> None:
    with pytest.raises(MalformedMessage) as caught:
        parse(data)
    assert salvaged(caught.value) is None


def test_what_breaks_lines_is_not_salvaged() -> None:
    data = serialise(_request()).replace(b"Call-ID: c1", b"Call-ID: c\r1")
    with pytest.raises(MalformedMessage) as caught:
        parse(data)
    assert salvaged(caught.value) is None


def test_keepalive_is_line_ends_alone() -> None:
    assert is_keepalive(b"\r\n\r\n")
    assert is_keepalive(b"")
    assert not is_keepalive(b"\r\nx")


def test_response_repeats_what_it_must() -> None:
    request = _request(("Via", "SIP/2.0/UDP b.invalid"), ("Timestamp", "54"), ("Subject", "x"))
    trying = response_to(request, 100)
    assert trying.reason == "Trying"
    assert trying.headers.all("Via") == request.headers.all("Via")
    assert (trying.headers.get("Timestamp"), trying.headers.get("To")) == ("54", "<sip:bob@example.com>")
    ringing = response_to(request, 180, "Ding", to_tag="t1")
    assert (ringing.reason, ringing.headers.get("To")) == ("Ding", "<sip:bob@example.com>;tag=t1")
    assert "Timestamp" not in ringing.headers
    assert "Subject" not in ringing.headers
    assert response_to(request, 299).reason == ""


def test_response_keeps_a_tag_that_is_there() -> None:
    request = _request()
    request.headers.set("To", "sip:bob@example.com;tag=mine")
    assert response_to(request, 200, to_tag="t1").headers.get("To") == "sip:bob@example.com;tag=mine"


def test_response_to_an_incomplete_request_is_as_incomplete() -> None:
    answer = response_to(Request("INVITE", "sip:bob@example.com"), 400, to_tag="t1")
    assert list(answer.headers) == []


def test_tag_must_be_a_token() -> None:
    with pytest.raises(InvalidValue):
        response_to(_request(), 200, to_tag="a;b")


@pytest.mark.parametrize(
    "data",
    [
        b"INVITE sip:b@example.com SIP/2.0\r\n" + b"\n " * 32000,
        b"INVITE sip:b@example.com SIP/2.0\r\n" + b"a:\r\n" * 16000 + b"\r\n",
        b"INVITE sip:b@example.com SIP/2.0\r\nVia: " + b"," * 8000 + b"\r\n\r\n",
        b"INVITE sip:b@example.com SIP/2.0\r\nVia: " + b'"<' * 4000 + b"\r\n\r\n",
        b"INVITE sip:b@example.com SIP/2.0\r\nVia: " + b'",",' * 2000 + b"\r\n\r\n",
        b"INVITE sip:b@example.com SIP/2.0\r\nVia: SIP/2.0/UDP h" + b";a" * 4000 + b"\r\n\r\n",
        b"INVITE sip:b@example.com SIP/2.0\r\nVia: SIP/2.0/UDP h\r\nFrom: " + b"\\" * 8000 + b"\r\n\r\n",
        b'INVITE sip:b@example.com SIP/2.0\r\nVia: SIP/2.0/UDP h\r\nFrom: "' + b"\\" * 8000 + b"\r\n\r\n",
        b"INVITE " + b"sip:" * 2000 + b" SIP/2.0\r\n\r\n",
        b" " * 60000,
        b"\r\n" * 32000,
        b"\xff" * 60000,
    ],
)
def test_hostile_message_costs_little(data: bytes) -> None:
    def refused() -> None:
        with pytest.raises(MalformedMessage):
            parse(data)

    assert cost_s(refused) < 0.05  # the bound of the design for one message
