"""What goes to the service manager, over real datagram sockets, and what happens when it does not listen."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator

import pytest

from phoned.notify import MAX_STATUS, Notifier
from tests.support.notify_socket import NotifySocket


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest) -> Iterator[NotifySocket]:
    listening = NotifySocket(abstract=request.param == "abstract")
    yield listening
    listening.close()


def told(manager: NotifySocket) -> Notifier:
    return Notifier({"NOTIFY_SOCKET": manager.address})


def test_the_life_of_a_service(manager: NotifySocket) -> None:
    notifier = told(manager)
    notifier.ready("0 of 1 account online, no calls")
    notifier.status("1 of 1 account online, no calls")
    notifier.watchdog()
    notifier.stopping("stopping: no accounts, no calls")
    assert manager.receive() == [
        {"READY": "1", "STATUS": "0 of 1 account online, no calls"},
        {"STATUS": "1 of 1 account online, no calls"},
        {"WATCHDOG": "1"},
        {"STOPPING": "1", "STATUS": "stopping: no accounts, no calls"},
    ]


def test_reloading_carries_the_monotonic_time_and_ready_ends_it(manager: NotifySocket) -> None:
    notifier = told(manager)
    before = time.clock_gettime(time.CLOCK_MONOTONIC)
    notifier.reloading()
    notifier.ready("fresh")
    first, second = manager.receive()
    assert first["RELOADING"] == "1"
    assert before <= int(first["MONOTONIC_USEC"]) / 1e6 + 1e-6 <= time.clock_gettime(time.CLOCK_MONOTONIC) + 1e-6
    assert second == {"READY": "1", "STATUS": "fresh"}


def test_a_status_is_one_line_told_once(manager: NotifySocket) -> None:
    notifier = told(manager)
    for _ in range(3):
        notifier.status("one\nREADY=1\r\n two")
    notifier.status("x" * 10_000)
    assert manager.receive() == [{"STATUS": "one READY=1 two"}, {"STATUS": "x" * MAX_STATUS}]


def test_a_manager_that_does_not_read_gets_the_newest_of_everything_later(
    manager: NotifySocket, caplog: pytest.LogCaptureFixture
) -> None:
    notifier = told(manager)
    for number in range(2000):  # the kernel's queue of a datagram socket is net.unix.max_dgram_qlen long
        notifier.status(f"before {number}")
    waiting = manager.receive()
    assert len(waiting) < 2000
    assert len(caplog.records) == 1  # said once, not for every message
    notifier.status("before 1999")  # nothing new, but what was kept can go now
    assert manager.receive() == [{"STATUS": "before 1999"}]
    notifier.status("before 1999")
    assert manager.receive() == []


def test_ready_is_not_lost_when_the_queue_is_full(manager: NotifySocket) -> None:
    notifier = told(manager)
    for number in range(2000):
        notifier.status(str(number))
    notifier.ready("up")
    manager.receive()
    notifier.watchdog()
    assert manager.receive() == [{"STATUS": "up", "READY": "1", "WATCHDOG": "1"}]


def test_a_late_ready_is_not_told_after_the_end_began(manager: NotifySocket) -> None:
    notifier = told(manager)
    for number in range(2000):
        notifier.status(str(number))
    notifier.ready("up")
    notifier.stopping("down")
    manager.receive()
    notifier.watchdog()
    assert manager.receive() == [{"STATUS": "down", "STOPPING": "1", "WATCHDOG": "1"}]


def test_a_manager_that_went_away_costs_one_line_and_is_told_when_it_is_back(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING)
    gone = NotifySocket()
    notifier = told(gone)
    gone.close()
    notifier.ready("up")
    notifier.watchdog()
    assert [record.levelname for record in caplog.records] == ["WARNING"]


@pytest.mark.parametrize("environ", [{}, {"NOTIFY_SOCKET": ""}])
def test_without_a_manager_nothing_is_said(environ: dict[str, str], caplog: pytest.LogCaptureFixture) -> None:
    notifier = Notifier({**environ, "WATCHDOG_USEC": "30000000"})
    assert not notifier.enabled
    assert notifier.watchdog_s is None
    notifier.ready("up")
    notifier.stopping("down")
    assert not caplog.records


def test_an_address_of_another_kind_is_reported_and_left_alone(caplog: pytest.LogCaptureFixture) -> None:
    notifier = Notifier({"NOTIFY_SOCKET": "vsock:2:1234"})
    notifier.ready("up")
    assert not notifier.enabled
    assert "vsock:2:1234" in caplog.text


@pytest.mark.parametrize(
    ("environ", "period_s"),
    [
        ({"WATCHDOG_USEC": "30000000"}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "-5"}, None),
        ({"WATCHDOG_USEC": "often"}, None),
        ({"WATCHDOG_USEC": "\N{SUPERSCRIPT TWO}"}, None),
        ({}, None),
    ],
)
def test_the_period_of_the_watchdog(environ: dict[str, str], period_s: float | None) -> None:
    assert Notifier({"NOTIFY_SOCKET": "/nowhere", **environ}).watchdog_s == period_s
