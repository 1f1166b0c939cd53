"""From hints to changes, on virtual time."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import pytest

from phoned.model import InterfaceView, NetworkChangeView, RouteView
from phoned.network.monitor import HISTORY, NetworkMonitor
from phoned.network.snapshot import Interest, Snapshot
from tests.support.loop import run_virtual
from tests.support.network import LTE, OFFLINE, WIFI, FakeSource, KeptChanges

PROXY = "203.0.113.5"
NOW = datetime(2026, 11, 20, 23, 30, tzinfo=UTC)
MOVED = ("default route moved wlan0 -> wwan0", "wlan0 is gone")


class Bench:
    """A monitor with everything around it in hand."""

    def __init__(self) -> None:
        self.source = FakeSource()
        self.heard = KeptChanges()
        self.interests: Callable[[], tuple[Interest, ...]] = lambda: (Interest.of(PROXY, "10.0.1.2"),)
        self.monitor = NetworkMonitor(
            self.source,
            self.heard,
            lambda: self.interests(),
            ignore_interfaces=("docker*",),
            wall=lambda: NOW,
        )


@asynccontextmanager
async def watching() -> AsyncIterator[Bench]:
    bench = Bench()
    await bench.monitor.start()
    try:
        yield bench
    finally:
        await bench.monitor.close()
        assert len(asyncio.all_tasks()) == 1, "the monitor left a task behind"


def now() -> float:
    return asyncio.get_running_loop().time()


def virtual(main: Callable[[], Coroutine[object, object, None]]) -> Callable[[], None]:
    """Run a test on virtual time."""

    def test() -> None:
        run_virtual(main())

    test.__name__, test.__doc__ = main.__name__, main.__doc__
    return test


@virtual
async def test_the_first_snapshot_is_no_change() -> None:
    async with watching() as bench:
        await asyncio.sleep(10)
        assert (bench.monitor.generation, bench.heard.changes) == (0, [])
        assert bench.monitor.snapshot.interfaces == WIFI.interfaces


@virtual
async def test_a_change_is_handed_over_50_ms_after_the_first_hint() -> None:
    async with watching() as bench:
        began = now()
        bench.source.change(LTE)
        await asyncio.sleep(1)
        assert bench.heard.reasons == [MOVED]
        assert bench.heard.at[0] - began == pytest.approx(0.05)
        (change,) = bench.heard.changes
        assert [str(each) for each in change.became_unusable] == ["10.0.1.2"]
        assert (bench.monitor.generation, change.generation, change.trigger) == (1, 1, None)


@virtual
async def test_the_messages_of_one_handover_are_one_change() -> None:
    async with watching() as bench:
        for step in (OFFLINE, LTE, OFFLINE, LTE):
            bench.source.change(step)
            await asyncio.sleep(0.01)
        await asyncio.sleep(1)
        assert bench.heard.reasons == [MOVED]


@virtual
async def test_a_hint_without_a_change_is_not_told() -> None:
    async with watching() as bench:
        for _ in range(20):
            bench.source.hint()
            await asyncio.sleep(0.2)
        assert bench.heard.changes == []


@virtual
async def test_a_hint_during_the_reading_is_not_lost() -> None:
    async with watching() as bench:
        bench.source.read_takes_s = 0.5
        bench.source.hint()
        await asyncio.sleep(0.3)  # the reading began at 0.05
        bench.source.change(LTE)
        bench.source.read_takes_s = 0.0
        await asyncio.sleep(1)
        assert bench.heard.reasons == [MOVED]


@virtual
async def test_two_changes_within_300_ms_are_both_told() -> None:
    async with watching() as bench:
        bench.source.change(LTE)
        await asyncio.sleep(0.3)
        bench.source.change(OFFLINE)
        await asyncio.sleep(0.3)
        assert [change.generation for change in bench.heard.changes] == [1, 2]


@virtual
async def test_a_flapping_link_is_told_ever_less_often_and_its_end_is_right() -> None:
    async with watching() as bench:
        for _ in range(100):
            bench.source.change(OFFLINE)
            await asyncio.sleep(0.1)
            bench.source.change(WIFI)
            await asyncio.sleep(0.1)
        await asyncio.sleep(2)
        assert 20 <= len(bench.heard.changes) <= 60, "20 s of flapping"
        last = bench.heard.changes[-1].new
        assert last.default_devices() == ("wlan0",)
        began = now()
        await asyncio.sleep(5)
        bench.source.change(OFFLINE)
        await asyncio.sleep(1)
        assert bench.heard.at[-1] - began == pytest.approx(5.05), "calm again: 50 ms again"


@virtual
async def test_a_trigger_is_handed_over_at_once_and_without_any_change() -> None:
    async with watching() as bench:
        began = now()
        bench.monitor.trigger("resumed after 63 s")
        bench.monitor.trigger("resumed after 63 s")
        await asyncio.sleep(1)
        (change,) = bench.heard.changes
        assert bench.heard.at[0] == began
        assert (change.trigger, change.reasons) == ("resumed after 63 s", ("resumed after 63 s",))
        assert change.became_unusable == ()


@virtual
async def test_a_trigger_carries_what_really_changed() -> None:
    async with watching() as bench:
        bench.source.change(LTE)
        bench.monitor.trigger("asked for")
        await asyncio.sleep(1)
        (change,) = bench.heard.changes
        assert change.reasons == (*MOVED, "asked for")
        assert [str(each) for each in change.became_unusable] == ["10.0.1.2"]


@virtual
async def test_a_trigger_does_not_wait_for_facts_that_cannot_be_had() -> None:
    async with watching() as bench:
        bench.source.read_takes_s = 3600.0
        began = now()
        bench.monitor.trigger("asked for")
        await asyncio.sleep(2)
        assert bench.heard.reasons == [("asked for",)]
        assert bench.heard.at[0] - began == pytest.approx(1.0)


@virtual
async def test_a_trigger_before_the_first_snapshot_is_kept() -> None:
    bench = Bench()
    bench.monitor.trigger("early")
    await bench.monitor.start()
    await asyncio.sleep(1)
    assert bench.heard.reasons == [("early",)]
    await bench.monitor.close()


@virtual
async def test_a_reading_that_fails_is_tried_again_with_back_off() -> None:
    async with watching() as bench:
        bench.source.read_fails = OSError("no buffer space")
        before = bench.source.reads
        bench.source.change(LTE)
        await asyncio.sleep(60)
        assert 6 <= bench.source.reads - before <= 15
        bench.source.read_fails = None
        await asyncio.sleep(11)
        assert bench.heard.reasons == [MOVED]


@virtual
async def test_a_reading_that_hangs_is_given_up() -> None:
    async with watching() as bench:
        bench.source.read_takes_s = 3600.0
        bench.source.change(LTE)
        await asyncio.sleep(5.1)
        bench.source.read_takes_s = 0.0
        await asyncio.sleep(1)
        assert bench.heard.reasons == [MOVED]


@virtual
async def test_a_source_that_fails_is_started_again_and_the_network_read_again() -> None:
    async with watching() as bench:
        bench.source.now = LTE  # the hint of it is lost with the source
        bench.source.break_down(OSError("netlink: gone"))
        await asyncio.sleep(0.31)
        assert bench.source.runs == 2
        assert bench.heard.reasons == [MOVED]


@virtual
async def test_a_source_that_fails_for_ever_is_not_started_in_a_tight_loop() -> None:
    async with watching() as bench:
        bench.source.run_fails = OSError("netlink: not allowed")
        bench.source.break_down(bench.source.run_fails)
        await asyncio.sleep(60)
        assert 8 <= bench.source.runs <= 14
        bench.source.run_fails = None
        await asyncio.sleep(30)
        runs = bench.source.runs
        bench.source.break_down(OSError("netlink: gone"))
        await asyncio.sleep(0.3)
        assert bench.source.runs == runs + 1, "one that ran well is started again soon"


@virtual
async def test_start_does_not_wait_for_ever() -> None:
    bench = Bench()
    bench.source.read_fails = OSError("not allowed")
    began = now()
    await bench.monitor.start(deadline_s=2.0)
    assert now() - began == pytest.approx(2.0)
    assert bench.monitor.snapshot == Snapshot()
    bench.source.read_fails = None
    await asyncio.sleep(10)
    assert bench.monitor.snapshot.interfaces == WIFI.interfaces
    await bench.monitor.close()
    assert bench.source.closed


@virtual
async def test_the_kernel_is_asked_for_the_path_of_somebody_new_before_anything_changes() -> None:
    async with watching() as bench:
        bench.interests = lambda: (Interest.of(PROXY), Interest.of("198.51.100.7"), Interest.of("198.51.100.7", "::1"))
        await asyncio.sleep(1.1)
        assert [str(each) for each in bench.source.asked] == ["198.51.100.7", PROXY]
        reads = bench.source.reads
        await asyncio.sleep(60)
        assert bench.source.reads == reads, "nothing new: nothing is read"
        assert bench.heard.changes == []


@virtual
async def test_nobody_is_told_after_the_close() -> None:
    bench = Bench()
    await bench.monitor.start()
    bench.source.change(LTE)
    await bench.monitor.close()
    bench.monitor.trigger("too late")
    await asyncio.sleep(1)
    assert bench.heard.changes == []
    assert len(asyncio.all_tasks()) == 1


def test_an_owner_that_fails_does_not_end_the_watch(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with watching() as bench:
            good = bench.interests

            def bad() -> tuple[Interest, ...]:
                raise RuntimeError("no interests today")

            bench.interests = bad
            bench.source.change(LTE)
            await asyncio.sleep(3)
            bench.interests = good
            bench.heard.fails = RuntimeError("the listener is ill")
            await asyncio.sleep(3)
            bench.source.change(WIFI)
            await asyncio.sleep(3)
            assert len(bench.heard.changes) == 2

    with caplog.at_level(logging.WARNING):
        run_virtual(main())
    assert "the listener failed" in caplog.text
    assert "nobody can say whom we talk to" in caplog.text


@virtual
async def test_the_view_tells_people_what_is_known() -> None:
    async with watching() as bench:
        bench.source.change(LTE)
        await asyncio.sleep(1)
        view = bench.monitor.view()
        assert (view.generation, view.source) == (1, "fake")
        assert view.interfaces[1] == InterfaceView(
            name="wwan0", kind="", up=True, carrier=True, addresses=("10.0.2.2/24",), ignored=False
        )
        assert view.routes == (
            RouteView(destination="default", family="ipv4", device="wwan0", gateway="10.0.2.1", metric=100),
            RouteView(destination="10.0.2.0/24", family="ipv4", device="wwan0"),
        )
        assert view.changes == (
            NetworkChangeView(generation=1, at=NOW, reasons=MOVED, became_unusable=("10.0.1.2",), trigger=None),
        )


@virtual
async def test_the_history_is_bounded() -> None:
    async with watching() as bench:
        for number in range(HISTORY + 8):
            bench.monitor.trigger(f"number {number}")
            await asyncio.sleep(1)
        changes = bench.monitor.view().changes
        assert len(changes) == HISTORY
        assert changes[-1].reasons == (f"number {HISTORY + 7}",)
