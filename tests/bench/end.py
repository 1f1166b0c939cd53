"""A process at one end of calls: how the bench talks to it, pins it and reads what it costs.

Both sides of the pipe: `End` in the bench, `serve` in the process. One JSON object a line each way.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import select
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from tests.peers.harness.place import HERE, Place
from tests.support.child import Child

ROOT = Path(__file__).resolve().parents[2]
Json = dict[str, Any]


def cpu_s(pid: int) -> float:
    """User and system time of a process since it began, all threads, in nanosecond steps (clock_getcpuclockid(3))."""
    return time.clock_gettime((~pid << 3) | 2)


def begins_call(message: bytes) -> bool:
    """Whether this is the first INVITE of a call: with credentials it is the same call once more."""
    return message.startswith(b"INVITE ") and b"Proxy-Authorization:" not in message


def drained(times: list[float]) -> list[float]:
    """Those since it was last asked for."""
    found = times.copy()
    times.clear()
    return found


def rss_mb(pid: int) -> float:
    """Resident memory."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise ProcessLookupError(f"process {pid} has no memory")


def pin(pid: int, core: int) -> None:
    """Let a process run on one core only; on a machine with one core that is the one."""
    usable = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(pid, {usable[core % len(usable)]})


class End(Child):
    """A Python process of ours that `serve`s."""

    def __init__(self, module: str, *arguments: str, core: int, place: Place = HERE) -> None:
        super().__init__("bench")
        environment = {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
        argv = place.inside([sys.executable, "-m", module, *arguments])
        self.spawn(argv, environment=environment, pipes=True)
        pin(self.process.pid, core)
        self._left = b""

    def tell(self, **order: Any) -> None:
        """Begin an order; `result` ends it."""
        pipe = self.process.stdin
        assert pipe is not None
        pipe.write(json.dumps(order).encode() + b"\n")
        pipe.flush()

    def result(self, timeout_s: float = 60.0) -> Json:
        """The answer. Raises `RuntimeError` with the log when the process failed, `TimeoutError` when it is late."""
        pipe = self.process.stdout
        assert pipe is not None
        deadline = time.monotonic() + timeout_s
        while b"\n" not in self._left:
            readable, _, _ = select.select([pipe], [], [], max(0.0, deadline - time.monotonic()))
            if not readable:
                raise TimeoutError(f"no answer in {timeout_s:g} s\n{self.log[-3000:]}")
            data = os.read(pipe.fileno(), 1 << 20)
            if not data:
                raise RuntimeError(f"the process ended:\n{self.log[-3000:]}")
            self._left += data
        line, _, self._left = self._left.partition(b"\n")
        answer: Json = json.loads(line)
        if "error" in answer:
            raise RuntimeError(f"{answer['error']}\n{self.log[-3000:]}")
        return answer

    def ask(self, **order: Any) -> Json:
        """An order and its answer."""
        self.tell(**order)
        return self.result()


def serve(do: Callable[[str, Json], Awaitable[Json]]) -> None:
    """The process's side: carry orders out until stdin ends."""
    # hundreds of calls hold hundreds of sockets
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    asyncio.run(_serve(do))


async def _serve(do: Callable[[str, Json], Awaitable[Json]]) -> None:
    reader = asyncio.StreamReader(limit=1 << 26)
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        order: Json = json.loads(line)
        try:
            answer = await do(order.pop("do"), order)
        except Exception as error:
            answer = {"error": repr(error)}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()
