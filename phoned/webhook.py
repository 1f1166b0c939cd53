"""Webhooks as values and protocols: what is kept (`Outbox`), what is shown, what may be asked for (`WebhookControl`).

A webhook is an address that is told of events. One event that it wants makes one delivery, known by the event's id,
which stands in the header ``webhook-id`` of every attempt.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol

from phoned.config.types import Secret

Source = Literal["file", "api"]
"""Who made a webhook: the configuration file, or somebody over the API."""
DeliveryState = Literal["pending", "delivered", "failed"]
"""``failed``: every attempt of the table was made."""
DisabledReason = Literal["asked", "gone", "failing"]
"""By hand, by the receiver's 410, or by failing for too long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookView:
    """A webhook as anybody may see it: no secret."""

    id: str
    url: str
    events: tuple[str, ...]
    enabled: bool
    last_status: int | None = None
    """Of the newest attempt; None before the first, and when there was no answer."""
    source: Source
    created_at: datetime
    failing_since: datetime | None = None
    """Since when every attempt failed."""
    disabled_reason: DisabledReason | None = None
    pending: int = 0
    """Deliveries that wait for an attempt."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryView:
    """One event on its way to one webhook. ``id`` is the event's."""

    id: str
    webhook: str
    type: str
    seq: int | None
    """None for what is not in the sequence of events: a test, a gap."""
    state: DeliveryState
    attempts: int
    last_status: int | None
    last_error: str | None
    """What went wrong in the newest attempt, in words of ours."""
    created_at: datetime
    next_attempt_at: datetime | None
    finished_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookRequest:
    """A webhook to be made."""

    url: str
    events: tuple[str, ...] = ("*",)
    enabled: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookChange:
    """What is to be changed; None leaves it."""

    url: str | None = None
    events: tuple[str, ...] | None = None
    enabled: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookMade:
    """A new webhook, and its secret, which is shown this once."""

    view: WebhookView
    secret: Secret


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryPage:
    """Newest first; ``before`` is where the next page begins."""

    deliveries: tuple[DeliveryView, ...]
    before: int | None


AttemptResult = Literal["delivered", "retried", "failed"]
"""How an attempt ended: ``retried`` failed and is followed by another, ``failed`` was the last."""


class WebhookControl(Protocol):
    """What the webhooks service lets others do. Every coroutine has a deadline inside."""

    def attempts(self) -> Mapping[AttemptResult, int]:
        """How many ended how, since this process began."""
        ...

    def webhooks(self) -> tuple[WebhookView, ...]:
        """All of them."""
        ...

    def webhook(self, webhook: str) -> WebhookView:
        """Raises `NotFound`."""
        ...

    async def add(self, request: WebhookRequest) -> WebhookMade:
        """Raises `InvalidValue` for what is no URL, `Denied` for one that may not be reached, `AtCapacity`."""
        ...

    async def change(self, webhook: str, change: WebhookChange) -> WebhookView:
        """Raises what `add` raises, `NotFound`, and `Denied` for what the configuration file says."""
        ...

    async def remove(self, webhook: str) -> None:
        """With what waits for it. Raises `NotFound`, and `Denied` for one of the configuration file."""
        ...

    async def test(self, webhook: str) -> DeliveryView:
        """Send one ``webhook.test``, once, and tell how it went. Raises `NotFound`."""
        ...

    async def deliveries(
        self, webhook: str, *, state: DeliveryState | None, before: int | None, limit: int
    ) -> DeliveryPage:
        """Raises `NotFound`."""
        ...

    async def retry(self, webhook: str, delivery: str) -> DeliveryView:
        """Send it again, under the same id, from the beginning of the table. Raises `NotFound`, and `WrongState` when
        the webhook is disabled."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredWebhook:
    """A webhook as it is kept. The secret of one that the file names is not."""

    id: str
    source: Source
    url: str
    events: tuple[str, ...]
    enabled: bool
    secret: Secret | None
    created_at: datetime
    cursor: int
    """Events up to this sequence number have been looked at."""
    last_status: int | None = None
    failing_since: datetime | None = None
    disabled_reason: DisabledReason | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Parcel:
    """A delivery to be kept. What has the same ``lane`` arrives in order."""

    id: str
    type: str
    seq: int | None
    lane: str
    body: str
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """A delivery that is to be attempted. ``place`` orders all that were ever kept."""

    place: int
    id: str
    type: str
    seq: int | None
    lane: str
    attempts: int
    step: int
    """How far in the table of attempts."""
    next_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempted:
    """How an attempt ended."""

    place: int
    state: DeliveryState
    attempts: int
    step: int
    at: datetime
    next_at: datetime | None
    status: int | None
    error: str | None


class Outbox(Protocol):
    """What is to be sent, durably: what a method has done survives a crash of the process. Raises `InternalError`."""

    async def load(self) -> list[StoredWebhook]: ...

    async def add(self, webhook: StoredWebhook) -> None: ...

    async def update(self, webhook: StoredWebhook) -> None:
        """All but the cursor."""
        ...

    async def remove(self, webhook: str) -> None:
        """With its deliveries."""
        ...

    async def put(self, webhook: str, parcels: Sequence[Parcel], cursor: int | None) -> list[int]:
        """Keep parcels and move the cursor (None: leave it), both or none. The parcels' places; 0 for one that was
        there before."""
        ...

    async def waiting(self, webhook: str) -> list[Waiting]:
        """The pending ones in order, without their bodies."""
        ...

    async def body(self, place: int) -> str | None: ...

    async def note(self, webhook: StoredWebhook, attempted: Attempted) -> None:
        """Keep how an attempt ended, and what it means for the webhook. Finished ones are forgotten in time."""
        ...

    async def deliveries(
        self, webhook: str, *, state: DeliveryState | None, before: int | None, limit: int
    ) -> DeliveryPage: ...

    async def delivery(self, webhook: str, delivery: str) -> DeliveryView | None: ...

    async def again(self, webhook: str, delivery: str, now: datetime) -> Waiting | None:
        """Make it pending from the beginning of the table; None when there is none."""
        ...
