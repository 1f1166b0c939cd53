"""The plug-in ``twilio``: it reads the account and offers it to whoever speaks Twilio's protocols."""

from __future__ import annotations

import asyncio
import logging
from typing import ClassVar

from pydantic import BaseModel

from phoned.config.types import Secret
from phoned.errors import PhonedError
from phoned.service import Context
from phoned.services.twilio.config import TwilioConfig
from phoned.tasks import Tasks
from phoned.twilio import TwilioAccount

log = logging.getLogger(__name__)


class TwilioService:
    """The plug-in (its class) and the one account of a phone (its instance). Driven by the daemon."""

    name: ClassVar[str] = "twilio"
    config_model: ClassVar[type[BaseModel]] = TwilioConfig
    default: ClassVar[bool] = True
    """So that the table may come and go while the phone runs."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._tasks = Tasks("twilio", self._on_crash)
        self._turn = asyncio.Lock()

    @classmethod
    def create(cls, context: Context) -> TwilioService:
        """What the daemon calls with this service's context."""
        return cls(context)

    async def start(self) -> None:
        """Offer the account. Raises `NotFound` for a secret that cannot be read."""
        await self._take(self._context.config)

    def reconfigure(self, config: TwilioConfig) -> list[str]:
        """All of it can be taken while the phone runs; a moment later it is."""
        self._tasks.spawn("configure", self._again(config))
        return []

    async def stop(self, budget_s: float) -> None:
        """There is no account any more."""
        await self._tasks.close(budget_s)
        self._context.offer_twilio(None)

    async def _take(self, config: TwilioConfig) -> None:
        account = None
        if config.account_sid is not None and config.secret is not None:
            token = await asyncio.to_thread(self._context.secrets.read, config.secret)
            account = TwilioAccount(config.account_sid, Secret(token))
        self._context.offer_twilio(account)

    async def _again(self, config: TwilioConfig) -> None:
        try:
            async with self._turn:  # one after the other: the last table is the one that counts
                await self._take(config)
        except PhonedError as error:
            log.error("[twilio] stays as it was: %s", error.detail)

    def _on_crash(self, name: str, error: BaseException) -> None:
        log.critical("%s crashed: [twilio] stays as it was", name, exc_info=error)
