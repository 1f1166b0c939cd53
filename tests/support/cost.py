"""What a piece of work costs the processor, for tests of what hostile input may cost."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable

TAKES = 3


def cost_s(work: Callable[[], object]) -> float:
    """The least of three takes, in seconds of this thread alone and without the collector: a busy machine, other
    threads and the leavings of other tests say nothing about the shape of the curve."""
    took = []
    was_on = gc.isenabled()
    gc.disable()
    try:
        for _ in range(TAKES):
            began = time.thread_time()
            work()
            took.append(time.thread_time() - began)
    finally:
        if was_on:
            gc.enable()
    return min(took)
