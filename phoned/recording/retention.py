"""How long recordings are kept, and how much of them: the oldest go first, and one that runs never goes.

`expired` is pure. `Retention` looks at the directory when it starts and every few minutes, deletes, tells of each file
that went, and has the rest entered in the catalogue.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from phoned.clock import WallClock, wall_clock
from phoned.logs import Limited
from phoned.model import RecordingView
from phoned.recording import shelf
from phoned.recording.catalogue import Catalogue
from phoned.recording.shelf import Kept, Shelf
from phoned.tasks import Tasks

log = logging.getLogger(__name__)

EVERY_S = 300.0
DAY_S = 86_400.0
MB = 1_000_000

Reason = Literal["age", "size"]


@dataclass(frozen=True, slots=True, kw_only=True)
class KeepLimits:
    """None: no limit."""

    days: float | None = None
    max_mb: int | None = None


def expired(found: Shelf, now: float, limits: KeepLimits) -> list[tuple[Kept, Reason]]:
    """What goes, oldest first. ``now``: seconds of the epoch. Recordings that run count for the size."""
    gone: list[tuple[Kept, Reason]] = []
    total = found.unfinished + sum(kept.size for kept in found.kept)
    for kept in sorted(found.kept, key=lambda kept: (kept.written_at, kept.recording)):
        if limits.days is not None and now - kept.written_at > limits.days * DAY_S:
            gone.append((kept, "age"))
        elif limits.max_mb is not None and total > limits.max_mb * MB:
            gone.append((kept, "size"))
        else:
            break  # what follows is younger
        total -= kept.size
    return gone


class Retention:
    """See the module's docstring. Made and driven by the composition root."""

    def __init__(
        self,
        catalogue: Catalogue,
        limits: KeepLimits,
        *,
        known: Callable[[], Mapping[str, RecordingView]],
        deleted: Callable[[RecordingView, Reason], None],
        clock: WallClock = wall_clock,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """``known``: by id, the recordings that are remembered. ``deleted`` is told of each that went."""
        self._catalogue = catalogue
        self._limits = limits
        self._known = known
        self._deleted = deleted
        self._clock = clock
        self._sleep = sleep
        self._tasks = Tasks("retention", self._on_crash)
        self._looking = asyncio.Lock()
        self._trouble = Limited(log, period_s=3600.0)

    def start(self) -> None:
        """Look now, and every so often."""
        self._tasks.spawn("watch", self._watch())

    def change(self, limits: KeepLimits) -> None:
        """Other limits, from now on."""
        if limits != self._limits:
            self._limits = limits
            self._tasks.spawn("look", self.look())

    async def close(self) -> None:
        """Look no more."""
        await self._tasks.close()

    async def _watch(self) -> None:
        while True:
            await self.look()
            await self._sleep(EVERY_S)

    async def look(self) -> None:
        """Delete what has to go, enter what stays. Never raises for the disk's sake."""
        async with self._looking:
            try:
                found = await self._catalogue.look()
            except OSError as error:
                self._trouble.log(
                    logging.WARNING, "look", "%s cannot be looked at: %s", self._catalogue.directory, error
                )
                return
            going = expired(found, self._clock().timestamp(), self._limits)
            known = self._known() if going else {}
            for kept, reason in going:
                view = known.get(kept.recording)
                if view is None or view.state not in ("recording", "paused"):  # else its end is being told just now
                    await self._delete(kept, view, reason)
            await self._catalogue.take(found)

    async def _delete(self, kept: Kept, known: RecordingView | None, reason: Reason) -> None:
        try:
            view = known
            if view is None:
                view = await asyncio.to_thread(shelf.describe, self._catalogue.directory, kept.file)
            gone = await asyncio.to_thread(shelf.remove, self._catalogue.directory, kept.file)
        except OSError as error:
            self._trouble.log(
                logging.WARNING, "delete", "%s stays: it cannot be deleted: %s", kept.file, error.strerror
            )
            return
        self._catalogue.forget(kept.recording)
        if gone:
            log.info("recording %s is deleted: %s", kept.recording, _WHY[reason])
            self._deleted(view, reason)

    def _on_crash(self, name: str, error: BaseException) -> None:
        log.error("%s crashed", name, exc_info=error)


_WHY: Mapping[Reason, str] = {
    "age": "it is older than [media] recordings_keep_days",
    "size": "recordings take more than [media] recordings_max_mb",
}
