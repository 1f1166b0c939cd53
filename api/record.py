"""What of a request stands in the audit log: each write, by whom, on what, and what came of it.

Neither bodies nor queries. Requests of callers who did not prove who they are, and those beyond a caller's rate, are
recorded as thinly as it takes for a flood not to wash the others out of the file.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from starlette.types import Scope

from api.access import Principal
from api.limits import RateLimit
from api.security import WRITES, Peer
from phoned.service import Audit

STRANGERS_PER_S = 0.5
LONGEST = 128
"""Of a path that no route knows, and of an id."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a request was answered. ``code``: of the problem; ``location``: of what was made."""

    status: int
    request_id: str
    code: str | None = None
    location: str | None = None


class Record:
    """Driven by the gate, once for each request."""

    def __init__(self, audit: Audit) -> None:
        self._audit = audit
        self._strangers = RateLimit(STRANGERS_PER_S)
        self._left_out = 0

    def note(self, scope: Scope, outcome: Outcome, now: float) -> None:
        """A request was answered. ``scope`` as the application has seen it."""
        if scope["type"] != "http" or scope["method"] not in WRITES:
            return
        principal, peer = scope["state"].get("principal"), scope["state"].get("peer")
        known = isinstance(principal, Principal)
        if (not known or outcome.status == 429) and self._strangers.take("", now) is not None:
            self._left_out += 1
            return
        left_out, self._left_out = self._left_out, 0
        self._audit.note(
            who=principal.id if isinstance(principal, Principal) else "nobody",
            what=f"{scope['method']} {_route(scope, outcome)}",
            outcome=outcome.code or "ok",
            status=outcome.status,
            target=_target(scope, outcome),
            request=outcome.request_id,
            peer=peer.key if isinstance(peer, Peer) else None,
            left_out=left_out or None,
        )


def _route(scope: Scope, outcome: Outcome) -> str:
    """The path as a template, which has no id in it."""
    template: Any = getattr(scope.get("route"), "path", None)
    if template is not None:
        return str(template)
    return "" if outcome.code == "token_in_url" else str(scope["path"])[:LONGEST]


def _target(scope: Scope, outcome: Outcome) -> str | None:
    """The id of what it was about, or of what it has made."""
    if outcome.location is not None:
        return outcome.location.rpartition("/")[2][:LONGEST]
    return "/".join(str(value) for value in scope.get("path_params", {}).values())[:LONGEST] or None
