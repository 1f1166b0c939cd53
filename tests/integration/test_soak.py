"""Twenty calls that come and go for half an hour: what the daemon holds does not grow.

``PHONED_SOAK_S`` says how long (1800). Tasks cannot be counted from outside; that they go back to where they were is
proven on simulated time (tests/scenario/daemon).
"""

from __future__ import annotations

import os
import random
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import pytest

from tests.support.exchange import Exchange, Phone

CALLS = 20
SECONDS = float(os.environ.get("PHONED_SOAK_S", "1800"))
LIFE_S = (4.0, 40.0)
SAMPLE_S = 2.0
FULL_AFTER = 600
"""Calls. What is remembered of ended calls is bounded by 500 of them (SIP traces): until then memory fills up."""
GROWTH_MB = 6.0
"""From there to the end: what the allocator may do."""
POOLS = 3
"""Threads that pools of a fixed size may still have to make: one at the first work that finds none idle."""
ORDERS = ("hold", "unhold", "mute", "unmute", "dtmf", "record", "play")


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """What the process holds at a moment."""

    rss_mb: float
    threads: int
    descriptors: int
    calls: int
    """Placed so far."""

    @classmethod
    def of(cls, pid: int, calls: int = 0) -> Held:
        status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
        return cls(
            rss_mb=int(status["VmRSS"].split()[0]) / 1024,
            threads=int(status["Threads"]),
            descriptors=len(list(Path(f"/proc/{pid}/fd").iterdir())),
            calls=calls,
        )


def something_happens(phone: Phone, call: str, chance: random.Random) -> None:
    """An order at a bad moment is refused in so many words, and that is all."""
    order = chance.choice(ORDERS)
    body = {"dtmf": {"digits": "12"}, "record": {"format": "wav"}, "play": {"tone": "440", "loop": True}}.get(order, {})
    answer = phone.http.post(f"/v1/calls/{call}/{order}", json=body)
    assert answer.status_code in (200, 201, 202, 409), answer.text


@pytest.mark.long
def test_twenty_calls_come_and_go_and_nothing_grows() -> None:
    chance = random.Random(20)
    with (
        Exchange() as exchange,
        Phone(exchange, dial={"max_per_minute": 600}) as phone,
    ):
        phone.start()
        phone.wait_ready()
        phone.verb(phone.calling("echo"), "hangup")  # what is made once, is made now
        phone.until(lambda: phone.get("/v1/status")["calls"]["active"] == 0, "the end of the first call")
        idle = Held.of(phone.process.pid)
        began = time.monotonic()
        until: dict[str, float] = {}
        samples: list[Held] = []
        placed = 0
        sampled = began
        while (now := time.monotonic()) < began + SECONDS:
            for call in [call for call, end in until.items() if end <= now]:
                phone.verb(call, "hangup")
                del until[call]
            if len(until) < CALLS:
                call = phone.place("alice", chance.choice(("echo", "tone", "milliwatt")))
                until[call] = now + chance.uniform(*LIFE_S)
                placed += 1
            elif chance.random() < 0.1:
                something_happens(phone, chance.choice(list(until)), chance)
            if now - sampled >= SAMPLE_S:
                sampled = now
                samples.append(Held.of(phone.process.pid, placed))
            time.sleep(0.05)
        for call in until:
            phone.verb(call, "hangup")
        phone.until(lambda: phone.get("/v1/status")["calls"]["active"] == 0, "the end of all", 20.0)
        ended = [event for event in phone.events.of("call.ended") if event.call["id"] in set(until)]
        phone.until(lambda: Held.of(phone.process.pid).descriptors <= idle.descriptors + 2, "sockets closed", 20.0)
        after = Held.of(phone.process.pid)
        fifth = len(samples) // 5
        early, late = samples[fifth : 2 * fifth], samples[-fifth:]
        full = [one for one in samples if one.calls >= FULL_AFTER]
        growth = 0.0 if not full else median(one.rss_mb for one in late) - median(one.rss_mb for one in full[:fifth])
        judged = f"{growth:+.1f} MB since call {FULL_AFTER}" if full else "too few calls to judge its growth"
        print(  # noqa: T201 - the figures are why one runs it
            f"{placed} calls in {SECONDS:g} s; memory {idle.rss_mb:.1f} MB idle, "
            f"{median(one.rss_mb for one in early):.1f} early, {median(one.rss_mb for one in late):.1f} late, "
            f"{after.rss_mb:.1f} after ({judged}); threads {idle.threads} to {after.threads}; "
            f"descriptors {idle.descriptors} to {after.descriptors}"
        )
        assert len(ended) == len(until)
        assert growth <= GROWTH_MB
        assert max(one.threads for one in late) <= max(one.threads for one in early) + POOLS
        # a leak would show in the middle; how many of the calls are recorded in the fullest moment is chance
        assert median(one.descriptors for one in late) <= median(one.descriptors for one in early) + 4
        assert after.threads <= max(one.threads for one in early) + POOLS
