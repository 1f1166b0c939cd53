"""The multimap of header fields: names without case, compact forms, order."""

from __future__ import annotations

import pytest

from phoned.errors import MalformedMessage
from phoned.sip.headers import Headers, canonical


def _headers() -> Headers:
    return Headers(
        [("v", "one"), ("X-Odd", "a"), ("VIA", "two, three"), ("x-odd", "b"), ("t", "<sip:bob@example.com>")]
    )


def test_names_are_found_in_every_spelling_and_kept_in_the_long_one() -> None:
    headers = _headers()
    assert [name for name, _ in headers] == ["Via", "X-Odd", "Via", "x-odd", "To"]
    for name in ("Via", "via", "V", "v", "viA"):
        assert headers.get(name) == "one"
    assert headers.get("X-ODD") == "a"
    assert headers.all("x-ODD") == ["a", "b"]
    assert canonical("x-Own") == "x-Own"
    assert canonical("call-id") == canonical("I") == "Call-ID"


def test_missing_names_are_missing() -> None:
    headers = _headers()
    assert headers.get("From") is None
    assert headers.get("X-None") is None
    assert headers.all("From") == []
    assert "From" not in headers
    assert "to" in headers


def test_values_are_cut_at_commas_outside_quotes_and_brackets() -> None:
    headers = Headers([("Contact", '"a,b" <sip:a,b@example.com>, , <sip:c@example.com>;x="\\",",'), ("m", "*")])
    assert headers.values("Contact") == ['"a,b" <sip:a,b@example.com>', '<sip:c@example.com>;x="\\","', "*"]


@pytest.mark.parametrize("line", ['"a', "<sip:a", '"a\\', '"\\"'])
def test_values_that_do_not_close_are_refused(line: str) -> None:
    with pytest.raises(MalformedMessage):
        Headers([("Contact", line)]).values("Contact")


def test_add_goes_last_and_prepend_first() -> None:
    headers = _headers()
    headers.add("Via", "last")
    headers.prepend("Via", "first")
    assert headers.all("Via") == ["first", "one", "two, three", "last"]
    assert len(headers) == 7


def test_set_takes_the_first_place_and_drops_the_rest() -> None:
    headers = _headers()
    headers.set("via", "only")
    headers.set("X-odd", "c")
    headers.set("Subject", "new")
    assert list(headers) == [
        ("Via", "only"),
        ("X-odd", "c"),
        ("To", "<sip:bob@example.com>"),
        ("Subject", "new"),
    ]


def test_remove_drops_all_of_a_name() -> None:
    headers = _headers()
    headers.remove("v")
    headers.remove("x-odd")
    headers.remove("Route")
    assert list(headers) == [("To", "<sip:bob@example.com>")]


def test_copy_is_independent_and_equality_is_by_content() -> None:
    headers = _headers()
    copy = headers.copy()
    assert copy == headers
    copy.add("Subject", "x")
    assert copy != headers
    assert headers != "Via"


def test_repr_shows_no_value() -> None:
    assert repr(Headers([("Authorization", "Digest response=secret")])) == "Headers(Authorization)"
