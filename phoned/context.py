"""What the daemon gives to a service: the adapters behind `phoned.service.Context`, and what services have for others.

A service sees protocols only; this is where they are filled in.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from phoned.errors import UnavailableError
from phoned.events import EventBus
from phoned.phone import Phone
from phoned.store.audit import AuditLog
from phoned.store.keyvalue import SqliteKeyValue
from phoned.store.outbox import SqliteOutbox
from phoned.stream import StreamRuntime
from phoned.twilio import TwilioAccount
from phoned.urls import UrlGuard
from phoned.webhook import WebhookControl


@dataclass(slots=True)
class Offers:
    """What services have for each other."""

    webhooks: WebhookControl | None = None
    twilio: TwilioAccount | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceContext:
    """What a service is given; see `phoned.service.Context`."""

    phone: Phone
    bus: EventBus
    keys: SqliteKeyValue
    outbox: SqliteOutbox
    urls: UrlGuard
    offers: Offers
    hide: Callable[[str], None]
    secrets: Any
    audit: AuditLog
    config: Any
    state_dir: Path
    runtime_dir: Path

    @property
    def webhooks(self) -> WebhookControl:
        """See `Context`."""
        if self.offers.webhooks is None:
            raise UnavailableError("the webhooks service does not run", retry_after_s=1)
        return self.offers.webhooks

    def offer_webhooks(self, control: WebhookControl | None) -> None:
        """See `Context`."""
        self.offers.webhooks = control

    def offer_streams(self, runtime: StreamRuntime | None) -> None:
        """See `Context`."""
        self.phone.dials_bots(runtime)

    @property
    def twilio(self) -> TwilioAccount | None:
        """See `Context`."""
        return self.offers.twilio

    def offer_twilio(self, account: TwilioAccount | None) -> None:
        """See `Context`. No log shows its token from now on."""
        if account is not None:
            self.hide(account.token.text())
        self.offers.twilio = account
