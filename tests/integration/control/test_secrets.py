"""Secrets stay secret where a daemon has much to say: wrong passwords, every read of the API, the trace, DEBUG."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

from api.description import operations
from tests.support.daemon import Canaries
from tests.support.exchange import Exchange, Phone


@pytest.fixture
def talkative(exchange: Exchange) -> Iterator[Phone]:
    with Phone(exchange) as made:
        made.arguments = ("--log-level", "debug")
        made.start()
        made.wait_ready()
        yield made


def test_nothing_that_is_said_or_kept_holds_a_secret(talkative: Phone) -> None:
    phone = talkative
    token, stranger = phone.token("call"), "phoned_" + "W" * 43
    phone.canaries.add(stranger)
    for header in (f"Bearer {token}", f"Bearer {stranger}", f"Basic {stranger}"):
        phone.http.get("/v1/status", headers={"Authorization": header})
    assert phone.http.get(f"/v1/status?token={stranger}").status_code == 400
    call = phone.calling("echo")
    phone.verb(call, "record", status=201)
    phone.http.post("/v1/calls", json={"account": "alice", "to": "busy", "wait": "answered"})
    said = [message["text"] for message in phone.get(f"/v1/calls/{call}/trace")["messages"]]
    assert any("Proxy-Authorization: ***" in text for text in said)
    values = defaultdict(lambda: "none", {"account": "alice", "call": call, "slug": "gone"})
    read = 0
    for path, method, _ in operations(phone.get("/openapi.json")):
        if method == "get":
            answer = phone.http.get(path.format_map(values), headers={"Accept": "application/json"})
            assert answer.status_code in (200, 404), path
            read += answer.status_code == 200
    assert read > 12
    for form in ("text/plain", "application/vnd.tcpdump.pcap"):
        assert phone.http.get(f"/v1/calls/{call}/trace", headers={"Accept": form}).status_code == 200
    phone.verb(call, "hangup")
    phone.events.wait_for("call.ended")
    assert phone.stop() == 0  # looks at the log, the state directory and all that was answered
    log = [json.loads(line) for line in phone.log.splitlines()]
    assert {"debug", "info"} <= {entry["level"] for entry in log}
    assert any("REGISTER" in entry["message"] for entry in log), "the wire is told of at DEBUG"


def test_a_password_that_the_server_refuses_is_not_told(exchange: Exchange) -> None:
    with Phone(exchange) as phone:
        phone.canaries.add("canary-wrong-password")
        (phone.directory / "secret").write_text("canary-wrong-password")
        phone.start()
        phone.events.wait_for("account.auth_failed")
        assert "alice" in phone.account("alice")["aor"]
        phone.stop()


def test_a_canary_is_seen_wherever_it_sings(tmp_path: Path) -> None:
    canaries = Canaries(["canary-1", "alice", "short", "user-of-the-same-name"], known="user-of-the-same-name")
    canaries.look_at("x", "nothing of alice's")
    canaries.look_at("y", "user-of-the-same-name, short")
    assert canaries.seen == []
    canaries.look_at("the log", b"\x00canary-1\x00")
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "file").write_text("canary-1")
    canaries.look_into(tmp_path)
    assert canaries.seen == ["the log shows a secret", "deep/file shows a secret"]


def test_a_peer_cannot_break_a_line_of_the_log(talkative: Phone) -> None:
    """Text of strangers, in a name or a path, stays inside its JSON string."""
    phone = talkative
    phone.http.get("/v1/calls/%1b%5b31mred%0a%7b%22level%22:%22critical%22%7d")
    phone.stop()
    for line in phone.log.splitlines():
        entry = json.loads(line)
        assert "\x1b" not in line
        assert entry["level"] != "critical"
