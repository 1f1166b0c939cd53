from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from api.schemas import Dtmf, OnAnswer, PlaceCall, Play, Record, Reject, Tag
from phoned.calls.policy import checked_headers
from phoned.model import HEADER_NAME, MAX_HEADERS, CallRequest, DtmfRequest, PlayRequest, RecordRequest, StreamRequest

CALL: dict[str, Any] = {"account": "front", "to": "200"}


def test_a_call_with_defaults() -> None:
    assert PlaceCall(**CALL).value() == CallRequest(account="front", to="200")


def test_a_call_with_everything() -> None:
    body = PlaceCall.model_validate(
        {
            **CALL,
            "headers": {"X-Order": "7", "User-to-User": "00"},
            "timeout_s": 5,
            "max_duration_s": 60,
            "wait": "answered",
            "on_answer": [
                {"play": {"file": "a/welcome.wav", "loop": True}},
                {"dtmf": "12ww#"},
                {"dtmf": {"digits": "1", "method": "info"}},
                {"record": {"format": "opus"}},
            ],
            "tags": {"k": "v"},
        }
    )
    assert body.value("call_x") == CallRequest(
        id="call_x",
        account="front",
        to="200",
        headers={"X-Order": "7", "User-to-User": "00"},
        timeout_s=5,
        max_duration_s=60,
        on_answer=(
            PlayRequest(file="a/welcome.wav", loop=True),
            DtmfRequest(digits="12ww#"),
            DtmfRequest(digits="1", method="info"),
            RecordRequest(format="opus"),
        ),
        tags={"k": "v"},
    )


@pytest.mark.parametrize(
    "change",
    [
        {"bogus": 1},
        {"to": ""},
        {"to": "2" * 513},
        {"to": "200\r\nEvil: 1"},
        {"to": 200},
        {"account": None},
        {"timeout_s": 0},
        {"timeout_s": -1},
        {"timeout_s": 601},
        {"timeout_s": "5"},
        {"timeout_s": True},
        {"timeout_s": float("inf")},
        {"timeout_s": float("nan")},
        {"max_duration_s": 0},
        {"wait": "forever"},
        {"headers": {"From": "sip:me"}},
        {"headers": {"x": "y"}},
        {"headers": {"X-A\r\nVia": "y"}},
        {"headers": {"X-A:": "y"}},
        {"headers": {"X-A": "y\r\nVia: z"}},
        {"headers": {"X-A": "y" * 1025}},
        {"headers": {"X-A.b": "y"}},
        {"headers": {"Subject-Line": "y"}},
        {"headers": {f"X-{number}": "" for number in range(MAX_HEADERS + 1)}},
        {"headers": [["X-A", "b"]]},
        {"tags": {"": "v"}},
        {"tags": {"k": 1}},
        {"tags": {"k": "v" * 513}},
        {"tags": {str(number): "" for number in range(33)}},
        {"on_answer": [{}]},
        {"on_answer": [{"play": None}]},
        {"on_answer": [{"dtmf": "1", "play": {"tone": "440"}}]},
        {"on_answer": [{"dtmf": "x"}]},
        {"on_answer": [{"dtmf": "1"}] * 17},
    ],
)
def test_calls_that_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        PlaceCall.model_validate({**CALL, **change})


@pytest.mark.parametrize(
    "name",
    [
        "",
        "/etc/passwd",
        "../x.wav",
        "a/../../x",
        "a//b",
        "./a",
        "a/.",
        "-rf",
        "~root",
        "a\\b",
        "a%2e%2e/b",
        "http://evil/x.wav",
        "concat:a|b",
        "a\x00b",
        "a\nb",
        "x" * 256,
        "é" * 128,
    ],
)
def test_names_that_could_leave_the_media_directory(name: str) -> None:
    with pytest.raises(ValidationError):
        Play(file=name)


@pytest.mark.parametrize("name", ["a.wav", "dir/a b.wav", "..a", "a..b/c", "é.wav"])
def test_names_that_cannot(name: str) -> None:
    assert Play(file=name).value() == PlayRequest(file=name)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"file": "a", "tone": "440"},
        {"loop": True},
        {"file": None},
        {"file": "a", "files": ["b"]},
        {"files": []},
        {"files": ["a", "../b"]},
        {"files": ["a"] * 65},
        {"file": "a", "loop": 0},
        {"file": "a", "loop": 1.5},
        {"file": "a", "loop": "3"},
        {"tone": "440", "duration_ms": 0},
    ],
)
def test_a_playback_has_one_source(body: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Play(**body)


def test_a_list_is_played_so_many_rounds() -> None:
    played = Play(files=["a.wav", "b.mp3"], loop=3, duration_ms=60_000)
    assert played.value() == PlayRequest(files=("a.wav", "b.mp3"), loop=3, duration_ms=60_000)
    assert Play(file="a", loop=True).value().loop is True


def test_a_bot_is_a_step_that_is_looked_at() -> None:
    step = OnAnswer.model_validate({"stream": {"url": "ws://bot", "on_close": "keep"}})
    assert step.value() == StreamRequest(url="ws://bot", on_close="keep")
    wrong: list[dict[str, object]] = [
        {},
        {"url": "http://bot"},
        {"url": "ws://bot", "sample_rate": 16000},
        {"url": "ws://bot", "id": "x"},
    ]
    for bad in wrong:
        with pytest.raises(ValidationError):
            OnAnswer.model_validate({"stream": bad})


@pytest.mark.parametrize(
    "body",
    [
        {"digits": ""},
        {"digits": "a"},
        {"digits": "1\n"},
        {"digits": "1" * 129},
        {"digits": "1", "duration_ms": 39},
        {"digits": "1", "gap_ms": 29},
        {"digits": "1", "duration_ms": 100.5},
        {"digits": "1", "method": "smoke"},
    ],
)
def test_digits_that_are_refused(body: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Dtmf(**body)


def test_digits() -> None:
    assert Dtmf(digits="0123456789*#ABCDw").value() == DtmfRequest(digits="0123456789*#ABCDw")


def test_recording_defaults() -> None:
    assert Record().value() == RecordRequest(format="wav", channels="stereo")


@pytest.mark.parametrize("body", [{"code": 200}, {"code": 302}, {"code": 700}, {"code": "486"}, {"reason": ""}])
def test_rejections_that_are_refused(body: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Reject(**body)


def test_tags_are_required() -> None:
    with pytest.raises(ValidationError):
        Tag.model_validate({})


def test_the_headers_that_are_described_are_those_that_a_call_takes() -> None:
    described = PlaceCall.model_json_schema()["properties"]["headers"]
    assert described["maxProperties"] == MAX_HEADERS
    assert described["propertyNames"] == {"pattern": HEADER_NAME, "maxLength": 64}
    assert "patternProperties" not in described
    most = {f"X-{number}": "y" * 1024 for number in range(MAX_HEADERS - 1)} | {"P-Preferred-Identity": "<sip:a@b>"}
    assert dict(checked_headers(PlaceCall(**CALL, headers=most).value().headers)) == most
