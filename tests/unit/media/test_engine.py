"""The engine: what it makes, what it refuses, what it leaves behind."""

from __future__ import annotations

import asyncio
import threading

import pytest

from phoned.errors import Draining, InvalidValue
from phoned.media.engine import MediaEngine
from phoned.media.events import MediaEvent
from phoned.media.options import SessionOptions
from phoned.model import MediaState
from tests.support.media import LOOPBACK


def deaf(event: MediaEvent) -> None:
    """Nobody listens."""


async def test_an_engine_that_does_not_run_makes_no_sessions() -> None:
    engine = MediaEngine()
    with pytest.raises(Draining):
        engine.session("a", SessionOptions(), deaf)
    await engine.start()
    await engine.stop()
    with pytest.raises(Draining):
        engine.session("a", SessionOptions(), deaf)
    await engine.stop()


async def test_a_call_has_one_session_until_it_is_closed() -> None:
    engine = MediaEngine()
    await engine.start()
    session = engine.session("a", SessionOptions(ice=LOOPBACK), deaf)
    assert session.state is MediaState.NEGOTIATING
    assert session.current_offer() is None
    assert session.stats().packets_sent == 0
    assert session.view().local is None
    with pytest.raises(InvalidValue):
        engine.session("a", SessionOptions(), deaf)
    await session.close()
    assert engine.sessions == 0
    engine.session("a", SessionOptions(), deaf)
    assert engine.sessions == 1
    await engine.stop()
    assert engine.sessions == 0


async def test_nothing_is_left_after_the_stop() -> None:
    before = threading.active_count()
    engine = MediaEngine()
    await engine.start()
    session = engine.session("a", SessionOptions(ice=LOOPBACK), deaf)
    await session.offer()
    await engine.stop()
    assert asyncio.all_tasks() == {asyncio.current_task()}
    assert threading.active_count() == before
    assert engine.lateness_ms() == (0.0, 0.0)


async def test_hundreds_of_sessions_come_and_go_without_a_trace() -> None:
    engine = MediaEngine()
    await engine.start()
    for number in range(100):
        session = engine.session(str(number), SessionOptions(ice=LOOPBACK), deaf)
        await session.offer()
        session.rollback()
        await session.close()
    assert engine.sessions == 0
    await engine.stop()
    assert asyncio.all_tasks() == {asyncio.current_task()}
