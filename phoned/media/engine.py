"""The media engine of a process: one clock, a few threads for files, and the sessions that share them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from phoned.errors import Draining, InvalidValue
from phoned.media import codecs
from phoned.media.clock import MediaClock
from phoned.media.events import MediaEvent
from phoned.media.graph import AudioGraph
from phoned.media.identities import Identities
from phoned.media.options import EngineOptions, SessionOptions
from phoned.media.session import MediaSession
from phoned.media.shared import Fetch, Shared

WARM_RATE = 16000


def _warm_up() -> None:
    """Load libraries and fill tables off the loop: the first call would stop it for 100 ms otherwise."""
    for name in codecs.available():
        codec = codecs.create(name, WARM_RATE)
        codec.decode(codec.encode(bytes(WARM_RATE // 50 * 2)))


class MediaEngine:
    """Makes media sessions and ticks them. Started and stopped by the composition root."""

    def __init__(self, options: EngineOptions | None = None, *, fetch: Fetch | None = None) -> None:
        self._options = options or EngineOptions()
        self._sessions: dict[str, MediaSession] = {}
        self._clock = MediaClock(self._options.phases)
        self._fetch = fetch
        self._shared: Shared | None = None

    async def start(self) -> None:
        """Make ready. Needs a running loop."""
        readers = ThreadPoolExecutor(2, thread_name_prefix="media-read")
        self._shared = Shared(
            options=self._options,
            clock=self._clock,
            readers=readers,
            writer=ThreadPoolExecutor(1, thread_name_prefix="media-write"),
            identities=Identities(readers),
            forget=self._forget,
            fetch=self._fetch,
        )
        self._shared.identities.prepare()
        await asyncio.get_running_loop().run_in_executor(readers, _warm_up)

    async def stop(self) -> None:
        """Close every session, then the clock and the threads. Idempotent."""
        shared, self._shared = self._shared, None
        for session in list(self._sessions.values()):
            await session.close()
        self._clock.stop()
        if shared is not None:
            shared.identities.close()
            shared.readers.shutdown(wait=True, cancel_futures=True)
            shared.writer.shutdown(wait=True)

    def session(self, call_id: str, options: SessionOptions, on_event: Callable[[MediaEvent], None]) -> MediaSession:
        """A new session for a call. It holds no socket before its first `offer` or `answer`.

        Raises `InvalidValue` when the call has one already, `Draining` when the engine does not run.
        """
        if self._shared is None:
            raise Draining("the media engine does not run")
        if call_id in self._sessions:
            raise InvalidValue("this call has a media session")
        session = MediaSession(self._shared, call_id, options, on_event)
        self._sessions[call_id] = session
        return session

    def _forget(self, call_id: str) -> None:
        self._sessions.pop(call_id, None)

    def graph_of(self, call_id: str) -> AudioGraph | None:
        """Sources and sinks of a call, for those that belong to no call: the machine's microphone and speaker."""
        session = self._sessions.get(call_id)
        return None if session is None else session.graph

    @property
    def sessions(self) -> int:
        """How many are open."""
        return len(self._sessions)

    @property
    def clock(self) -> MediaClock:
        """What ticks the sessions, and counts how late."""
        return self._clock

    def lateness_ms(self) -> tuple[float, float]:
        """Median and 99th percentile of how late ticks were, in milliseconds."""
        lateness = self._clock.lateness
        return lateness.quantile_ms(0.5), lateness.quantile_ms(0.99)
