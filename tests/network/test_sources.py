"""One contract for every source of network facts: the fake of the unit tests, polling, netlink."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from ipaddress import ip_address

import pytest

from phoned.network.netlink import NetlinkSource
from phoned.network.polling import PollingSource
from phoned.network.snapshot import Snapshot
from phoned.network.source import NetworkSource
from phoned.tasks import Tasks
from tests.support.netns import Lab
from tests.support.network import WIFI, FakeSource, uplink

PATIENCE_S = 10.0


@dataclass
class Arena:
    """A source in a world with one default route, and a way to change the address on it to ``after``."""

    source: NetworkSource
    before: str
    after: str
    far: str
    disturb: Callable[[], object]


def fake_arena() -> Arena:
    source = FakeSource(WIFI)
    return Arena(
        source=source,
        before="10.0.1.2",
        after="10.0.1.9",
        far="203.0.113.5",
        disturb=lambda: source.change(uplink("wlan0", "10.0.1.9", "10.0.1.1")),
    )


def real_arena(source: NetworkSource, phone: Lab) -> Arena:
    phone.carrier("lte", False)
    phone.address("lte", False)
    return Arena(
        source=source,
        before="10.77.1.2",
        after="10.77.1.9",
        far=phone.core_address,
        disturb=lambda: phone.readdress("wifi", "10.77.1.9"),
    )


@pytest.fixture(params=["fake", "polling", "netlink"])
def arena(request: pytest.FixtureRequest) -> Iterator[Arena]:
    if request.param == "fake":
        built = fake_arena()
    else:
        phone: Lab = request.getfixturevalue("phone")
        built = real_arena(PollingSource(period_s=0.1) if request.param == "polling" else NetlinkSource(), phone)
    yield built
    built.source.close()


@asynccontextmanager
async def listening(source: NetworkSource) -> AsyncIterator[asyncio.Event]:
    """`run` in a task, beside the test; the event is set by its hints."""
    hinted = asyncio.Event()
    crashes: list[BaseException] = []
    tasks = Tasks("test", lambda _name, error: crashes.append(error))
    tasks.spawn("source", source.run(hinted.set))
    try:
        yield hinted
    finally:
        await tasks.close()
    assert not crashes
    assert len(asyncio.all_tasks()) == 1, "the source left a task behind"


async def hint(hinted: asyncio.Event) -> None:
    async with asyncio.timeout(PATIENCE_S):
        await hinted.wait()
    hinted.clear()


async def test_it_has_a_name_that_the_configuration_knows(arena: Arena) -> None:
    assert arena.source.name in {"netlink", "polling", "fake"}


async def test_it_knows_loopback_and_the_way_to_the_world(arena: Arena) -> None:
    now = await arena.source.snapshot()
    assert now.interfaces[0].name == "lo"
    assert {str(own.ip): own.prefix for own in now.interfaces[0].addresses} == {"127.0.0.1": 8, "::1": 128}
    assert len(now.default_devices()) == 1
    path = now.route_to(ip_address(arena.far))
    assert path is not None
    assert (path.device, str(path.source)) == (now.default_devices()[0], arena.before)
    assert path.gateway is not None
    assert path.gateway in next(own.network for own in now.interfaces[1].addresses if own.ip == path.source)


async def test_it_answers_for_the_paths_that_it_is_asked_about(arena: Arena) -> None:
    far = ip_address(arena.far)
    now = await arena.source.snapshot([far, ip_address("127.0.0.1")])
    assert now.answers[far] == now.look_up(far)
    own = now.answers[ip_address("127.0.0.1")]
    assert own is not None
    assert (own.device, str(own.source)) == ("lo", "127.0.0.1")


async def test_no_way_is_an_answer_or_no_answer_but_no_error(arena: Arena) -> None:
    nowhere = ip_address("2001:db8::1")
    now = await arena.source.snapshot([nowhere])
    path = now.route_to(nowhere)
    assert path is None or path.source.version == 6


async def test_two_readings_of_an_unchanged_network_are_equal(arena: Arena) -> None:
    far = ip_address(arena.far)
    assert await arena.source.snapshot([far]) == await arena.source.snapshot([far])


async def test_it_hints_once_when_listening_begins(arena: Arena) -> None:
    async with listening(arena.source) as hinted:
        await hint(hinted)


async def test_it_hints_after_a_change_and_shows_it(arena: Arena) -> None:
    far = ip_address(arena.far)

    def source_of(now: Snapshot) -> str | None:
        path = now.route_to(far)
        return None if path is None else str(path.source)

    async with listening(arena.source) as hinted:
        await hint(hinted)
        assert source_of(await arena.source.snapshot([far])) == arena.before
        await asyncio.to_thread(arena.disturb) if arena.source.name != "fake" else arena.disturb()
        async with asyncio.timeout(PATIENCE_S):
            while source_of(await arena.source.snapshot([far])) != arena.after:
                await hint(hinted)


async def test_it_can_be_stopped_and_run_again(arena: Arena) -> None:
    for _ in range(3):
        async with listening(arena.source) as hinted:
            await hint(hinted)


async def test_readings_at_the_same_time_do_not_disturb_each_other(arena: Arena) -> None:
    readings = await asyncio.gather(*(arena.source.snapshot() for _ in range(4)))
    assert all(reading == readings[0] for reading in readings)


async def test_closing_gives_its_thread_back(arena: Arena) -> None:
    before = {thread for thread in threading.enumerate() if thread.name.startswith("network")}
    await arena.source.snapshot()
    mine = {thread for thread in threading.enumerate() if thread.name.startswith("network")} - before
    arena.source.close()
    for thread in mine:
        thread.join(PATIENCE_S)
        assert not thread.is_alive()
