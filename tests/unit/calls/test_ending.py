"""Statuses and Reason values, as the control API names them."""

from __future__ import annotations

import pytest

from phoned.calls.ending import cause_of_refusal, q850_of_reason, was_answered_elsewhere
from phoned.model import EndCause


@pytest.mark.parametrize(
    ("status", "ringing", "cause"),
    [
        (486, True, EndCause.BUSY),
        (600, False, EndCause.BUSY),
        (603, True, EndCause.REJECTED),
        (480, False, EndCause.NO_ANSWER),
        (408, True, EndCause.NO_ANSWER),
        (408, False, EndCause.TIMEOUT),
        (404, False, EndCause.NOT_FOUND),
        (403, False, EndCause.FORBIDDEN),
        (488, True, EndCause.MEDIA_FAILED),
        (503, False, EndCause.UNREACHABLE),
        (487, True, EndCause.CANCELED),
        (302, False, EndCause.FAILED),
        (699, False, EndCause.FAILED),
    ],
)
def test_a_refusal_has_the_cause_that_the_contract_names(status: int, ringing: bool, cause: EndCause) -> None:
    assert cause_of_refusal(status, was_ringing=ringing) is cause


@pytest.mark.parametrize(
    ("values", "cause"),
    [
        (['Q.850;cause=16;text="Normal; clearing"'], 16),
        (["SIP;cause=200", "q.850 ; CAUSE = 31"], 31),
        (["Q.850"], None),
        (["Q.850;cause=x"], None),
        (["Q.850;cause=99999"], None),
        ([], None),
    ],
)
def test_the_q850_cause_is_read_from_reason(values: list[str], cause: int | None) -> None:
    assert q850_of_reason(values) == cause


def test_a_call_taken_by_another_phone_is_recognised() -> None:
    assert was_answered_elsewhere(['SIP ;cause=200 ;text="Call completed elsewhere"'])
    assert not was_answered_elsewhere(["SIP;cause=487"])
