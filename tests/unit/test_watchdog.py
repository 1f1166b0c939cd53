"""Who is well, decided from times alone; and a runner on virtual time that feeds only those who are."""

from __future__ import annotations

import asyncio
import logging

import pytest

from phoned.media.clock import MediaClock
from phoned.tasks import Tasks
from phoned.watchdog import BEATS, MAX_LAG_S, Due, Watchdog, laggard
from tests.support.loop import run_virtual


@pytest.mark.parametrize(
    ("due", "expected"),
    [
        ({}, None),
        ({"loop": None}, None),
        ({"loop": 100.0}, None),
        ({"loop": 101.0}, None),
        ({"loop": 95.1}, None),
        ({"loop": 95.0}, "loop"),
        ({"loop": 99.0, "media": None}, None),
        ({"loop": 99.0, "media": 80.0}, "media"),
        ({"loop": 90.0, "media": 80.0}, "media"),
        ({"loop": 80.0, "media": 90.0}, "loop"),
    ],
)
def test_the_one_that_lags_most_is_named(due: dict[str, float | None], expected: str | None) -> None:
    assert laggard(100.0, due, MAX_LAG_S) == expected


class Fed:
    """Counts, and remembers when."""

    def __init__(self) -> None:
        self.at: list[float] = []

    def __call__(self) -> None:
        self.at.append(asyncio.get_running_loop().time())


async def beats(seconds: float, watched: dict[str, Due], period_s: float = 30.0) -> tuple[Fed, float]:
    """Run a watchdog for so long; when it fed, and when it began."""
    fed, start = Fed(), asyncio.get_running_loop().time()
    tasks = Tasks("test", lambda name, error: None)
    tasks.spawn("watchdog", Watchdog(period_s, fed, watched).run())
    await asyncio.sleep(seconds)
    await tasks.close()
    return fed, start


def test_a_healthy_process_is_fed_several_times_within_the_period_and_once_at_once() -> None:
    fed, start = run_virtual(beats(30.0, {}))
    assert [at - start for at in fed.at] == [0.0, 7.5, 15.0, 22.5, 30.0][: len(fed.at)]
    assert len(fed.at) >= BEATS


def test_nothing_is_fed_while_a_part_stands_still() -> None:
    async def scenario() -> tuple[Fed, float]:
        loop = asyncio.get_running_loop()
        stuck_at = loop.time() + 10.0
        # due all the time and served at once, until it stands still after 10 s and runs again after 60 s
        return await beats(
            90.0, {"it": lambda: loop.time() if loop.time() < stuck_at or loop.time() > stuck_at + 50 else stuck_at}
        )

    fed, start = run_virtual(scenario())
    assert [round(at - start, 3) for at in fed.at][:6] == [0.0, 7.5, 67.5, 75.0, 82.5, 90.0][: len(fed.at)]


async def test_it_is_said_once_that_and_once_that_no_more(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    watchdog = Watchdog(30.0, Fed(), {})
    assert watchdog.beat(100.0, 101.0)
    assert not watchdog.beat(100.0, 105.0)
    assert not watchdog.beat(105.0, 111.0)
    assert watchdog.beat(111.0, 111.0)
    assert [record.levelname for record in caplog.records] == ["ERROR", "INFO"]
    assert Watchdog.LOOP in caplog.text


async def test_a_short_period_has_a_shorter_patience() -> None:
    watchdog = Watchdog(1.0, Fed(), {})
    assert watchdog.beat(100.0, 100.4)
    assert not watchdog.beat(100.0, 100.5)


class Call:
    """A ticker that counts."""

    def __init__(self) -> None:
        self.ticks = 0

    def tick(self, now: float, due: float) -> None:
        self.ticks += 1

    def skip(self, ticks: int) -> None: ...

    def crashed(self, error: Exception) -> None: ...


def test_a_media_clock_is_due_only_while_it_ticks_somebody() -> None:
    async def scenario() -> None:
        loop, clock = asyncio.get_running_loop(), MediaClock()
        assert clock.due() is None
        call = Call()
        remove = clock.add(call)
        for _ in range(50):
            await asyncio.sleep(0.1)
            due = clock.due()
            assert due is not None
            assert abs(due - loop.time()) < 0.05
        assert call.ticks > 200
        remove()
        assert clock.due() is None

    run_virtual(scenario())


def test_a_media_clock_that_has_lost_its_timer_is_seen() -> None:
    async def scenario() -> Fed:
        clock = MediaClock()
        clock.add(Call())
        await asyncio.sleep(1.0)
        clock.stop()  # as if its timer had been lost: somebody still wants ticks
        fed, _ = await beats(30.0, {"the media clock": clock.due})
        return fed

    assert len(run_virtual(scenario()).at) == 1  # the first look came too early to tell
