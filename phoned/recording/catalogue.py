"""The finished recordings that lie on the disk, also those of calls that are no longer remembered.

As of the last `look` at the directory that was taken over (`take`); what is finished in between is known by its call.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

from phoned.model import RecordingView
from phoned.recording import shelf
from phoned.recording.shelf import Kept, Shelf

KEEP = 10_000
"""The newest of them: what is older stays on the disk, and `Retention` finds it there."""


class Catalogue:
    """Of one directory. Iterate for all of them, in no order."""

    def __init__(self, directory: Path, *, keep: int = KEEP) -> None:
        self.directory = directory
        self._keep = keep
        self._views: dict[str, RecordingView] = {}
        self._gone: set[str] = set()
        """Deleted since the last look."""

    def __iter__(self) -> Iterator[RecordingView]:
        return iter(tuple(self._views.values()))

    def find(self, recording: str) -> RecordingView | None:
        """By its id."""
        return self._views.get(recording)

    def forget(self, recording: str) -> None:
        """Its file is gone."""
        self._gone.add(recording)
        self._views.pop(recording, None)

    async def look(self) -> Shelf:
        """What lies there now. Raises `OSError`."""
        self._gone.clear()
        return await asyncio.to_thread(shelf.look, self.directory)

    async def take(self, found: Shelf) -> None:
        """Enter what the last look has found, but for what was deleted since. Files that are new are read, beside the
        loop."""
        newest = sorted(found.kept, key=lambda kept: kept.recording, reverse=True)[: self._keep]
        new = [kept for kept in newest if kept.recording not in self._views]
        read = await asyncio.to_thread(self._describe, new) if new else {}
        known = self._views | read
        self._views = {kept.recording: known[kept.recording] for kept in newest if kept.recording not in self._gone}

    def _describe(self, kept: list[Kept]) -> dict[str, RecordingView]:
        return {each.recording: shelf.describe(self.directory, each.file) for each in kept}
