"""`make test`: every test that is not long, then the coverage floors of the house.

Two runs, one after the other: calls and namespaces are measured in real time, and would be short of the processor
beside a second run. They have a process of their own, too, which has not held the leavings of thousands of other tests.
Pure modules have a higher floor than the rest (`FLOORS`). Arguments go to one single pytest run; with arguments that
select tests (anything not starting with a dash) the floors are not checked, because they could not hold.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PURE = (
    "phoned/sip/*,phoned/media/sdp/*,phoned/media/sdp.py,phoned/media/rtp.py,phoned/media/rtcp.py,"
    "phoned/media/jitter.py,phoned/media/dtmf.py,phoned/media/stall.py,phoned/media/quality.py,"
    "phoned/recovery/*,phoned/network/snapshot.py"
)
FLOORS: tuple[tuple[str, list[str], int], ...] = (("pure modules", ["--include", PURE], 100), ("everything", [], 90))
"""Raise them, never lower them."""
PYTEST = ("-m", "pytest", "-m", "not long", "--durations=25")
COVERED = ("-m", "coverage", "run", *PYTEST)
REAL = ("tests/peers", "tests/network")
"""Tests that drive phoned as a process of its own, among real peers."""
ELSE = (*(f"--ignore={folder}" for folder in REAL), "tests")


def main(arguments: list[str]) -> int:
    """Returns the exit status: pytest's when a run failed, else 1 when a floor is missed."""
    data = Path("build/coverage")
    data.mkdir(parents=True, exist_ok=True)
    for old in data.glob("data*"):
        old.unlink()
    compile_ahead()
    if arguments:
        status, whole = _run(*COVERED, *arguments), all(argument.startswith("-") for argument in arguments)
    else:
        status, whole = _run(*COVERED, *ELSE) | _run(*PYTEST, *REAL), True
    return status or (_floors() if whole else 0)


def compile_ahead() -> None:
    """As pip does for whoever installs phoned; else, where bytecode is not written, each process compiles all of it."""
    subprocess.run([sys.executable, "-m", "compileall", "-q", "phoned", "api"], check=True)


def _run(*arguments: str) -> int:
    return subprocess.run([sys.executable, *arguments], check=False).returncode


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
