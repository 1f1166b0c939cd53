"""The plug-in ``streams``: it dials bots, and offers that to the phone. Light to import; what speaks WebSocket and
knows the protocols is loaded with the first bot."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, ClassVar

from pydantic import BaseModel

from phoned.model import CallView, StreamRequest
from phoned.service import Context
from phoned.services.streams.config import StreamsConfig, Timing
from phoned.stream import AudioPort, StreamLink

if TYPE_CHECKING:
    from phoned.services.streams.runtime import Runtime

log = logging.getLogger(__name__)


class StreamsService:
    """The plug-in (its class) and all streams of one phone (its instance), as `StreamRuntime`. Driven by the daemon:
    `create`, `start`, `stop`."""

    name: ClassVar[str] = "streams"
    config_model: ClassVar[type[BaseModel]] = StreamsConfig
    default: ClassVar[bool] = True

    def __init__(self, context: Context, timing: Timing | None = None) -> None:
        self._context = context
        self._timing = timing or Timing()
        self._runtime: Runtime | None = None

    @classmethod
    def create(cls, context: Context) -> StreamsService:
        """What the daemon calls with this service's context."""
        return cls(context)

    async def start(self) -> None:
        """Offer it."""
        self._context.offer_streams(self)

    async def stop(self, budget_s: float) -> None:
        """The calls are over or another process's: let the bots hear of it."""
        self._context.offer_streams(None)
        if self._runtime is not None:
            await self._runtime.close(budget_s)

    async def check(self, request: StreamRequest) -> None:
        """See `StreamRuntime`."""
        await self.ready()
        assert self._runtime is not None
        await self._runtime.check(request)

    async def ready(self) -> None:
        """See `StreamRuntime`."""
        if self._runtime is None:
            await asyncio.to_thread(import_module, "phoned.services.streams.runtime")
            from phoned.services.streams.runtime import Runtime

            if self._runtime is None:  # another one may have been quicker
                self._runtime = Runtime(self._context, agent=f"phoned/{version('phoned')}", timing=self._timing)

    def open(
        self, request: StreamRequest, call: CallView, port: AudioPort, on_change: Callable[[], None]
    ) -> StreamLink:
        """See `StreamRuntime`."""
        assert self._runtime is not None
        return self._runtime.open(request, call, port, on_change)
