"""How quick the control API is: an order to the INVITE on the wire, an event to its reader, and what 200 requests a
second do to the sound of 50 calls.

The daemon is a process of its own on one core; the exchange in a box, and the clients of this bench, are on the other.
An INVITE is on the wire when the kernel has all of it; that the exchange has read it comes later, by what its own calls
keep it busy. An event has arrived when its reader has all of it.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tests.bench.end import End, cpu_s, pin
from tests.bench.end_sandbox import user
from tests.bench.report import Report, Row, arguments, progress, quantile, rounded, row
from tests.support.daemon import toml

CALLS = 50
FEW_CALLS = 20
VERBS_PER_S = 20
"""Orders a second while events are timed: each makes one."""
RATE = 200
CLIENTS = 8
LATE_MS = 10.0
Json = dict[str, Any]


class Client:
    """One connection that is kept, and requests over it; lean, so that the bench measures the daemon."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, path: Path) -> Client:
        return cls(*await asyncio.open_unix_connection(str(path), limit=1 << 24))

    async def ask(self, method: str, path: str, body: Json | None = None) -> tuple[int, bytes]:
        """Status and body."""
        content = b"" if body is None else json.dumps(body).encode()
        kind = "" if body is None else f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n"
        self._writer.write(f"{method} {path} HTTP/1.1\r\nHost: phoned\r\n{kind}\r\n".encode() + content)
        head = await self._reader.readuntil(b"\r\n\r\n")
        length = next(int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        return int(head.split(b" ", 2)[1]), await self._reader.readexactly(length)

    async def json(self, method: str, path: str, body: Json | None = None) -> Json:
        """An answer that must be good."""
        status, content = await self.ask(method, path, body)
        if status >= 300:
            raise RuntimeError(f"{method} {path}: {status} {content.decode()[:300]}")
        return dict(json.loads(content))

    def close(self) -> None:
        self._writer.close()


@dataclass
class Scene:
    """A daemon, the exchange, and how to reach both."""

    sandbox: End
    daemon: End
    socket: Path

    @asynccontextmanager
    async def client(self) -> Any:
        made = await Client.open(self.socket)
        try:
            yield made
        finally:
            made.close()


@contextmanager
def scene() -> Iterator[Scene]:
    """Started, and registered."""
    with End("tests.bench.end_sandbox", "1", core=1) as sandbox, tempfile.TemporaryDirectory(prefix="phoned-") as home:
        where = sandbox.ask(do="start")
        directory = Path(home)
        (directory / "secret").touch(mode=0o600)
        (directory / "secret").write_text(user(0))
        config = directory / "phoned.toml"
        account = {
            "id": "a",
            "aor": f"sip:{user(0)}@{where['domain']}",
            "auth_username": user(0),
            "password_file": "secret",
            "outbound_proxy": where["url"],
        }
        tables = {
            "phone": {"state_dir": "state"},
            "media": {"allow_loopback": True},
            "api": {"socket": str(directory / "api.sock"), "port": 0, "rate_per_s": 10_000},
            "dial": {"max_concurrent": 200, "max_per_minute": 100_000},
            "accounts": [account],
        }
        config.write_text(toml(tables))
        with End("tests.bench.end_daemon", str(config), core=0) as daemon:
            daemon.ask(do="start", state=str(directory / "state"))
            pin(os.getpid(), 1)
            yield Scene(sandbox=sandbox, daemon=daemon, socket=directory / "api.sock")
            daemon.ask(do="stop")
        sandbox.ask(do="stop")


async def until_ready(scene: Scene) -> None:
    async with scene.client() as client:
        for _ in range(500):
            status, _ = await client.ask("GET", "/readyz")
            if status == 200:
                return
            await asyncio.sleep(0.02)
    raise TimeoutError("the account is not online")


async def invites(report: Report, scene: Scene, name: str, count: int, note: str) -> None:
    """Orders, one after the other, and when their INVITE came. The line is busy: nothing of it stays."""
    for end in (scene.daemon, scene.sandbox):
        end.ask(do="invites")
    began: list[float] = []
    answered: list[float] = []
    async with scene.client() as client:
        for number in range(count):
            began.append(time.monotonic())
            await client.json("POST", "/v1/calls", {"account": "a", "to": "busy"})
            answered.append((time.monotonic() - began[-1]) * 1000)
            await asyncio.sleep(0.05 + number % 7 / 1000)  # not in step with the media clock
    for end, suffix, limit, told in (
        (scene.daemon, "", 10.0, note),
        (scene.sandbox, "_read", None, "until the exchange has read it"),
    ):
        taken = [(there - here) * 1000 for here, there in zip(began, await invites_of(end, count), strict=True)]
        report.add(timed(f"{name}{suffix}_ms", taken, limit=limit, note=told))
    report.add(timed(f"{name}_answer_ms", answered, note="until the 201 was read"))


async def invites_of(end: End, count: int) -> list[float]:
    """When its INVITEs went or came."""
    found: list[float] = []
    for _ in range(100):
        found += end.ask(do="invites")["at"]
        if len(found) >= count:
            break
        await asyncio.sleep(0.05)
    if len(found) != count:
        raise RuntimeError(f"{count} orders, {len(found)} INVITEs")
    return found


def timed(name: str, samples: list[float], *, limit: float | None = None, note: str = "") -> Row:
    """A row with its 99th percentile, which the target is about."""
    p99 = quantile(samples, 0.99)
    made = replace(row(name, samples, unit="ms", note=note), p99=rounded(p99))
    return made if limit is None else replace(made, target=f"p99 <= {limit:g}", met=p99 <= limit)


async def calls_up(scene: Scene, count: int) -> list[str]:
    """So many calls with sound in both directions."""
    found: list[str] = []
    async with scene.client() as client:
        for _ in range(count):
            order = {
                "account": "a",
                "to": "echo",
                "wait": "answered",
                "on_answer": [{"play": {"tone": "425", "loop": True}}],
            }
            found.append((await client.json("POST", "/v1/calls", order))["id"])
        for _ in range(500):
            listed = (await client.json("GET", "/v1/calls?state=active&limit=1000"))["data"]
            if sum(call["media"]["state"] == "flowing" for call in listed) >= count:
                return found
            await asyncio.sleep(0.05)
    raise TimeoutError("not all calls have sound")


@dataclass
class EventReader:
    """Reads server-sent events; when each number was there."""

    at: dict[int, float] = field(default_factory=dict)

    async def run(self, path: Path) -> None:
        reader, writer = await asyncio.open_unix_connection(str(path), limit=1 << 24)
        writer.write(b"GET /v1/events HTTP/1.1\r\nHost: phoned\r\nAccept: text/event-stream\r\n\r\n")
        while line := await reader.readline():
            if line.startswith(b"id: "):
                seq = int(line[4:])
                while (await reader.readline()).strip():
                    pass  # its data, up to the empty line
                self.at[seq] = time.monotonic()


async def events_timed(report: Report, scene: Scene, name: str, calls: list[str], seconds: float, note: str) -> None:
    """How long an event takes from where it is published until its reader has all of it."""
    reader = EventReader()
    reading = asyncio.get_running_loop().create_task(reader.run(scene.socket))
    await asyncio.sleep(0.2)
    async with scene.client() as client:
        for number in range(int(seconds * VERBS_PER_S)):
            verb = "mute" if number // len(calls) % 2 == 0 else "unmute"
            await client.json("POST", f"/v1/calls/{calls[number % len(calls)]}/{verb}")
            await asyncio.sleep(1 / VERBS_PER_S + number % 7 / 1000)  # not in step with the media clock
    await asyncio.sleep(0.5)
    reading.cancel()
    published = scene.daemon.ask(do="published")["at"]
    delays = [(there - published[str(seq)]) * 1000 for seq, there in reader.at.items() if str(seq) in published]
    report.add(timed(name, delays, limit=10.0, note=note))


async def load(scene: Scene, calls: list[str], seconds: float) -> tuple[list[float], int]:
    """`RATE` requests a second, whatever the answers take; milliseconds of each from when it was due, and failures."""
    clients = [await Client.open(scene.socket) for _ in range(CLIENTS)]
    idle = asyncio.Queue[Client]()
    for client in clients:
        idle.put_nowait(client)
    call = itertools.cycle(calls)
    taken: list[float] = []
    failed = 0

    async def one(number: int, due: float) -> None:
        nonlocal failed
        client = await idle.get()
        id_ = next(call)
        match number % 10:
            case 0 | 5:
                status, _ = await client.ask("POST", f"/v1/calls/{id_}/{'mute' if number % 20 < 10 else 'unmute'}")
            case 1 | 6:
                status, _ = await client.ask("GET", f"/v1/calls/{id_}/stats")
            case 2:
                status, _ = await client.ask("GET", "/v1/status")
            case 3:
                status, _ = await client.ask("GET", "/v1/calls?state=active&limit=20")
            case _:
                status, _ = await client.ask("GET", f"/v1/calls/{id_}")
        taken.append((time.monotonic() - due) * 1000)
        failed += status != 200
        idle.put_nowait(client)

    began = time.monotonic()
    running = []
    for number in range(int(RATE * seconds)):
        due = began + number / RATE
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        running.append(asyncio.get_running_loop().create_task(one(number, due)))
    await asyncio.gather(*running)
    for client in clients:
        client.close()
    return taken, failed


@contextmanager
def processor(report: Report, scene: Scene, name: str, note: str) -> Iterator[None]:
    """What the daemon takes of its core meanwhile: that holds on a busy machine, too."""
    pid = scene.daemon.process.pid
    spent, began = cpu_s(pid), time.monotonic()
    yield
    share = (cpu_s(pid) - spent) / (time.monotonic() - began) * 100
    report.add(row(name, [share], unit="%", note=note))


def lateness(report: Report, scene: Scene, name: str, note: str) -> None:
    """How late the media clock ticked since it was last asked."""
    found = scene.daemon.ask(do="lateness")
    report.add(
        Row(
            name=name,
            peer="phoned",
            unit="ms",
            n=0,
            p50=found["p50"],
            p95=found["p95"],
            least=0.0,
            p99=found["p99"],
            target=f"p99 <= {LATE_MS:g}",
            met=found["p99"] <= LATE_MS,
            note=note,
        )
    )


async def loaded(report: Report, scene: Scene, calls: list[str], seconds: float) -> None:
    """What `RATE` requests a second do to the sound, and how they are answered."""
    note = f"{len(calls)} calls, {RATE} requests/s for {seconds:g} s"
    suffix = f"{RATE}_rps_{len(calls)}_calls"
    scene.daemon.ask(do="lateness")
    with processor(report, scene, f"cpu_{suffix}_pct", note):
        taken, failed = await load(scene, calls, seconds)
    lateness(report, scene, f"tick_late_{suffix}_ms", note)
    report.add(timed(f"answer_{suffix}_ms", taken, note=f"{failed} of {len(taken)} failed; from when it was due"))


async def measure(report: Report, scene: Scene, *, quick: bool) -> None:
    """Everything, in this order."""
    count, seconds = (50, 5.0) if quick else (300, 20.0)
    await until_ready(scene)
    await invites(report, scene, "post_to_invite", count, "no call is up")
    progress("orders measured")
    calls = await calls_up(scene, FEW_CALLS)
    progress(f"{len(calls)} calls are up")
    await loaded(report, scene, calls, seconds)
    calls += await calls_up(scene, CALLS - FEW_CALLS)
    progress(f"{len(calls)} calls are up")
    scene.daemon.ask(do="lateness")
    with processor(report, scene, "cpu_quiet_pct", f"{CALLS} calls, nobody asks"):
        await asyncio.sleep(seconds)
    lateness(report, scene, "tick_late_quiet_ms", f"{CALLS} calls, nobody asks")
    await invites(report, scene, f"post_to_invite_{CALLS}_calls", count, f"{CALLS} calls are up")
    note = f"published to read; {VERBS_PER_S} orders/s"
    await events_timed(report, scene, f"event_to_sse_{CALLS}_calls_ms", calls, seconds, note)
    await loaded(report, scene, calls, seconds)


def main() -> None:
    """Print the table, write ``build/bench/api.json``."""
    options = arguments("how quick the control API is").parse_args()
    report = Report(name="api")
    with scene() as made:
        asyncio.run(measure(report, made, quick=options.quick))
    report.publish(as_json=options.json)


if __name__ == "__main__":
    main()
