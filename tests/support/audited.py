"""The audit log of tests: what it would hold."""

from __future__ import annotations


class Audited:
    """`phoned.service.Audit`."""

    def __init__(self) -> None:
        self.entries: list[dict[str, str | int | None]] = []

    def note(self, *, who: str, what: str, outcome: str, **facts: str | int | None) -> None:
        told = {name: fact for name, fact in facts.items() if fact is not None}
        self.entries.append({"who": who, "what": what, "outcome": outcome, **told})
