"""The line that `systemctl status` shows, and when it changes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable

import pytest

from phoned.events import EventBus, MemoryEventLog
from phoned.lifecycle import Lifecycle, status_line
from phoned.model import AccountState, AccountView, Cause, LastError, PhoneStatus, RegistrationView
from phoned.notify import Notifier
from phoned.tasks import Tasks
from phoned.watchdog import Due
from tests.support.fake_phone import FakePhone, account_view
from tests.support.notify_socket import NotifySocket

FAST_WATCHDOG = {"WATCHDOG_USEC": "200000"}


def failed(account: str, state: AccountState, cause: Cause, sip_code: int | None = None) -> AccountView:
    """An account with something to tell."""
    error = LastError(cause=cause, sip_code=sip_code, detail="what a server said")
    view = account_view(account, state)
    return AccountView(
        **{name: getattr(view, name) for name in ("id", "aor", "state", "since", "desired", "outbound_proxy")},
        registration=RegistrationView(last_error=error),
    )


def status(*accounts: AccountView, calls: int = 0, draining: bool = False) -> PhoneStatus:
    return PhoneStatus(
        version="0",
        node="n",
        uptime_s=1.0,
        draining=draining,
        accounts=accounts,
        calls_active=calls,
        calls_capacity=50,
        event_seq=1,
    )


ALICE, BOB = account_view("alice"), account_view("bob")
REFUSED = failed("bob", AccountState.BACKOFF, Cause.REFUSED)
FORBIDDEN = failed("carol", AccountState.AUTH_FAILED, Cause.CLOSED, 403)
MANY = [account_view(f"a{number}", AccountState.NET_DOWN) for number in range(500)]


@pytest.mark.parametrize(
    ("phone", "line"),
    [
        (status(), "no accounts, no calls"),
        (status(ALICE), "1 of 1 account online, no calls"),
        (status(ALICE, BOB, calls=1), "2 of 2 accounts online, 1 call"),
        (status(ALICE, REFUSED, calls=2), "1 of 2 accounts online (bob backoff, refused), 2 calls"),
        (status(REFUSED, FORBIDDEN), "0 of 2 accounts online (bob backoff, refused; carol auth failed, 403), no calls"),
        (status(account_view("alice", AccountState.SUSPECT)), "0 of 1 account online (alice suspect), no calls"),
        (status(*MANY), "0 of 500 accounts online (a0 net down; a1 net down; a2 net down; and 497 more), no calls"),
        (status(ALICE, calls=1, draining=True), "draining: 1 of 1 account online, 1 call"),
    ],
)
def test_the_line_tells_the_truth(phone: PhoneStatus, line: str) -> None:
    assert status_line(phone) == line


def test_a_stop_is_a_stop_even_while_draining() -> None:
    assert status_line(status(calls=1, draining=True), stopping=True) == "stopping: no accounts, 1 call"


class Stand:
    """A lifecycle with a phone, its bus and a service manager."""

    def __init__(self, *, watched: dict[str, Due] | None = None, **environ: str) -> None:
        self.manager = NotifySocket()
        self.bus = EventBus(MemoryEventLog(), node="test")
        self.phone = FakePhone(self.bus)
        self.tasks = Tasks("test", lambda name, error: None)
        notifier = Notifier({"NOTIFY_SOCKET": self.manager.address, **environ})
        self.lifecycle = Lifecycle(notifier, self.phone, self.bus, watched or {})
        self.told: list[dict[str, str]] = []

    async def until(self, fits: Callable[[dict[str, str]], bool]) -> dict[str, str]:
        """The first notification that fits, also among the earlier ones."""
        async with asyncio.timeout(5):
            while True:
                self.told += self.manager.receive()
                for told in self.told:
                    if fits(told):
                        return told
                await asyncio.sleep(0.01)  # a datagram socket of the test, polled


@pytest.fixture
async def make() -> AsyncIterator[Callable[..., Stand]]:
    stands: list[Stand] = []

    def made(**options: object) -> Stand:
        stand = Stand(**options)  # type: ignore[arg-type]  # a test's shorthand
        stand.tasks.spawn("bus", stand.bus.run())
        stands.append(stand)
        return stand

    yield made
    for stand in stands:
        await stand.lifecycle.close()
        await stand.tasks.close()
        stand.manager.close()


Make = Callable[..., Stand]


async def test_ready_does_not_wait_for_a_registration(make: Make) -> None:
    stand = make()
    stand.phone.set_account("front", state=AccountState.CONNECTING)
    stand.lifecycle.ready()
    line = "0 of 1 account online (front connecting), no calls"
    assert stand.manager.receive() == [{"READY": "1", "STATUS": line}]


async def test_the_line_follows_accounts_and_calls(make: Make) -> None:
    stand = make()
    stand.lifecycle.ready()
    call = await stand.phone.remote_calls()
    await stand.until(lambda told: told.get("STATUS") == "1 of 1 account online, 1 call")
    stand.phone.set_account("front", state=AccountState.NET_DOWN)
    stand.bus.publish("account.disconnected")
    await stand.until(lambda told: told.get("STATUS") == "0 of 1 account online (front net down), 1 call")
    await stand.phone.remote_hangs_up(call.id)
    await stand.until(lambda told: told.get("STATUS") == "0 of 1 account online (front net down), no calls")


async def test_a_flood_of_events_is_one_look_and_the_last_state_is_told(make: Make) -> None:
    stand = make()
    stand.lifecycle.ready()
    for number in range(1000):
        stand.phone.set_account("front", state=AccountState.BACKOFF if number % 2 else AccountState.CONNECTING)
        stand.bus.publish("account.connect_failed")
        if number % 100 == 0:
            await asyncio.sleep(0)
    await stand.until(lambda told: "backoff" in told.get("STATUS", ""))
    assert len(stand.told) <= 3


async def test_the_watchdog_is_fed_and_looks_at_the_line_too(make: Make) -> None:
    stand = make(**FAST_WATCHDOG)
    stand.lifecycle.ready()
    await stand.until(lambda told: "WATCHDOG" in told)
    stand.phone.set_account("front", state=AccountState.SUSPECT)  # a change without an event
    await stand.until(lambda told: "suspect" in told.get("STATUS", ""))


async def test_the_watchdog_starves_while_a_watched_part_stands_still(make: Make) -> None:
    stand = make(watched={"it": lambda: 0.0}, **FAST_WATCHDOG)
    stand.lifecycle.ready()
    await stand.phone.remote_calls()
    await stand.until(lambda told: "1 call" in told.get("STATUS", ""))  # longer than a period
    assert not [told for told in stand.told if "WATCHDOG" in told]


async def test_stopping_is_told_and_the_watchdog_fed_until_the_end(make: Make) -> None:
    stand = make(**FAST_WATCHDOG)
    stand.lifecycle.ready()
    stand.lifecycle.stopping()
    stand.told += stand.manager.receive()
    assert {"STOPPING": "1", "STATUS": "stopping: 1 of 1 account online, no calls"} in stand.told
    stand.told.clear()
    await stand.until(lambda told: "WATCHDOG" in told)
    await stand.lifecycle.close()
    stand.manager.receive()
    await asyncio.sleep(0)
    assert stand.manager.receive() == []


async def test_without_a_service_manager_nothing_runs(make: Make) -> None:
    stand = make(NOTIFY_SOCKET="", **FAST_WATCHDOG)
    before = len(asyncio.all_tasks())
    stand.lifecycle.ready()
    stand.lifecycle.stopping()
    assert len(asyncio.all_tasks()) == before


async def test_a_broken_part_is_logged_and_the_watchdog_starves(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL)

    def broken() -> float:
        raise ZeroDivisionError

    stand = make(watched={"it": broken}, **FAST_WATCHDOG)
    stand.lifecycle.ready()
    await stand.phone.remote_calls()
    await stand.until(lambda told: "1 call" in told.get("STATUS", ""))
    assert "lifecycle/watchdog crashed" in caplog.text
    assert not [told for told in stand.told if "WATCHDOG" in told]
