"""Pings of one flow: by load, and any byte from the peer is proof of life (RFC 6455 5.5.2, RFC 5626 4.4)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from phoned.accounts.policy import AccountPolicy
from phoned.model import Cause
from phoned.transport.flow import Flow, FlowError

FIRST_GUESS_S = 0.25
"""The round trip that is assumed before one was measured."""


async def keep_pinging(flow: Flow, policy: AccountPolicy, interval_s: Callable[[], float]) -> None:
    """Ping ``flow`` until it is gone; abort it after ``policy.ping_misses`` pings in a row without an answer."""
    loop = asyncio.get_running_loop()
    misses, round_trip_s = 0, FIRST_GUESS_S
    while flow.is_open:
        if misses == 0:
            await asyncio.sleep(interval_s())
        sent_at = loop.time()
        try:
            round_trip_s = await flow.ping(policy.ping_timeout_s or max(1.0, 4 * round_trip_s))
            misses = 0
        except FlowError as error:
            if error.cause is not Cause.PING:
                return
            misses = 0 if flow.last_received > sent_at else misses + 1
        if misses >= policy.ping_misses:
            flow.abort(Cause.PING, f"{misses} pings without an answer")
