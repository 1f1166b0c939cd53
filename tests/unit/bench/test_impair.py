"""The bad path of the benches is as bad as it says."""

from __future__ import annotations

import itertools
import random

import pytest

from tests.support.impair import Impairment

ONE, OTHER = bytes(26) + b"flow-of-one-", bytes(26) + b"flow-of-othr"


@pytest.mark.parametrize("burst", [1.0, 3.0])
@pytest.mark.parametrize("loss_pct", [1.0, 5.0, 10.0])
def test_so_much_is_lost_and_so_many_in_a_row(loss_pct: float, burst: float) -> None:
    random.seed(5)
    path = Impairment(loss_pct=loss_pct, burst=burst)
    lost = [(path.lost(ONE), path.lost(OTHER)) for _ in range(40_000)]
    for flow in zip(*lost, strict=True):
        assert 100 * sum(flow) / len(flow) == pytest.approx(loss_pct, rel=0.2)
        begun = sum(not before and now for before, now in itertools.pairwise(flow))
        assert sum(flow) / begun == pytest.approx(burst / (1 - loss_pct / 100) if burst == 1 else burst, rel=0.15)


def test_orders_change_what_is_done_and_begin_the_drift_anew() -> None:
    path = Impairment()
    path.update("delay-ms 30 loss-pct 2 burst 3 drift-ppm 200")
    assert (path.delay_ms, path.loss_pct, path.burst, path.drift_ppm) == (30, 2, 3, 200)
    assert path.since > 0
