"""500 idle accounts in one process, and their server away for a second: real sockets, two processes.

The same on virtual time, to the millisecond, is in tests/scenario/daemon.
"""

from __future__ import annotations

import time

import pytest

from tests.bench.bench_idle import exchange, phone
from tests.support.child import until
from tests.support.daemon import PhonedProcess

ACCOUNTS, AWAY_S = 500, 1.0
BACK_S, WINDOW_S, ATTEMPTS = 5.0, 3.0, 3
SLOW_S = 5.0
"""What a busy machine may add."""


def all_online(process: PhonedProcess) -> bool:
    listed = process.get("/v1/accounts")
    return [account["state"] for account in listed["data"]] == ["online"] * ACCOUNTS


@pytest.mark.long
def test_five_hundred_accounts_come_back_without_a_stampede() -> None:
    with exchange(ACCOUNTS) as (url, domain, sandbox), phone(url, domain, ACCOUNTS) as process:
        process.start(timeout_s=60.0)
        until(lambda: all_online(process), "all are online", 120.0, 0.5)
        mark = process.events.seen[-1]
        sandbox.ask(do="away", seconds=AWAY_S)
        back = time.monotonic()
        until(lambda: all_online(process), "all are online again", BACK_S + SLOW_S, 0.1)
        took_s = time.monotonic() - back
        until(lambda: len(process.events.of("account.reconnected")) == ACCOUNTS, "all were told of", SLOW_S)
        seen = [event for event in process.events.seen if (event.seq or 0) > (mark.seq or 0)]
        tried: dict[str, list[float]] = {}
        for event in seen:
            if event.type == "account.reconnecting":
                tried.setdefault(event.data["account"]["id"], []).append(event.at + event.data["next_in_s"])
        assert len(tried) == ACCOUNTS
        for account, times in tried.items():
            for first, last in zip(times, times[ATTEMPTS:], strict=False):
                assert last - first >= WINDOW_S, (account, times)
        print(f"all back after {took_s:.1f} s, at most {max(map(len, tried.values()))} attempts")  # noqa: T201
