"""The bots on calls: which there are, who dials them, what of them outlives the process, and what the far end hears
while they are away.

`StreamDesk` is one for all calls, `CallStreams` the part of one call. They must not know how a bot is dialled or what
it speaks: that is the matter of a service, which offers itself (`offer`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Literal, Protocol

from phoned.audio.port import AudioPort
from phoned.errors import AtCapacity, NotFound, PhonedError, UnavailableError
from phoned.events import EventBus
from phoned.ids import new_id
from phoned.model import CallView, StreamRequest, StreamView
from phoned.stream import StreamLink, StreamRuntime

log = logging.getLogger(__name__)

MAX_RUNNING = 4
"""Streams of one call at a time."""
MAX_KNOWN = 32
"""Streams that a call remembers."""
MAX_PAST = 1000
"""Streams of calls that are gone."""
PATIENCE_S = 10.0
"""A call that an earlier process had may have audio before the services have started."""
MUSIC_AFTER_S = 1.0
"""A bot that comes, or comes back, as quickly as this needs no music."""


class Owner(Protocol):
    """The call, as far as its streams must know it."""

    id: str

    def view(self) -> CallView: ...

    def publish(self, type_: str, **facts: object) -> None: ...

    def require_media(self, verb: str) -> None: ...

    def hangup(self, reason: str | None = None) -> object: ...


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


class _Kept:
    """A `StreamLink` of an earlier process: nobody dials it yet. ``on_end`` hears of its end, if it does not come to
    that."""

    present = False

    def __init__(self, call: str, request: StreamRequest, on_end: Callable[[StreamView], None]) -> None:
        self.request = request
        self._on_end = on_end
        self._view = StreamView(
            id=request.id or "",
            call=call,
            url=request.shown_url,
            protocol=request.protocol,
            sample_rate=request.sample_rate,
            state="reconnecting",
            detail="the phone was started anew",
        )

    @property
    def over(self) -> bool:
        return self._view.state != "reconnecting"

    def view(self) -> StreamView:
        return self._view

    def dtmf(self, digit: str, duration_ms: int) -> None:
        """Nobody is there to be told."""

    def stop(self) -> None:
        self.end("stopped", "it was asked for")

    def end(self, state: Literal["stopped", "failed"], why: str) -> None:
        """It will not be dialled any more."""
        if not self.over:
            self._view = replace(self._view, state=state, detail=why)
            self._on_end(self._view)


class CallStreams:
    """Driven by its call's verbs and by the digits that it hears. ``pastime`` lets the far end hear music."""

    def __init__(
        self,
        call: Owner,
        bus: EventBus,
        desk: StreamDesk,
        port: Callable[[StreamRequest], AudioPort],
        pastime: Callable[[bool], None],
    ) -> None:
        self._call = call
        self._bus = bus
        self._desk = desk
        self._port = port
        self._pastime = pastime
        self._links: dict[str, StreamLink] = {}
        self._music: asyncio.TimerHandle | None = None
        """Begins it, or has begun it."""
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
        if len(self.running()) >= MAX_RUNNING:
            raise AtCapacity(f"{MAX_RUNNING} streams run in this call already")
        view = self._open(runtime, replace(request, id=request.id or new_id("str")))
        self._call.publish("call.updated")
        return view

    def _open(self, runtime: StreamRuntime, request: StreamRequest) -> StreamView:
        self._call.require_media("stream")
        link = runtime.open(request, self._call.view(), self._port(request), self._on_change)
        self._know(link)
        self._look()
        return link.view()

    def _know(self, link: StreamLink) -> None:
        stream = link.view().id
        self._links[stream] = link
        past = [known for known, each in self._links.items() if each.over]
        for known in past[: max(0, len(self._links) - MAX_KNOWN)]:
            del self._links[known]
        self._desk.add(stream, link)

    def _on_change(self) -> None:
        self._look()
        self.on_changed()

    def dtmf(self, digit: str, duration_ms: int) -> None:
        """The far end pressed a key."""
        for link in self._links.values():
            if not link.over:
                link.dtmf(digit, duration_ms)

    # --- over a restart of the daemon

    def keep(self, bots: Iterable[StreamRequest]) -> None:
        """An earlier process had these on the call."""
        for request in bots:
            self._know(_Kept(self._call.id, request, self._on_kept_end))

    def _on_kept_end(self, view: StreamView) -> None:
        self._bus.publish(
            "stream.stopped" if view.state == "stopped" else "stream.failed", stream=view, detail=view.detail
        )
        self.on_changed()

    async def resume(self) -> None:
        """Dial those again, under the ids that they had. Where one leads was looked at when it was asked for, and is
        again with each dial: what speaks against it now is the end of a stream, and means what ``on_close`` says."""
        for kept in [link for link in self._links.values() if isinstance(link, _Kept)]:
            try:
                runtime = await self._desk.runtime()
                await runtime.ready()
                if not kept.over:
                    self._open(runtime, kept.request)
            except PhonedError as error:
                log.warning("%s: its bot is not dialled again: %s", self._call.id, error.detail)
                kept.end("failed", error.detail)
                if kept.request.on_close != "keep":
                    self._call.hangup()

    def close(self) -> None:
        """The call has ended: so have those that were not dialled again. The others hear of it by their ports."""
        for link in self._links.values():
            if isinstance(link, _Kept):
                link.end("stopped", "the call ended")

    # --- while they are away

    def _look(self) -> None:
        """Music, when nobody is there and one of those who are away asked for it."""
        running = [link for link in self._links.values() if not link.over]
        away = not any(link.present for link in running)
        wanted = away and any(link.request.while_away == "music" for link in running)
        if wanted and self._music is None:
            self._music = asyncio.get_running_loop().call_later(MUSIC_AFTER_S, self._pastime, True)
        elif not wanted and self._music is not None:
            self._music.cancel()
            self._music = None
            self._pastime(False)
