"""Webhooks on the wire: what requests may hold, and what answers look like (api.md)."""

from __future__ import annotations

from typing import Annotated

from pydantic import ConfigDict, Field

from api.answers import Answer, Moment
from api.schemas import Body, Text
from phoned.webhook import DeliveryState, DisabledReason, Source, WebhookChange, WebhookRequest

Url = Annotated[Text, Field(min_length=1, max_length=2048)]
Patterns = Annotated[list[Annotated[Text, Field(min_length=1, max_length=256)]], Field(min_length=1, max_length=64)]


class NewWebhook(Body):
    """An address to be told of events; ``events`` are types or patterns such as ``call.*``."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"url": "https://example.org/phone", "events": ["call.*"]}]}
    )

    url: Url
    events: Patterns = Field(default_factory=lambda: ["*"])
    enabled: bool = True

    def value(self) -> WebhookRequest:
        return WebhookRequest(url=self.url, events=tuple(self.events), enabled=self.enabled)


class ChangeWebhook(Body):
    """What is to be different; the rest stays."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"enabled": False}]})

    url: Url | None = None
    events: Patterns | None = None
    enabled: bool | None = None

    def value(self) -> WebhookChange:
        events = None if self.events is None else tuple(self.events)
        return WebhookChange(url=self.url, events=events, enabled=self.enabled)


class Webhook(Answer):
    id: str
    url: str
    events: list[str]
    enabled: bool
    last_status: int | None
    source: Source
    created_at: Moment
    failing_since: Moment | None
    disabled_reason: DisabledReason | None
    pending: int


class WebhookWithSecret(Webhook):
    """A new one; the secret is not shown again."""

    secret: Annotated[str, Field(pattern=r"^whsec_[A-Za-z0-9+/=]+$")]


class Delivery(Answer):
    """``id`` is the event's, and the header ``webhook-id``."""

    id: str
    webhook: str
    type: str
    seq: int | None
    state: DeliveryState
    attempts: int
    last_status: int | None
    last_error: str | None
    created_at: Moment
    next_attempt_at: Moment | None
    finished_at: Moment | None
