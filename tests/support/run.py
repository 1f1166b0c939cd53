"""`make test`: every test that is not long, then the coverage floors of the house.

Two lanes side by side: most tests wait for sound, sockets and peers most of the time, and the house's machine has two
processors. In a lane one run follows another, each a process of its own, which has not held the leavings of thousands
of other tests. What the second lane prints is kept, and follows when the first is through.
Pure modules have a higher floor than the rest (`FLOORS`). Arguments go to one single pytest run; with arguments that
select tests (anything not starting with a dash) the floors are not checked, because they could not hold.
"""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO

import pytest

PURE = (
    "phoned/sip/*,phoned/media/sdp/*,phoned/media/sdp.py,phoned/media/rtp.py,phoned/media/rtcp.py,"
    "phoned/media/jitter.py,phoned/media/dtmf.py,phoned/media/stall.py,phoned/media/quality.py,"
    "phoned/recovery/*,phoned/network/snapshot.py"
)
FLOORS: tuple[tuple[str, list[str], int], ...] = (("pure modules", ["--include", PURE], 100), ("everything", [], 90))
"""Raise them, never lower them."""
PYTEST = ("-m", "pytest", "-m", "not long", "--durations=25")
COVERED = ("-m", "coverage", "run", *PYTEST)
ELSE = ("tests", *(f"--ignore=tests/{folder}" for folder in ("integration", "network", "peers")))
LANES = (
    ((*COVERED, "tests/integration"), (*PYTEST, "tests/network")),
    ((*PYTEST, "tests/peers"), (*COVERED, *ELSE)),
)
"""About as long as each other. Where phoned is a process of its own, among real peers, coverage sees nothing of it."""
BESIDE = Path("build/beside.log")


def main(arguments: list[str]) -> int:
    """Returns the exit status: pytest's when a run failed, else 1 when a floor is missed."""
    data = Path("build/coverage")
    data.mkdir(parents=True, exist_ok=True)
    for old in data.glob("data*"):
        old.unlink()
    compile_ahead()
    if arguments:
        status, whole = _run((*COVERED, *arguments)), all(argument.startswith("-") for argument in arguments)
    else:
        status, whole = _lanes(), True
    return status or (_floors() if whole else 0)


def compile_ahead() -> None:
    """As pip does for whoever installs phoned; else, where bytecode is not written, each process compiles all of it."""
    subprocess.run([sys.executable, "-m", "compileall", "-q", "phoned", "api"], check=True)


def _run(arguments: Sequence[str], output: IO[str] | None = None) -> int:
    return subprocess.run([sys.executable, *arguments], check=False, stdout=output, stderr=output).returncode


def _lane(runs: Sequence[Sequence[str]], statuses: list[int], output: IO[str] | None = None) -> None:
    for run in runs:
        statuses.append(_run(run, output))
        if statuses[-1] == pytest.ExitCode.INTERRUPTED:
            return


def _lanes() -> int:
    """Both lanes. Returns 0 when all went well."""
    here, beside = LANES
    statuses: list[int] = []
    with BESIDE.open("w") as log, BESIDE.open() as kept:
        second = threading.Thread(target=_lane, args=(beside, statuses, log))
        second.start()
        _lane(here, statuses)
        while True:
            over = not second.is_alive()
            sys.stdout.write(kept.read())
            sys.stdout.flush()
            if over:
                break
            time.sleep(0.5)
    return max(statuses)


def _floors() -> int:
    subprocess.run([sys.executable, "-m", "coverage", "combine", "-q"], check=True)
    missed = 0
    for name, scope, floor in FLOORS:
        report = [sys.executable, "-m", "coverage", "report", *scope, f"--fail-under={floor}"]
        result = subprocess.run(report, check=False, capture_output=True, text=True)
        total = next((line for line in result.stdout.splitlines() if line.startswith("TOTAL")), result.stderr)
        sys.stdout.write(f"coverage of {name}: {total} (floor {floor} %)\n")
        if result.returncode:
            sys.stdout.write(result.stdout)
            missed = 1
    return missed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
