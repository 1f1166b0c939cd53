from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.errors import ProblemError
from api.facade import as_twilio
from api.twiml import MAX_TWIML, TwimlStream, read_twiml


def test_a_stream_and_its_parameters_are_read() -> None:
    text = """<?xml version="1.0" encoding="UTF-8"?>
      <!-- as Pipecat's runner writes it --><Response><Connect><Stream url=" wss://bot.example.org/ws ">
      <Parameter name="from_number" value="+49 &amp; 1"/><Parameter value="nameless"/><Other name="x" value="y"/>
      </Stream></Connect><Pause length="40"/></Response>"""
    parameters = {"from_number": "+49 & 1"}
    assert read_twiml(text) == TwimlStream(
        url="wss://bot.example.org/ws", parameters=parameters, passed_over=("Pause",)
    )


def test_what_is_before_the_stream_is_passed_over() -> None:
    found = read_twiml("<Response><Say>Hi</Say><Connect/><Connect><Stream url='ws://a'/></Connect></Response>")
    assert (found.url, found.parameters, found.passed_over) == ("ws://a", {}, ("Say",))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hello",
        "<Response>",
        "<Other/>",
        "<Response/>",
        "<Response><Say>Hi</Say></Response>",
        "<Response><Start><Stream url='wss://a'/></Start></Response>",
        "<!DOCTYPE r [<!ENTITY a 'b'>]><Response><Connect><Stream url='wss://&a;'/></Connect></Response>",
        "<! DOCTYPE r><Response/>",
        "<Response>" + " " * MAX_TWIML + "</Response>",
        "<Response>\ud800</Response>",
    ],
    ids=lambda text: str(text)[:16].encode("ascii", "replace").decode(),
)
def test_what_says_nothing_that_can_be_done_is_refused(text: str) -> None:
    with pytest.raises(ProblemError) as found:
        read_twiml(text)
    status, body, _ = as_twilio(found.value.problem)
    assert (status, json.loads(body)["code"]) == (400, 12100)


@given(st.text(st.sampled_from("<>/!?&;'\"= ResponseConnectStreamurl[]-\x00ä"), max_size=60))
def test_no_document_breaks_the_reading(text: str) -> None:
    try:
        read_twiml(text)
    except ProblemError:
        pass  # it is refused
