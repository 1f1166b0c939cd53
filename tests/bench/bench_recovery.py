"""How fast a phone is back: each way to lose a connection or a path, done to phoned again and again.

A phone on two uplinks with 50 ms round trip, Kamailio in the core, Chromium with JsSIP as the far end, everything in
network namespaces (root is needed). Audio gaps are read off the wire at both ends and held against the ends' own
counters. Samples are kept in ``build/bench/recovery.samples.json`` as they come: an interrupted run goes on, a finished
row is not measured again until ``--fresh``.

    make bench-recovery ARGS="--n 5" ROWS=handover,ws_kill
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tests.bench.recovery_rows import LIMITS, ROWS
from tests.bench.report import BUILD, Report, Row, arguments, progress, row
from tests.network.harness.scene import Scene
from tests.support.netns import why_not

OTHERS = {"linphone": "linphonec", "baresip": "baresip", "jssip": "chromium"}
"""Phones to compare with, and the program that each needs."""
SAMPLES = BUILD / "recovery.samples.json"
RTT_MS = 50.0
GIVE_UP = 3
"""Repetitions of a row that may fail in a run before it is left alone."""


@dataclass(slots=True, kw_only=True)
class Taken:
    """What the repetitions of one row brought so far."""

    figures: list[dict[str, float]] = field(default_factory=list)
    loads: list[float] = field(default_factory=list)
    """The load average before each."""
    failures: list[str] = field(default_factory=list)


class Store:
    """The samples of all rows, on disk after each repetition."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.rows: dict[str, Taken] = {}

    def load(self) -> None:
        """Go on where an earlier run ended."""
        if self._path.exists():
            found = json.loads(self._path.read_text())
            self.rows = {name: Taken(**taken) for name, taken in found.items()}

    def of(self, name: str) -> Taken:
        """The samples of a row."""
        return self.rows.setdefault(name, Taken())

    def save(self) -> None:
        """Replace the file."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        content: dict[str, Any] = {
            name: {"figures": taken.figures, "loads": taken.loads, "failures": taken.failures}
            for name, taken in self.rows.items()
        }
        fresh = self._path.with_suffix(".new")
        fresh.write_text(json.dumps(content))
        fresh.replace(self._path)


def measure(scene: Scene, name: str, n: int, store: Store) -> None:
    """Repeat a row until there are ``n`` samples; a repetition that fails is kept as a failure."""
    taken = store.of(name)
    failed = 0
    while len(taken.figures) < n and failed < GIVE_UP:
        load, began = os.getloadavg()[0], time.monotonic()
        try:
            figures = ROWS[name](scene)
        except (RuntimeError, TimeoutError, AssertionError, OSError) as error:
            failed += 1
            taken.failures.append("\n".join([repr(error), *getattr(error, "__notes__", ())]))
            progress(f"  {name}: FAILED: {repr(error)[:300]}")
        else:
            taken.figures.append(figures)
            taken.loads.append(round(load, 2))
            shown = ", ".join(f"{figure} {value:g}" for figure, value in figures.items())
            progress(f"  {name} {len(taken.figures)}/{n}: {shown} ({time.monotonic() - began:.0f} s)")
        store.save()


def rows_of(name: str, taken: Taken) -> list[Row]:
    """The figures of one row of the bench, held against their limits."""
    made = []
    load = sorted(taken.loads)[len(taken.loads) // 2] if taken.loads else 0.0
    for figure in taken.figures[0] if taken.figures else ():
        samples = [each[figure] for each in taken.figures]
        note = f"load {load:g}" + (f"; {len(taken.failures)} more FAILED" if taken.failures else "")
        plain = row(figure, samples, unit="ms", note=note)
        limit = LIMITS.get(figure)
        if limit is not None:
            met = plain.p50 <= limit.p50 and plain.p95 <= limit.p95 and not taken.failures
            plain = replace(plain, target=f"p50 <= {limit.p50:g}, p95 <= {limit.p95:g}", met=met)
        made.append(plain)
    return made


def options(given: Sequence[str] | None) -> argparse.Namespace:
    """The command line; the environment may choose, too."""
    parser = arguments(__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--n", type=int, default=20, help="repetitions of each row")
    parser.add_argument("--rows", default=os.environ.get("ROWS", ""), help="some of " + ",".join(ROWS))
    parser.add_argument("--peers", default=os.environ.get("PEERS", ""), help="some of " + ",".join(OTHERS))
    parser.add_argument("--fresh", action="store_true", help="forget what earlier runs measured of these rows")
    chosen = parser.parse_args(given)
    if chosen.quick:
        chosen.n = min(chosen.n, 3)
    chosen.rows = chosen.rows.split(",") if chosen.rows else list(ROWS)
    chosen.peers = chosen.peers.split(",") if chosen.peers else list(OTHERS)
    unknown = [name for name in chosen.rows if name not in ROWS]
    if unknown:
        parser.error(f"no such row: {', '.join(unknown)}")
    return chosen


def main(given: Sequence[str] | None = None) -> int:
    """0 when every measured figure keeps its limits and no repetition failed."""
    chosen = options(given)
    reason = why_not()
    if reason is not None:
        progress(f"nothing can be measured here: {reason}")
        return 1
    report = Report(name="recovery")
    store = Store(SAMPLES)
    store.load()
    for name in chosen.rows:
        if chosen.fresh:
            store.rows.pop(name, None)
    missing = [name for name in chosen.rows if len(store.of(name).figures) < chosen.n]
    if missing:
        with Scene(rtt_ms=RTT_MS) as scene:
            report.facts["rtt_ms"], report.facts["delayed_by"] = RTT_MS, scene.lab.delayed_by
            for name in missing:
                progress(f"{name}: {(ROWS[name].__doc__ or '').splitlines()[0]}")
                measure(scene, name, chosen.n, store)
    for name in ROWS:
        taken = store.rows.get(name)
        if taken is None or not taken.figures:
            report.skip(
                f"{name}", "phoned", taken.failures[-1].splitlines()[0] if taken and taken.failures else "not measured"
            )
            continue
        for made in rows_of(name, taken):
            report.add(made)
    for peer, needed in OTHERS.items():
        if peer in chosen.peers:
            there = shutil.which(needed) is not None
            report.skip("every row", peer, "this bench cannot drive it" if there else f"{needed} is not installed")
    report.publish(as_json=chosen.json)
    return 1 if any(made.met is False for made in report.rows) else 0


if __name__ == "__main__":
    sys.exit(main())
