"""An event loop on virtual time: when nothing is ready it jumps to the next timer, so a day passes in milliseconds.

Use `run_virtual(main())`. Code under test sees an ordinary loop; `loop.time()` starts at a round number and moves only
by jumps. A loop with nothing ready and no timer would wait for ever: that is a `Deadlock`, raised at once.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

START_S = 1_000.0


class Deadlock(AssertionError):
    """Nothing is ready, nothing is due: the test would hang."""


class _JumpingSelector(selectors.BaseSelector):
    """Never blocks: reports what is ready now, else moves the clock forward by the whole timeout."""

    def __init__(self) -> None:
        self._real = selectors.DefaultSelector()
        self.now = START_S

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._real.register(fileobj, events, data)

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return self._real.unregister(fileobj)

    def modify(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._real.modify(fileobj, events, data)

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = self._real.select(0)
        if ready:
            return ready
        if timeout is None:
            raise Deadlock("nothing is ready and no timer is armed")
        self.now += max(timeout, 0.0)
        return []

    def close(self) -> None:
        self._real.close()

    def get_map(self) -> Any:
        return self._real.get_map()


class VirtualLoop(asyncio.SelectorEventLoop):
    """See the module's docstring."""

    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.now


def run_virtual(main: Coroutine[Any, Any, T]) -> T:
    """Run ``main`` to its end on a fresh `VirtualLoop`."""
    with asyncio.Runner(loop_factory=VirtualLoop, debug=False) as runner:
        return runner.run(main)
