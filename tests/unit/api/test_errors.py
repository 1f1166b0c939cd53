from __future__ import annotations

import json

import pytest

from api.errors import CATALOGUE, Problem, from_error, from_validation, page, pointer, problem
from phoned import errors


def document(found: Problem) -> dict[str, object]:
    body = json.loads(found.body(instance="/v1/x", request_id="req_1"))
    assert isinstance(body, dict)
    return body


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (errors.InvalidValue("bad", pointer="/to"), 422, "invalid_value"),
        (errors.NotFound("none"), 404, "not_found"),
        (errors.WrongState("no", state="active", allowed_in=("ringing",)), 409, "wrong_state"),
        (errors.Gone("over"), 410, "gone"),
        (errors.Denied("no", code="destination_denied"), 403, "destination_denied"),
        (errors.Denied("no", code="emergency_disabled"), 403, "emergency_disabled"),
        (errors.Denied("no", code="something_new"), 403, "something_new"),
        (errors.UsageError("no"), 422, "usage"),
        (errors.Refused(486, "Busy Here"), 502, "refused"),
        (errors.MalformedMessage("no"), 502, "malformed_message"),
        (errors.DescriptionError("no"), 502, "bad_description"),
        (errors.RemoteError("no"), 502, "remote"),
        (errors.NotRegistered("no"), 503, "not_registered"),
        (errors.AtCapacity("no"), 503, "at_capacity"),
        (errors.Draining("no"), 503, "draining"),
        (errors.UnavailableError("no"), 503, "unavailable"),
        (errors.NotImplementedYet("no"), 501, "not_implemented"),
        (errors.DeadlineExceeded("no"), 504, "deadline_exceeded"),
        (errors.InternalError("secret path /etc"), 500, "internal"),
        (errors.PhonedError("secret path /etc"), 500, "internal"),
    ],
)
def test_each_error_has_its_status(error: errors.PhonedError, status: int, code: str) -> None:
    body = document(from_error(error))
    assert body["status"] == status
    assert body["code"] == code
    assert body["type"] == f"/problems/{code}"
    assert body["title"]
    assert body["detail"]
    assert body["instance"] == "/v1/x"
    assert body["request_id"] == "req_1"
    assert "secret" not in str(body)


def test_every_error_class_of_phoned_is_known_to_the_catalogue() -> None:
    def all_of(kind: type[errors.PhonedError]) -> set[type[errors.PhonedError]]:
        return {kind}.union(*(all_of(child) for child in kind.__subclasses__() if child.__module__ == "phoned.errors"))

    assert {kind.code for kind in all_of(errors.PhonedError)} - set(CATALOGUE) == {"error"}


def test_a_refusal_carries_the_far_ends_words() -> None:
    assert document(from_error(errors.Refused(486, "Busy Here")))["sip"] == {"code": 486, "reason": "Busy Here"}


def test_a_wrong_state_says_which_would_be_right() -> None:
    body = document(from_error(errors.WrongState("no", state="active", allowed_in=("ringing", "queued"))))
    assert (body["state"], body["allowed_in"]) == ("active", ["ringing", "queued"])


def test_an_invalid_value_points_at_it() -> None:
    body = document(from_error(errors.InvalidValue("too long", pointer="/to")))
    assert body["errors"] == [{"pointer": "/to", "detail": "too long"}]


@pytest.mark.parametrize(
    ("error", "seconds"),
    [
        (errors.NotRegistered("x", retry_after_s=2.5), "3"),
        (errors.NotRegistered("x"), "2"),
        (errors.Draining("x"), "30"),
        (errors.UnavailableError("x", retry_after_s=0.01), "1"),
        (errors.Refused(503, "Busy", retry_after_s=7), "7"),
    ],
)
def test_retry_after_is_a_header_too(error: errors.PhonedError, seconds: str) -> None:
    found = from_error(error)
    assert ("Retry-After", seconds) in found.headers
    assert document(found)["retry_after_s"] is not None


def test_what_is_not_built_does_not_ask_to_be_retried() -> None:
    assert from_error(errors.NotImplementedYet("x", retry_after_s=1)).headers == ()


def test_401_says_how_to_authenticate() -> None:
    assert ("WWW-Authenticate", 'Bearer realm="phoned"') in problem("unauthorized").headers


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        (("body",), ""),
        (("body", "to"), "/to"),
        (("body", "on_answer", 0, "play"), "/on_answer/0/play"),
        (("body", "tags", "a/b~c"), "/tags/a~1b~0c"),
        (("query", "limit"), "/query/limit"),
        ((), ""),
    ],
)
def test_pointers(place: tuple[str | int, ...], expected: str) -> None:
    assert pointer(place) == expected


def test_validation_lists_what_is_wrong_up_to_a_bound() -> None:
    found = [{"loc": ("body", f"f{number}"), "msg": "bad"} for number in range(100)]
    body = document(from_validation([*found]))
    assert body["detail"] == "/f0: bad"
    listed = body["errors"]
    assert isinstance(listed, list)
    assert len(listed) == 20


def test_validation_of_the_whole_body() -> None:
    assert document(from_validation([{"loc": ("body",), "msg": "missing"}]))["detail"] == "missing"
    assert document(from_validation([]))["detail"] == "invalid"


@pytest.mark.parametrize("slug", sorted(CATALOGUE))
def test_every_problem_has_a_page(slug: str) -> None:
    assert page(slug).startswith(f"{slug} (HTTP {CATALOGUE[slug][0]})")


def test_an_unknown_page_is_not_found() -> None:
    with pytest.raises(errors.NotFound):
        page("../../etc/passwd")
