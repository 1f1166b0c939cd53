"""A test in real time is taken again when the machine stood still under it, as soon as it keeps time again.

A virtual machine whose host is busy is away for a tenth of a second now and then. What such a test measures then is the
host: a tone has a hole, a digit lasts too long, a name is not found in time. On a machine that keeps time one take
counts, so a fault of phoned does not pass by this.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Generator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

import pytest

LATE_S = 0.04
"""A sound path that is fed every 20 ms notices this."""
TAKES = 3
CALM_S = 3.0
"""So long without a standstill: another take is worth its while."""
PATIENCE_S = 60.0
"""No take waits longer for that."""
BUDGET_S = 600.0
"""All takes of a run together."""
REAL_TIME = tuple(Path(__file__).parent.parent / folder for folder in ("integration", "network", "peers"))
"""All tests in here are in real time, with sockets and processes; elsewhere those that are marked."""

_WATCH = f"""
import select, sys, time
while True:
    before = time.monotonic()
    if select.select([0], [], [], 0.01)[0]:
        break  # who asked is gone
    late = time.monotonic() - before - 0.01
    if late > {LATE_S}:
        sys.stdout.write(f"{{late:.3f}}\\n")
        sys.stdout.flush()
"""


class Clock(Protocol):
    def monotonic(self) -> float: ...

    def sleep(self, seconds: float, /) -> None: ...


class Watcher(Protocol):
    def since(self) -> Sequence[float]:
        """How long each standstill was that has ended since this was asked last, in seconds."""
        ...


class Standstills:
    """A process of its own sleeps 10 ms at a time and tells when it woke up late. Use as a context."""

    def __enter__(self) -> Self:
        self.process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _WATCH], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert self.process.stdout is not None
        self._told = self.process.stdout.fileno()
        os.set_blocking(self._told, False)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.communicate()

    def since(self) -> list[float]:
        """As `Watcher.since`."""
        try:
            told = os.read(self._told, 65_536)
        except BlockingIOError:
            return []
        return [float(line) for line in told.split()]


class RealTime:
    """The plugin of pytest: marks the tests in question and looks at the machine while they run."""

    def __init__(self, watcher: Watcher, clock: Clock = time) -> None:
        self._watcher = watcher
        self._clock = clock
        self._lost_s = 0.0
        self._budget_s = BUDGET_S

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        for item in items:
            if item.get_closest_marker("real_time") or any(map(item.path.is_relative_to, REAL_TIME)):
                item.add_marker(pytest.mark.flaky(reruns=TAKES - 1, condition=self._stood_still))

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        self._watcher.since()
        self._lost_s = 0.0
        if getattr(item, "execution_count", 1) > 1:
            self._await_calm()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        report = yield
        if report.failed and self._stood_still():
            lost_ms = self._lost_s * 1000
            report.sections.append(("The machine", f"stood still for {lost_ms:.0f} ms in all during this test"))
        return report

    def _await_calm(self) -> None:
        began = calm_since = now = self._clock.monotonic()
        until = began + min(PATIENCE_S, self._budget_s)
        while now < until and now < calm_since + CALM_S:
            self._clock.sleep(0.1)
            now = self._clock.monotonic()
            if self._watcher.since():
                calm_since = now
        self._budget_s -= now - began

    def _stood_still(self) -> bool:
        self._lost_s += sum(self._watcher.since())
        return self._lost_s > 0
