"""A network source whose library is loaded on a thread, when it is first asked: that takes longer than to dial.

Owns the loading and nothing else. A phone that was killed takes up its calls meanwhile.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from phoned.network.snapshot import IPAddress, Snapshot
from phoned.network.source import NetworkSource


class LateSource:
    """A `NetworkSource`, made by ``load`` in a thread. Driven by its monitor."""

    def __init__(self, load: Callable[[], NetworkSource], *, name: str) -> None:
        """``name``: what it is called until it is loaded."""
        self._load = load
        self._name = name
        self._source: NetworkSource | None = None
        self._loading = asyncio.Lock()

    @property
    def name(self) -> str:
        """See `NetworkSource.name`."""
        return self._name if self._source is None else self._source.name

    async def run(self, on_dirty: Callable[[], None]) -> None:
        """See `NetworkSource.run`."""
        await (await self._loaded()).run(on_dirty)

    async def snapshot(self, towards: Sequence[IPAddress] = ()) -> Snapshot:
        """See `NetworkSource.snapshot`."""
        return await (await self._loaded()).snapshot(towards)

    def close(self) -> None:
        """See `NetworkSource.close`."""
        if self._source is not None:
            self._source.close()

    async def _loaded(self) -> NetworkSource:
        async with self._loading:
            if self._source is None:
                self._source = await asyncio.to_thread(self._load)
            return self._source
