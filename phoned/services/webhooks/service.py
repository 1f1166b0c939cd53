"""The plug-in ``webhooks``: what the entry point names. Light to import; HTTP is loaded when it is needed."""

from __future__ import annotations

import asyncio
import logging
import random
from collections import Counter
from collections.abc import Mapping
from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, ClassVar

from pydantic import BaseModel

from phoned.clock import wall_clock
from phoned.config.types import Secret
from phoned.errors import PhonedError
from phoned.service import Context
from phoned.services.webhooks.config import WebhookConfig, WebhooksConfig
from phoned.services.webhooks.control import Webhooks
from phoned.services.webhooks.decision import Decision, Unusable, read_decision
from phoned.services.webhooks.endpoint import Endpoint
from phoned.services.webhooks.lanes import Item
from phoned.services.webhooks.schedule import Schedule
from phoned.services.webhooks.signing import Signer
from phoned.services.webhooks.values import Answer
from phoned.tasks import Tasks
from phoned.webhook import AttemptResult, StoredWebhook

if TYPE_CHECKING:
    from phoned.services.webhooks.sender import Sender

log = logging.getLogger(__name__)

FLUSH_S = 0.5
"""At the end: how long the last events may take to be delivered. What remains is in the outbox."""


class WebhooksService:
    """The plug-in (its class) and all webhooks of one phone (its instance). Driven by the daemon: `create`, `start`,
    `stop`."""

    name: ClassVar[str] = "webhooks"
    config_model: ClassVar[type[BaseModel]] = WebhooksConfig
    default: ClassVar[bool] = True

    def __init__(self, context: Context) -> None:
        self._context = context
        self._control: Webhooks | None = None
        self._sender: Sender | None = None
        self._began_at = 0
        self._tasks = Tasks("webhooks", self._on_crash)

    @classmethod
    def create(cls, context: Context) -> WebhooksService:
        """What the daemon calls with this service's context."""
        return cls(context)

    async def start(self) -> None:
        """Take up what waits, and follow the events."""
        context = self._context
        self._began_at = context.bus.delivered_seq
        configured = await asyncio.to_thread(self._read_secrets, context.config.root)
        self._control = Webhooks(
            context.outbox,
            context.bus,
            context.urls,
            self._make,
            node=context.phone.status().node,
            clock=wall_clock,
        )
        await self._control.open(configured)
        self._tasks.spawn("news", self._follow(self._control))
        context.offer_webhooks(self._control)
        if self._control.endpoints:
            self._tasks.spawn("load", self._loaded())  # the first event shall not wait for it

    def reconfigure(self, config: WebhooksConfig) -> list[str]:
        """All of it can be taken while the phone runs; a moment later it is."""
        if self._control is not None:
            self._tasks.spawn("configure", self._configure(self._control, config))
        return []

    async def _configure(self, control: Webhooks, config: WebhooksConfig) -> None:
        try:
            await control.configure(await asyncio.to_thread(self._read_secrets, config.root))
        except PhonedError as error:
            log.error("webhooks stay as they were: %s", error.detail)

    async def stop(self, budget_s: float) -> None:
        """Give the last events a moment to be delivered, then stop."""
        control, self._control = self._control, None
        self._context.offer_webhooks(None)
        if control is None:
            return
        control.nudge()
        try:
            async with asyncio.timeout(min(FLUSH_S, budget_s / 2)):
                await asyncio.gather(*(endpoint.settled() for endpoint in control.endpoints))
        except TimeoutError:
            pass  # it is kept
        await self._tasks.close(budget_s / 4)
        await control.close()
        if self._sender is not None:
            await self._sender.close()

    async def _follow(self, control: Webhooks) -> None:
        """Tell each webhook of news; a burst is told as one."""
        while True:
            news = self._context.bus.subscribe(capacity=1)
            control.nudge()  # after subscribing: nothing falls between two looks
            await anext(aiter(news), None)
            news.close()

    def _read_secrets(self, configs: tuple[WebhookConfig, ...]) -> list[tuple[WebhookConfig, Secret]]:
        return [(config, Secret(self._context.secrets.read(str(config.secret_file)))) for config in configs]

    def _make(
        self, stored: StoredWebhook, secret: Secret, schedule: Schedule, counted: Counter[AttemptResult]
    ) -> Endpoint:
        return Endpoint(
            stored,
            Signer(secret),
            schedule=schedule,
            outbox=self._context.outbox,
            bus=self._context.bus,
            phone=self._context.phone,
            post=self._post,
            decide=self._decide,
            counted=counted,
            uniform=random.SystemRandom().uniform,
            clock=wall_clock,
        )

    async def _post(
        self, url: str, headers: Mapping[str, str], body: str, *, trusted: bool, timeout_s: float
    ) -> Answer:
        """Through the one sender."""
        sender = await self._loaded()
        return await sender.post(url, headers, body, trusted=trusted, timeout_s=timeout_s)

    async def _loaded(self) -> Sender:
        """What speaks HTTP is loaded when there is a webhook: a phone without goes without."""
        if self._sender is None:
            await asyncio.to_thread(import_module, "phoned.services.webhooks.sender")
            from phoned.services.webhooks.sender import Sender

            if self._sender is None:  # another attempt may have been quicker
                self._sender = Sender(self._context.urls, agent=f"phoned/{version('phoned')}")
        return self._sender

    async def _decide(self, endpoint: Endpoint, item: Item, body: bytes, took_s: float) -> None:
        """What the answer to the first attempt of `call.incoming` says is done with the call."""
        if item.type != "call.incoming" or item.seq is None or item.seq <= self._began_at:
            return  # what rang before this process lived is not news
        decision = read_decision(body)
        if decision is None:
            return
        call = item.lane
        if isinstance(decision, Unusable):
            log.warning("webhook %s: its answer for %s counts for nothing: %s", endpoint.stored.id, call, decision.why)
        elif took_s > endpoint.schedule.decide_s:
            log.warning("webhook %s: its answer for %s came too late (%.1f s)", endpoint.stored.id, call, took_s)
        else:
            await self._carry_out(endpoint.stored.id, call, decision)

    async def _carry_out(self, webhook: str, call: str, decision: Decision) -> None:
        try:
            if decision.action == "answer":
                await self._context.phone.answer(call, (decision.stream,) if decision.stream is not None else ())
            else:
                await self._context.phone.reject(call, decision.code)
        except PhonedError as error:
            log.warning("webhook %s: cannot %s %s: %s", webhook, decision.action, call, error.detail)
        else:
            log.info("webhook %s: %s %s", webhook, decision.action, call)

    def _on_crash(self, name: str, error: BaseException) -> None:
        log.critical("%s crashed: webhooks hear of no more events", name, exc_info=error)
