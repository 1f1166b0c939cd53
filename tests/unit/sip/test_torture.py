"""RFC 4475 at parser level: what parses and what it means, and what is refused with which status."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from phoned.errors import MalformedMessage
from phoned.sip.accessors import contacts, cseq, from_, max_forwards, routes, to, vias
from phoned.sip.challenge import Credentials
from phoned.sip.message import Message, Request, Response, parse, response_to, salvaged, serialise
from phoned.sip.uri import Uri

_DATA = Path(__file__).resolve().parents[4] / "shared" / "data" / "rfc4475"

pytestmark = pytest.mark.skipif(not _DATA.is_dir(), reason=f"the messages of RFC 4475 are not in {_DATA}")

# refused by the parser, and with what; all others parse. "" for what gets no answer at all
_REFUSED = {
    "baddn.dat": "400", "badinv01.dat": "400", "badvers.dat": "505", "clerr.dat": "400", "ltgtruri.dat": "400",
    "lwsruri.dat": "400", "mcl01.dat": "400", "mismatch01.dat": "400", "mismatch02.dat": "400", "multi01.dat": "400",
    "ncl.dat": "400", "quotbal.dat": "400", "regbadct.dat": "400", "scalar02.dat": "400",
    "bigcode.dat": "", "insuf.dat": "", "scalarlg.dat": "", "test.dat": "",
}  # fmt: skip


def _table() -> dict[str, tuple[str, str]]:
    if not _DATA.is_dir():
        return {}
    with (_DATA / "EXPECTED.tsv").open(encoding="utf-8", newline="") as table:
        rows = csv.reader(table, delimiter="\t")
        next(rows)
        return {row[0]: (row[2], row[3]) for row in rows}


def _message(name: str) -> Message:
    return parse((_DATA / name).read_bytes())


def _request(name: str) -> Request:
    message = _message(name)
    assert isinstance(message, Request)
    return message


@pytest.mark.parametrize("name", sorted(_table()))
def test_torture_message_parses_or_is_refused_as_the_rfc_says(name: str) -> None:
    kind, required = _table()[name]
    if name not in _REFUSED:
        assert kind != "invalid" or any(word in required for word in ("accept", "ignore")), required
        message = _message(name)
        assert serialise(message)
        if isinstance(message, Request):
            assert serialise(response_to(message, 200, to_tag="t1"))
        return
    assert kind != "valid", required
    with pytest.raises(MalformedMessage) as caught:
        _message(name)
    request = salvaged(caught.value)
    assert ("" if request is None else str(caught.value.status)) == _REFUSED[name]
    if request is not None:
        assert _REFUSED[name] in required
        assert serialise(response_to(request, caught.value.status, to_tag="t1"))


def test_all_messages_of_the_table_are_there() -> None:
    assert len(_table()) == 50
    assert _REFUSED.keys() <= _table().keys()


def test_wsinv_is_read_through_its_white_space() -> None:
    request = _request("wsinv.dat")
    assert to(request).tag == "1918181833n"
    assert from_(request).display_name == 'J Rosenberg \\"'
    assert (from_(request).tag, max_forwards(request), str(cseq(request))) == ("98asjd8", 68, "9 INVITE")
    assert [(via.transport, via.host, via.branch) for via in vias(request)] == [
        ("UDP", "192.0.2.2", "390skdjuw"),
        ("TCP", "spindle.example.com", "z9hG4bK9ikj8"),
        ("UDP", "192.168.255.111", "z9hG4bK30239"),
    ]
    assert request.headers.get("Subject") == ""
    assert request.headers.get("newfangledheader") == "newfangled value continued newfangled value"
    assert "lr" in routes(request)[0].uri.parameters
    (contact,) = contacts(request)
    assert (contact.display_name, contact.q) == ('Quoted string ""', 0.33)
    assert contact.parameters.get("newparam") == "newvalue"
    assert len(request.body) == 150


def test_intmeth_keeps_its_odd_bytes_in_the_answer() -> None:
    data = (_DATA / "intmeth.dat").read_bytes()
    request = _request("intmeth.dat")
    assert request.method == "!interesting-Method0123456789_*+`.%indeed'~"
    assert to(request).display_name == "BEL:\a NUL:\0 DEL:\x7f"
    assert from_(request).parameters.get("fromParam''~+*_!.-%") == "работающий"
    to_line = next(line for line in data.split(b"\r\n") if line.startswith(b"To:"))
    assert to_line in serialise(response_to(request, 501))


def test_esc01_is_unescaped_once() -> None:
    request = _request("esc01.dat")
    uri = Uri.parse(request.uri)
    assert (uri.scheme, uri.user, uri.host) == ("sip", "sips:user@example.com", "example.net")
    (contact,) = contacts(request)
    assert contact.uri.user == "caller"
    assert (contact.uri.parameter("lr"), contact.uri.parameter("name")) == ("", "value%41")


def test_esc02_escapes_neither_methods_nor_header_names() -> None:
    request = _request("esc02.dat")
    assert request.method == "RE%47IST%45R"
    assert from_(request).display_name == "%Z%45"
    assert [contact.uri.user for contact in contacts(request)] == ["alias1", "alias3"]


def test_escnull_has_two_contacts_that_differ() -> None:
    one, two = contacts(_request("escnull.dat"))
    assert (one.uri.user, two.uri.user) == ("\0", "\0\0")
    assert not one.uri.equivalent(two.uri)


def test_longreq_answers_with_all_its_vias_in_order() -> None:
    request = _request("longreq.dat")
    answer = parse(serialise(response_to(request, 200, to_tag="t1")))
    assert answer.headers.all("Via") == request.headers.all("Via")
    assert len(vias(request)) == 34


def test_dblreq_ends_at_its_content_length() -> None:
    request = _request("dblreq.dat")
    assert (request.method, request.body) == ("REGISTER", b"")


def test_semiuri_leaves_the_semicolon_to_the_user() -> None:
    uri = Uri.parse(_request("semiuri.dat").uri)
    assert (uri.user, len(uri.parameters)) == ("user;par=u@example.net", 0)


def test_escaped_route_stays_inside_the_uri() -> None:
    for name in ("escruri.dat", "regescrt.dat"):
        request = _request(name)
        assert "Route" not in request.headers
    (contact,) = contacts(_request("regescrt.dat"))
    assert contact.uri.header_pairs == [("Route", "<sip:sip.example.com>")]


def test_parameters_belong_to_the_field_without_brackets_and_to_the_uri_within() -> None:
    (outside,) = contacts(_request("cparam01.dat"))
    (inside,) = contacts(_request("cparam02.dat"))
    assert "unknownparam" in outside.parameters
    assert inside.uri.parameter("unknownparam") == ""


def test_unknown_schemes_are_well_formed() -> None:
    assert Uri.parse(_request("unkscm.dat").uri).scheme == "nobodyknowsthisscheme"
    assert Uri.parse(_request("novelsc.dat").uri).opaque == "//192.0.2.103:3002"
    assert to(_request("unksm2.dat")).uri.scheme == "isbn"


def test_unknown_authorization_scheme_is_read() -> None:
    line = _request("regaut01.dat").headers.get("Authorization")
    assert line is not None
    assert Credentials.parse(line).get("opaque-data") == "here"


def test_reason_phrases_are_read_as_they_are() -> None:
    odd, none = _message("unreason.dat"), _message("noreason.dat")
    assert isinstance(odd, Response)
    assert odd.reason.startswith("= 2**3 * 5**2 но сто")
    assert isinstance(none, Response)
    assert (none.status, none.reason) == (100, "")
