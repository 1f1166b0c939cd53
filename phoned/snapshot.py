"""The world now as an envelope: what a reader of events gets first, and what one gets that has missed some."""

from __future__ import annotations

from itertools import islice
from typing import Any, Literal

from phoned.clock import rfc3339, wall_clock
from phoned.ids import new_id
from phoned.model import CallState
from phoned.plain import plain
from phoned.service import PhoneControl

ENDED = 50
"""There may be thousands, and they have a list of their own."""


def snapshot(
    phone: PhoneControl,
    type_: Literal["events.snapshot", "events.gap"],
    last_seq: int,
    *,
    ended_calls: bool = True,
) -> dict[str, Any]:
    """An envelope without a number of its own. Events up to ``last_seq`` are in it, and the newest ended calls."""
    status = plain(phone.status())
    calls = phone.calls()
    up = [call for call in calls if call.state is not CallState.ENDED]
    ended = (call for call in calls if ended_calls and call.state is CallState.ENDED)
    return {
        "id": new_id("evt"),
        "type": type_,
        "time": rfc3339(wall_clock()),
        "node": status["node"],
        "data": {
            "accounts": status["accounts"],
            "calls": plain([*up, *islice(ended, ENDED)]),
            "bridges": plain([bridge for bridge in phone.bridges() if bridge.state == "active"]),
            "network": status["network"],
            "last_seq": last_seq,
        },
    }
