"""All webhooks: those of the configuration file and those made at run time. It is the `WebhookControl` of others."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from phoned.clock import WallClock, rfc3339
from phoned.config.types import Secret
from phoned.errors import AtCapacity, Denied, NotFound, UnavailableError, WrongState
from phoned.events import EventBus
from phoned.ids import new_id
from phoned.plain import plain
from phoned.services.webhooks.config import WebhookConfig
from phoned.services.webhooks.endpoint import Endpoint
from phoned.services.webhooks.schedule import Schedule
from phoned.services.webhooks.signing import new_secret
from phoned.services.webhooks.values import check_events, parcel_beside
from phoned.urls import UrlGuard, read_url
from phoned.web import SCHEMES
from phoned.webhook import (
    Attempted,
    AttemptResult,
    DeliveryPage,
    DeliveryState,
    DeliveryView,
    Outbox,
    StoredWebhook,
    WebhookChange,
    WebhookMade,
    WebhookRequest,
    WebhookView,
)

log = logging.getLogger(__name__)

WEBHOOKS_MAX = 32
"""Made at run time."""

Configured = tuple[WebhookConfig, Secret]
MakeEndpoint = Callable[[StoredWebhook, Secret, Schedule, "Counter[AttemptResult]"], Endpoint]


class Webhooks:
    """See the module's docstring. Driven by the service: `open`, `nudge`, `close`."""

    def __init__(
        self, outbox: Outbox, bus: EventBus, guard: UrlGuard, make: MakeEndpoint, *, node: str, clock: WallClock
    ) -> None:
        self._outbox = outbox
        self._bus = bus
        self._guard = guard
        self._make = make
        self._node = node
        self._clock = clock
        self._endpoints: dict[str, Endpoint] = {}
        self._named: tuple[Configured, ...] = ()
        """What the files say now."""
        self._left: dict[str, StoredWebhook] = {}
        """By URL: those of the files that nobody has named yet."""
        self._counted: Counter[AttemptResult] = Counter({"delivered": 0, "retried": 0, "failed": 0})
        self._changing = asyncio.Lock()
        """One change at a time: they are rare, and each has several steps."""

    @property
    def endpoints(self) -> Sequence[Endpoint]:
        """All, to be driven."""
        return tuple(self._endpoints.values())

    async def open(self, configured: Sequence[Configured]) -> None:
        """Take up what is kept, as the configuration files have it now."""
        for stored in await self._outbox.load():
            if stored.source == "api" and stored.secret is not None:
                await self._begin(self._make(stored, stored.secret, Schedule(), self._counted))
            else:
                self._left[stored.url] = stored
        await self.configure(configured)

    async def configure(self, configured: Sequence[Configured]) -> None:
        """What the files say, also when it changes. A webhook is the same as before if its URL is."""
        async with self._changing:
            unchanged = {config.url for config, secret in configured if (config, secret) in self._named}
            for endpoint in self.endpoints:
                if endpoint.stored.source == "file" and endpoint.stored.url not in unchanged:
                    del self._endpoints[endpoint.stored.id]
                    await endpoint.close()
                    self._left[endpoint.stored.url] = replace(endpoint.stored, cursor=endpoint.cursor)
            self._named = tuple(configured)
            for config, secret in configured:
                if config.url in unchanged:
                    continue
                stored = self._left.pop(config.url, None)
                if stored is None:
                    stored = self._new(config.url, config.events, secret=None)
                    await self._outbox.add(stored)
                elif stored.events != config.events:
                    stored = replace(stored, events=config.events)
                    await self._outbox.update(stored)
                if not stored.enabled:
                    why = stored.disabled_reason
                    log.warning("webhook %s is disabled (%s): phonectl webhooks enable", stored.id, why)
                await self._begin(self._make(stored, secret, _schedule(config), self._counted))
            while self._left:
                _, stored = self._left.popitem()
                log.info("webhook %s is no longer in the configuration: forgotten, with what waited for it", stored.id)
                await self._outbox.remove(stored.id)

    def nudge(self) -> None:
        """There may be new events."""
        for endpoint in self._endpoints.values():
            endpoint.nudge()

    async def close(self) -> None:
        """Stop all at once."""
        await asyncio.gather(*(endpoint.close() for endpoint in self._endpoints.values()))

    # --- WebhookControl

    def attempts(self) -> Mapping[AttemptResult, int]:
        """See `WebhookControl`."""
        return dict(self._counted)

    def webhooks(self) -> tuple[WebhookView, ...]:
        """See `WebhookControl`."""
        return tuple(endpoint.view() for endpoint in self._endpoints.values())

    def webhook(self, webhook: str) -> WebhookView:
        """See `WebhookControl`."""
        return self._find(webhook).view()

    async def add(self, request: WebhookRequest) -> WebhookMade:
        """See `WebhookControl`."""
        events = check_events(request.events, "/events")
        await self._check_url(request.url)
        async with self._changing:
            if sum(endpoint.stored.source == "api" for endpoint in self._endpoints.values()) >= WEBHOOKS_MAX:
                raise AtCapacity(f"there are {WEBHOOKS_MAX} webhooks already: remove one")
            secret = new_secret()
            stored = replace(
                self._new(request.url, events, secret=secret),
                enabled=request.enabled,
                disabled_reason=None if request.enabled else "asked",
            )
            await self._outbox.add(stored)
            endpoint = self._make(stored, secret, Schedule(), self._counted)
            await self._begin(endpoint)
        return WebhookMade(view=endpoint.view(), secret=secret)

    async def change(self, webhook: str, change: WebhookChange) -> WebhookView:
        """See `WebhookControl`."""
        endpoint = self._find(webhook)
        if change.url is not None or change.events is not None:
            self._only_api(endpoint, "its URL and events")
        if change.url is not None:
            await self._check_url(change.url)
        events = None if change.events is None else check_events(change.events, "/events")
        async with self._changing:
            stored = self._find(webhook).stored
            enabled = stored.enabled if change.enabled is None else change.enabled
            await endpoint.change(
                replace(
                    stored,
                    url=change.url or stored.url,
                    events=events or stored.events,
                    enabled=enabled,
                    disabled_reason=stored.disabled_reason if enabled == stored.enabled else "asked",
                )
            )
        return endpoint.view()

    async def remove(self, webhook: str) -> None:
        """See `WebhookControl`."""
        self._only_api(self._find(webhook), "it")
        async with self._changing:
            endpoint = self._find(webhook)
            await self._outbox.remove(webhook)
            del self._endpoints[webhook]
            await endpoint.close()

    async def test(self, webhook: str) -> DeliveryView:
        """See `WebhookControl`."""
        endpoint = self._find(webhook)
        now = self._clock()
        parcel = parcel_beside(
            {
                "id": new_id("evt"),
                "type": "webhook.test",
                "time": rfc3339(now),
                "node": self._node,
                "data": {"webhook": plain(endpoint.view())},
            },
            now,
        )
        (place,) = await self._outbox.put(webhook, [parcel], None)
        answer, why = await endpoint.attempt(parcel.id, parcel.body)
        await self._outbox.note(
            endpoint.stored,
            Attempted(
                place=place,
                state="delivered" if why is None else "failed",
                attempts=1,
                step=0,
                at=self._clock(),
                next_at=None,
                status=answer.status if answer is not None else None,
                error=why,
            ),
        )
        return await self._delivery(webhook, parcel.id)

    async def deliveries(
        self, webhook: str, *, state: DeliveryState | None, before: int | None, limit: int
    ) -> DeliveryPage:
        """See `WebhookControl`."""
        self._find(webhook)
        return await self._outbox.deliveries(webhook, state=state, before=before, limit=limit)

    async def retry(self, webhook: str, delivery: str) -> DeliveryView:
        """See `WebhookControl`."""
        endpoint = self._find(webhook)
        await self._delivery(webhook, delivery)
        if not endpoint.stored.enabled:
            raise WrongState("the webhook is disabled: enable it first", state="disabled", allowed_in=("enabled",))
        waiting = await self._outbox.again(webhook, delivery, self._clock())
        if waiting is not None:
            endpoint.again(waiting)
        return await self._delivery(webhook, delivery)

    # --- pieces

    async def _begin(self, endpoint: Endpoint) -> None:
        self._endpoints[endpoint.stored.id] = endpoint
        await endpoint.start()

    def _new(self, url: str, events: tuple[str, ...], *, secret: Secret | None) -> StoredWebhook:
        return StoredWebhook(
            id=new_id("wh"),
            source="file" if secret is None else "api",
            url=url,
            events=events,
            enabled=True,
            secret=secret,
            created_at=self._clock(),
            cursor=self._bus.delivered_seq,
        )

    def _find(self, webhook: str) -> Endpoint:
        found = self._endpoints.get(webhook)
        if found is None:
            raise NotFound(f"no webhook {webhook}")
        return found

    async def _delivery(self, webhook: str, delivery: str) -> DeliveryView:
        found = await self._outbox.delivery(webhook, delivery)
        if found is None:
            raise NotFound(f"no delivery {delivery} to this webhook, or it is too long ago")
        return found

    @staticmethod
    def _only_api(endpoint: Endpoint, what: str) -> None:
        if endpoint.stored.source == "file":
            raise Denied(f"the configuration file says what this webhook is: change {what} under [[webhooks]] there")

    async def _check_url(self, url: str) -> None:
        destination = read_url(url, SCHEMES, pointer="/url")
        try:
            await self._guard.check(destination)
        except UnavailableError as error:
            log.info("a webhook's name cannot be resolved now: %s", error.detail)


def _schedule(config: WebhookConfig) -> Schedule:
    return Schedule(
        table_s=config.retry_s,
        timeout_s=config.timeout_s,
        decide_s=config.decide_s,
        disable_after_s=config.disable_after_s,
    )
