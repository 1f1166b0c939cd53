"""Every message of tests/data/sip comes out as its table says, and none of them hurts the next one."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from phoned.errors import MalformedMessage
from phoned.sip.accessors import via_top, vias
from phoned.sip.message import Request, Response, parse, response_to, salvaged, serialise
from phoned.sip.uri import Uri

_DATA = Path(__file__).parents[2] / "data" / "sip"


def _rows() -> list[tuple[str, str, str]]:
    with (_DATA / "expected.tsv").open(encoding="utf-8", newline="") as table:
        return [(row["file"], row["outcome"], row["answerable"]) for row in csv.DictReader(table, delimiter="\t")]


def _read(name: str) -> bytes:
    return (_DATA / name).read_bytes()


@pytest.mark.parametrize(("name", "outcome", "answerable"), _rows())
def test_sample_comes_out_as_its_table_says(name: str, outcome: str, answerable: str) -> None:
    if outcome == "ok":
        message = parse(_read(name))
        assert serialise(response_to(message, 200) if isinstance(message, Request) else message)
        return
    with pytest.raises(MalformedMessage) as caught:
        parse(_read(name))
    assert caught.value.status == int(outcome)
    request = salvaged(caught.value)
    assert (request is not None) == (answerable == "yes")
    if request is not None:
        answer = serialise(response_to(request, caught.value.status, to_tag="t1"))
        assert answer.startswith(f"SIP/2.0 {outcome} ".encode())


def test_every_sample_file_has_its_row() -> None:
    assert {path.name for path in _DATA.glob("*.sip")} == {name for name, _, _ in _rows()}


def _request(name: str) -> Request:
    message = parse(_read(name))
    assert isinstance(message, Request)
    return message


def test_folds_become_one_space() -> None:
    assert _request("folded.sip").headers.get("Subject") == "one two three"


def test_bytes_that_are_no_utf8_survive() -> None:
    assert b"Subject: caf\xe9\r\n" in serialise(_request("latin1.sip"))


def test_quoted_nul_survives_into_the_answer() -> None:
    assert b'"a\\\0b" <sip:alice' in serialise(response_to(_request("nul-in-quotes.sip"), 200))


def test_nul_in_a_field_that_no_answer_repeats_is_kept_but_never_written_by_an_answer() -> None:
    request = _request("nul-in-subject.sip")
    assert request.headers.get("Subject") == "a\0b"
    assert b"\0" not in serialise(response_to(request, 200))


def test_bytes_behind_the_content_length_are_not_body() -> None:
    assert _request("length-shorter.sip").body == b"abc"


def test_body_without_content_length_is_all_that_follows() -> None:
    assert _request("length-missing.sip").body == b"abcdef"


def test_bare_line_feeds_end_lines_and_stay_in_the_body() -> None:
    assert _request("lf-only.sip").body == b"a\nb"


def test_status_line_without_reason_is_read() -> None:
    message = parse(_read("response-no-reason.sip"))
    assert isinstance(message, Response)
    assert (message.status, message.reason) == (486, "")


def test_a_port_inside_an_ipv6_reference_is_none() -> None:
    assert Uri.parse(_request("ipv6-port-inside.sip").uri).port is None
    assert Uri.parse(_request("ipv6-port-outside.sip").uri).port == 5070


@pytest.mark.parametrize("name", ["ipv6-received-brackets.sip", "ipv6-received-plain.sip"])
def test_received_is_read_with_and_without_brackets(name: str) -> None:
    assert via_top(_request(name)).received == "2001:db8::9:255"


def test_top_via_of_one_line_with_two_is_the_first() -> None:
    request = _request("ipv6-mixed-vias.sip")
    assert via_top(request).host == "[2001:db8::9:1]"
    assert [via.host for via in vias(request)] == ["[2001:db8::9:1]", "192.0.2.1"]
