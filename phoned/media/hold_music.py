"""Music on hold: what a far end hears while it has to wait. From its beginning each time, and over and over.

Owns the file while it plays, and nothing else: where in its graph it sounds is told by whoever makes it. A file that
cannot be played costs a line in the log, and the far end hears silence.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import Executor
from pathlib import Path

from phoned.audio.files import FileSource, beneath, open_media
from phoned.media.graph import AudioGraph, Source
from phoned.tasks import Tasks

log = logging.getLogger(__name__)


class HoldMusic:
    """One reason of one call to wait. Driven by `MediaSession`: `play`. ``sound`` takes what is to be heard from now
    on, None when it is over; frames are for ``rate``."""

    def __init__(
        self,
        name: str,
        file: Path | None,
        rate: int,
        sound: Callable[[Source | None], None],
        readers: Executor,
        tasks: Tasks,
    ) -> None:
        self._name = name
        self._file = file
        self._rate = rate
        self._sound = sound
        self._readers = readers
        self._tasks = tasks
        self._on = False
        self._round = 0
        """Counts beginnings: what was opened for an earlier one is of no use."""
        self._source: FileSource | None = None

    def play(self, on: bool) -> None:
        """The wait begins, or ends. To say so again changes nothing."""
        if on is self._on:
            return
        self._on = on
        self._round += 1
        if not on:
            self._stop()
        elif self._file is not None:
            self._tasks.spawn("hold music", self._begin(self._file, self._round))

    async def _begin(self, file: Path, number: int) -> None:
        try:
            source = await open_playable(file, self._rate, self._readers)
        except Exception as error:
            log.warning("%s: no music on hold, the far end hears silence: %s: %s", self._name, file, error)
            return
        if number != self._round:
            source.close()
            return
        source.on_end = self._failed
        self._source = source
        self._sound(source)

    def _failed(self) -> None:
        """It loops: that it ends means that it could not be read on."""
        if self._source is not None:
            log.warning("%s: the music on hold breaks off: %s: %s", self._name, self._file, self._source.error)
            self._stop()

    def _stop(self) -> None:
        source, self._source = self._source, None
        if source is not None:
            self._sound(None)
            source.close()


def on_hold(graph: AudioGraph) -> Callable[[Source | None], None]:
    """It is all that is heard while the call is held."""

    def sound(source: Source | None) -> None:
        graph.music = source

    return sound


def beside(graph: AudioGraph) -> Callable[[Source | None], None]:
    """It is heard with what else is said; what overlays that overlays it, too."""
    playing: list[Source] = []

    def sound(source: Source | None) -> None:
        graph.sources = [each for each in graph.sources if each not in playing]
        playing[:] = [] if source is None else [source]
        graph.sources += playing

    return sound


async def open_playable(file: Path, rate: int, readers: Executor) -> FileSource:
    """A file of the administrator's, over and over, wherever it lies; links on the way are his, too. Raises
    `InvalidValue`, and `OSError` for what cannot be found."""
    real = await asyncio.get_running_loop().run_in_executor(readers, lambda: file.resolve(strict=True))
    return await open_media(beneath(real.parent, (real.name,)), rate, readers, rounds=None)
