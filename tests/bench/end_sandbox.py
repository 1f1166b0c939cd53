"""The exchange in a box with many users, as a process of its own: ``python -m tests.bench.end_sandbox USERS``."""

from __future__ import annotations

import asyncio
import sys
import time
from urllib.parse import urlsplit

from phoned.sandbox.server import Sandbox
from phoned.transport.flow import Flow
from tests.bench.end import Json, begins_call, drained, serve


def user(number: int) -> str:
    """The name of the n-th user, which is also the password."""
    return f"user{number:04d}"


def main() -> None:
    """Serve."""
    users = {user(number): user(number) for number in range(int(sys.argv[1]))}
    sandbox = Sandbox(users=users)
    port = 0
    arrived: list[float] = []
    """When INVITEs came that began a call, CLOCK_MONOTONIC."""

    def listen() -> None:
        take = sandbox.exchange.on_message

        def noting(flow: Flow, data: bytes) -> None:
            if begins_call(data):
                arrived.append(time.monotonic())
            take(flow, data)

        sandbox.exchange.on_message = noting  # type: ignore[method-assign]  # a tap of this bench

    async def do(verb: str, order: Json) -> Json:
        nonlocal sandbox, port
        match verb:
            case "start":
                url = await sandbox.start()
                port = urlsplit(url).port or 0
                listen()
                return {"url": url, "domain": sandbox.domain}
            case "away":  # ended and, so many seconds later, started anew without a memory
                await sandbox.stop()
                sandbox = Sandbox(users=users)
                await asyncio.sleep(float(order["seconds"]))
                await sandbox.start(port=port)
                return {}
            case "invites":
                return {"at": drained(arrived)}
            case "stop":
                await sandbox.stop()
                return {}
            case _:
                raise ValueError(verb)

    serve(do)


if __name__ == "__main__":
    main()
