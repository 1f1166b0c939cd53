"""The bots on calls: which there are, who dials them, and what of them outlives the process.

`StreamDesk` is one for all calls, `CallStreams` the part of one call. They must not know how a bot is dialled or what
it speaks: that is the matter of a service, which offers itself (`offer`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

from phoned.audio.port import AudioPort
from phoned.errors import AtCapacity, NotFound, UnavailableError
from phoned.ids import new_id
from phoned.model import CallView, StreamRequest, StreamView
from phoned.stream import StreamLink, StreamRuntime

MAX_RUNNING = 4
"""Streams of one call at a time."""
MAX_KNOWN = 32
"""Streams that a call remembers."""
MAX_PAST = 1000
"""Streams of calls that are gone."""
PATIENCE_S = 10.0
"""A call that an earlier process had may have audio before the services have started."""


class Owner(Protocol):
    """The call, as far as its streams must know it."""

    id: str

    def view(self) -> CallView: ...

    def publish(self, type_: str, **facts: object) -> None: ...

    def require_media(self, verb: str) -> None: ...


class StreamDesk:
    """Driven by the service that dials (`offer`) and by whoever asks for a stream by its id."""

    def __init__(self) -> None:
        self._runtime: StreamRuntime | None = None
        self._offered = asyncio.Event()
        self._links: dict[str, StreamLink] = {}

    def offer(self, runtime: StreamRuntime | None) -> None:
        """Who dials from now on; None: nobody."""
        self._runtime = runtime
        if runtime is not None:
            self._offered.set()

    async def runtime(self) -> StreamRuntime:
        """Raises `UnavailableError` when there is none."""
        try:
            async with asyncio.timeout(PATIENCE_S if not self._offered.is_set() else 0.1):
                await self._offered.wait()
        except TimeoutError:
            pass
        if self._runtime is None:
            raise UnavailableError("the streams service does not run", retry_after_s=1)
        return self._runtime

    def add(self, stream: str, link: StreamLink) -> None:
        """One more. Of those that are over the oldest are forgotten."""
        self._links[stream] = link
        past = [known for known, each in self._links.items() if each.over]
        for known in past[: max(0, len(past) - MAX_PAST)]:
            del self._links[known]

    def link(self, stream: str) -> StreamLink:
        """Raises `NotFound`."""
        if stream not in self._links:
            raise NotFound(f"no stream {stream[:80]!r}")
        return self._links[stream]

    def views(self) -> tuple[StreamView, ...]:
        """Those that are known, the newest first."""
        return tuple(link.view() for link in reversed(self._links.values()))


class CallStreams:
    """Driven by its call's verbs and by the digits that it hears."""

    def __init__(self, call: Owner, desk: StreamDesk, port: Callable[[StreamRequest], AudioPort]) -> None:
        self._call = call
        self._desk = desk
        self._port = port
        self._links: dict[str, StreamLink] = {}
        self.on_changed: Callable[[], None] = lambda: None
        """Who is to hear that others run, or none."""

    @property
    def ids(self) -> tuple[str, ...]:
        """Streams of this call, oldest first."""
        return tuple(self._links)

    def running(self) -> tuple[StreamRequest, ...]:
        """What the next process has to dial again."""
        return tuple(link.request for link in self._links.values() if not link.over)

    async def start(self, request: StreamRequest) -> StreamView:
        """Dial a bot; returns before it has answered. Raises what `StreamRuntime.check` raises, `WrongState`, `Gone`,
        `AtCapacity`."""
        runtime = await self._desk.runtime()
        await runtime.check(request)
        self._call.require_media("stream")
        if len(self.running()) >= MAX_RUNNING:
            raise AtCapacity(f"{MAX_RUNNING} streams run in this call already")
        request = replace(request, id=request.id or new_id("str"))
        link = runtime.open(request, self._call.view(), self._port(request), self._on_over)
        view = link.view()
        self._links[view.id] = link
        for known in [known for known, each in self._links.items() if each.over][: len(self._links) - MAX_KNOWN]:
            del self._links[known]
        self._desk.add(view.id, link)
        self._call.publish("call.updated")
        return view

    def _on_over(self) -> None:
        self.on_changed()

    def dtmf(self, digit: str, duration_ms: int) -> None:
        """The far end pressed a key."""
        for link in self._links.values():
            if not link.over:
                link.dtmf(digit, duration_ms)
