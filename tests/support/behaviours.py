"""`make behaviours`: every promise of the recovery page, the tests that prove it, and their result.

A test claims a row by ``@pytest.mark.behaviour("P4")``; a row that waits for later work is claimed by a marker with
``later="..."`` and is printed as open. Exit 1 when a row has no test or a test fails.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

SITUATIONS = (
    "the network is offline",
    "the WebSocket is silently dead, media are fine",
    "the server closes the WebSocket, or restarts",
    "the WebSocket opens and the server is mute",
    "another network takes over with a call up",
    "a better network appears, the old one still works",
    "only media are broken",
    "ICE is disconnected",
    "ICE has failed",
    "nothing comes in, STUN is answered",
    "nothing goes out",
    "REGISTER: 401 or 407",
    "REGISTER: 403 or 404",
    "REGISTER: 423",
    "REGISTER: 5xx, 408, 480",
    "REGISTER: 503 with Retry-After",
    "REGISTER: 439",
    "REGISTER: 603 Too Many Contacts",
    "re-INVITE: 481",
    "re-INVITE: 408 or no final answer",
    "re-INVITE: 491",
    "their re-INVITE while ours is pending",
    "re-INVITE: 488, 606, 415",
    "re-INVITE: 401 or 407",
    "re-INVITE: 5xx",
    "the outbound proxy is down",
    "suspend and resume",
    "DNS fails",
    "TLS fails",
    "the server's answer is no upgrade",
    "the server does not let us in",
    "the daemon crashes with a call up",
    "the daemon crashes before the call was answered",
    "a BYE was missed during the outage",
    "the WebSocket drops between 200 and ACK",
    "the session timer runs out",
    "hold during recovery",
    "an incoming call over a doubted flow",
)
"""What happens when: W1 and so on."""
ROWS = (
    *(f"P{number}" for number in range(1, 16)),
    *(f"F{number}" for number in range(1, 14)),
    *(f"O{number}" for number in range(1, 15)),
    *(f"R{number}" for number in range(1, 14)),
    *(f"R/{letter}" for letter in "abcdefghijkl"),
    *(f"L{number}" for number in range(1, 12)),
    *(f"W{number}" for number in range(1, len(SITUATIONS) + 1)),
)
"""The five published designs, row by row; ``R/a`` to ``R/l`` are the defects to beat; then the situations."""
REPORT = Path("build/behaviours.json")


@dataclass
class Row:
    """What is known of one promise."""

    tests: dict[str, str] = field(default_factory=dict)
    """Test id to ``passed``, ``failed``, ``skipped``."""
    later: str | None = None

    @property
    def result(self) -> str:
        """``proven``, ``failed``, ``open (...)`` or ``no test``."""
        if self.later is not None:
            return f"open ({self.later})"
        if not self.tests:
            return "no test"
        return "proven" if all(outcome == "passed" for outcome in self.tests.values()) else "failed"


class Collector:
    """A pytest plug-in that keeps the marked tests and their outcomes."""

    def __init__(self) -> None:
        self.rows = {row: Row() for row in ROWS}
        self._claims: dict[str, list[str]] = {}

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        kept = []
        for item in items:
            marks = list(item.iter_markers("behaviour"))
            for mark in marks:
                self._claim(item.nodeid, str(mark.args[0]), mark.kwargs)
            if marks:
                kept.append(item)
        items[:] = kept

    def _claim(self, test: str, row: str, facts: Mapping[str, Any]) -> None:
        if row not in self.rows:
            raise pytest.UsageError(f"{test} claims {row}, which is no row of the recovery page")
        if "later" in facts:
            self.rows[row].later = str(facts["later"])
        else:
            self._claims.setdefault(test, []).append(row)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            sys.stderr.write(f"cannot be collected: {report.nodeid}\n")

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call" or report.outcome != "passed":
            for row in self._claims.get(report.nodeid, ()):
                self.rows[row].tests[report.nodeid] = report.outcome


def main(arguments: list[str]) -> int:
    """Run the marked tests and print the table."""
    collector = Collector()
    options = ("-q", "--no-header", "--continue-on-collection-errors", "-m", "behaviour and not long")
    pytest.main([*options, *arguments], plugins=[collector])
    REPORT.parent.mkdir(exist_ok=True)
    facts = {row: {"result": known.result, "tests": known.tests} for row, known in collector.rows.items()}
    REPORT.write_text(json.dumps(facts, indent=1))
    for row, known in collector.rows.items():
        situation = f"[{SITUATIONS[int(row[1:]) - 1]}] " if row.startswith("W") else ""
        sys.stdout.write(f"{row:<5} {known.result:<18} {situation}{', '.join(known.tests)}\n")
    missing = [row for row, known in collector.rows.items() if known.result in ("no test", "failed")]
    sys.stdout.write(
        f"\n{len(ROWS) - len(missing)} of {len(ROWS)} rows proven or open by name; missing: {len(missing)}\n"
    )
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
