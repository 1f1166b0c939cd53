"""The world now as an envelope: what a reader of events gets first, and what one gets that has missed some."""

from __future__ import annotations

from typing import Any, Literal

from phoned.clock import rfc3339, wall_clock
from phoned.ids import new_id
from phoned.model import CallState
from phoned.plain import plain
from phoned.service import PhoneControl


def snapshot(
    phone: PhoneControl,
    type_: Literal["events.snapshot", "events.gap"],
    last_seq: int,
    *,
    ended_calls: bool = True,
) -> dict[str, Any]:
    """An envelope without a number of its own. Events up to ``last_seq`` are in it."""
    status = plain(phone.status())
    calls = (call for call in phone.calls() if ended_calls or call.state is not CallState.ENDED)
    return {
        "id": new_id("evt"),
        "type": type_,
        "time": rfc3339(wall_clock()),
        "node": status["node"],
        "data": {
            "accounts": status["accounts"],
            "calls": plain(tuple(calls)),
            "network": status["network"],
            "last_seq": last_seq,
        },
    }
