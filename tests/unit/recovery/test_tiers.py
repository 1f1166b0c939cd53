"""The memory of what repaired media behind a proxy."""

from __future__ import annotations

from phoned.recovery.tiers import TierMemory


def test_what_worked_comes_first_behind_its_proxy_only() -> None:
    memory = TierMemory()
    assert memory.first("one") == 1
    memory.learn("one", 2)
    assert (memory.first("one"), memory.first("two")) == (2, 1)
    memory.learn("one", 1)
    assert memory.first("one") == 1


def test_the_memory_is_bounded_and_forgets_what_was_of_no_use_longest() -> None:
    memory = TierMemory(capacity=2)
    memory.learn("one", 2)
    memory.learn("two", 2)
    assert memory.first("one") == 2
    memory.learn("three", 2)
    assert (memory.first("one"), memory.first("two"), memory.first("three")) == (2, 1, 2)
