"""`phoned sandbox`: the exchange alone, with its fault switches on standard input."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import stat
import sys

from phoned.errors import InvalidValue
from phoned.sandbox.lines import LINES
from phoned.sandbox.server import Sandbox
from phoned.tasks import Tasks

USAGE = 2
LONGEST_ORDER = 65_536


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
    tasks.spawn("orders", _take_orders(sandbox, stop, as_json))
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


async def _take_orders(sandbox: Sandbox, stop: asyncio.Event, as_json: bool) -> None:
    """Fault orders, one a line, each acknowledged. When a program that held the pipe is gone, so are we."""
    mode = os.fstat(sys.stdin.fileno()).st_mode
    if not (stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or sys.stdin.isatty()):
        return  # a file, or nothing: there are no orders then
    reader = asyncio.StreamReader(limit=LONGEST_ORDER)
    loop = asyncio.get_running_loop()
    transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    try:
        while line := await _next_line(reader):
            answer = _obey(sandbox, line)
            sys.stdout.write((json.dumps(answer) if as_json else str(answer)) + "\n")
            sys.stdout.flush()
    finally:
        transport.close()
    stop.set()


async def _next_line(reader: asyncio.StreamReader) -> bytes:
    """A line; one that is too long counts as one that cannot be read. Empty at the end."""
    try:
        return await reader.readline()
    except ValueError:
        return b"too long\n"


def _obey(sandbox: Sandbox, line: bytes) -> dict[str, object]:
    try:
        order = json.loads(line)
        if not isinstance(order, dict):
            raise InvalidValue("an order is a JSON object")
        sandbox.order(order)
    except (ValueError, RecursionError, InvalidValue) as error:
        return {"ok": False, "error": str(error)}
    return {"ok": True, **order}
