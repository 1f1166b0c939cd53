from __future__ import annotations

import re
from typing import Any

import pytest
from pydantic import ValidationError

from phoned.errors import InvalidValue
from phoned.event_types import EVENT_TYPES
from phoned.services.webhooks.config import WebhookConfig
from phoned.services.webhooks.values import check_events, lane_of, wants


@pytest.mark.parametrize(
    ("data", "lane"),
    [
        ({"call": {"id": "call_1", "account": "a"}}, "call_1"),
        ({"recording": {"id": "rec_1", "call": "call_1"}}, "call_1"),
        ({"playback": {"id": "pb_1", "call": "call_1"}}, "call_1"),
        ({"message": {"id": "msg_1", "account": "a", "call": "call_1"}}, "call_1"),
        ({"message": {"id": "msg_1", "account": "a", "call": None}}, "account:a"),
        ({"recording": {"id": "rec_1", "call": ""}}, "node"),
        ({"account": {"id": "a"}}, "account:a"),
        ({"network": {}}, "node"),
        ({"account": "a"}, "node"),
        ({}, "node"),
    ],
)
def test_what_belongs_together_shares_a_lane(data: dict[str, Any], lane: str) -> None:
    assert lane_of(data) == lane


def test_patterns_choose_events() -> None:
    assert wants(("call.*",), "call.ended")
    assert wants(("*",), "system.started")
    assert wants(("account.gave_up", "call.ended"), "call.ended")
    assert not wants(("call.*",), "account.gave_up")


@pytest.mark.parametrize("events", [[], ["*"] * 65, ["Call.ended"], ["call ended"], [""], ["a.b.c.d.e"], ["[a]"]])
def test_what_is_no_pattern_is_refused(events: list[str]) -> None:
    with pytest.raises(InvalidValue):
        check_events(events, "/events")


@pytest.mark.parametrize("events", [["*"], ["*.*"], ["call.???ed"], ["*ed"], list(EVENT_TYPES)[:64], ["webhook.*"]])
def test_a_pattern_that_fits_an_event_is_taken(events: list[str]) -> None:
    assert check_events(events) == tuple(events)


@pytest.mark.parametrize(
    ("pattern", "told"),
    [
        ("call.answerd", "no event is called 'call.answerd': did you mean 'call.answered'?"),
        ("cal.*", "no event is called 'cal.*': did you mean 'call.*'?"),
        ("acount.gave_up", "did you mean 'account.gave_up'?"),
        ("nope.*", "no event is called 'nope.*': /asyncapi.json lists them"),
        ("call", "no event is called 'call'"),
        ("call.ended.*", "no event is called"),
    ],
)
def test_a_pattern_that_fits_no_event_is_refused_with_the_nearest(pattern: str, told: str) -> None:
    with pytest.raises(InvalidValue) as caught:
        check_events(["call.ended", pattern], "/events")
    assert told in caught.value.detail
    assert caught.value.pointer == "/events/1"
    with pytest.raises(ValidationError, match=re.escape(told)):
        WebhookConfig.model_validate({"url": "https://example.org/", "events": [pattern], "secret_file": "none.secret"})


def test_the_place_of_a_bad_pattern_is_named() -> None:
    with pytest.raises(InvalidValue) as caught:
        check_events(["*", "CALL"], "/events")
    assert caught.value.pointer == "/events/1"
    with pytest.raises(InvalidValue) as caught:
        check_events(["CALL"])
    assert caught.value.pointer == ""
