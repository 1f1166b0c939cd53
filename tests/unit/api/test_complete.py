"""What is offered behind TAB, and that trouble is silent."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import typer

from api.ctl import complete
from api.ctl.client import UNREACHABLE, Failure

CALL = {"id": "call_1", "direction": "in", "state": "active", "peer": {"number": None, "uri": "sip:\x1b@x"}}


class Daemon:
    """The client, and what it answers."""

    answer: Any = None
    asked: tuple[str, dict[str, Any]] = ("", {})

    def __init__(self, target: object, *, timeout_s: float) -> None:
        assert timeout_s == complete.DEADLINE_S

    def get(self, path: str, **query: Any) -> Any:
        Daemon.asked = (path, query)
        if isinstance(Daemon.answer, Exception):
            raise Daemon.answer
        return Daemon.answer

    def close(self) -> None: ...


@pytest.fixture
def context(monkeypatch: pytest.MonkeyPatch) -> typer.Context:
    monkeypatch.setattr(complete, "Client", Daemon)
    made = typer.Context(typer.main.get_command(typer.Typer(callback=lambda: None)))
    made.params = {"socket": "/s", "url": None, "token_file": None}
    return made


def test_calls_are_told_apart_and_cleaned(context: typer.Context) -> None:
    Daemon.answer = {"data": [CALL, {**CALL, "id": "call_2"}]}
    assert complete.calls(context, "call_1") == [("call_1", "in active sip:\\u001b@x")]
    assert Daemon.asked == ("/v1/calls", {"state": complete.LIVE})
    assert [name for name, _ in complete.every_call(context, "")] == ["call_1", "call_2"]


def test_accounts_and_recordings(context: typer.Context) -> None:
    Daemon.answer = {"data": [{"id": "front", "aor": "sip:a@x", "state": "online"}]}
    assert complete.accounts(context, "f") == [("front", "sip:a@x online")]
    Daemon.answer = {"data": [{"id": "rec_1", "state": "paused"}, {"id": "rec_2", "state": "finished"}]}
    assert complete.recordings(context, "") == [("rec_1", "paused")]
    Daemon.answer = {
        "data": [{"id": f"br_{state}", "state": state, "calls": ["a", "b"]} for state in ("active", "ended")]
    }
    assert complete.bridges(context, "br_") == [("br_active", "active 2 calls")]


def test_streams_that_run(context: typer.Context) -> None:
    Daemon.answer = {
        "data": [{"id": f"str_{state}", "state": state, "url": "wss://bot/ws"} for state in ("started", "failed")]
    }
    assert complete.streams(context, "str_") == [("str_started", "started wss://bot/ws")]


def test_webhooks(context: typer.Context) -> None:
    Daemon.answer = {"data": [{"id": "wh_1", "url": "https://example.org/phone"}]}
    assert complete.webhooks(context, "wh") == [("wh_1", "https://example.org/phone")]


@pytest.mark.parametrize("answer", [Failure(UNREACHABLE, "nobody"), None, {"data": [{}]}, {}])
def test_trouble_offers_nothing(context: typer.Context, answer: Any) -> None:
    Daemon.answer = answer
    assert complete.calls(context, "") == []


def test_an_option_that_cannot_be_is_trouble_too(context: typer.Context) -> None:
    Daemon.answer = {"data": [CALL]}
    context.params = {"socket": "/s", "url": "http://x", "token_file": Path("/none")}
    assert complete.calls(context, "") == []
