"""One thing that plays into a call: a source of frames, with an identifier, an end and a view."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, Protocol

from phoned.audio.files import FileSource, beneath, open_media
from phoned.audio.playlist import Entry
from phoned.audio.tones import tone_source
from phoned.errors import InvalidValue, UnavailableError
from phoned.media.shared import Shared
from phoned.model import PlaybackView, PlayRequest

FRAME_MS = 20


class PlayedSource(Protocol):
    """`FileSource` or `PcmSource`."""

    paused: bool
    error: str
    on_end: Callable[[], None] | None

    @property
    def position_s(self) -> float: ...

    def read(self) -> bytes | None: ...

    def close(self) -> None: ...


class Playback:
    """A source for the graph (`graph.Source`). Made and ended by `AudioDesk`."""

    def __init__(
        self, playback_id: str, call_id: str, request: PlayRequest, source: PlayedSource, on_end: Callable[[], None]
    ) -> None:
        self.id = playback_id
        self.request = request
        self._call_id = call_id
        self._source = source
        self._on_end = source.on_end = on_end
        self._frames_left = None if request.duration_ms is None else -(-request.duration_ms // FRAME_MS)
        self.close = source.close

    @property
    def error(self) -> str:
        """Why it cannot go on, if that is so."""
        return self._source.error

    def pause(self, on: bool) -> None:
        """Pause or resume, at the same place."""
        self._source.paused = on

    def read(self) -> bytes | None:
        """The next frame."""
        if self._frames_left == 0:
            self._frames_left = None
            self._source.on_end = None
            self._on_end()
            return None
        frame = self._source.read()
        if frame is not None and self._frames_left is not None:
            self._frames_left -= 1
        return frame

    def view(self, state: Literal["playing", "paused", "finished", "failed"] | None = None) -> PlaybackView:
        """As it is now."""
        request, source = self.request, self._source
        listed = request.files[source.index] if request.files and isinstance(source, FileSource) else None
        return PlaybackView(
            id=self.id,
            call=self._call_id,
            state=state or ("paused" if source.paused else "playing"),
            file=listed or request.file,
            files=request.files if len(request.files) > 1 else None,
            tone=request.tone,
            url=None if request.url is None else request.url.partition("?")[0],
            position_s=source.position_s,
        )


async def open_source(request: PlayRequest, rate: int, shared: Shared) -> PlayedSource:
    """What was asked for, ready to be read. Raises `InvalidValue`, `UnavailableError`; of a URL also `Denied`,
    `FetchFailed`, `DeadlineExceeded`."""
    if sum((request.file is not None, bool(request.files), request.tone is not None, request.url is not None)) != 1:
        raise InvalidValue("exactly one of file, files, tone and url", pointer="/file")
    if request.tone is not None:
        endless = request.duration_ms is not None
        return tone_source(request.tone, rate, rounds=None if endless else request.rounds)
    if request.url is not None:
        if shared.fetch is None:
            raise UnavailableError("this phone plays nothing from URLs")
        fetched = await shared.fetch(request.url)
        entry = Entry(open=lambda: fetched, pointer="/url")  # a list of one opens it once
        return await open_media((entry,), rate, shared.readers, rounds=request.rounds)
    directory = shared.options.media_dir
    if directory is None:
        raise UnavailableError("no media directory is configured")
    names = request.files or (request.file or "",)
    return await open_media(beneath(directory, names), rate, shared.readers, rounds=request.rounds)
