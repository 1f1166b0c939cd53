"""Reports of how calls sound, on virtual time."""

from __future__ import annotations

import asyncio
import itertools

from phoned.calls.quality import APART_S, PERIOD_S, QualityReports
from phoned.model import StatsView
from tests.support.loop import run_virtual


class UpCall:
    """A call that is up; without ``mos`` there is nothing to tell."""

    def __init__(self, name: str, mos: float | None = 4.2) -> None:
        self.id = name
        self.mos = mos
        self.told: list[float] = []

    def stats(self, *, sample: bool = False) -> StatsView:
        assert sample, "of the time since the last report"
        return StatsView(mos=self.mos)

    def publish(self, type_: str, **facts: object) -> None:
        assert (type_, facts["mos"]) == ("call.quality", self.mos)
        self.told.append(asyncio.get_running_loop().time())


def gaps(call: UpCall) -> list[float]:
    return [round(later - earlier, 3) for earlier, later in itertools.pairwise(call.told)]


def test_each_call_is_told_of_every_five_seconds_from_its_answer() -> None:
    async def main() -> None:
        began = asyncio.get_running_loop().time()
        up = [UpCall("one")]
        reports = QualityReports(lambda: up)
        reports.wake()
        await asyncio.sleep(2)
        up.append(UpCall("two"))
        reports.wake()
        await asyncio.sleep(21)
        reports.close()
        assert [round(at - began, 3) for at in up[0].told] == [5, 10, 15, 20]
        assert [round(at - began, 3) for at in up[1].told] == [7, 12, 17, 22]
        assert len(reports.series("one")) == 4

    run_virtual(main())


def test_calls_that_are_due_together_are_told_of_one_after_the_other() -> None:
    async def main() -> None:
        up = [UpCall(str(number)) for number in range(200)]
        reports = QualityReports(lambda: up)
        reports.wake()
        await asyncio.sleep(30.5)
        reports.close()
        at = sorted(moment for call in up for moment in call.told)
        assert min(later - earlier for earlier, later in itertools.pairwise(at)) >= APART_S * 0.99
        assert {len(call.told) for call in up} == {5, 6}
        assert {gap for call in up for gap in gaps(call)} == {PERIOD_S}

    run_virtual(main())


def test_no_timer_runs_without_a_call_and_a_call_without_sound_is_not_told_of() -> None:
    async def main() -> None:
        silent = UpCall("silent", mos=None)
        up = [silent]
        reports = QualityReports(lambda: up)
        reports.wake()
        await asyncio.sleep(11)
        assert (silent.told, reports.series("silent")) == ([], ())
        up.clear()
        await asyncio.sleep(11)
        assert reports._timer is None
        up.append(UpCall("next"))
        reports.wake()
        await asyncio.sleep(5.5)
        assert len(up[0].told) == 1
        reports.close()

    run_virtual(main())
