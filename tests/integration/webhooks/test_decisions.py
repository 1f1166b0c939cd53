"""What a receiver's answer to `call.incoming` does to the call, and when it does nothing."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
from pathlib import Path
from typing import Any

import pytest

from phoned.model import CallState, StreamRequest
from tests.support.webhook_sink import Reply, Sink, failing
from tests.support.webhooks import configured, life, received


@pytest.mark.parametrize(
    ("reply", "outcome"),
    [
        ({"action": "answer"}, "active"),
        ({"action": "reject", "code": 603}, "ended"),
        ({"action": "answer", "stream": {"url": "wss://bot"}}, "active"),
        ({"action": "answer", "stream": {"url": "https://bot"}}, "ringing"),
        ({"action": "sing"}, "ringing"),
        ({"ok": True}, "ringing"),
    ],
)
async def test_the_answer_to_an_incoming_call_decides_about_it(
    sink: Sink, tmp_path: Path, reply: dict[str, Any], outcome: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    sink.answer = lambda one: Reply(status=200, body=json.dumps(reply).encode())
    async with life(tmp_path, configured(tmp_path, sink.url)) as phone:
        call = await phone.phone.remote_calls()
        await phone.until(lambda: phone.control.webhooks()[0].last_status == 200, "delivered")
        await phone.until(lambda: phone.phone.call(call.id).state.value == outcome, outcome)
        await phone.service.stop(1.0)
    if outcome == "ringing" and "action" in reply:
        assert "counts for nothing" in caplog.text
    if outcome == "active":
        assert [step.url for step in phone.phone.then if isinstance(step, StreamRequest)] == (
            ["wss://bot"] if "stream" in reply else []
        )
    if outcome == "ended":
        assert phone.phone.call(call.id).end.sip_code == 603  # type: ignore[union-attr]


async def test_a_decision_that_comes_late_or_with_a_retry_counts_for_nothing(
    sink: Sink, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    answer = Reply(status=200, body=b'{"action":"answer"}')
    sink.answer = failing(1)
    async with life(tmp_path, configured(tmp_path, sink.url, events=("call.incoming",), decide_s=0.05)) as phone:
        retried = await phone.phone.remote_calls()
        await received(sink, 1)
        sink.answer = lambda _: answer
        await phone.until(lambda: phone.control.webhooks()[0].pending == 0, "delivered")
        gate = threading.Event()
        sink.answer = lambda _: Reply(status=200, body=answer.body, wait=gate)
        late = await phone.phone.remote_calls()
        await received(sink, 3)
        await asyncio.sleep(0.1)
        gate.set()
        await phone.until(lambda: "came too late" in caplog.text, "said so")
        assert phone.phone.call(retried.id).state is CallState.RINGING
        assert phone.phone.call(late.id).state is CallState.RINGING


async def test_a_decision_about_a_call_that_is_over_is_only_logged(
    sink: Sink, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    gate = threading.Event()
    sink.answer = lambda _: Reply(status=200, body=b'{"action":"answer"}', wait=gate)
    async with life(tmp_path, configured(tmp_path, sink.url, events=("call.incoming",))) as phone:
        call = await phone.phone.remote_calls()
        await received(sink, 1)
        await phone.phone.remote_hangs_up(call.id)
        gate.set()
        await phone.until(lambda: f"cannot answer {call.id}" in caplog.text, "said so")


async def test_what_rang_in_another_life_is_not_answered_in_this(sink: Sink, tmp_path: Path) -> None:
    config = configured(tmp_path, sink.url)
    sink.answer = lambda _: Reply(status=200, body=b'{"action":"answer"}')
    async with life(tmp_path, config) as phone:
        await phone.service.stop(1.0)
        call = await phone.phone.remote_calls()
        await phone.bus.flush()
    async with life(tmp_path, config) as phone:
        answered: list[str] = []

        async def answer(call: str) -> None:
            answered.append(call)

        phone.phone.answer = answer  # type: ignore[method-assign,assignment]  # it does not know the call
        (got,) = await received(sink, 1)
        await phone.until(lambda: phone.control.webhooks()[0].pending == 0, "delivered")
    assert got.body["data"]["call"]["id"] == call.id
    assert answered == []
