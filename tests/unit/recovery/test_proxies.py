"""When an account moves to the other outbound proxy, and when it comes back."""

from __future__ import annotations

import pytest

from phoned.model import Cause
from phoned.recovery.proxies import Move, Proxies


def test_two_failures_in_a_row_move_to_the_backup() -> None:
    proxies = Proxies(has_backup=True)
    assert proxies.failed(Cause.TIMEOUT, 0.0, calls_up=0) is None
    assert proxies.failed(Cause.TIMEOUT, 1.0, calls_up=0) == Move(old="primary", new="backup", why="timeout")
    assert proxies.active == "backup"


def test_a_success_between_starts_the_count_again() -> None:
    proxies = Proxies(has_backup=True)
    proxies.failed(Cause.TIMEOUT, 0.0, calls_up=0)
    proxies.succeeded()
    assert proxies.failed(Cause.TIMEOUT, 1.0, calls_up=0) is None


@pytest.mark.behaviour("W16")
def test_refused_tls_and_503_move_at_once() -> None:
    for cause, status in ((Cause.REFUSED, None), (Cause.TLS, None), (Cause.CLOSED, 503), (Cause.UPGRADE, 503)):
        proxies = Proxies(has_backup=True)
        assert proxies.failed(cause, 0.0, calls_up=0, status=status) is not None


@pytest.mark.behaviour("W15")
@pytest.mark.parametrize("status", [408, 480, 500, 504])
def test_an_answer_that_is_no_503_is_a_failure_like_another(status: int) -> None:
    proxies = Proxies(has_backup=True)
    assert proxies.failed(Cause.REFUSED, 0.0, calls_up=0, status=status) is None
    assert proxies.failed(Cause.REFUSED, 1.0, calls_up=0, status=status) is not None


@pytest.mark.behaviour("W16")
def test_a_proxy_that_named_a_time_is_not_gone_to_before_it_unless_the_other_named_a_later_one() -> None:
    proxies = Proxies(has_backup=True)
    assert proxies.failed(Cause.REFUSED, 0.0, calls_up=0, status=503, not_before=120.0) is not None
    assert proxies.wait_s(0.0) == 0
    assert proxies.failed(Cause.REFUSED, 1.0, calls_up=0) is None, "the backup is down: it is that which is tried"
    assert proxies.failed(Cause.REFUSED, 2.0, calls_up=0, status=503, not_before=200.0) is not None
    assert (proxies.active, proxies.wait_s(2.0)) == ("primary", 118.0)
    assert proxies.failed(Cause.REFUSED, 130.0, calls_up=0) is None
    assert proxies.failed(Cause.REFUSED, 200.0, calls_up=0) is not None


def test_it_does_not_go_back_to_a_proxy_that_wants_to_be_left_alone_for_longer() -> None:
    proxies = Proxies(has_backup=True)
    proxies.failed(Cause.REFUSED, 5.0, calls_up=0, status=503, not_before=605.0)
    assert proxies.due() == 605.0


def test_with_a_call_up_it_stays_ten_seconds_first() -> None:
    proxies = Proxies(has_backup=True)
    assert proxies.failed(Cause.REFUSED, 0.0, calls_up=1) is None
    assert proxies.failed(Cause.REFUSED, 9.9, calls_up=1) is None
    assert proxies.failed(Cause.REFUSED, 10.0, calls_up=1) is not None


def test_a_move_that_had_to_wait_for_a_call_is_made_when_that_time_is_over_or_the_call_is() -> None:
    for calls_up, at in ((1, 15.0), (0, 6.0)):
        proxies = Proxies(has_backup=True)
        assert proxies.failed(Cause.REFUSED, 5.0, calls_up=1, status=503, not_before=600.0) is None
        assert proxies.due(calls_up=1) == 15.0
        assert proxies.catch_up(14.9, calls_up=1) is None
        assert proxies.catch_up(at, calls_up=calls_up) == Move(old="primary", new="backup", why="refused")


def test_a_move_that_had_to_wait_is_forgotten_when_all_is_well_or_a_person_chooses() -> None:
    for happens in (Proxies.succeeded, lambda known: known.choose("primary", 6.0)):
        proxies = Proxies(has_backup=True)
        proxies.failed(Cause.REFUSED, 5.0, calls_up=1)
        happens(proxies)
        assert proxies.catch_up(20.0, calls_up=1) is None
        assert proxies.due(calls_up=1) is None


def test_it_goes_back_after_five_minutes_without_a_call() -> None:
    proxies = Proxies(has_backup=True)
    proxies.failed(Cause.REFUSED, 5.0, calls_up=0)
    assert proxies.due() == 305.0
    assert proxies.catch_up(304.0, calls_up=0) is None
    assert proxies.catch_up(305.0, calls_up=1) is None
    assert proxies.catch_up(305.0, calls_up=0) == Move(old="backup", new="primary", why="failback")
    assert proxies.due() is None


def test_a_persons_choice_holds() -> None:
    proxies = Proxies(has_backup=True)
    assert proxies.choose("backup", 0.0) == Move(old="primary", new="backup", why="api")
    assert proxies.choose("backup", 0.0) is None
    assert proxies.failed(Cause.REFUSED, 1.0, calls_up=0) is None
    assert proxies.due() is None
    assert proxies.choose("auto", 2.0) is None
    assert proxies.failed(Cause.REFUSED, 3.0, calls_up=0) == Move(old="backup", new="primary", why="refused")


def test_without_a_backup_or_without_leave_it_stays() -> None:
    for proxies in (Proxies(has_backup=False), Proxies(has_backup=True, automatic=False)):
        assert proxies.failed(Cause.REFUSED, 0.0, calls_up=0) is None
    assert Proxies(has_backup=False).choose("backup", 0.0) is None
