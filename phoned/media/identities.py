"""One identity that is ready before it is wanted: to make a certificate takes as long as sending four frames."""

from __future__ import annotations

from concurrent.futures import Executor, Future

from phoned.media.dtls import Identity


class Identities:
    """Each is handed out once (one certificate per association). Made by `MediaEngine`."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        self._spare: Future[Identity] | None = None
        self._closed = False

    def prepare(self) -> None:
        """Have one made, on a thread. `take` does it by itself."""
        if self._spare is None and not self._closed:
            self._spare = self._executor.submit(Identity)

    def take(self) -> Identity:
        """The one that is ready, or a new one; never waits."""
        spare = self._spare
        if spare is None or self._closed or not spare.done():
            return Identity()
        self._spare = None
        self.prepare()
        return spare.result()

    def close(self) -> None:
        """The threads go: no more is prepared."""
        self._closed = True
