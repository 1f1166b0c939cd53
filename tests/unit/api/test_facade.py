from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api import facade
from api.errors import CATALOGUE, ProblemError, problem


def authorization(text: str) -> list[tuple[bytes, bytes]]:
    return [(b"authorization", text.encode())]


def test_basic_credentials_are_read() -> None:
    pair = base64.b64encode(b"AC1:to:ken").decode()
    assert facade.basic(authorization(f"Basic {pair}")) == (b"AC1", b"to:ken")
    assert facade.basic(authorization(f"basic  {pair}")) == (b"AC1", b"to:ken")


@pytest.mark.parametrize("headers", [[], authorization("Bearer x"), authorization("Basic x") * 2])
def test_what_is_not_basic_is_none(headers: list[tuple[bytes, bytes]]) -> None:
    assert facade.basic(headers) is None


@pytest.mark.parametrize("text", ["Basic", "Basic !", "Basic bm9jb2xvbg==", "Basic ü"])
def test_what_cannot_be_read_is_nobody(text: str) -> None:
    assert facade.basic(authorization(text)) == (b"", b"")


@pytest.mark.parametrize("code", CATALOGUE)
def test_every_problem_has_twilios_shape(code: str) -> None:
    status, body, headers = facade.as_twilio(problem(code, retry_after_s=1.0))
    document = json.loads(body)
    assert set(document) == {"code", "message", "more_info", "status"}
    assert document["status"] == status
    assert status not in (409, 410, 422)
    assert 20000 < document["code"] < 30000
    assert document["more_info"] == f"https://www.twilio.com/docs/errors/{document['code']}"
    assert ("Retry-After", "1") in headers
    if status == 401:
        assert ("WWW-Authenticate", 'Basic realm="phoned"') in headers
        assert "Bearer" not in document["message"]


@pytest.mark.parametrize(
    ("code", "number"),
    [("unauthorized", 20003), ("not_found", 20404), ("rate_limited", 20429), ("destination_denied", 21215)],
)
def test_the_numbers_are_twilios(code: str, number: int) -> None:
    assert json.loads(facade.as_twilio(problem(code))[1])["code"] == number


def test_forms_are_read() -> None:
    assert facade.read_form(b"Status=completed&To=%2B49+30&Empty=&Twice=1&Twice=2") == {
        "Status": "completed",
        "To": "+49 30",
        "Empty": "",
        "Twice": "2",
    }
    assert facade.read_form(b"") == {}


@pytest.mark.parametrize("body", [b"\xff", b"a=%ff", b"&".join([b"a=1"] * 65)])
def test_what_is_no_form_is_refused(body: bytes) -> None:
    with pytest.raises(ProblemError) as found:
        facade.read_form(body)
    assert facade.as_twilio(found.value.problem)[0] == 400


@given(st.binary())
def test_no_body_breaks_the_reading(body: bytes) -> None:
    try:
        facade.read_form(body)
    except ProblemError:
        pass  # it is refused


@pytest.mark.parametrize(
    ("method", "headers", "fine"),
    [
        ("GET", [(b"content-type", b"text/plain")], True),
        ("POST", [], True),
        ("POST", [(b"content-type", b"application/x-www-form-urlencoded; charset=utf-8")], True),
        ("POST", [(b"content-type", b"application/json")], False),
        ("POST", [(b"content-type", b"application/x-www-form-urlencoded")] * 2, False),
    ],
)
def test_writes_are_forms(method: str, headers: list[tuple[bytes, bytes]], fine: bool) -> None:
    assert (facade.check_form_type(method, headers) is None) is fine
