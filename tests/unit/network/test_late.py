"""A source that is loaded when it is first asked."""

from __future__ import annotations

import asyncio
import threading

from phoned.network.late import LateSource
from phoned.network.source import NetworkSource
from phoned.tasks import Tasks
from tests.support.network import FakeSource


class Loader:
    def __init__(self) -> None:
        self.made: list[FakeSource] = []
        self.threads: list[threading.Thread] = []

    def load(self) -> NetworkSource:
        self.threads.append(threading.current_thread())
        self.made.append(FakeSource())
        return self.made[-1]


async def test_it_is_loaded_once_and_off_the_loop_whoever_asks_first() -> None:
    loader = Loader()
    late = LateSource(loader.load, name="netlink")
    assert (late.name, loader.made) == ("netlink", [])
    heard = asyncio.Event()
    tasks = Tasks("test", lambda name, error: None)
    tasks.spawn("listen", late.run(heard.set))
    first, second = await asyncio.gather(late.snapshot(), late.snapshot())
    async with asyncio.timeout(2):
        await heard.wait()
    assert first == second
    assert len(loader.made) == 1
    assert threading.main_thread() not in loader.threads
    assert late.name == loader.made[0].name
    await tasks.close()


async def test_what_was_never_loaded_needs_no_closing_and_what_was_is_closed() -> None:
    loader = Loader()
    LateSource(loader.load, name="netlink").close()
    assert loader.made == []
    late = LateSource(loader.load, name="netlink")
    await late.snapshot()
    late.close()
    assert loader.made[0].closed
