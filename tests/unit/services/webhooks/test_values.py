from __future__ import annotations

from typing import Any

import pytest

from phoned.errors import InvalidValue
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


def test_the_place_of_a_bad_pattern_is_named() -> None:
    with pytest.raises(InvalidValue) as caught:
        check_events(["*", "CALL"], "/events")
    assert caught.value.pointer == "/events/1"
    with pytest.raises(InvalidValue) as caught:
        check_events(["CALL"])
    assert caught.value.pointer == ""
