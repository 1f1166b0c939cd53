"""`make test`: every test that is not long, then the coverage floors of the house.

Pure modules must have every branch covered, the rest nine in ten. Arguments go to pytest; with arguments that select
tests (anything not starting with a dash) the floors are not checked, because they could not hold.
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


def main(arguments: list[str]) -> int:
    """Returns the exit status: pytest's when it failed, else 1 when a floor is missed."""
    whole = all(argument.startswith("-") for argument in arguments)
    data = Path("build/coverage")
    for old in data.glob("data*"):
        old.unlink()
    command = [sys.executable, "-m", "coverage", "run", "-m", "pytest", "-m", "not long", *arguments]
    status = subprocess.run(command, check=False).returncode
    if status or not whole:
        return status
    subprocess.run([sys.executable, "-m", "coverage", "combine", "-q"], check=True)
    missed = 0
    for name, scope, floor in FLOORS:
        report = [sys.executable, "-m", "coverage", "report", *scope, f"--fail-under={floor}"]
        result = subprocess.run(report, check=False, capture_output=True, text=True)
        total = result.stdout.strip().splitlines()[-1] if result.stdout else result.stderr
        sys.stdout.write(f"coverage of {name}: {total} (floor {floor} %)\n")
        if result.returncode:
            sys.stdout.write(result.stdout)
            missed = 1
    return missed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
