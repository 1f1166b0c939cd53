from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phoned.model import StreamRequest
from phoned.services.webhooks.decision import MAX_BODY, Decision, Unusable, read_decision


@pytest.mark.parametrize(
    ("body", "decision"),
    [
        (b'{"action":"answer"}', Decision(action="answer")),
        (b' {"action":"answer","stream":null} ', Decision(action="answer")),
        (
            b'{"action":"answer","stream":{"url":"wss://bot/ws","on_close":"keep"}}',
            Decision(action="answer", stream=StreamRequest(url="wss://bot/ws", on_close="keep")),
        ),
        (b'{"action":"reject"}', Decision(action="reject", code=486)),
        (b'{"action":"reject","code":603}', Decision(action="reject", code=603)),
        (b"", None),
        (b"ok", None),
        (b"[1]", None),
        (b"{}", None),
        (b'{"ok":true}', None),
    ],
)
def test_what_a_body_says(body: bytes, decision: Decision | None) -> None:
    assert read_decision(body) == decision


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b'{"action":"answer","stream":{"url":"https://bot"}}', "stream.url: "),
        (b'{"action":"answer","stream":{"url":"wss://bot","protocol":"morse"}}', "stream.protocol: "),
        (b'{"action":"answer","stream":7}', "stream: "),
        (b'{"action":"reject","code":200}', "400 to 699"),
        (b'{"action":"reject","code":"486"}', "400 to 699"),
        (b'{"action":"reject","code":true}', "400 to 699"),
        (b'{"action":"sing"}', "neither"),
        (b'{"action":["answer"]}', "neither"),
        (b'{"action":', "no JSON"),
        (b'{"a":' * 800, "no JSON"),
        (b"{" + b" " * MAX_BODY, "longer"),
        (b'{"action":"\xff"}', "no JSON"),
    ],
)
def test_what_cannot_be_done_is_said(body: bytes, why: str) -> None:
    found = read_decision(body)
    assert isinstance(found, Unusable)
    assert why in found.why


@given(
    st.binary(max_size=300)
    | st.recursive(st.none() | st.text() | st.integers(), st.lists).map(lambda x: json.dumps({"action": x}).encode())
)
def test_no_body_is_an_accident(body: bytes) -> None:
    found = read_decision(body)
    assert found is None or isinstance(found, Decision | Unusable)
