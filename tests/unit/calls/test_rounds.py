"""One timer for the watch over all calls."""

from __future__ import annotations

import asyncio

import pytest

from phoned.calls.rounds import Rounds
from tests.support.calls import virtual


class Member:
    def __init__(self, rounds: Rounds, period_s: float, fails: bool = False) -> None:
        self.rounds, self.period_s, self.fails = rounds, period_s, fails
        self.looked_at: list[float] = []

    def reconsider(self) -> None:
        now = asyncio.get_running_loop().time()
        self.looked_at.append(round(now, 3))
        self.rounds.at(self, now + self.period_s)
        if self.fails:
            raise RuntimeError("bug")


@virtual
async def test_everybody_is_looked_at_when_it_asked_for_and_neighbours_together() -> None:
    rounds = Rounds()
    start = asyncio.get_running_loop().time()
    one, two = Member(rounds, 10), Member(rounds, 10)
    rounds.at(one, start + 1)
    rounds.at(two, start + 1.01)
    rounds.at(two, start + 1.015)
    await asyncio.sleep(12)
    assert one.looked_at == two.looked_at == [start + 1, start + 11]
    rounds.leave(one)
    rounds.leave(one)
    rounds.at(two, start + 12.5)
    await asyncio.sleep(1)
    assert two.looked_at[-1] == start + 12.5
    rounds.leave(two)
    assert len(rounds) == 0
    await asyncio.sleep(100)
    assert len(one.looked_at) == 2


@virtual
async def test_one_that_fails_does_not_keep_the_others_waiting(caplog: pytest.LogCaptureFixture) -> None:
    rounds = Rounds()
    start = asyncio.get_running_loop().time()
    bad, good = Member(rounds, 1, fails=True), Member(rounds, 1)
    rounds.at(bad, start + 1)
    rounds.at(good, start + 1)
    await asyncio.sleep(2.5)
    assert (len(bad.looked_at), len(good.looked_at)) == (2, 2)
    assert "failed for one of them" in caplog.text
    rounds.leave(bad)
    rounds.leave(good)
