from __future__ import annotations

import pytest

from api.limits import KEPT, FailureLimit, RateLimit, Tickets


def test_a_second_worth_may_come_at_once_and_then_the_rate() -> None:
    limit = RateLimit(2)
    assert [limit.take("a", 0.0) for _ in range(2)] == [None, None]
    assert limit.take("a", 0.0) == pytest.approx(0.5)
    assert limit.take("a", 0.5) is None
    assert limit.take("a", 100.0) is None
    assert limit.take("a", 100.0) is None
    assert limit.take("a", 100.0) is not None


def test_clients_do_not_share_a_bucket() -> None:
    limit = RateLimit(1)
    assert limit.take("a", 0.0) is None
    assert limit.take("b", 0.0) is None
    assert limit.take("a", 0.0) is not None


def test_less_than_one_a_second_works() -> None:
    limit = RateLimit(0.5)
    assert limit.take("a", 0.0) is None
    assert limit.take("a", 0.0) == pytest.approx(2.0)
    assert limit.take("a", 2.1) is None


def test_a_clock_that_stands_still_gives_nothing() -> None:
    limit = RateLimit(1)
    limit.take("a", 5.0)
    assert limit.take("a", 4.0) is not None


def test_memory_is_bounded() -> None:
    limit, failures = RateLimit(1), FailureLimit()
    for number in range(KEPT + 10):
        limit.take(str(number), 0.0)
        failures.failed(str(number), 0.0)
    assert len(limit._buckets) == KEPT
    assert len(failures._failures) == KEPT


def test_five_wrong_tokens_a_minute_are_forgiven() -> None:
    limit = FailureLimit()
    assert [limit.failed("p", float(second)) for second in range(5)] == [None] * 5
    assert limit.failed("p", 5.0) == pytest.approx(55.0)
    assert limit.failed("other", 5.0) is None


def test_after_a_quiet_minute_wrong_tokens_are_forgiven_again() -> None:
    limit = FailureLimit()
    for _ in range(20):
        limit.failed("p", 0.0)
    assert limit.failed("p", 59.0) is not None
    assert limit.failed("p", 130.0) is None


def test_a_ticket_works_once() -> None:
    tickets: Tickets[str] = Tickets()
    name = tickets.issue("me", 0.0)
    assert tickets.redeem(name, 29.9) == "me"
    assert tickets.redeem(name, 29.9) is None


def test_a_ticket_is_over_after_30_s() -> None:
    tickets: Tickets[str] = Tickets()
    assert tickets.redeem(tickets.issue("me", 0.0), 30.0) is None


def test_an_invented_ticket_is_none() -> None:
    tickets: Tickets[str] = Tickets()
    assert tickets.redeem("", 0.0) is None


def test_the_oldest_ticket_gives_way() -> None:
    tickets: Tickets[str] = Tickets(most=2)
    names = [tickets.issue(str(number), 0.0) for number in range(3)]
    assert [tickets.redeem(name, 0.0) for name in names] == [None, "1", "2"]
