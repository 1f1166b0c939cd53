"""`phoned sandbox`: the exchange alone, with its fault switches on standard input."""

from __future__ import annotations

import asyncio
import json
import signal
import sys

from phoned.errors import InvalidValue
from phoned.sandbox.lines import LINES
from phoned.sandbox.server import Sandbox
from phoned.tasks import Tasks

USAGE = 2


def run(*, listen: str, as_json: bool) -> int:
    """Serve until SIGTERM, SIGINT or the end of standard input of a program. The exit status."""
    host, _, port = listen.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65535:
        sys.stderr.write(f"phoned sandbox: {listen!r} is no HOST:PORT, like 127.0.0.1:0\n")
        return USAGE
    try:
        return asyncio.run(_serve(host.strip("[]"), int(port), as_json))
    except OSError as error:
        sys.stderr.write(f"phoned sandbox: cannot listen on {listen}: {error.strerror}\n")
        return 1


async def _serve(host: str, port: int, as_json: bool) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    sandbox = Sandbox()
    url = await sandbox.start(host, port)
    tasks = Tasks("sandbox", lambda name, error: stop.set())
    _greet(sandbox, url, as_json)
    tasks.spawn("orders", _take_orders(sandbox, as_json))
    await stop.wait()
    await tasks.close()
    await sandbox.stop()
    return 0


def _greet(sandbox: Sandbox, url: str, as_json: bool) -> None:
    if as_json:
        facts = {"url": url, "domain": sandbox.domain, "users": sandbox.users, "lines": list(LINES)}
        sys.stdout.write(json.dumps(facts) + "\n")
    else:
        sys.stdout.write(f"SIP over WebSocket at {url}  domain {sandbox.domain}\n\nuser    password\n")
        sys.stdout.writelines(f"{user:<8}{password}\n" for user, password in sandbox.users.items())
        sys.stdout.write("\nline\n")
        sys.stdout.writelines(f"{name:<11}{what}\n" for name, what in LINES.items())
        sys.stdout.write('\nfaults as JSON lines here, e.g. {"fault":"close"} or {"fault":"delay","ms":200}\n')
    sys.stdout.flush()


async def _take_orders(sandbox: Sandbox, as_json: bool) -> None:
    """Fault orders, one a line, each acknowledged."""
    reader = asyncio.StreamReader(limit=65_536)
    loop = asyncio.get_running_loop()
    try:
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    except (ValueError, OSError):
        return  # standard input is a file or closed: there are no orders then
    while line := await reader.readline():
        try:
            order = json.loads(line)
            if not isinstance(order, dict):
                raise InvalidValue("an order is a JSON object")
            sandbox.order(order)
        except (ValueError, InvalidValue) as error:
            answer = {"ok": False, "error": str(error)}
        else:
            answer = {"ok": True, **order}
        sys.stdout.write((json.dumps(answer) if as_json else str(answer)) + "\n")
        sys.stdout.flush()
