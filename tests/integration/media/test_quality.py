"""How a call sounded lately, and since it began."""

from __future__ import annotations

import itertools

from tests.support.media import call, connect_through, wire


async def test_a_sample_is_of_the_time_since_the_last_one() -> None:
    async with wire() as halves, call(connect=False) as pair:
        await connect_through(pair, halves)
        ours, count = pair.a.session, itertools.count()
        await pair.a.listen(0.3)
        first = ours.stats(sample=True)
        assert first.loss_pct == 0
        halves[1].drop = lambda data: data[0] > 127 and next(count) % 3 == 0
        await pair.a.listen(0.6)
        halves[1].drop = lambda data: False
        await pair.a.listen(0.1)
        bad = ours.stats(sample=True)
        assert 15 < bad.loss_pct < 45
        assert (bad.mos or 5) < (first.mos or 0) - 0.5
        await pair.a.listen(0.3)
        good, whole = ours.stats(sample=True), ours.stats()
        assert good.loss_pct == 0
        assert (good.mos or 0) > (bad.mos or 5) + 0.5
        assert 5 < whole.loss_pct < bad.loss_pct
        assert good.packets_lost == whole.packets_lost > 0
        halves[1].drop = lambda data: True
        await pair.a.listen(0.1)
        ours.stats(sample=True)
        await pair.a.listen(0.1)
        assert ours.stats(sample=True).mos is None, "nothing was heard that could be rated"
