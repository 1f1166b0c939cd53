"""The stream of events across restarts of the daemon, for the commands of `phonectl` that go on."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

from api.ctl.client import UNREACHABLE, Client, Failure

RECONNECT_S = 60.0
"""How long a daemon that went away is looked for."""
RETRY_S = 1.0


def follow(
    client: Client, after: int | None, *, lost: Callable[[], None], back: Callable[[], None]
) -> Iterator[dict[str, Any]]:
    """Every event behind ``after``, for ever. ``lost`` and ``back`` tell of the connection. Raises `Failure`: the first
    attempt must work; later ones may find a daemon that is being restarted, for `RECONNECT_S`."""
    lost_at: float | None = None
    while True:
        try:
            for item in client.follow(after):
                if lost_at is not None:
                    back()
                    lost_at = None
                after = item.get("seq", item["data"].get("last_seq", after))
                yield item
        except Failure as failure:
            if failure.code != UNREACHABLE or after is None:
                raise
            if lost_at is not None and time.monotonic() - lost_at > RECONNECT_S:
                raise
        if lost_at is None:
            lost()
            lost_at = time.monotonic()
        time.sleep(RETRY_S)
