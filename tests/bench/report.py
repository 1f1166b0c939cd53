"""What every bench prints and writes: rows of figures, what was skipped and why, and facts about the machine.

Owns the arithmetic of samples, the table for people, the JSON for programs, and ``build/bench/<name>.json``. It knows
nothing of what is measured.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

BUILD = Path(__file__).resolve().parents[2] / "build" / "bench"
PACKAGES = ("phoned", "aiortc", "aioice", "av", "pylibsrtp", "numpy", "websockets")


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A limit that the median is held against."""

    limit: float
    at_most: bool = True
    name: str = "target"
    """``gate`` is a promise, ``target`` an aim."""

    def met(self, value: float) -> bool:
        """Whether the value keeps it."""
        return value <= self.limit if self.at_most else value >= self.limit

    def __str__(self) -> str:
        return f"{self.name} {'<=' if self.at_most else '>='} {self.limit:g}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One figure of one peer. ``p50`` and ``p95`` are of the samples as they are, whichever end of them is better."""

    name: str
    peer: str
    unit: str
    n: int
    p50: float
    p95: float
    least: float
    """On a busy machine the nearest to what an idle one would show, where less is better."""
    target: str | None = None
    met: bool | None = None
    note: str = ""
    p99: float | None = None
    """Where the target is about the slowest of a hundred."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Skipped:
    """A figure that could not be measured here."""

    name: str
    peer: str
    reason: str


def quantile(samples: Sequence[float], share: float) -> float:
    """The value below which ``share`` of the samples lie, interpolated. Raises `ValueError` without samples."""
    if not samples:
        raise ValueError("no samples")
    ordered = sorted(samples)
    place = share * (len(ordered) - 1)
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)


def row(
    name: str,
    samples: Sequence[float],
    *,
    unit: str,
    peer: str = "phoned",
    target: Target | None = None,
    note: str = "",
) -> Row:
    """The row of these samples."""
    median = quantile(samples, 0.5)
    return Row(
        name=name,
        peer=peer,
        unit=unit,
        n=len(samples),
        p50=rounded(median),
        p95=rounded(quantile(samples, 0.95)),
        least=rounded(min(samples)),
        target=None if target is None else str(target),
        met=None if target is None else target.met(median),
        note=note,
    )


def ratio(
    name: str, ours: Row | None, theirs: Row | None, *, target: Target | None = None, inverse: bool = False
) -> Row | None:
    """Median over median, ours over theirs (``inverse``: theirs over ours), and least over least.

    None when one of them was not measured.
    """
    if ours is None or theirs is None:
        return None
    over, under = (theirs, ours) if inverse else (ours, theirs)
    if not under.p50:
        return None
    value = over.p50 / under.p50
    least = over.least / under.least if under.least else value
    return Row(
        name=name,
        peer=f"{over.peer}/{under.peer}",
        unit="x",
        n=min(ours.n, theirs.n),
        p50=rounded(value),
        p95=rounded(value),
        least=rounded(least),
        target=None if target is None else str(target),
        met=None if target is None else target.met(value),
    )


def rounded(value: float) -> float:
    """Three digits are all that a shared machine can say; whole numbers from 1000 on."""
    return float(round(value)) if abs(value) >= 1000 else float(f"{value:.3g}")


def machine() -> dict[str, Any]:
    """What the figures were measured on. The load average tells how busy others kept it."""
    return {
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "usable_cores": len(os.sched_getaffinity(0)),
        "load_average": [round(load, 2) for load in os.getloadavg()],
        "kernel": platform.release(),
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in PACKAGES},
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


@dataclass(slots=True, kw_only=True)
class Report:
    """The figures of one bench. Made at its begin, so that the load of both ends of the run is known."""

    name: str
    rows: list[Row] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=machine)
    """More than `machine` knows: versions of peers, how it was run."""

    def add(self, row: Row | None) -> Row | None:
        """Take a row, if there is one."""
        if row is not None:
            self.rows.append(row)
        return row

    def skip(self, name: str, peer: str, reason: str) -> None:
        """Say that a figure is missing, and why."""
        self.skipped.append(Skipped(name=name, peer=peer, reason=reason))

    def as_json(self) -> dict[str, Any]:
        """The documented form."""
        return {
            "machine": self.facts,
            "rows": [
                {key: value for key, value in asdict(row).items() if value not in (None, "")} for row in self.rows
            ],
            "skipped": [asdict(skipped) for skipped in self.skipped],
        }

    def table(self) -> str:
        """For people."""
        lines = [("figure", "peer", "unit", "n", "p50", "p95", "least", "", "")]
        for r in self.rows:
            verdict = "" if r.met is None else "passed" if r.met else "MISSED"
            verdict = f"{r.target or ''} {verdict}"
            verdict += "" if r.p99 is None else f" (p99 {r.p99:g})"
            figures = (f"{r.p50:g}", f"{r.p95:g}", f"{r.least:g}")
            lines.append((r.name, r.peer, r.unit, str(r.n), *figures, verdict, r.note))
        widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
        text = [
            "  ".join(
                cell.rjust(width) if 3 <= column <= 6 else cell.ljust(width)
                for column, (cell, width) in enumerate(zip(line, widths, strict=True))
            ).rstrip()
            for line in lines
        ]
        text += [f"skipped: {s.name} of {s.peer}: {s.reason}" for s in self.skipped]
        text.append(
            f"{self.facts['cpu']}, {self.facts['cores']} cores, Python {self.facts['python']}, "
            f"load average {self.facts['load_average'][0]:g} before, {os.getloadavg()[0]:.2f} after"
        )
        return "\n".join(text)

    def publish(self, *, as_json: bool, directory: Path = BUILD) -> None:
        """Print, and write the file."""
        self.facts["load_average_after"] = [round(load, 2) for load in os.getloadavg()]
        directory.mkdir(parents=True, exist_ok=True)
        path = directory / f"{self.name}.json"
        text = json.dumps(self.as_json(), indent=1)
        path.write_text(text + "\n")
        print(text if as_json else self.table())
        if not as_json:
            print(f"written to {path}")


def progress(text: str) -> None:
    """Tell how far a long bench is, away from its figures."""
    print(text, file=sys.stderr, flush=True)


def arguments(description: str) -> argparse.ArgumentParser:
    """The options that all benches have."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--quick", action="store_true", help="shorter and less exact")
    return parser
