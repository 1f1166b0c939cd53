"""A hostile page in a real browser: whatever it tries, no call is placed, nothing is read, nothing changes."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.peers.harness.browser import WEB, install_packages
from tests.support.child import free_ports, program
from tests.support.exchange import Exchange, Phone

VECTORS = {
    *("fetch", "fetch-no-cors", "fetch-post-no-cors", "fetch-verb-no-cors", "health", "xhr", "null-origin"),
    *("fetch-token", "fetch-post", "fetch-delete"),
    *("form-x-www-form-urlencoded", "form-form-data", "form-plain"),
    *("img", "iframe", "script", "stylesheet", "beacon-plain", "beacon-json"),
    *("eventsource", "websocket", "websocket-ticket"),
}


@pytest.fixture
def phone() -> Iterator[Phone]:
    [port] = free_ports(1)
    with Exchange() as exchange, Phone(exchange, api={"port": port}) as made:
        made.start()
        made.wait_ready()
        yield made


def test_a_hostile_page_places_no_call_and_reads_nothing(phone: Phone, tmp_path: Path) -> None:
    chromium, node = program("chromium"), program("node")
    install_packages()
    before = phone.get("/v1/status")
    order = {
        "port": phone.api_port,
        "token": phone.token("admin"),
        "ticket": phone.post("/v1/tickets", status=201)["ticket"],
        "body": json.dumps({"account": "alice", "to": "echo"}),
        "verb": "/v1/accounts/alice/unregister",
    }
    done = subprocess.run(
        [node, str(WEB / "hostile.mjs"), chromium, str(tmp_path / "profile")],
        input=json.dumps(order),
        env={"HOME": str(tmp_path), "TMPDIR": str(tmp_path), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    outcome = json.loads(done.stdout)
    assert set(outcome["victim"]) >= VECTORS, "the page cannot do what it says: nothing would be proven"
    for where, read in outcome["read"].items():
        assert {vector: text for vector, text in read.items() if text} == {}, where
    assert phone.get("/v1/calls")["data"] == []
    after = phone.get("/v1/status")
    assert [account["desired"] for account in after["accounts"]] == ["registered"]
    assert after["draining"] is False
    assert not [event for event in phone.events.seen if event.type.startswith("call.")]
    # a page of the phone's own origin may what its token may, and the ticket was not spent by who was refused
    assert json.loads(outcome["own"]["status"])["version"] == before["version"]
    assert json.loads(outcome["own"]["event"])["type"] == "events.snapshot"
