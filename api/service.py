"""The plug-in ``api``: what the entry point names.

It is light to import. The web framework behind it takes longer to load than all of the phone's SIP, so it is loaded on
a thread when the service starts: a phone that was killed takes up its calls meanwhile.
"""

from __future__ import annotations

import asyncio
from importlib import import_module
from typing import TYPE_CHECKING, ClassVar

from pydantic import BaseModel

from api.config import ApiConfig
from phoned.service import Context

if TYPE_CHECKING:
    from api.deps import Services
    from api.server import RunningApi


BACKLOG = 10_000


class ApiService:
    """The plug-in (its class) and one API (its instance). Driven by the daemon: `create`, `start`, `stop`."""

    name: ClassVar[str] = "api"
    config_model: ClassVar[type[BaseModel]] = ApiConfig
    default: ClassVar[bool] = True

    def __init__(self, context: Context) -> None:
        self._context = context
        self._events = context.bus.subscribe(BACKLOG)
        """For the metrics: nothing that happened while the rest was loaded shall be missing."""
        self._running: RunningApi | None = None

    @classmethod
    def create(cls, context: Context) -> ApiService:
        """What the daemon calls with this service's context."""
        return cls(context)

    @property
    def services(self) -> Services | None:
        """What the routes share, while it runs."""
        return self._running.services if self._running else None

    @property
    def ports(self) -> tuple[int, ...]:
        """The TCP ports that are listened on."""
        return self._running.ports if self._running else ()

    async def start(self) -> None:
        """Listen. Raises `InvalidValue` for a bind that is not allowed, `ListenFailed` for one that cannot be had."""
        await asyncio.to_thread(import_module, "api.server")
        from api.server import RunningApi

        self._running = RunningApi(self._context, self._context.config, self._events)
        await self._running.start()

    def reconfigure(self, config: ApiConfig) -> list[str]:
        """Hosts, origins and the rate change at once; where it listens does not."""
        return self._running.reconfigure(config) if self._running is not None else list(ApiConfig.model_fields)

    async def stop(self, budget_s: float) -> None:
        """End the event streams, let running requests finish within the budget, then cut them off."""
        if self._running is not None:
            await self._running.stop(budget_s)
        self._events.close()
