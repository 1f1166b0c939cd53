from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from phoned.sip.io import Outbox, TimerSet, TimerValues


def test_outbox_gives_everything_once_and_in_order() -> None:
    box = Outbox()
    assert box.send(1, b"a")
    assert box.send(2, b"b")
    assert len(box) == 2
    assert box.drain() == [(1, b"a"), (2, b"b")]
    assert box.drain() == []


def test_full_outbox_refuses_and_counts_until_it_is_drained() -> None:
    box = Outbox(limit=2)
    assert [box.send(1, b"x") for _ in range(4)] == [True, True, False, False]
    assert box.refused == 2
    assert len(box.drain()) == 2
    assert box.send(1, b"y")


def test_outbox_forgets_what_was_meant_for_a_lost_flow() -> None:
    box = Outbox()
    box.send(1, b"a")
    box.send(2, b"b")
    box.discard(1)
    assert box.drain() == [(2, b"b")]


def test_timers_fire_in_order_of_time_then_of_setting() -> None:
    timers: TimerSet[str] = TimerSet()
    timers.set("late", 3)
    timers.set("b", 2)
    timers.set("a", 2)
    timers.set("never", 9)
    assert timers.next() == 2
    assert list(timers.due(1.9)) == []
    assert list(timers.due(3)) == ["b", "a", "late"]
    assert timers.next() == 9
    assert "never" in timers
    assert len(timers) == 1


def test_setting_a_timer_again_moves_it() -> None:
    timers: TimerSet[str] = TimerSet()
    timers.set("a", 1)
    timers.set("a", 5)
    assert timers.at("a") == 5
    assert list(timers.due(4)) == []
    assert list(timers.due(5)) == ["a"]
    assert timers.at("a") is None


def test_cleared_timers_are_gone() -> None:
    timers: TimerSet[str] = TimerSet()
    timers.set("a", 1)
    timers.set("b", 2)
    timers.clear("a")
    timers.clear("unknown")
    assert timers.next() == 2
    timers.clear_all()
    assert timers.next() is None
    assert list(timers.due(99)) == []


def test_handler_that_clears_a_later_timer_is_obeyed() -> None:
    timers: TimerSet[str] = TimerSet()
    timers.set("ends", 1)
    timers.set("resend", 1)
    fired = []
    for name in timers.due(1):
        fired.append(name)
        timers.clear_all()
    assert fired == ["ends"]


def test_handler_that_re_arms_for_later_is_not_called_twice() -> None:
    timers: TimerSet[str] = TimerSet()
    timers.set("periodic", 1)
    fired = []
    for name in timers.due(1):
        fired.append(name)
        timers.set(name, 2)
    assert fired == ["periodic"]
    assert timers.next() == 2


def test_timer_that_moves_at_each_packet_costs_no_memory() -> None:
    timers: TimerSet[str] = TimerSet()
    for at in range(100_000):
        timers.set("idle", at)
    assert len(timers._heap) <= 10
    assert list(timers.due(99_999)) == ["idle"]


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(-1, 50)), max_size=80))
def test_timers_behave_like_a_plain_dictionary(steps: list[tuple[int, int]]) -> None:
    timers: TimerSet[int] = TimerSet()
    model: dict[int, float] = {}
    for name, at in steps:
        if at < 0:
            timers.clear(name)
            model.pop(name, None)
        else:
            timers.set(name, at)
            model[name] = at
        assert timers.next() == min(model.values(), default=None)
    fired = list(timers.due(50))
    assert sorted(fired) == sorted(model)
    assert [model[name] for name in fired] == sorted(model.values())


def test_lettered_timers_follow_from_t1() -> None:
    assert TimerValues().transaction_s == 32
    assert TimerValues().timer_d_s == 32
    slow = TimerValues(t1_s=1)
    assert (slow.transaction_s, slow.timer_d_s) == (64, 64)
    assert TimerValues(t1_s=0.1).timer_d_s == 32
