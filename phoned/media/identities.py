"""One identity that is ready before it is wanted: to make a certificate takes as long as sending four frames."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import Executor, Future

from phoned.media.dtls import Identity

FRESH_S = 86_400.0
"""A certificate is good for a month from when it was made; one that waited longer than this is not handed out."""


def _next_turn(work: Callable[[], None]) -> None:
    asyncio.get_running_loop().call_soon(work)


class Identities:
    """Each is handed out once (one certificate per association). Made by `MediaEngine`."""

    def __init__(
        self,
        executor: Executor,
        clock: Callable[[], float] = time.monotonic,
        soon: Callable[[Callable[[], None]], None] = _next_turn,
    ) -> None:
        self._executor = executor
        self._clock = clock
        self._soon = soon
        self._made_at = 0.0
        self._spare: Future[Identity] | None = None
        self._closed = False

    def prepare(self) -> None:
        """Have one made, on a thread. `take` does it by itself."""
        if self._spare is None and not self._closed:
            self._made_at = self._clock()
            self._spare = self._executor.submit(Identity)

    def take(self) -> Identity:
        """The one that is ready, or a new one; never waits."""
        spare = self._spare
        if spare is None or self._closed or not spare.done():
            return Identity()
        fresh = self._clock() - self._made_at < FRESH_S
        self._spare = None
        self._soon(self.prepare)  # not yet: its thread would take the processor from the offer that this one is for
        return spare.result() if fresh else Identity()

    def close(self) -> None:
        """The threads go: no more is prepared."""
        self._closed = True
