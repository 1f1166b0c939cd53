"""The fault switches."""

from __future__ import annotations

import asyncio

import pytest

from phoned.errors import InvalidValue
from phoned.sandbox.delay import Delay
from phoned.sandbox.faults import Faults
from tests.support.calls import virtual


def test_a_mute_exchange_loses_everything() -> None:
    faults = Faults()
    assert not faults.loses("INVITE")
    assert not faults.set({"fault": "mute", "on": True})
    assert faults.loses("INVITE")


def test_so_many_messages_of_one_method_are_lost() -> None:
    faults = Faults()
    faults.set({"fault": "drop", "count": 1, "method": "REGISTER"})
    assert [faults.loses(method) for method in ("INVITE", "REGISTER", "REGISTER")] == [False, True, False]
    faults.set({"fault": "drop", "count": 2})
    assert [faults.loses(method) for method in ("INVITE", "REGISTER", "BYE")] == [True, True, False]


def test_orders_are_carried_out_and_healed() -> None:
    faults = Faults()
    assert faults.set({"fault": "close"})
    for order in ({"fault": "delay", "ms": 200}, {"fault": "refuse", "status": 503}):
        assert not faults.set(order)
    assert (faults.delay_ms, faults.refuse) == (200, 503)
    faults.set({"fault": "none"})
    assert faults == Faults()


@pytest.mark.parametrize(
    "order",
    [
        {},
        {"fault": "fire"},
        {"fault": "mute", "on": "yes"},
        {"fault": "delay", "ms": -1},
        {"fault": "delay", "ms": 10**9},
        {"fault": "drop", "count": -1},
        {"fault": "drop", "count": 1, "method": 7},
        {"fault": "refuse", "status": 200},
    ],
)
def test_an_order_that_makes_no_sense_is_refused_and_changes_nothing(order: dict[str, object]) -> None:
    faults = Faults()
    with pytest.raises(InvalidValue):
        faults.set(order)
    assert faults == Faults()


@virtual
async def test_a_delay_keeps_the_order_also_when_it_shrinks() -> None:
    delay, done = Delay(), []
    for number, seconds in enumerate((2.0, 0.0, 1.0, 0.0)):
        delay.later(seconds, lambda number=number: done.append(number))  # type: ignore[misc]  # a bound default
    await asyncio.sleep(1.9)
    assert done == []
    await asyncio.sleep(0.2)
    assert done == [0, 1, 2, 3]
