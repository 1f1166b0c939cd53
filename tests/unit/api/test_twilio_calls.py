from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from api.errors import ProblemError
from api.facade import as_twilio
from api.twilio_calls import STATUSES, call_document, order_of, own_numbers, parties, request_of, status_of
from phoned.model import CallRequest, CallState, CallView, DtmfRequest, EndCause, EndView, Peer, StreamRequest
from tests.support.fake_phone import account_view

CREATED = datetime(2026, 11, 21, 10, 0, tzinfo=UTC)
CALL = CallView(
    id="call_" + "a1" * 16,
    account="front",
    direction="out",
    state=CallState.DIALING,
    peer=Peer(uri="sip:+4930@example.org", number="+4930"),
    created_at=CREATED,
)
ENDED = replace(
    CALL,
    state=CallState.ENDED,
    answered_at=CREATED + timedelta(seconds=2),
    ended_at=CREATED + timedelta(seconds=17.9),
    duration_s=15.9,
    end=EndView(cause=EndCause.MEDIA_TIMEOUT, by="system"),
)
OWN = {"front": "alice"}


def test_a_call_is_twilios_resource() -> None:
    document = call_document(ENDED, "AC1", OWN)
    wanted = {
        "sid": "CA" + "a1" * 16,
        "account_sid": "AC1",
        "api_version": "2010-04-01",
        "status": "completed",
        "direction": "outbound-api",
        "from": "alice",
        "to": "+4930",
        "date_created": "Sat, 21 Nov 2026 10:00:00 +0000",
        "start_time": "Sat, 21 Nov 2026 10:00:02 +0000",
        "end_time": "Sat, 21 Nov 2026 10:00:17 +0000",
        "date_updated": "Sat, 21 Nov 2026 10:00:17 +0000",
        "duration": "15",
        "uri": "/2010-04-01/Accounts/AC1/Calls/CA" + "a1" * 16 + ".json",
        "price": None,
    }
    assert {name: document[name] for name in wanted} == wanted
    json.dumps(document)


def test_a_call_that_goes_on_has_no_end_and_no_duration() -> None:
    document = call_document(CALL, "AC1", {})
    assert [document[name] for name in ("start_time", "end_time", "duration")] == [None, None, None]
    assert (document["status"], document["from"]) == ("queued", "front")


def test_an_incoming_call_comes_from_the_peer() -> None:
    call = replace(CALL, direction="in", peer=Peer(uri="sip:x@y", display_name="X"))
    document = call_document(call, "AC1", OWN)
    assert parties(call, OWN) == ("sip:x@y", "alice")
    assert (document["direction"], document["caller_name"]) == ("inbound", "X")


@pytest.mark.parametrize(
    ("state", "word"),
    [
        ("queued", "queued"),
        ("dialing", "queued"),
        ("ringing", "ringing"),
        ("early_media", "ringing"),
        ("active", "in-progress"),
    ],
)
def test_live_states_have_twilios_words(state: str, word: str) -> None:
    assert status_of(replace(CALL, state=CallState(state))) == word


@pytest.mark.parametrize("cause", EndCause)
def test_every_end_has_one_of_twilios_words(cause: EndCause) -> None:
    unanswered = replace(CALL, state=CallState.ENDED, end=EndView(cause=cause, by="remote"))
    known = {"busy": "busy", "rejected": "busy", "no_answer": "no-answer", "canceled": "canceled", "lost": "failed"}
    assert status_of(unanswered) in STATUSES
    assert status_of(unanswered) == known.get(cause.value, status_of(unanswered))
    assert status_of(replace(unanswered, answered_at=CREATED)) == "completed"


def test_an_end_that_nobody_knows_is_failed() -> None:
    assert status_of(replace(CALL, state=CallState.ENDED)) == "failed"


ACCOUNTS = [account_view("front"), replace(account_view("back"), aor="sip:+4930200@example.org")]


@pytest.mark.parametrize("from_", ["back", "sip:+4930200@example.org", "+4930200@example.org", "+4930200"])
def test_from_names_an_account(from_: str) -> None:
    assert request_of({"To": "200", "From": from_}, ACCOUNTS) == CallRequest(account="back", to="200", timeout_s=60.0)


def test_twilios_fields_mean_what_they_mean_there() -> None:
    form = {"To": "sip:200@x", "From": "front", "Timeout": "20", "TimeLimit": "600", "SendDigits": "1W2w#"}
    assert request_of({**form, "Url": "http://x", "AccountSid": "AC1"}, ACCOUNTS) == CallRequest(
        account="front",
        to="sip:200@x",
        timeout_s=20.0,
        max_duration_s=600.0,
        on_answer=(DtmfRequest(digits="1ww2w#"),),
    )


@pytest.mark.parametrize(
    ("form", "number"),
    [
        ({"From": "front"}, 21201),
        ({"To": "client:bob", "From": "front"}, 21211),
        ({"To": "2\r\n00", "From": "front"}, 21211),
        ({"To": "2" * 513, "From": "front"}, 21211),
        ({"To": "200"}, 21213),
        ({"To": "200", "From": "nobody"}, 21212),
        ({"To": "200", "From": "front", "Timeout": "0"}, 20001),
        ({"To": "200", "From": "front", "Timeout": "601"}, 20001),
        ({"To": "200", "From": "front", "Timeout": "1.5"}, 20001),
        ({"To": "200", "From": "front", "TimeLimit": "9999999"}, 20001),
        ({"To": "200", "From": "front", "SendDigits": "1x"}, 20001),
        ({"To": "200", "From": "front", "SendDigits": "1" * 129}, 20001),
    ],
)
def test_what_is_wrong_has_twilios_number(form: dict[str, str], number: int) -> None:
    with pytest.raises(ProblemError) as found:
        request_of(form, ACCOUNTS)
    status, body, _ = as_twilio(found.value.problem)
    document: dict[str, Any] = json.loads(body)
    assert (status, document["code"]) == (400, number)


CONNECT = "<Response><Connect><Stream url='{}'>{}</Stream></Connect><Pause/></Response>"


def test_twiml_connects_to_a_bot(caplog: pytest.LogCaptureFixture) -> None:
    assert order_of({}) is None
    with caplog.at_level("INFO"):
        order = order_of({"Twiml": CONNECT.format("wss://bot.example.org/ws", "<Parameter name='a' value='b'/>")})
    assert order is not None
    assert order.value() == StreamRequest(url="wss://bot.example.org/ws", parameters={"a": "b"})
    assert "Pause" in caplog.text


@pytest.mark.parametrize(
    "twiml", ["<Response/>", CONNECT.format("https://x.example.org/", ""), CONNECT.format("wss://user:pw@x/", "")]
)
def test_twiml_that_connects_to_nobody_is_refused(twiml: str) -> None:
    with pytest.raises(ProblemError) as found:
        order_of({"Twiml": twiml})
    status, body, _ = as_twilio(found.value.problem)
    assert (status, json.loads(body)["code"]) == (400, 12100)
    assert "pw" not in found.value.problem.detail


def test_a_name_of_two_accounts_is_nobodys() -> None:
    twins = [replace(account_view(name), aor=f"sip:alice@{name}.example.org") for name in ("one", "two")]
    assert own_numbers(twins) == {"one": "alice", "two": "alice"}
    with pytest.raises(ProblemError, match="invalid_value") as found:
        request_of({"To": "200", "From": "alice"}, twins)
    assert "more than one" in found.value.problem.detail
    assert request_of({"To": "200", "From": "one"}, twins).account == "one"
