"""The exchange in a box as a process: a registrar with test lines, for tests that need a server and no stranger."""

from __future__ import annotations

import json
import sys
from typing import Any

from tests.support.child import Child


class ExchangeProcess(Child):
    """`phoned sandbox`. Its users are alice, bob and carol."""

    def __init__(self) -> None:
        super().__init__("exchange")
        self.spawn([sys.executable, "-m", "phoned.cli", "sandbox", "--json"], pipes=True)
        hello = self._answer()
        self.url: str = hello["url"]
        self.domain: str = hello["domain"]
        self.users: dict[str, str] = hello["users"]

    def order(self, **order: object) -> None:
        """A fault, see `phoned.sandbox.faults`."""
        pipe = self.process.stdin
        assert pipe is not None
        pipe.write(json.dumps(order).encode() + b"\n")
        pipe.flush()
        self._answer()

    def account(self, user: str, **fields: Any) -> dict[str, Any]:
        """The ``[[accounts]]`` table of a user; its password stands in the file of its name."""
        aor = f"sip:{user}@{self.domain}"
        return {"id": user, "aor": aor, "password_file": user, "outbound_proxy": self.url, **fields}

    def _answer(self) -> Any:
        pipe = self.process.stdout
        assert pipe is not None
        return json.loads(pipe.readline())
