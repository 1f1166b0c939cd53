"""What the daemon refuses, as a whole: where it may listen, whom it may call, which files it may play."""

from __future__ import annotations

import os
import stat
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.exchange import PHONED, Exchange, Phone

DENIED = ("0900123", "0900-123", "sip:0900123@elsewhere.test", "%30900123", "tel:0900123")
EMERGENCY = ("112", "1-1-2", "+112", "tel:112", "sip:112@sandbox.test", "911;user=phone")


@pytest.fixture
def strict(exchange: Exchange) -> Iterator[Phone]:
    with Phone(exchange, dial={"deny": ["0900*"], "max_concurrent": 1, "max_per_minute": 3}) as made:
        made.start()
        made.wait_ready()
        yield made


@pytest.mark.parametrize("table", [{"host": "0.0.0.0"}, {"host": "::"}, {"host": "192.0.2.1"}, {"host": "localhost"}])
def test_any_other_listener_ends_with_78_and_says_what_to_do(exchange: Exchange, table: dict[str, Any]) -> None:
    with Phone(exchange, api=table) as phone:
        for command in ("run", "check-config"):
            done = subprocess.run(
                [str(PHONED), command, "--config", str(phone.configuration_file)],
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
            assert done.returncode == 78, done.stderr
            assert "reverse proxy" in done.stderr
        assert not phone.socket.exists()


def test_the_socket_is_nobody_elses(strict: Phone) -> None:
    assert stat.S_IMODE(os.stat(strict.socket).st_mode) == 0o660
    assert stat.S_IMODE(os.stat(strict.state).st_mode) == 0o700


def test_destinations_that_are_denied_are_not_called_however_they_are_written(strict: Phone) -> None:
    for to in DENIED:
        problem = strict.http.post("/v1/calls", json={"account": "alice", "to": to})
        assert (problem.status_code, problem.json()["code"]) == (403, "destination_denied"), to
    for to in EMERGENCY:
        problem = strict.http.post("/v1/calls", json={"account": "alice", "to": to})
        assert (problem.status_code, problem.json()["code"]) == (403, "emergency_disabled"), to
        assert problem.headers["content-type"] == "application/problem+json"
    assert strict.get("/v1/calls")["data"] == []


def test_caps_are_kept_and_say_when_to_come_back(strict: Phone) -> None:
    call = strict.calling("echo")
    full = strict.http.post("/v1/calls", json={"account": "alice", "to": "echo"})
    assert (full.status_code, full.json()["code"]) == (503, "at_capacity")
    assert int(full.headers["retry-after"]) >= 1
    strict.verb(call, "hangup")
    strict.wait_call(call, "ended", lambda view: view["state"] == "ended")
    for _ in range(2):
        placed = strict.place("alice", "busy")
        strict.wait_call(placed, "ended", lambda view: view["state"] == "ended")
    many = strict.http.post("/v1/calls", json={"account": "alice", "to": "echo"})
    assert (many.status_code, many.json()["code"]) == (403, "destination_denied")
    assert 30 <= int(many.headers["retry-after"]) <= 60


def test_only_regular_files_below_the_media_directory_are_played(strict: Phone) -> None:
    call = strict.calling("echo")
    (strict.directory / "outside.wav").write_bytes(b"RIFF")
    (strict.media / "link.wav").symlink_to(strict.directory / "outside.wav")
    (strict.media / "dir").symlink_to(strict.directory)
    os.mkfifo(strict.media / "pipe.wav")
    (strict.media / "text.wav").write_text("no sound")
    for name in ("link.wav", "dir/outside.wav", "pipe.wav", "none.wav", "text.wav", ".", "dir"):
        problem = strict.http.post(f"/v1/calls/{call}/play", json={"file": name}, timeout=10)
        assert problem.status_code == 422, (name, problem.text)
        assert str(strict.directory) not in problem.text
    assert strict.call(call)["state"] == "active"
