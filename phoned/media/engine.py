"""The media engine of a process: one clock, one writer thread, one reader pool, and the sessions that share them."""

from __future__ import annotations

from collections.abc import Callable

from phoned.media.events import MediaEvent
from phoned.media.options import EngineOptions, SessionOptions
from phoned.media.session import MediaSession


class MediaEngine:
    """Makes media sessions and ticks them. Started and stopped by the composition root."""

    def __init__(self, options: EngineOptions | None = None) -> None:
        raise NotImplementedError

    async def start(self) -> None:
        """Start the clock. Needs a running loop."""
        raise NotImplementedError

    async def stop(self) -> None:
        """Close every session, then the clock and the threads."""
        raise NotImplementedError

    def session(self, call_id: str, options: SessionOptions, on_event: Callable[[MediaEvent], None]) -> MediaSession:
        """A new session for a call. It holds no socket before its first `offer` or `answer`."""
        raise NotImplementedError

    def lateness_ms(self) -> tuple[float, float]:
        """Median and 99th percentile of how late ticks were, in milliseconds."""
        raise NotImplementedError
