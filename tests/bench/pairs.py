"""Two pinned processes with N calls between them, of any peer: connect, count, measure, close.

Owns what is common to all peers, so that each is measured in the same way: CPU by the kernel's clock of a process, per
call, of each end by itself.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Self

from tests.bench.end import End, Json, cpu_s, rss_mb
from tests.bench.end_baresip import Baresip, rate_of_datagrams
from tests.support.child import Child

BATCH = 10
"""Calls that are set up at once: more, and the handshakes time out on a busy core."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """What is measured: a peer, its codec, and how many calls."""

    peer: str
    codec: str
    """``opus`` or ``pcmu``."""
    calls: int
    graph_rate: int = 48_000
    """Of phoned."""
    extra: tuple[str, ...] = ()
    """Arguments for aiortc's end."""
    label: str = ""
    """The row's name without the number of calls: ``opus``, ``opus16k``, ``pcmu``."""
    note: str = ""

    @property
    def row(self) -> str:
        """As `design/api.md` names it."""
        return f"{self.label or self.codec}_{self.calls}_cpu_ms_per_call_s"


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """One measurement of a pair."""

    cpu_ms: tuple[float, ...]
    """Per call and second of sound that was carried, window by window, both ends."""
    frames_per_s: float
    """Heard per call; 50 is all of them, much less is saturation."""
    counts: tuple[Json, ...]
    """What our own ends counted meanwhile."""


class Pair:
    """Caller and callee. `add` calls, `measure`, leave the context."""

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        self.calls = 0
        self._stack = ExitStack()
        self._ends: tuple[Child, Child]

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            setup = self.setup
            if setup.peer == "baresip":
                self._ends = (
                    stack.enter_context(Baresip(setup.codec, core=0)),
                    stack.enter_context(Baresip(setup.codec, core=1)),
                )
            else:
                module = "tests.bench.end_phoned" if setup.peer == "phoned" else "tests.bench.end_aiortc"
                arguments = (str(setup.graph_rate),) if setup.peer == "phoned" else setup.extra
                self._ends = (
                    stack.enter_context(End(module, setup.codec, *arguments, core=0)),
                    stack.enter_context(End(module, setup.codec, *arguments, core=1)),
                )
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def add(self, calls: int) -> None:
        """Connect so many more, until sound flows in both directions of each."""
        for size in [BATCH] * (calls // BATCH) + [calls % BATCH]:
            if size:
                self._connect(size)
                self.calls += size

    def _connect(self, size: int) -> None:
        caller, callee = self._ends
        if isinstance(caller, Baresip) and isinstance(callee, Baresip):
            caller.dial(callee, size)
        elif isinstance(caller, End) and isinstance(callee, End):
            offers = caller.ask(do="offer", count=size)["offers"]
            answers = callee.ask(do="answer", offers=offers)["answers"]
            caller.ask(do="accept", answers=answers)
            for end in (caller, callee):
                end.tell(do="flowing")
            for end in (caller, callee):
                end.result()

    def rss_mb(self) -> float:
        """Memory of one end."""
        return rss_mb(self._ends[0].process.pid)

    def count(self) -> tuple[Json, ...]:
        """What our own ends have counted since the last time."""
        return tuple(end.ask(do="count") for end in self._ends if isinstance(end, End))

    def measure(self, seconds: float, windows: int) -> Taken:
        """CPU of both ends in so many windows. Nothing is said to the processes meanwhile."""
        pids = [end.process.pid for end in self._ends]
        self.count()
        samples: list[float] = []
        began = time.monotonic()
        datagrams: list[float] = []
        for _ in range(windows):
            before, start = [cpu_s(pid) for pid in pids], time.monotonic()
            datagrams.append(rate_of_datagrams(seconds / windows))
            wall = time.monotonic() - start
            after = [cpu_s(pid) for pid in pids]
            samples += [(end - begin) / wall / self.calls * 1000 for begin, end in zip(before, after, strict=True)]
        wall = time.monotonic() - began
        counts = self.count()
        if counts:
            frames = sum(count["heard"] for count in counts) / len(counts) / wall / self.calls
        else:  # two ends hear what was sent: half of the machine's datagrams each
            frames = min(50.0, sum(datagrams) / len(datagrams) / self.calls / 2)
        # who carries half of the sound in half of the time has not been cheaper
        carried = min(1.0, frames / 50) or 1.0
        return Taken(cpu_ms=tuple(sample / carried for sample in samples), frames_per_s=frames, counts=counts)


def carried(
    setup: Setup,
    *,
    step: int,
    most: int,
    seconds: float,
    tries: int,
    good: Callable[[Taken], bool],
    say: Callable[[str], None],
) -> tuple[int, bool]:
    """How many calls are carried: more are added while ``good``. Returns the number and whether the end was found.

    A step fails only when it failed ``tries`` times in a row, because others use this machine, too.
    """
    passed = 0
    with Pair(setup) as pair:
        while pair.calls < most:
            try:
                pair.add(min(step, most - pair.calls))
            except (RuntimeError, TimeoutError) as error:
                say(f"  {pair.calls} + {step} calls could not be set up: {str(error).splitlines()[0]}")
                return passed, True
            time.sleep(1.0)
            for _ in range(tries):
                taken = pair.measure(seconds, 1)
                late = max(count["lateness_p99_ms"] for count in taken.counts)
                say(f"  {pair.calls} calls: p99 lateness {late:g} ms, {max(taken.cpu_ms):.2f} ms per call-second")
                if good(taken):
                    passed = pair.calls
                    break
            else:
                return passed, True
    return passed, False
