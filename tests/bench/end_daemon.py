"""A whole daemon with its control API, as a process of its own: ``python -m tests.bench.end_daemon CONFIG``.

It runs what `phoned run` runs, and notes beside it when each event was published, when each first INVITE was handed to
the kernel, and how late the media clock ticked.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

from phoned.config.load import load_config
from phoned.daemon import Daemon, spare_the_collector
from phoned.media.clock import Lateness
from phoned.store.tokens import issue_token
from phoned.transport.websocket import WebSocketFlow
from tests.bench.end import Json, begins_call, drained, serve


def main() -> None:
    """Serve."""
    daemon = Daemon(load_config(Path(sys.argv[1]), environ=os.environ))
    published: dict[int, float] = {}
    written: list[float] = []
    """CLOCK_MONOTONIC."""

    def watch() -> None:
        tell = daemon.bus.publish

        def noting(type_: str, **data: Any) -> None:
            began = time.monotonic()
            tell(type_, **data)
            published[daemon.bus._seq] = began

        daemon.bus.publish = noting  # type: ignore[method-assign]  # a tap of this bench
        send = WebSocketFlow.send

        def sending(flow: WebSocketFlow, data: bytes) -> bool:
            sent = send(flow, data)
            if begins_call(data):
                written.append(time.monotonic())
            return sent

        WebSocketFlow.send = sending  # type: ignore[method-assign,assignment]  # another one

    async def do(verb: str, order: Json) -> Json:
        match verb:
            case "start":
                await daemon.start()
                spare_the_collector()
                watch()
                return {"token": issue_token(Path(order["state"]), "admin")}
            case "lateness":  # of the ticks since it was last asked for
                late, daemon.engine.clock.lateness = daemon.engine.clock.lateness, Lateness()
                return {name: late.quantile_ms(share) for name, share in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))}
            case "invites":
                return {"at": drained(written)}
            case "published":
                return {"at": published}
            case "stop":
                await daemon.stop()
                return {}
            case _:
                raise ValueError(verb)

    serve(do)


if __name__ == "__main__":
    main()
