"""Statuses and Reason values, as the control API names them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from phoned.calls.ending import (
    cause_of_refusal,
    end_of,
    lost_reason,
    q850_of_reason,
    refusal_of,
    was_answered_elsewhere,
)
from phoned.errors import DeadlineExceeded, Gone, NotRegistered, Refused
from phoned.model import CallState, CallView, EndCause, EndView, Peer
from phoned.sip import events as sip


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


def ended(cause: sip.EndCause, by: sip.Party = sip.Party.REMOTE, **facts: Any) -> sip.Ended:
    return sip.Ended(session="s", cause=cause, by=by, **facts)


@pytest.mark.parametrize(
    ("event", "decided", "cause", "by"),
    [
        (ended(sip.EndCause.BYE), None, EndCause.COMPLETED, "remote"),
        (ended(sip.EndCause.CANCELED, sip.Party.LOCAL), None, EndCause.CANCELED, "local"),
        (ended(sip.EndCause.CANCELED, sip.Party.LOCAL), (EndCause.NO_ANSWER, "system"), EndCause.NO_ANSWER, "system"),
        (ended(sip.EndCause.CANCELED, reasons=("SIP;cause=200",)), None, EndCause.ANSWERED_ELSEWHERE, "remote"),
        (ended(sip.EndCause.REFUSED, status=486), None, EndCause.BUSY, "remote"),
        (ended(sip.EndCause.REFUSED), None, EndCause.UNREACHABLE, "remote"),
        (ended(sip.EndCause.NO_ACK, sip.Party.SYSTEM), None, EndCause.TIMEOUT, "system"),
        (ended(sip.EndCause.DIALOG_GONE), (EndCause.COMPLETED, "local"), EndCause.LOST, "system"),
    ],
)
def test_an_end_is_told_in_a_persons_words(event: sip.Ended, decided: Any, cause: EndCause, by: str) -> None:
    end = end_of(event, was_ringing=True, decided=decided)
    assert (end.cause, end.by) == (cause, by)


def test_every_end_of_the_core_has_words() -> None:
    for cause in sip.EndCause:
        assert isinstance(end_of(ended(cause), was_ringing=False, decided=None), EndView)
    for party in sip.Party:
        assert end_of(ended(sip.EndCause.BYE, party), was_ringing=False, decided=None).by == str(party)


def test_a_lost_call_has_a_reason() -> None:
    assert lost_reason(ended(sip.EndCause.DIALOG_GONE)) == "dialog_gone"
    assert lost_reason(ended(sip.EndCause.BYE)) == "signalling_timeout"


def test_other_parameters_of_reason_are_passed_over() -> None:
    assert q850_of_reason(["Q.850;text=x;cause=17"]) == 17


@pytest.mark.parametrize(
    ("end", "error"),
    [
        (EndView(cause=EndCause.NO_ANSWER, by="system"), DeadlineExceeded),
        (EndView(cause=EndCause.UNREACHABLE, by="system"), NotRegistered),
        (EndView(cause=EndCause.BUSY, by="remote", sip_code=486, sip_reason="Busy"), Refused),
        (EndView(cause=EndCause.CANCELED, by="local"), Gone),
        (None, Gone),
    ],
)
def test_who_waited_is_told_what_became_of_it(end: EndView | None, error: type[Exception]) -> None:
    call = CallView(
        id="c",
        account="a",
        direction="out",
        state=CallState.ENDED,
        peer=Peer(uri="sip:b@x"),
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
        end=end,
    )
    assert type(refusal_of(call)) is error
