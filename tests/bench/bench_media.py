"""What a call costs: CPU, memory, and how many one core carries; phoned, stock aiortc and baresip, interleaved.

Caller and callee are processes of their own, each on its own core, with ICE, DTLS and SRTP between them on this
machine, and say the same speech. CPU is user plus system time of one end, per second of a two-way call. Everything is
measured in rounds, peer after peer, so that a busy moment of the machine hits all of them; quote the ratios.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Sequence
from dataclasses import replace

from phoned.media.codecs import libopus
from tests.bench import end_baresip
from tests.bench.pairs import BATCH, Pair, Setup, Taken, carried
from tests.bench.report import Report, Row, Target, arguments, progress, ratio, row

PEERS = ("phoned", "baresip", "aiortc")
FEW = 20
"""Calls in comparisons with aiortc, which saturates below 40."""
SATURATED_BELOW = 48.0
LATE_MS = 10.0
MONO = ("mono",)
LIKE_OURS = ("mono", str(end_baresip.BITRATE), str(end_baresip.COMPLEXITY))

TARGETS = {
    ("opus", 40): Target(limit=10.0, name="gate"),
    ("opus16k", 40): Target(limit=6.0, name="gate"),
    ("pcmu", 40): Target(limit=3.5, name="gate"),
}


def setups(calls: int, *, quick: bool) -> list[Setup]:
    """What one round measures, in this order: those that are compared are neighbours."""
    few = min(FEW, calls)
    chosen = [
        Setup(peer="phoned", codec="opus", calls=calls, note="48 kHz graph"),
        Setup(peer="baresip", codec="opus", calls=calls, note="mono, bit rate and complexity as phoned"),
        Setup(peer="phoned", codec="opus", calls=calls, graph_rate=16_000, label="opus16k", note="16 kHz graph"),
        Setup(peer="phoned", codec="pcmu", calls=calls, graph_rate=8_000, note="8 kHz graph"),
        Setup(peer="baresip", codec="pcmu", calls=calls),
        Setup(peer="phoned", codec="pcmu", calls=calls, graph_rate=16_000, label="pcmu16k", note="resampled to 16 kHz"),
        Setup(peer="phoned", codec="opus", calls=few, graph_rate=16_000, label="opus16k", note="16 kHz graph"),
        Setup(peer="aiortc", codec="opus", calls=few, extra=MONO, note="stock, but mono"),
        Setup(peer="phoned", codec="opus", calls=few, note="48 kHz graph"),
        Setup(peer="aiortc", codec="opus", calls=few, extra=LIKE_OURS, label="opus24k", note="mono, set as phoned"),
        Setup(peer="aiortc", codec="pcmu", calls=few, note="stock"),
        Setup(peer="phoned", codec="pcmu", calls=few, graph_rate=8_000, note="8 kHz graph"),
    ]
    left_out = {5, 8, 9, 10, 11} if quick else set()
    unique: dict[tuple[str, str], Setup] = {}
    for index, setup in enumerate(chosen):
        if index not in left_out:
            unique.setdefault((setup.row, setup.peer), setup)
    return list(unique.values())


class Samples:
    """What the rounds brought, setup by setup."""

    def __init__(self) -> None:
        self.taken: dict[Setup, list[Taken]] = {}
        self.memory: dict[Setup, list[float]] = {}
        self.failures: dict[Setup, str] = {}

    def take(self, setup: Setup, seconds: float) -> None:
        """Measure one setup once. A failure is kept: the others go on."""
        try:
            with Pair(setup) as pair:
                # the first calls fill what importing has left free: memory is counted from there
                first = min(BATCH, setup.calls)
                pair.add(first)
                time.sleep(0.5)
                small = pair.rss_mb()
                pair.add(setup.calls - first)
                time.sleep(1.5)
                taken = pair.measure(seconds, max(1, round(seconds / 2)))
                if setup.calls > first:
                    self.memory.setdefault(setup, []).append((pair.rss_mb() - small) / (setup.calls - first))
        except (RuntimeError, TimeoutError, OSError) as error:
            self.failures[setup] = str(error).splitlines()[0]
            progress(f"  {setup.peer} {setup.row}: {error}")
            return
        self.taken.setdefault(setup, []).append(taken)
        progress(
            f"  {setup.peer} {setup.row}: {min(taken.cpu_ms):.2f} to {max(taken.cpu_ms):.2f} ms, "
            f"{taken.frames_per_s:.1f} frames/s"
        )


def report_cpu(report: Report, samples: Samples, chosen: Sequence[Setup]) -> None:
    """The rows of CPU, and the ratios between peers."""
    rows: dict[tuple[str, str], Row] = {}
    saturated: set[Row] = set()
    for setup in chosen:
        many = samples.taken.get(setup)
        if not many:
            report.skip(setup.row, setup.peer, samples.failures.get(setup, "not measured"))
            continue
        frames = sum(taken.frames_per_s for taken in many) / len(many)
        note = setup.note + (f"; saturated: {frames:.0f} of 50 frames/s" if frames < SATURATED_BELOW else "")
        target = TARGETS.get((setup.label or setup.codec, setup.calls)) if setup.peer == "phoned" else None
        values = [value for taken in many for value in taken.cpu_ms]
        made = row(setup.row, values, unit="ms", peer=setup.peer, target=target, note=note)
        rows[setup.row, setup.peer] = made
        if frames < SATURATED_BELOW:
            saturated.add(made)
        report.add(made)
    calls = max(setup.calls for setup in chosen)
    few = min(FEW, calls)

    def of(label: str, count: int, peer: str = "phoned") -> Row | None:
        return rows.get((f"{label}_{count}_cpu_ms_per_call_s", peer))

    def compare(name: str, ours: Row | None, theirs: Row | None, target: Target | None, *, inverse: bool) -> None:
        made = ratio(name, ours, theirs, target=target, inverse=inverse)
        if made is not None and saturated & {ours, theirs}:
            made = replace(made, target=None, met=None, note="a peer was saturated: proves nothing")
        report.add(made)

    times = Target(limit=3.0, at_most=False, name="gate")
    for label, limit in (("opus", 1.0), ("pcmu", 0.7)):
        gate = Target(limit=limit, name="gate")
        compare(f"{label}_{calls}_vs_baresip", of(label, calls), of(label, calls, "baresip"), gate, inverse=False)
    stock, matched = of("opus", few, "aiortc"), of("opus24k", few, "aiortc")
    compare(f"opus16k_{few}_times_fewer", of("opus16k", few), stock, times, inverse=True)
    compare(f"opus_{few}_times_fewer", of("opus", few), stock, None, inverse=True)
    compare(f"opus24k_{few}_times_fewer", of("opus", few), matched, None, inverse=True)
    compare(f"pcmu_{few}_times_fewer", of("pcmu", few), of("pcmu", few, "aiortc"), None, inverse=True)


def report_rest(report: Report, samples: Samples, chosen: Sequence[Setup]) -> None:
    """Memory, and how late ticks were."""
    for setup in chosen:
        memory = samples.memory.get(setup)
        if memory and setup.peer != "baresip" and setup.label in ("opus16k", "") and setup.codec == "opus":
            target = Target(limit=0.4) if setup.label == "opus16k" else None
            note = f"{setup.calls} calls, {setup.note}"
            report.add(row("rss_mb_per_call", memory, unit="MB", peer=setup.peer, target=target, note=note))
    if any(setup.peer == "baresip" for setup in chosen):
        report.skip("rss_mb_per_call", "baresip", "its file source keeps the whole file in memory, call by call")
    for setup in chosen:
        many = samples.taken.get(setup, [])
        counts = [count for taken in many for count in taken.counts]
        if setup.peer == "phoned" and counts:
            name = setup.row.removesuffix("_cpu_ms_per_call_s")
            note = f"{sum(count['skipped'] for count in counts)} ticks skipped"
            for share in ("p50", "p99"):
                late = [count[f"lateness_{share}_ms"] for count in counts]
                report.add(row(f"{name}_tick_lateness_{share}_ms", late, unit="ms", note=note))


def report_capacity(report: Report, options: argparse.Namespace) -> None:
    """How many calls one core carries, and two processes, each on a core of its own: both ends of a call are such."""
    plans = (
        ("opus_calls_per_core", Setup(peer="phoned", codec="opus", calls=0, graph_rate=16_000), 20, 200, 100),
        ("pcmu_calls_per_core", Setup(peer="phoned", codec="pcmu", calls=0, graph_rate=8_000), 50, 500, 300),
    )
    for name, setup, step, most, wanted in plans:
        if options.quick or "phoned" not in options.peers:
            report.skip(name, "phoned", "not in a quick run" if options.quick else "phoned was not asked for")
            continue
        progress(f"{name}: adding calls while p99 of tick lateness stays below {LATE_MS:g} ms")

        def good(taken: Taken) -> bool:
            return all(count["lateness_p99_ms"] < LATE_MS and not count["skipped"] for count in taken.counts)

        number, found = carried(setup, step=step, most=most, seconds=2.0, tries=options.tries, good=good, say=progress)
        note = f"{setup.graph_rate // 1000} kHz graph, p99 tick lateness < {LATE_MS:g} ms"
        note += "" if found else "; no more were tried"
        target = Target(limit=wanted, at_most=False)
        report.add(row(name, [number], unit="calls", target=target, note=note))
        both = name.replace("per_core", "two_processes")
        report.add(row(both, [2 * number], unit="calls", target=target, note="each on a core of its own, at once"))


def parse() -> argparse.Namespace:
    """The command line."""
    parser = arguments("what a call costs")
    parser.add_argument("--calls", type=int, default=40, help="calls at once (40)")
    parser.add_argument("--seconds", type=float, help="measured per setup and round (6, quick 2)")
    parser.add_argument("--rounds", type=int, help="how often all are measured in turn (2, quick 1)")
    parser.add_argument("--tries", type=int, default=3, help="how often a step of calls per core may fail (3)")
    parser.add_argument("--peers", default=",".join(PEERS), help="comma-separated: phoned,baresip,aiortc")
    parser.add_argument("--nice", type=int, default=0, help="priority of all ends, for a machine that others use (0)")
    options = parser.parse_args()
    options.peers = [peer for peer in options.peers.split(",") if peer]
    if unknown := set(options.peers) - set(PEERS):
        parser.error(f"unknown peers: {', '.join(sorted(unknown))}")
    if options.calls < 1:
        parser.error("at least one call")
    options.seconds = options.seconds or (2.0 if options.quick else 6.0)
    options.rounds = options.rounds or (1 if options.quick else 2)
    return options


def main() -> None:
    """Print the table, write ``build/bench/media.json``."""
    options = parse()
    report = Report(name="media")
    report.facts["baresip"] = end_baresip.version()
    report.facts["libopus"] = {"phoned": libopus.load().version, "path": libopus.load().path}
    report.facts["run"] = {
        key: getattr(options, key) for key in ("calls", "seconds", "rounds", "peers", "quick", "nice")
    }
    chosen = [setup for setup in setups(options.calls, quick=options.quick) if setup.peer in options.peers]
    reason = end_baresip.why_not()
    if reason is not None:
        for setup in chosen:
            if setup.peer == "baresip":
                report.skip(setup.row, "baresip", reason)
        chosen = [setup for setup in chosen if setup.peer != "baresip"]
    if options.nice:
        os.setpriority(os.PRIO_PROCESS, 0, options.nice)  # the ends inherit it
    samples = Samples()
    for number in range(options.rounds):
        progress(f"round {number + 1} of {options.rounds}: {len(chosen)} setups")
        for setup in chosen:
            samples.take(setup, options.seconds)
    report_cpu(report, samples, chosen)
    report_rest(report, samples, chosen)
    report_capacity(report, options)
    report.publish(as_json=options.json)


if __name__ == "__main__":
    main()
