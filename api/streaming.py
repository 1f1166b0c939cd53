"""Writing a `Feed` to one connection: keep-alives, the client that leaves, the client that does not read.

Knows neither SSE's nor WebSocket's transport: it is given a coroutine that writes a text.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Literal

from api.deps import Services
from api.feed import Feed
from phoned.plain import dumps
from phoned.tasks import Tasks

log = logging.getLogger(__name__)

WATCH_S = 0.5
"""How often a blocked reader is looked after."""

Outcome = Literal["left", "slow", "closed", "gone"]


def sse(item: dict[str, Any]) -> str:
    """One server-sent event. No ``event:`` line: one listener sees all types, which stand inside the envelope."""
    place = f"id: {item['seq']}\n" if "seq" in item else ""
    return f"{place}data: {dumps(item)}\n\n"


class Reader:
    """One client of the events. Driven by `run`, which returns why it ended."""

    def __init__(
        self,
        api: Services,
        feed: Feed,
        write: Callable[[str], Awaitable[None]],
        render: Callable[[dict[str, Any]], str],
        keepalive: str | None,
        welcome: Callable[[], bool] = lambda: True,
    ) -> None:
        self._api = api
        self._feed = feed
        self._write = write
        self._render = render
        self._keepalive = keepalive
        self._welcome = welcome
        """Asked now and then: whoever was let in may have been shown out since."""
        self._gone = False
        self._writing = False
        self._wrote_at = 0.0

    async def run(self, left: Callable[[], Awaitable[None]]) -> Outcome:
        """Until ``left`` returns, the reader is too slow or not welcome any more, or the service closes the feed."""
        tasks = Tasks("api/events", _crashed)
        self._api.streams.add(self._feed)
        try:
            leaving = tasks.spawn("left", _as_coroutine(left))
            writing = tasks.spawn("write", self._pump())
            watching = tasks.spawn("watch", self._watch())
            await asyncio.wait({leaving, writing, watching}, return_when=asyncio.FIRST_COMPLETED)
            if self._gone:
                return "gone"
            if self._feed.cut_off:
                return "slow"
            return "closed" if self._api.stopping else "left"
        finally:
            self._api.streams.discard(self._feed)
            self._feed.close()
            await tasks.close(1.0)

    async def _pump(self) -> None:
        async for item in self._feed:
            await self._put(self._render(item))

    async def _put(self, text: str) -> None:
        self._writing = True
        try:
            await self._write(text)
        finally:
            self._writing = False
            self._wrote_at = asyncio.get_running_loop().time()

    async def _watch(self) -> None:
        """Ends when the reader is cut off, or shown out; says something when nothing was said for long."""
        loop = asyncio.get_running_loop()
        asked_at = loop.time()
        while not self._feed.cut_off:
            await asyncio.sleep(WATCH_S)
            if loop.time() - asked_at >= self._api.welcome_s:
                asked_at, self._gone = loop.time(), not self._welcome()
                if self._gone:
                    return
            silent = loop.time() - self._wrote_at >= self._api.keepalive_s
            if self._keepalive is not None and silent and not self._writing:
                await self._put(self._keepalive)


async def _as_coroutine(left: Callable[[], Awaitable[None]]) -> None:
    await left()


def _crashed(name: str, error: BaseException) -> None:
    if isinstance(error, OSError):
        log.debug("%s: %s", name, error)  # the client left in the middle of a write
    else:
        log.error("%s failed", name, exc_info=error)
