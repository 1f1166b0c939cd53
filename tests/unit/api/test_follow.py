"""The stream of events across restarts of the daemon."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import pytest

from api.ctl import follow as following
from api.ctl.client import AUTH, UNREACHABLE, Client, Failure

Json = dict[str, Any]


class Daemons:
    """What each connection gives: events, then its end or a failure."""

    def __init__(self, *lives: list[Json] | Failure) -> None:
        self._lives = list(lives)
        self.asked: list[int | None] = []

    def follow(self, after: int | None) -> Iterator[Json]:
        self.asked.append(after)
        life = self._lives.pop(0)
        if isinstance(life, Failure):
            raise life
        yield from life


AWAY = Failure(UNREACHABLE, "nobody there")
ENOUGH = Failure(AUTH, "enough")
SNAPSHOT: Json = {"type": "events.snapshot", "data": {"last_seq": 7}}


def event(seq: int) -> Json:
    return {"type": "x", "seq": seq, "data": {}}


def run(daemons: Daemons, after: int | None = None) -> tuple[list[Json], list[str], Failure]:
    heard: list[Json] = []
    told: list[str] = []
    stream = following.follow(
        cast(Client, daemons), after, lost=lambda: told.append("lost"), back=lambda: told.append("back")
    )
    try:
        while True:
            heard.append(next(stream))
    except Failure as failure:
        return heard, told, failure


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "RETRY_S", 0.0)


def test_it_goes_on_behind_what_was_heard_last() -> None:
    daemons = Daemons([SNAPSHOT, event(8)], AWAY, AWAY, [event(9)], ENOUGH)
    heard, told, failure = run(daemons)
    assert [item.get("seq") for item in heard] == [None, 8, 9]
    assert told == ["lost", "back", "lost"]
    assert daemons.asked == [None, 8, 8, 8, 9]
    assert failure is ENOUGH


def test_the_first_attempt_must_work() -> None:
    assert run(Daemons(AWAY)) == ([], [], AWAY)


def test_a_daemon_that_stays_away_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "RECONNECT_S", -1.0)
    heard, told, failure = run(Daemons([SNAPSHOT], AWAY))
    assert (len(heard), told, failure) == (1, ["lost"], AWAY)
