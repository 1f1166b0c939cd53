"""Bots that others wrote the libraries of, each a process in an environment of its own with pinned versions."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Literal

from tests.support.child import Child, missing

BOTS = Path(__file__).parent.parent / "bots"
ENVIRONMENTS = Path(__file__).resolve().parents[3] / "build" / "bots"
INSTALL_S = 600
ACCOUNT_SID, TOKEN = "AC" + "4f" * 16, "9c1d2b7a53e84f06a1c5d9e2b8f70413"
Serializer = Literal["twilio", "vonage"]


@cache
def environment() -> Path:
    """The Python of an environment that holds what ``requirements.txt`` names, and nothing else; made when it is not
    there. The list is complete, so that nothing is resolved: what Pipecat names beside it, none of the bots imports."""
    wanted = (BOTS / "requirements.txt").read_bytes() + sys.version.encode()
    place = ENVIRONMENTS / hashlib.sha256(wanted).hexdigest()[:16]
    ENVIRONMENTS.mkdir(parents=True, exist_ok=True)
    with (ENVIRONMENTS / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (place / "complete").exists():
            shutil.rmtree(place, ignore_errors=True)
            venv.create(place, with_pip=True)
            pip = [str(place / "bin" / "python"), "-m", "pip", "install", "--quiet", "--no-deps"]
            command = [*pip, "--disable-pip-version-check", "--requirement", str(BOTS / "requirements.txt")]
            result = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_S, check=False)
            if result.returncode != 0:
                missing(f"pip install of the bots failed (is a package registry reachable?):\n{result.stderr[-2000:]}")
            (place / "complete").touch()
    return place / "bin" / "python"


class PipecatBot(Child):
    """``bots/pipecat_echo.py``, listening once constructed. ``twilio``: where and as whom it hangs up."""

    def __init__(self, serializer: Serializer, rate: int, twilio: Mapping[str, str] | None = None) -> None:
        python = environment()
        super().__init__("pipecat")
        variables = {"PYTHONUNBUFFERED": "1", "HOME": str(self.directory), **(twilio or {})}
        try:
            self.spawn([str(python), str(BOTS / "pipecat_echo.py"), serializer, str(rate)], environment=variables)
            port = self.wait("listening", 60.0)["port"]
        except BaseException:
            self.close()
            raise
        self.url = f"ws://127.0.0.1:{port}/ws"

    def told(self, event: str) -> list[dict[str, Any]]:
        """What the bot said of this kind, oldest first."""
        found = [json.loads(line) for line in self.log.splitlines() if line.startswith('{"event"')]
        return [each for each in found if each["event"] == event]

    def wait(self, event: str, timeout_s: float = 10.0, count: int = 1) -> dict[str, Any]:
        """Until it has said this ``count`` times; the newest."""
        return self.until(lambda: self.told(event)[count - 1 :], f"says {event}", timeout_s)[-1]


def twilio_variables(base_url: str, account_sid: str, token: str) -> dict[str, str]:
    """What a bot for Twilio reads from its environment."""
    return {"TWILIO_BASE_URL": base_url, "TWILIO_ACCOUNT_SID": account_sid, "TWILIO_AUTH_TOKEN": token}


def run_client(variables: Mapping[str, str], from_: str, to: str) -> dict[str, Any]:
    """What ``bots/twilio_client.py`` has seen of a phone."""
    argv = [str(environment()), str(BOTS / "twilio_client.py"), variables["TWILIO_BASE_URL"], from_, to]
    result = subprocess.run(
        argv, capture_output=True, text=True, timeout=60, check=False, env={**os.environ, **variables}
    )
    assert result.returncode == 0, result.stderr[-4000:]
    return dict(json.loads(result.stdout))
