"""What a call sounds like on a bad path: phoned, stock aiortc and baresip, at the same time on the same path.

Each peer has one call between two network namespaces. The router between them loses, delays and jitters the packets of
all in the same way (`tests/support/impair.py`), in both directions. The impairment begins on a call that is up; after
`SETTLE_S` what one end hears is kept and compared with what the other said (`tests/bench/heard.py`). Needs root.

The speech is made, not spoken: PESQ of it tells better from worse, but is no listening test. aiortc hands frames over
when packets come, so it is given a sound card with 40 ms ahead. baresip's sound is taken from its decoder: time that
its player would fill with silence is not in it, but counted as a gap.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Protocol

from tests.bench import end_baresip, heard
from tests.bench.end import End
from tests.bench.end_baresip import Baresip
from tests.bench.report import Report, Target, arguments, progress, row
from tests.bench.speech import SECONDS
from tests.peers.harness.place import LabPlace
from tests.support.netns import CORE_ADDRESS, SEGMENTS, Lab, why_not

PEERS = ("phoned", "baresip", "aiortc")
RTT_MS = 20.0
LATE_MS = 10.0
"""A clock that ticks later than that in one of a hundred cases tells of the machine, not of the path."""
SETTLE_S = 8.0
"""Reports of loss come every five seconds; a jitter buffer needs some, too."""
BARESIP_BITRATE, BARESIP_LOSS_PCT = 36_000, 10
"""What phoned's encoder goes up to under loss, and what baresip's configuration proposes to expect."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """What the path does, both ways."""

    name: str
    loss_pct: float = 0.0
    burst: float = 1.0
    jitter_ms: float = 0.0
    """Delays differ by so much from packet to packet, evenly."""
    drift_ppm: float = 0.0


CLEAN = Condition(name="clean")
CONDITIONS = (
    CLEAN,
    *(Condition(name=f"loss_{pct}", loss_pct=pct) for pct in (1, 3, 5, 10)),
    *(Condition(name=f"burst_{pct}", loss_pct=pct, burst=3.0) for pct in (1, 3, 5, 10)),
    *(Condition(name=f"jitter_{ms}", jitter_ms=ms) for ms in (20, 40, 80)),
    Condition(name="drift_200ppm", drift_ppm=200.0),
    Condition(name="loss_3_jitter_40", loss_pct=3.0, jitter_ms=40.0),
)
QUICK = ("clean", "loss_5", "burst_5", "jitter_40")
GATES = {"clean": 4.0, "loss_5": 3.5, "burst_5": 2.5, "jitter_40": 4.0}
"""PESQ of phoned, at least."""


@dataclass(slots=True, kw_only=True)
class Taken:
    """What the rounds brought, for one peer under one condition."""

    pesq: list[float] = field(default_factory=list)
    gap_ms_per_s: list[float] = field(default_factory=list)
    longest_gap_ms: list[float] = field(default_factory=list)
    level_db: list[float] = field(default_factory=list)
    delay_change_ms: list[float] = field(default_factory=list)
    mouth_to_ear_ms: list[float] = field(default_factory=list)
    tick_lateness_ms: list[float] = field(default_factory=list)

    def add(self, other: Taken) -> None:
        """The samples of another round."""
        for each in fields(self):
            getattr(self, each.name).extend(getattr(other, each.name))


class Caller(Protocol):
    """One peer's call between the namespaces."""

    def connect(self) -> None:
        """Sound flows both ways."""
        ...

    def listen(self) -> None:
        """Keep what is heard from now on."""
        ...

    def take(self, taken: Taken, listened_s: float) -> None:
        """Measure what was heard."""
        ...


class Ours:
    """phoned, or aiortc behind the same orders."""

    def __init__(self, peer: str, lab: Lab, stack: ExitStack) -> None:
        self._peer = peer
        module = f"tests.bench.end_{peer}"
        near, far = LabPlace(lab, "phone"), LabPlace(lab, "core")
        addresses = ([SEGMENTS["wifi"].address], [CORE_ADDRESS]) if peer == "phoned" else ([], [])
        settings = ["16000"] if peer == "phoned" else []
        self._ends = (
            stack.enter_context(End(module, "opus", *settings, *addresses[0], core=0, place=near)),
            stack.enter_context(End(module, "opus", *settings, *addresses[1], core=1, place=far)),
        )
        self._directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))

    def connect(self) -> None:
        one, other = self._ends
        answers = other.ask(do="answer", offers=one.ask(do="offer", count=1)["offers"])["answers"]
        one.ask(do="accept", answers=answers)
        for end in self._ends:
            end.ask(do="flowing")

    def listen(self) -> None:
        for end in self._ends:
            end.ask(do="count")
            end.ask(do="listen")

    def take(self, taken: Taken, listened_s: float) -> None:
        answers = []
        for number, end in enumerate(self._ends):
            path = self._directory / str(number)
            answers.append(end.ask(do="heard", path=str(path)))
        for number, answer in enumerate(answers):
            pcm = (self._directory / str(number)).read_bytes()
            quality = note(taken, pcm, answer["rate"], listened_s)
            if quality is None or self._peer != "phoned":
                continue
            said = answers[1 - number]
            # both ends have the same clock: where the speech was when the newest frame was heard, less where that is
            newest_s = quality.place / heard.RATE + len(pcm) / 2 / answer["rate"] - quality.delay_ms[-1] / 1000
            said_s = (said["said_frame"] + 1) / 50 + answer["at"] - said["said_at"]
            taken.mouth_to_ear_ms.append((said_s - newest_s) % SECONDS * 1000)
        if self._peer == "phoned":
            taken.tick_lateness_ms += [end.ask(do="count")["lateness_p99_ms"] for end in self._ends]


class Theirs:
    """baresip."""

    def __init__(self, lab: Lab, stack: ExitStack) -> None:
        one, other = (
            stack.enter_context(
                Baresip(
                    "opus",
                    core=core,
                    place=LabPlace(lab, "phone" if core == 0 else "core"),
                    address=SEGMENTS["wifi"].address if core == 0 else CORE_ADDRESS,
                    bitrate=BARESIP_BITRATE,
                    loss_pct=BARESIP_LOSS_PCT,
                    dump=True,
                )
            )
            for core in (0, 1)
        )
        self._ends = (one, other)
        self._before = [0, 0]

    def connect(self) -> None:
        self._ends[0].dial(self._ends[1], 1)

    def listen(self) -> None:
        self._before = [len(end.decoded()) for end in self._ends]

    def take(self, taken: Taken, listened_s: float) -> None:
        for before, end in zip(self._before, self._ends, strict=True):
            note(taken, end.decoded(before), end.rate, listened_s)


def note(taken: Taken, pcm: bytes, rate: int, listened_s: float) -> heard.Quality | None:
    """Take the figures of what one end heard; None when that is too little to say anything."""
    sound = heard.at_16000(pcm, rate)
    try:
        quality = heard.measure(sound)
    except ValueError:
        taken.gap_ms_per_s.append(1000.0)
        taken.pesq.append(1.0)
        return None
    # what is missing at the end is a gap, too; a frame or two are on their way
    absent_ms = max(0.0, (listened_s - len(pcm) / 2 / rate) * 1000 - 200)
    taken.gap_ms_per_s.append(quality.gap_ms_per_s + absent_ms / listened_s)
    taken.longest_gap_ms.append(quality.longest_gap_ms)
    taken.level_db += [abs(level) for level in quality.level_db]
    taken.delay_change_ms.append(quality.delay_ms[-1])
    if heard.pesq_why_not() is None:
        taken.pesq += heard.pesq_of(sound)
    return quality


def run(condition: Condition, peers: Sequence[str], seconds: float) -> dict[str, Taken]:
    """One condition, all peers at once, in a lab of their own."""
    taken: dict[str, Taken] = {}
    with Lab(start_on="wifi", rtt_ms=RTT_MS) as lab, ExitStack() as stack:
        callers: dict[str, Caller] = {}
        for peer in peers:
            callers[peer] = Theirs(lab, stack) if peer == "baresip" else Ours(peer, lab, stack)
        for caller in callers.values():
            caller.connect()
        lab.impair(
            "wifi",
            # jitter goes both ways from the delay, and cannot come before it
            rtt_ms=RTT_MS + 2 * condition.jitter_ms,
            jitter_ms=condition.jitter_ms / 2,
            loss_pct=condition.loss_pct,
            burst=condition.burst,
            drift_ppm=condition.drift_ppm,
        )
        time.sleep(SETTLE_S)
        began = time.monotonic()
        for caller in callers.values():
            caller.listen()
        time.sleep(seconds)
        for peer, caller in callers.items():
            listened_s = time.monotonic() - began
            caller.take(taken.setdefault(peer, Taken()), listened_s)
    return taken


def run_undisturbed(condition: Condition, peers: Sequence[str], seconds: float, tries: int) -> dict[str, Taken]:
    """`run` until the machine let the clock of phoned tick in time; the last try counts whatever it was like."""
    taken = run(condition, peers, seconds)
    for _ in range(tries - 1):
        late_ms = max(taken["phoned"].tick_lateness_ms, default=0.0) if "phoned" in taken else 0.0
        if late_ms < LATE_MS:
            break
        progress(f"  the machine was busy: ticks came {late_ms:g} ms late (p99); again")
        taken = run(condition, peers, seconds)
    return taken


def report_all(
    report: Report, taken: dict[tuple[str, str], Taken], conditions: Sequence[Condition], peers: Sequence[str]
) -> None:
    """The rows, condition by condition, so that peers stand below each other."""
    pesq_missing = heard.pesq_why_not()
    for condition in conditions:
        for peer in peers:
            one = taken.get((condition.name, peer))
            if one is None:
                report.skip(condition.name, peer, "not measured")
                continue
            gate = GATES.get(condition.name) if peer == "phoned" else None
            if pesq_missing is None:
                target = None if gate is None else Target(limit=gate, at_most=False, name="gate")
                report.add(row(f"{condition.name}_pesq", one.pesq, unit="MOS-LQO", peer=peer, target=target))
            for name, samples, unit in (
                ("gap_ms_per_s", one.gap_ms_per_s, "ms"),
                ("longest_gap_ms", one.longest_gap_ms, "ms"),
                ("level_error_db", one.level_db, "dB"),
                ("delay_change_ms", one.delay_change_ms, "ms"),
                ("mouth_to_ear_ms", one.mouth_to_ear_ms, "ms"),
                ("tick_lateness_p99_ms", one.tick_lateness_ms, "ms"),
            ):
                if samples:
                    report.add(row(f"{condition.name}_{name}", samples, unit=unit, peer=peer))
    if pesq_missing is not None:
        report.skip("pesq", "all", pesq_missing)


def parse() -> argparse.Namespace:
    """The command line."""
    parser = arguments("what a call sounds like on a bad path")
    parser.add_argument("--seconds", type=float, help="listened to per condition and round (32, quick 16)")
    parser.add_argument("--rounds", type=int, default=1, help="how often all conditions are measured in turn (1)")
    parser.add_argument("--tries", type=int, default=3, help="a condition is repeated on a busy machine (3)")
    parser.add_argument("--peers", default=",".join(PEERS), help="comma-separated: phoned,baresip,aiortc")
    parser.add_argument("--conditions", help=f"comma-separated: {','.join(each.name for each in CONDITIONS)}")
    options = parser.parse_args()
    options.peers = [peer for peer in options.peers.split(",") if peer]
    wanted = options.conditions.split(",") if options.conditions else QUICK if options.quick else None
    options.conditions = [each for each in CONDITIONS if wanted is None or each.name in wanted]
    if unknown := (set(options.peers) - set(PEERS)) | (set(wanted or ()) - {each.name for each in CONDITIONS}):
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    options.seconds = options.seconds or (16.0 if options.quick else 32.0)
    return options


def main() -> None:
    """Print the table, write ``build/bench/quality.json``."""
    options = parse()
    report = Report(name="quality")
    report.facts["baresip"] = end_baresip.version()
    report.facts["run"] = {"seconds": options.seconds, "rounds": options.rounds, "rtt_ms": RTT_MS, "settle_s": SETTLE_S}
    taken: dict[tuple[str, str], Taken] = {}
    peers = list(options.peers)
    if "baresip" in peers and (reason := end_baresip.why_not()) is not None:
        report.skip("all", "baresip", reason)
        peers.remove("baresip")
    if (reason := why_not()) is not None:
        report.skip("all", "all", reason)
        options.rounds = 0
        peers = []
    for number in range(options.rounds):
        for condition in options.conditions:
            progress(f"round {number + 1} of {options.rounds}: {condition.name}")
            try:
                found = run_undisturbed(condition, peers, options.seconds, options.tries)
            except (RuntimeError, TimeoutError, OSError) as error:
                progress(f"  {error}")
                continue
            for peer, one in found.items():
                taken.setdefault((condition.name, peer), Taken()).add(one)
                if one.pesq:
                    progress(f"  {peer}: PESQ {sorted(one.pesq)[len(one.pesq) // 2]:.2f}, gaps {one.gap_ms_per_s}")
    report_all(report, taken, options.conditions, peers)
    report.publish(as_json=options.json)


if __name__ == "__main__":
    main()
