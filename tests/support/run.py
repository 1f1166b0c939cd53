"""`make test`: every test that is not long, then the coverage floors of the house.

Three runs go side by side, because two mostly wait for real time (peers and namespaces; processes of ours) and the
third for the processor. That one yields to the others wherever they want it, or calls would be measured that had no
processor. The output of the first two is shown when they have ended. Pure modules have a higher floor than the rest
(`FLOORS`). Arguments go to one single pytest run; with arguments that select tests (anything not starting with a dash)
the floors are not checked, because they could not hold.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import IO

PURE = (
    "phoned/sip/*,phoned/media/sdp/*,phoned/media/sdp.py,phoned/media/rtp.py,phoned/media/rtcp.py,"
    "phoned/media/jitter.py,phoned/media/dtmf.py,phoned/media/stall.py,phoned/media/quality.py,"
    "phoned/recovery/*,phoned/network/snapshot.py"
)
FLOORS: tuple[tuple[str, list[str], int], ...] = (("pure modules", ["--include", PURE], 100), ("everything", [], 90))
"""Raise them, never lower them."""
PYTEST = ("-m", "pytest", "-m", "not long")
COVERED = ("-m", "coverage", "run", *PYTEST)
WAITING = (
    (*PYTEST, "tests/peers", "tests/network"),
    (*COVERED, "tests/integration"),
)
"""Tests that wait for real time and drive phoned as a process of its own. What they reach inside of this one counts."""
ELSE = (*COVERED, *(f"--ignore=tests/{folder}" for folder in ("peers", "network", "integration")), "tests")


def main(arguments: list[str]) -> int:
    """Returns the exit status: pytest's when a run failed, else 1 when a floor is missed."""
    data = Path("build/coverage")
    data.mkdir(parents=True, exist_ok=True)
    for old in data.glob("data*"):
        old.unlink()
    # some hundred processes of ours are about to start: each would compile all of it where bytecode is not written
    subprocess.run([sys.executable, "-m", "compileall", "-q", "phoned", "api"], check=True)
    if arguments:
        status = subprocess.run([sys.executable, *COVERED, *arguments], check=False).returncode
        whole = all(argument.startswith("-") for argument in arguments)
    else:
        status, whole = _side_by_side(), True
    return status or (_floors() if whole else 0)


def _side_by_side() -> int:
    with contextlib.ExitStack() as stack:
        waiting = [_Run(command, stack.enter_context(tempfile.TemporaryFile()), stack) for command in WAITING]
        status = subprocess.run(["nice", "-n", "10", sys.executable, *ELSE], check=False).returncode
        for run in waiting:
            status = run.result() or status
    return status


class _Run:
    """A run beside the others; it ends with the ``stack``."""

    def __init__(self, command: tuple[str, ...], output: IO[bytes], stack: contextlib.ExitStack) -> None:
        self._command = command
        self._output = output
        self._process = subprocess.Popen([sys.executable, *command], stdout=output, stderr=subprocess.STDOUT)
        stack.callback(self._stop)

    def _stop(self) -> None:
        if self._process.poll() is None:
            self._process.terminate()
            self._process.wait()

    def result(self) -> int:
        """Wait for it, and show what it said."""
        status = self._process.wait()
        self._output.seek(0)
        folders = [word for word in self._command if word.startswith("tests/")]
        sys.stdout.write(f"\n--- {' '.join(folders)} ---\n{self._output.read().decode(errors='replace')}")
        sys.stdout.flush()
        return status


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
