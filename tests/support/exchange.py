"""The exchange in a box and phones at it, as processes of their own; phones can die and come back."""

from __future__ import annotations

import json
import select
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from phoned.store.tokens import Scope, issue_token
from tests.support.child import Child
from tests.support.daemon import PhonedProcess

PHONED = Path(sys.executable).parent / "phoned"


class Exchange(Child):
    """`phoned sandbox` as a process of its own."""

    def __init__(self) -> None:
        super().__init__("sandbox")
        self.spawn([str(PHONED), "sandbox", "--json"], pipes=True)
        self.facts = self._read()

    def order(self, **order: object) -> dict[str, Any]:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(order).encode() + b"\n")
        self.process.stdin.flush()
        answer = self._read()
        assert answer["ok"], answer
        return answer

    def _read(self) -> dict[str, Any]:
        output = self.process.stdout
        assert output is not None
        readable, _, _ = select.select([output], [], [], 20.0)
        assert readable, self.log
        return dict(json.loads(output.readline()))


class Phone(PhonedProcess):
    """A daemon that can die and be started again in the same state directory."""

    def __init__(
        self,
        exchange: Exchange,
        user: str = "alice",
        *,
        configuration: Mapping[str, Any] | None = None,
        secrets: Mapping[str, str] | None = None,
        **tables: Mapping[str, Any],
    ) -> None:
        """``tables``: more of the configuration, by name."""
        account = {
            "id": user,
            "aor": f"sip:{user}@{exchange.facts['domain']}",
            "password_file": "secret",
            "outbound_proxy": exchange.facts["url"],
        }
        super().__init__(
            {"accounts": [account], **(configuration or {}), **tables},
            secrets={"secret": exchange.facts["users"][user], **(secrets or {})},
        )
        self._user = user
        self.api_port = int(tables.get("api", {}).get("port", 0))

    def token(self, scope: Scope = "admin") -> str:
        """A new token for its API."""
        token = issue_token(self.state, scope)
        self.canaries.add(token)
        return token

    def die(self) -> None:
        """``kill -9``."""
        self.leave(signal.SIGKILL)

    def leave(self, number: signal.Signals) -> int:
        """A signal that ends it; the exit code."""
        self.process.send_signal(number)
        code = self.process.wait(20)
        self.events.join()
        self.http.close()
        return code

    def again(self) -> float:
        """Start the next process; when."""
        self.socket.unlink(missing_ok=True)
        began = time.monotonic()
        self.start()
        return began

    def calling(self, line: str) -> str:
        """A call to a test line, with sound."""
        self.wait_ready()
        call = self.place(self._user, line)
        self.wait_call(call, "sound", lambda view: view["media"]["state"] == "flowing")
        return call

    def back(self, call: str, began: float) -> float:
        """Wait until the call is back with sound; how long that took."""
        self.wait_call(call, "back", lambda view: view["state"] == "active" and not view["recovering"], timeout_s=20.0)
        took_s = time.monotonic() - began
        before = self.stats(call)["packets_received"]
        self.until(lambda: self.stats(call)["packets_received"] >= before + 25, "packets")
        assert self.stats(call)["packets_sent"] > 25
        return took_s
