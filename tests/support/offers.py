"""What services have for each other, for the contexts that tests give them."""

from __future__ import annotations

from dataclasses import dataclass, field

from phoned.context import Offers
from phoned.errors import UnavailableError
from phoned.stream import StreamRuntime
from phoned.twilio import TwilioAccount
from phoned.webhook import WebhookControl


@dataclass(kw_only=True)
class Offering:
    """The part of `phoned.service.Context` that passes on what others offer."""

    offers: Offers = field(default_factory=Offers)
    runtime: StreamRuntime | None = None
    """Who dials bots."""

    @property
    def webhooks(self) -> WebhookControl:
        if self.offers.webhooks is None:
            raise UnavailableError("nobody has them")
        return self.offers.webhooks

    def offer_webhooks(self, control: WebhookControl | None) -> None:
        self.offers.webhooks = control

    def offer_streams(self, runtime: StreamRuntime | None) -> None:
        self.runtime = runtime

    @property
    def twilio(self) -> TwilioAccount | None:
        return self.offers.twilio

    def offer_twilio(self, account: TwilioAccount | None) -> None:
        self.offers.twilio = account
