"""How fast a phone is back: each way to lose a connection or a path, done to phoned again and again.

A phone on two uplinks with 50 ms round trip, Kamailio in the core, Chromium with JsSIP as the far end, everything in
network namespaces (root is needed). Audio gaps are read off the wire at both ends and held against the ends' own
counters. Samples are kept in ``build/bench/recovery.samples.json`` as they come: an interrupted run goes on, a finished
row is not measured again until ``--fresh``. The rows that apply are done to linphone, baresip and JsSIP as the phone,
too, three times.

    make bench-recovery ARGS="--n 5" ROWS=handover,ws_kill
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from tests.bench import recovery_phones as others
from tests.bench.recovery_rows import LIMITS, ROWS, Figures
from tests.bench.report import BUILD, Report, Row, arguments, progress, row
from tests.network.harness.scene import Scene
from tests.support.netns import why_not
from tests.support.run import compile_ahead

SAMPLES = BUILD / "recovery.samples.json"
RTT_MS = 50.0
GIVE_UP = 3
"""Repetitions of a row that may fail in a run before it is left alone."""
OTHERS_N = 3
"""Repetitions of a row with another phone: it may take `others.LIMIT_S` each time."""


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


def measure(name: str, once: Callable[[], Figures], n: int, store: Store) -> None:
    """Repeat a row until there are ``n`` samples; a repetition that fails is kept as a failure."""
    taken = store.of(name)
    failed = 0
    while len(taken.figures) < n and failed < GIVE_UP:
        load, began = os.getloadavg()[0], time.monotonic()
        try:
            figures = once()
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


def rows_of_other(phone: str, taken: Taken) -> list[Row]:
    """The figures of another phone; no limit is held against it."""
    made = []
    for figure in taken.figures[0] if taken.figures else ():
        samples = [each[figure] for each in taken.figures]
        late = sum(sample >= others.LIMIT_S * 1000 for sample in samples)
        note = f"{late} of {len(samples)} not within {others.LIMIT_S:g} s" if late else ""
        made.append(row(figure, samples, unit="ms", peer=phone, note=note))
    return made


def options(given: Sequence[str] | None) -> argparse.Namespace:
    """The command line; the environment may choose, too."""
    parser = arguments(__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--n", type=int, default=20, help="repetitions of each row")
    parser.add_argument("--rows", default=os.environ.get("ROWS", ""), help="some of " + ",".join(ROWS))
    parser.add_argument(
        "--peers", default=os.environ.get("PEERS", ""), help="some of " + ",".join(others.ROWS) + ", or none"
    )
    parser.add_argument("--fresh", action="store_true", help="forget what earlier runs measured of these rows")
    chosen = parser.parse_args(given)
    if chosen.quick:
        chosen.n = min(chosen.n, 3)
    chosen.rows = chosen.rows.split(",") if chosen.rows else list(ROWS)
    chosen.peers = [] if chosen.peers == "none" else chosen.peers.split(",") if chosen.peers else list(others.ROWS)
    unknown = [name for name in chosen.rows if name not in ROWS] + [p for p in chosen.peers if p not in others.ROWS]
    if unknown:
        parser.error(f"no such row or phone: {', '.join(unknown)}")
    return chosen


def _other(once: others.Row, phone: str, scene: Scene) -> Figures:
    return once(scene, phone)


def main(given: Sequence[str] | None = None) -> int:
    """0 when every measured figure keeps its limits and no repetition failed."""
    chosen = options(given)
    reason = why_not()
    if reason is not None:
        progress(f"nothing can be measured here: {reason}")
        return 1
    compile_ahead()
    report = Report(name="recovery")
    store = Store(SAMPLES)
    store.load()
    plan: dict[str, tuple[int, Callable[[Scene], Figures]]] = {name: (chosen.n, ROWS[name]) for name in chosen.rows}
    for phone in chosen.peers:
        reason = others.why_not(phone)
        if reason is not None:
            report.skip("every row", phone, reason)
            continue
        for name, once in others.ROWS[phone].items():
            if name in chosen.rows:
                plan[f"{phone}:{name}"] = (min(chosen.n, OTHERS_N), partial(_other, once, phone))
    if chosen.fresh:
        for name in plan:
            store.rows.pop(name, None)
    missing = [name for name, (n, _) in plan.items() if len(store.of(name).figures) < n]
    if missing:
        with Scene(rtt_ms=RTT_MS) as scene:
            report.facts["rtt_ms"], report.facts["delayed_by"] = RTT_MS, scene.lab.delayed_by
            for name in missing:
                n, once_more = plan[name]
                progress(name)
                measure(name, partial(once_more, scene), n, store)
    for name, taken in store.rows.items():
        phone, _, own = name.rpartition(":")
        if not taken.figures:
            why = taken.failures[-1].splitlines()[0] if taken.failures else "not measured"
            report.skip(own, phone or "phoned", why)
        for made in rows_of_other(phone, taken) if phone else rows_of(name, taken):
            report.add(made)
    report.publish(as_json=chosen.json)
    return 1 if any(made.met is False for made in report.rows) else 0


if __name__ == "__main__":
    sys.exit(main())
