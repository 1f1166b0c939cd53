"""phoned's console in headless Chromium, used as a person uses it: by what is seen, by mouse and by keyboard."""

from __future__ import annotations

import itertools
import subprocess
import sys
from pathlib import Path
from typing import Any, Literal

from tests.peers.harness.browser import Browser
from tests.support.daemon import PhonedProcess

SHOTS = Path("build/console")
"""Where screenshots go, for people to look at."""
Scheme = Literal["light", "dark"]
_numbers = itertools.count(1)


def login_link(phone: PhonedProcess, scope: str = "admin") -> str:
    """What `phoned token --console` prints."""
    return _token(phone, "--console", "--scope", scope)


def token(phone: PhonedProcess, scope: str = "admin") -> str:
    """What `phoned token` prints."""
    return _token(phone, "--scope", scope)


def _token(phone: PhonedProcess, *options: str) -> str:
    command = [sys.executable, "-m", "phoned.cli", "token", *options, "--config", str(phone.configuration_file)]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout.strip()


class ConsolePage:
    """One tab. Elements are named as people find them: by role and name, by text, by label."""

    def __init__(self, browser: Browser) -> None:
        self._browser = browser
        self._name = f"console-{next(_numbers)}"
        self.expected: tuple[str, ...] = ("Failed to load resource: the server responded with a status of 501",)
        """What the page may complain of; `problems` tells the rest."""

    def visit(self, url: str = "", *, size: tuple[int, int] = (1280, 800), scheme: Scheme = "light") -> None:
        """Open ``url``; without one only look at what is there in another size or scheme."""
        self._do("visit", url=url, width=size[0], height=size[1], scheme=scheme)

    def go(self, path: str) -> None:
        """Another page of the console."""
        self.evaluate(f"location.hash = '#/{path}'")

    def click(self, name: str, role: str = "button", *, exact: bool = False, nth: int = 0) -> None:
        """Click what has this role and name."""
        self._do("click", what={"role": role, "name": name, "exact": exact, "nth": nth})

    def fill(self, label: str, value: str) -> None:
        """Put text into a field."""
        self._do("fill", what={"label": label, "exact": True}, value=value)

    def press(self, *keys: str) -> None:
        """Keys, one after the other."""
        for key in keys:
            self._do("press", key=key)

    def type(self, text: str) -> None:
        """Text, key by key."""
        self._do("type", value=text)

    def see(self, text: str, timeout_s: float = 10.0) -> None:
        """Wait until the text is seen."""
        self._do("see", what={"text": text}, timeout=timeout_s * 1000)

    def see_role(self, role: str, name: str, timeout_s: float = 10.0) -> None:
        """Wait until an element of this role and name is seen."""
        self._do("see", what={"role": role, "name": name}, timeout=timeout_s * 1000)

    def see_css(self, selector: str, timeout_s: float = 10.0, *, state: str = "visible") -> None:
        """Wait until an element is there, where nothing that people see names it."""
        self._do("see", what={"css": selector}, timeout=timeout_s * 1000, state=state)

    def gone(self, text: str, timeout_s: float = 10.0) -> None:
        """Wait until the text is not seen any more."""
        self._do("see", what={"text": text}, state="hidden", timeout=timeout_s * 1000)

    def read(self, selector: str) -> str:
        """What is written there."""
        return str(self._do("read", what={"css": selector}))

    def count(self, selector: str) -> int:
        """How many there are."""
        return int(self._do("count", what={"css": selector}))

    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression."""
        return self._do("evaluate", expression=expression)

    def reload(self) -> None:
        """As F5 does."""
        self._do("reload")

    def answer(self, url: str, body: object, status: int = 200) -> None:
        """From now on requests to ``url`` (a glob) get this answer and do not reach the daemon."""
        self._do("answer", url=url, body=body, status=status)

    def shot(self, name: str) -> Path:
        """A screenshot, kept in `SHOTS`."""
        SHOTS.mkdir(parents=True, exist_ok=True)
        path = SHOTS.absolute() / f"{name}.png"
        self._do("shot", path=str(path))
        return path

    def problems(self) -> list[str]:
        """Errors, warnings and breaches of the policy that the page told of, and dialogs that it opened."""
        return [said for said in self._do("said") if not any(part in said for part in self.expected)]

    def close(self) -> None:
        """Close the tab."""
        self._browser.request("close", page=self._name)

    def _do(self, operation: str, **fields: Any) -> Any:
        return self._browser.request(operation, page=self._name, **fields)
