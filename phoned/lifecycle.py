"""What the service manager sees of a daemon: ready, a status line that tells the truth, the watchdog, stopping.

Owns the wording and when it is told; `phoned.notify` owns how. The line follows the events of the bus, a burst of them
as one, and is looked at again with each beat of the watchdog, for what changes without an event.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping

from phoned.events import EventBus
from phoned.model import AccountState, AccountView, PhoneStatus
from phoned.notify import Notifier
from phoned.service import PhoneControl
from phoned.tasks import Tasks
from phoned.watchdog import Due, Watchdog

log = logging.getLogger(__name__)

PAUSE_S = 0.2
"""Between two looks at the phone, however many events come."""
NAMED = 3
"""So many accounts that are not online are called by their name."""


class Lifecycle:
    """One daemon's life as its service manager hears of it. Driven by the daemon: `ready`, `stopping`, `close`."""

    def __init__(self, notifier: Notifier, phone: PhoneControl, bus: EventBus, watched: Mapping[str, Due]) -> None:
        self._notifier = notifier
        self._phone = phone
        self._bus = bus
        self._watched = watched
        self._stopping = False
        self._tasks = Tasks("lifecycle", self._on_crash)

    def ready(self) -> None:
        """The services listen. Accounts may still be on their way: the status line tells."""
        if not self._notifier.enabled:
            return
        self._notifier.ready(self._line())
        self._tasks.spawn("status", self._follow())
        if self._notifier.watchdog_s is not None:
            self._tasks.spawn("watchdog", Watchdog(self._notifier.watchdog_s, self._feed, self._watched).run())

    def reloading(self) -> None:
        """The configuration is being read again."""
        self._notifier.reloading()

    def reloaded(self) -> None:
        """That is over, whatever came of it."""
        if not self._stopping:
            self._notifier.ready(self._line())

    def stopping(self) -> None:
        """The stop has begun; the watchdog is fed until `close`, for a stop that hangs is a hang like any other."""
        self._stopping = True
        self._notifier.stopping(self._line())

    async def close(self) -> None:
        """The last thing that a daemon does."""
        await self._tasks.close()

    def _feed(self) -> None:
        self._notifier.watchdog()
        self._notifier.status(self._line())

    def _line(self) -> str:
        return status_line(self._phone.status(), stopping=self._stopping)

    async def _follow(self) -> None:
        while True:
            news = self._bus.subscribe(capacity=1)
            self._notifier.status(self._line())  # after subscribing: nothing falls between two looks
            await anext(aiter(news), None)
            news.close()
            await asyncio.sleep(PAUSE_S)

    def _on_crash(self, name: str, error: BaseException) -> None:
        log.critical("%s crashed: the service manager hears no more of it", name, exc_info=error)


def status_line(status: PhoneStatus, *, stopping: bool = False) -> str:
    """The phone in one line: ``2 of 3 accounts online (bob backoff, refused), 1 call``."""
    away = [account for account in status.accounts if account.state is not AccountState.ONLINE]
    named = [_why(account) for account in away[:NAMED]]
    if len(away) > NAMED:
        named.append(f"and {len(away) - NAMED} more")
    total = len(status.accounts)
    accounts = f"{total - len(away)} of {total} account{'' if total == 1 else 's'} online" if total else "no accounts"
    why = f" ({'; '.join(named)})" if named else ""
    calls = f"{status.calls_active or 'no'} call{'' if status.calls_active == 1 else 's'}"
    phase = "stopping: " if stopping else "draining: " if status.draining else ""
    return f"{phase}{accounts}{why}, {calls}"


def _why(account: AccountView) -> str:
    """``bob auth failed, 403``: the state in words, and what failed last: the SIP status, else the cause."""
    words = f"{account.id} {str(account.state).replace('_', ' ')}"
    error = account.registration.last_error
    if error is None or account.desired == "unregistered":
        return words
    return f"{words}, {error.sip_code or error.cause}"
