"""A test in real time is taken again when the machine stood still under it, and at no other time."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest

from tests.support.child import until
from tests.support.standstill import BUDGET_S, CALM_S, LATE_S, PATIENCE_S, RealTime, Standstills

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
    """A machine that stands still, as long as it is asked, from the first test to ``until_s`` on its own clock."""

    def __init__(self, *standstills: float, until_s: float = 1e9) -> None:
        self._standstills = standstills
        self._until_s = until_s
        self.now = 0.0

    def since(self) -> tuple[float, ...]:
        return self._standstills if self.now < self._until_s else ()

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def taken(pytester: pytest.Pytester, machine: Scripted) -> pytest.RunResult:
    """A run of pytest on this machine."""
    return pytester.runpytest_inprocess("-p", "no:asyncio", plugins=[RealTime(machine, machine)])


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
    result = taken(pytester, Scripted(0.1))
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines("*1 rerun*")


def test_three_takes_at_most(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(FAILS_ONCE.replace("== 2", "== 4"))
    result = taken(pytester, Scripted(0.1))
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*stood still for 100 ms*", "*2 rerun*"])


def test_another_take_waits_until_the_machine_keeps_time_again_and_no_longer(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(FAILS_ONCE)
    machine = Scripted(0.1, until_s=20.0)
    taken(pytester, machine).assert_outcomes(passed=1)
    assert 20.0 + CALM_S - 0.2 < machine.now < 20.0 + CALM_S + 0.2


def test_on_a_machine_that_never_does_takes_wait_for_a_bounded_time(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        "import pytest\n@pytest.mark.real_time\n@pytest.mark.parametrize('n', range(20))\ndef test_it(n): assert 0"
    )
    machine = Scripted(0.1)
    taken(pytester, machine).assert_outcomes(failed=20)
    assert BUDGET_S <= machine.now < BUDGET_S + PATIENCE_S


@pytest.mark.parametrize(
    ("standstills", "source"),
    [((), FAILS_ONCE), ((0.1,), FAILS_ONCE.replace("@pytest.mark.real_time", ""))],
    ids=["the machine kept time", "not in real time"],
)
def test_one_take_counts_otherwise(pytester: pytest.Pytester, standstills: tuple[float, ...], source: str) -> None:
    pytester.makepyfile(source)
    result = taken(pytester, Scripted(*standstills))
    result.assert_outcomes(failed=1)
    assert "rerun" not in result.stdout.lines[-1]
