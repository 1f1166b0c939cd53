"""`phoned demo` on a terminal: it stays, and a newcomer can look at the phone in a browser."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import subprocess
import sys
import time

import httpx

BUDGET_S = 90.0
LINK = re.compile(rb"(http://127\.0\.0\.1:\d+)/console/#login=([\w-]+)")


def read_until(terminal: int, pattern: re.Pattern[bytes], budget_s: float) -> re.Match[bytes]:
    """The first match in what the terminal shows."""
    shown, deadline = b"", time.monotonic() + budget_s
    while time.monotonic() < deadline:
        if select.select([terminal], [], [], 1.0)[0]:
            shown += os.read(terminal, 65_536)
            if found := pattern.search(shown):
                return found
    raise TimeoutError(shown.decode(errors="replace"))


def test_on_a_terminal_it_prints_a_link_that_logs_in_and_stays_until_it_is_ended() -> None:
    ours, theirs = pty.openpty()
    demo = subprocess.Popen([sys.executable, "-m", "phoned.cli", "demo"], stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    try:
        found = read_until(ours, LINK, BUDGET_S)
        base, code = found[1].decode(), found[2].decode()
        with httpx.Client(base_url=base, trust_env=False) as browser:
            assert browser.get("/console/").status_code == 200
            session = browser.post("/v1/login", json={"code": code}).json()
            assert session["scope"] == "admin"
            headers = {"Authorization": f"Bearer {session['token']}"}
            assert browser.get("/v1/accounts", headers=headers).json()["data"][0]["state"] == "online"
        demo.send_signal(signal.SIGINT)
        assert demo.wait(30) == 0
    finally:
        if demo.poll() is None:
            demo.kill()
            demo.wait()
        os.close(ours)
