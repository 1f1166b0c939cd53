"""Certificates that are made before they are wanted."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any

from phoned.media.identities import FRESH_S, Identities


class ByHand(Executor):
    """Works when it is told to."""

    def __init__(self) -> None:
        self.jobs: list[tuple[Future[Any], Any]] = []

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        self.jobs.append((future, fn))
        return future

    def work(self) -> None:
        for future, job in self.jobs:
            future.set_result(job())
        self.jobs.clear()


def at_once(work: Callable[[], None]) -> None:
    work()


def test_the_one_that_is_ready_is_handed_out_once_and_the_next_is_made() -> None:
    executor = ByHand()
    identities = Identities(executor, soon=at_once)
    identities.prepare()
    identities.prepare()
    assert len(executor.jobs) == 1
    ready = executor.jobs[0][0]
    executor.work()
    assert identities.take() is ready.result()
    assert len(executor.jobs) == 1, "the next one"


def test_whoever_comes_before_it_is_ready_gets_another_without_a_wait() -> None:
    executor = ByHand()
    identities = Identities(executor, soon=at_once)
    identities.prepare()
    one, other = identities.take(), identities.take()
    assert one.tls_id != other.tls_id
    assert one.fingerprint != other.fingerprint
    executor.work()
    assert identities.take() not in (one, other)


def test_one_that_waited_for_long_is_not_handed_out() -> None:
    now = [0.0]
    executor = ByHand()
    identities = Identities(executor, lambda: now[0], at_once)
    identities.prepare()
    stale = executor.jobs[0][0]
    executor.work()
    now[0] = FRESH_S
    assert identities.take() is not stale.result()
    fresh = executor.jobs[0][0]
    executor.work()
    assert identities.take() is fresh.result()


def test_a_stopped_engine_prepares_nothing() -> None:
    executor = ByHand()
    identities = Identities(executor, soon=at_once)
    identities.prepare()
    executor.work()
    identities.close()
    assert identities.take().tls_id
    identities.prepare()
    assert executor.jobs == []
