"""Twilio's own client library at our REST API: ``python twilio_client.py BASE_URL FROM TO``.

As ``TWILIO_ACCOUNT_SID`` with ``TWILIO_AUTH_TOKEN`` it places a call, reads it, lists it in pages, ends it, and asks
for what must be refused. What it has seen stands on stdout, one JSON object.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

from twilio.base.exceptions import TwilioRestException
from twilio.rest import Client


def refusal(act: Callable[[], Any]) -> list[int | None]:
    """Status and number of the error that this ends with."""
    try:
        act()
    except TwilioRestException as error:
        return [error.status, error.code]
    return []


def main(base_url: str, from_: str, to: str) -> dict[str, Any]:
    """All that was seen."""
    client = Client(os.environ["TWILIO_ACCOUNT_SID"], os.environ["TWILIO_AUTH_TOKEN"])
    client.api.base_url = base_url
    placed = client.calls.create(to=to, from_=from_, url="https://example.org/voice", timeout=20)
    seen: dict[str, Any] = {"sid": placed.sid, "placed": placed.status, "direction": placed.direction}
    deadline = time.monotonic() + 15
    while (up := client.calls(placed.sid).fetch()).status != "in-progress" and time.monotonic() < deadline:
        time.sleep(0.05)
    seen |= {"up": up.status, "from": up._from, "to": up.to, "started": up.start_time is not None}
    second = client.calls.create(to=to, from_=from_, url="https://example.org/voice")
    seen["listed"] = {call.sid for call in client.calls.stream(page_size=1)} == {placed.sid, second.sid}
    seen["canceled"] = second.update(status="canceled").status
    ended = placed.update(status="completed")
    seen |= {"ended": ended.status, "duration": ended.duration, "end_time": ended.end_time is not None}
    seen["again"] = placed.update(status="completed").status
    seen["unknown"] = refusal(client.calls("CA" + "0" * 32).fetch)
    seen["emergency"] = refusal(lambda: client.calls.create(to="112", from_=from_, url="https://example.org/"))
    seen["nobody"] = refusal(lambda: client.calls.create(to=to, from_="nobody", url="https://example.org/"))
    stranger = Client(client.username, "wrong")
    stranger.api.base_url = base_url
    seen["stranger"] = refusal(stranger.calls(placed.sid).fetch)
    return seen


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(*sys.argv[1:])))
