"""The real services with real sockets around a `FakePhone`."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from api.config import ApiConfig
from api.service import ApiService
from phoned.errors import NotFound
from phoned.events import EventBus, MemoryEventLog
from phoned.services.webhooks.config import WebhooksConfig
from phoned.services.webhooks.service import WebhooksService
from phoned.store.database import Database
from phoned.store.outbox import SqliteOutbox
from phoned.store.tokens import Scope, issue_token
from phoned.tasks import Tasks
from phoned.transport.resolver import Resolver
from phoned.urls import Reach, UrlGuard
from tests.support.audited import Audited
from tests.support.fake_phone import FakePhone
from tests.support.keys import MemoryKeys
from tests.support.offers import Offering
from tests.support.webhooks import lookup_of


class NoSecrets:
    def read(self, name: str) -> bytes:
        raise NotFound(name)


@dataclass
class FakeContext(Offering):
    phone: FakePhone
    bus: EventBus
    config: Any
    state_dir: Path
    runtime_dir: Path
    keys: MemoryKeys = field(default_factory=MemoryKeys)
    secrets: NoSecrets = field(default_factory=NoSecrets)
    audit: Audited = field(default_factory=Audited)
    outbox: SqliteOutbox = field(default_factory=lambda: SqliteOutbox(Database(Path("/nonexistent"))))
    urls: UrlGuard = field(
        default_factory=lambda: UrlGuard(
            Reach(["127.0.0.0/8"]), Resolver(lookup_of(example_org="93.184.215.14")).addresses
        )
    )


@dataclass
class Running:
    """A running API, and clients for it."""

    service: ApiService
    phone: FakePhone
    bus: EventBus
    context: FakeContext
    socket: Path
    port: int
    state_dir: Path
    audited: list[dict[str, str | int | None]]
    """What the audit log would hold."""
    clients: list[httpx.AsyncClient] = field(default_factory=list)

    def token(self, scope: Scope = "admin") -> str:
        return issue_token(self.state_dir, scope)

    def unix(self, **options: Any) -> httpx.AsyncClient:
        """As the daemon's own user, over the unix socket."""
        transport = httpx.AsyncHTTPTransport(uds=str(self.socket))
        return self._kept(httpx.AsyncClient(transport=transport, base_url="http://phoned", **options))

    def tcp(self, token: str | None = None, **options: Any) -> httpx.AsyncClient:
        headers = {**options.pop("headers", {}), **({"Authorization": f"Bearer {token}"} if token else {})}
        base = f"http://127.0.0.1:{self.port}"
        return self._kept(httpx.AsyncClient(base_url=base, headers=headers, trust_env=False, **options))

    def _kept(self, client: httpx.AsyncClient) -> httpx.AsyncClient:
        self.clients.append(client)
        return client

    async def raw(self, data: bytes, *, unix: bool = False, timeout_s: float = 5.0) -> bytes:
        """Bytes in, all bytes out until the server closes or is silent with a whole answer."""
        reader, writer = await self.connect(unix=unix)
        try:
            writer.write(data)
            await writer.drain()
            async with asyncio.timeout(timeout_s):
                return await read_answer(reader)
        finally:
            writer.close()

    async def connect(self, *, unix: bool = False) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if unix:
            return await asyncio.open_unix_connection(str(self.socket))
        return await asyncio.open_connection("127.0.0.1", self.port)


async def read_answer(reader: asyncio.StreamReader) -> bytes:
    """One answer with a Content-Length, or what came before the end."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        line = await reader.readline()
        if not line:
            return head
        head += line
    length = next(
        (int(line.split(b":")[1]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), 0
    )
    try:
        return head + await reader.readexactly(length)
    except asyncio.IncompleteReadError as error:
        return head + error.partial  # the answer to a HEAD, or a connection that was cut


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def crashed(name: str, error: BaseException) -> None:
    raise AssertionError(f"{name}: {error!r}")


@pytest.fixture
def api_config() -> dict[str, Any]:
    """Overridden by a test that wants another ``[api]`` table."""
    return {}


@pytest.fixture
async def running(tmp_path: Path, api_config: dict[str, Any]) -> AsyncIterator[Running]:
    bus = EventBus(MemoryEventLog(capacity=1000), node="test")
    await bus.start()
    recordings = tmp_path / "recordings"
    recordings.mkdir()
    phone = FakePhone(bus, recordings_dir=recordings)
    config = ApiConfig(**{"port": free_port(), "rate_per_s": 1000, **api_config})
    state_dir = tmp_path / "state"
    database = Database(tmp_path / "phoned.sqlite3")
    await database.open()
    outbox = SqliteOutbox(database)
    await outbox.open()
    context = FakeContext(
        phone=phone, bus=bus, config=config, state_dir=state_dir, runtime_dir=tmp_path / "run", outbox=outbox
    )
    tasks = Tasks("test", crashed)
    tasks.spawn("bus", bus.run())
    service = ApiService.create(context)
    await service.start()
    webhooks = WebhooksService.create(replace(context, config=WebhooksConfig(())))
    await webhooks.start()
    running = Running(
        service=service,
        phone=phone,
        bus=bus,
        context=context,
        socket=tmp_path / "run" / config.socket,
        port=service.ports[0] if service.ports else 0,
        state_dir=state_dir,
        audited=context.audit.entries,
    )
    try:
        yield running
    finally:
        for client in running.clients:
            await client.aclose()
        await webhooks.stop(1.0)
        await service.stop(3.0)
        await tasks.close()
        await database.close()
