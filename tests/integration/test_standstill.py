"""A test in real time is taken again when the machine stood still under it, and at no other time."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest

from tests.support.child import until
from tests.support.standstill import LATE_S, RealTime, Standstills

pytest_plugins = ["pytester"]

FAILS_ONCE = """
import pytest

takes = []

@pytest.mark.real_time
def test_sound():
    takes.append(1)
    assert len(takes) == 2
"""


class Scripted:
    """Says at each question what it was told to say."""

    def __init__(self, *standstills: float) -> None:
        self._standstills = standstills

    def since(self) -> tuple[float, ...]:
        return self._standstills


def state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0]


def test_a_watcher_that_was_away_tells_for_how_long() -> None:
    with Standstills() as watcher:
        until(lambda: state(watcher.process.pid) == "S", "it watches")
        watcher.process.send_signal(signal.SIGSTOP)
        until(lambda: state(watcher.process.pid) == "T", "it stands still")
        since = time.monotonic()
        until(lambda: time.monotonic() > since + 2 * LATE_S, "long enough")
        watcher.process.send_signal(signal.SIGCONT)
        until(lambda: max(watcher.since(), default=0) > LATE_S, "it tells")


def test_a_take_during_a_standstill_is_taken_again(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(FAILS_ONCE)
    result = pytester.runpytest_inprocess("-p", "no:asyncio", plugins=[RealTime(Scripted(0.1))])
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines("*1 rerun*")


def test_three_takes_at_most(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(FAILS_ONCE.replace("== 2", "== 4"))
    result = pytester.runpytest_inprocess("-p", "no:asyncio", plugins=[RealTime(Scripted(0.1))])
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*stood still for 100 ms*", "*2 rerun*"])


@pytest.mark.parametrize(
    ("standstills", "source"),
    [((), FAILS_ONCE), ((0.1,), FAILS_ONCE.replace("@pytest.mark.real_time", ""))],
    ids=["the machine kept time", "not in real time"],
)
def test_one_take_counts_otherwise(pytester: pytest.Pytester, standstills: tuple[float, ...], source: str) -> None:
    pytester.makepyfile(source)
    result = pytester.runpytest_inprocess("-p", "no:asyncio", plugins=[RealTime(Scripted(*standstills))])
    result.assert_outcomes(failed=1)
    assert "rerun" not in result.stdout.lines[-1]
