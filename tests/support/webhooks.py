"""One life of a phone with webhooks: the real service, log, outbox and guard around a `FakePhone`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from phoned.config.secrets import FileSecrets
from phoned.events import EventBus
from phoned.services.webhooks.config import WebhookConfig, WebhooksConfig
from phoned.services.webhooks.service import WebhooksService
from phoned.store.database import Database
from phoned.store.events import SqliteEventLog
from phoned.store.keyvalue import SqliteKeyValue
from phoned.store.outbox import SqliteOutbox
from phoned.tasks import Tasks
from phoned.transport.resolver import Endpoint, Lookup, Resolver, system_lookup
from phoned.urls import Reach, UrlGuard
from phoned.webhook import DeliveryView, WebhookControl
from tests.support.audited import Audited
from tests.support.fake_phone import FakePhone
from tests.support.offers import Offering
from tests.support.webhook_sink import SECRET, Received, Sink

LOOPBACK = ("127.0.0.0/8",)
QUICK_S = (0.0, *(0.02,) * 20)
"""A table of attempts for tests that cannot wait for the real one."""


@dataclass
class Context(Offering):
    """What the service is given."""

    phone: FakePhone
    bus: EventBus
    keys: SqliteKeyValue
    outbox: SqliteOutbox
    urls: UrlGuard
    config: WebhooksConfig
    state_dir: Path
    runtime_dir: Path
    secrets: FileSecrets = field(default_factory=lambda: FileSecrets({}))
    audit: Audited = field(default_factory=Audited)


@dataclass
class Life:
    """Between a start and an end."""

    phone: FakePhone
    bus: EventBus
    database: Database
    context: Context
    service: WebhooksService
    tasks: Tasks

    @property
    def control(self) -> WebhookControl:
        return self.context.webhooks

    async def tell(self, *types: str, **data: Any) -> None:
        """Publish and commit."""
        for type_ in types:
            self.bus.publish(type_, **data)
        await self.bus.flush()

    async def deliveries(self, webhook: str | None = None) -> tuple[DeliveryView, ...]:
        """All of a webhook (of the only one), newest first."""
        name = webhook or self.control.webhooks()[0].id
        return (await self.control.deliveries(name, state=None, before=None, limit=1000)).deliveries

    async def until(self, fits: Callable[[], Any], what: str, timeout_s: float = 20.0) -> None:
        """Until something about the webhooks is so."""
        try:
            async with asyncio.timeout(timeout_s):
                while not fits():  # noqa: ASYNC110 - it is seen from outside, where nobody tells of it
                    await asyncio.sleep(0.01)
        except TimeoutError:
            raise TimeoutError(f"{what}; {self.control.webhooks()}; {await self.deliveries()}") from None


async def received(sink: Sink, count: int, timeout_s: float = 20.0) -> list[Received]:
    """What came in, once it is so many."""
    return await asyncio.to_thread(sink.until, lambda got: len(got) >= count, f"{count} requests", timeout_s)


def secret_file(directory: Path, text: str = SECRET) -> Path:
    """A file as ``secret_file`` wants it."""
    path = directory / "webhook.secret"
    path.touch(mode=0o600)
    path.write_text(text)
    return path


def configured(directory: Path, url: str, **settings: Any) -> WebhookConfig:
    """A ``[[webhooks]]`` table."""
    return WebhookConfig(**{"url": url, "secret_file": secret_file(directory), "retry_s": QUICK_S, **settings})


def lookup_of(**names: str) -> Lookup:
    """A resolver that knows some names (with ``_`` for ``.``), and addresses."""

    def lookup(host: str, port: int) -> Sequence[Endpoint]:
        found = names.get(host.replace(".", "_"))
        if found is None and not host[0].isdigit() and ":" not in host:
            raise OSError(f"{host} is not known")
        return system_lookup(found or host, port)

    return lookup


@asynccontextmanager
async def life(
    home: Path,
    *configs: WebhookConfig,
    allow_private: Sequence[str] = LOOPBACK,
    lookup: Lookup = system_lookup,
) -> AsyncIterator[Life]:
    """A phone with these webhooks and the state of ``home``."""
    database = Database(home / "phoned.sqlite3")
    await database.open()
    outbox = SqliteOutbox(database)
    await outbox.open()
    bus = EventBus(SqliteEventLog(database), node="test")
    await bus.start()
    phone = FakePhone(bus)
    context = Context(
        phone=phone,
        bus=bus,
        keys=SqliteKeyValue(database, "webhooks"),
        outbox=outbox,
        urls=UrlGuard(Reach(allow_private), Resolver(lookup).addresses),
        config=WebhooksConfig(configs),
        state_dir=home,
        runtime_dir=home,
    )
    tasks = Tasks("test", _crashed)
    tasks.spawn("bus", bus.run())
    service = WebhooksService.create(context)
    try:
        await service.start()
        yield Life(phone=phone, bus=bus, database=database, context=context, service=service, tasks=tasks)
    finally:
        await service.stop(3.0)
        await tasks.close()
        await database.close()


def _crashed(name: str, error: BaseException) -> None:
    raise AssertionError(f"{name}: {error!r}")
