from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from phoned.services.webhooks.lanes import Item, Lanes


def item(place: int, lane: str = "a", due_at: float = 0.0) -> Item:
    return Item(place=place, id=f"evt_{place}", type="call.ended", seq=place, lane=lane, due_at=due_at)


def lanes(*items: Item, abreast: int = 4) -> Lanes:
    made = Lanes(abreast)
    for one in items:
        made.add(one)
    return made


def test_one_lane_goes_one_after_the_other() -> None:
    first, second = item(1), item(2)
    some = lanes(first, second)
    assert some.take(0) == [first]
    assert some.take(0) == []
    assert some.next_at() is None
    some.done(first)
    assert some.take(0) == [second]
    some.done(second)
    assert len(some) == 0
    assert some.next_at() is None


def test_lanes_go_side_by_side_as_far_as_there_is_room() -> None:
    items = [item(place, lane=str(place)) for place in range(5)]
    some = lanes(*items, abreast=2)
    assert some.take(0) == items[:2]
    assert some.under_way == 2
    assert some.next_at() is None
    some.done(items[1])
    assert some.take(0) == [items[2]]


def test_a_lane_waits_for_its_head_to_be_tried_again() -> None:
    first, second, other = item(1), item(2), item(3, lane="b")
    some = lanes(first, second, other)
    assert some.take(0) == [first, other]
    some.again(first, 5.0)
    some.done(other)
    assert some.take(4.9) == []
    assert some.next_at() == 5.0
    assert some.take(5.0) == [first]


def test_an_outage_that_is_over_makes_everything_due() -> None:
    first, second, busy = item(1, due_at=100), item(2, due_at=200), item(3, lane="b")
    some = lanes(first, second, busy)
    assert some.take(0) == [busy]
    some.hurry(10)
    assert some.take(10) == [first]
    some.done(first)
    assert some.take(10) == [second]


def test_an_old_one_that_comes_back_goes_before_the_younger_ones() -> None:
    young, old = item(5), item(1)
    some = lanes(young)
    assert some.take(0) == [young]
    some.add(old)
    assert some.take(0) == []
    some.again(young, 0)
    assert some.take(0) == [old]
    some.done(old)
    assert some.take(0) == [young]


def test_one_is_found_and_hastened() -> None:
    late = item(1, due_at=50)
    some = lanes(late, item(2))
    assert some.find("evt_1") is late
    assert some.find("evt_9") is None
    some.hasten(late, 3)
    assert some.next_at() == 3
    assert some.take(3) == [late]
    some.hasten(late, 2)
    assert some.take(3) == []


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 3)), max_size=25),
    st.lists(st.integers(0, 2), max_size=200),
    st.integers(1, 3),
)
def test_whatever_fails_each_lane_is_finished_in_order(
    given_items: list[tuple[str, int]], outcomes: list[int], abreast: int
) -> None:
    some = lanes(*(item(n, lane, due) for n, (lane, due) in enumerate(given_items)), abreast=abreast)
    fates = iter(outcomes)
    finished: dict[str, list[int]] = {}
    now = 0.0
    under_way: list[Item] = []
    while len(some):
        taken = some.take(now)
        under_way += taken
        assert len(under_way) == some.under_way <= abreast
        assert len({one.lane for one in under_way}) == len(under_way)
        if not under_way:
            due = some.next_at()
            assert due is not None
            assert due > now
            now = due
            continue
        one = under_way.pop(0)
        fate = next(fates, 0)
        if fate == 0:
            some.done(one)
            finished.setdefault(one.lane, []).append(one.place)
        else:
            some.again(one, now + fate)
    assert sum(map(len, finished.values())) == len(given_items)
    assert all(places == sorted(places) for places in finished.values())
