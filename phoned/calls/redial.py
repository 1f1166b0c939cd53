"""An unanswered outgoing call whose flow broke: dialled again under the same id as soon as there is a flow.

The core cancels the old INVITE over the new flow. The far end may still be busy with it, so a 486 right behind the
second INVITE is not believed once. Nothing is dialled for somebody who has given up.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from phoned.calls.outage import Outage
from phoned.sip import events as sip

STILL_BUSY_S = 2.0
"""A 486 so soon after the second INVITE may mean the first one."""
AGAIN_AFTER_S = 1.0
LOOK_S = 0.5
"""How often to look for a flow, should nobody tell of it."""
BUSY_HERE = 486


class Line(Protocol):
    """The account's signalling."""

    @property
    def usable(self) -> bool: ...

    @property
    def cause(self) -> str: ...


class Redial:
    """Driven by the end of sessions and by registrations. ``dial`` sends the INVITE anew."""

    def __init__(self, line: Line, outage: Outage, dial: Callable[[], None]) -> None:
        self._line = line
        self._outage = outage
        self._dial = dial
        self._dialled_at: float | None = None
        self._doubted_busy = False
        self._timer: asyncio.TimerHandle | None = None
        self.waiting = False
        """There is no flow to dial on."""

    def takes(self, event: sip.Ended) -> bool:
        """Whether this end of a session is not the end of the call: it is dialled again."""
        now = asyncio.get_running_loop().time()
        if event.cause is sip.EndCause.UNREACHABLE:
            self._outage.lost("signalling", self._line.cause)
            self._later(0.0)
            return True
        soon = self._dialled_at is not None and now - self._dialled_at <= STILL_BUSY_S
        if event.status == BUSY_HERE and soon and not self._doubted_busy:
            self._doubted_busy = True
            self._later(AGAIN_AFTER_S)
            return True
        return False

    def on_registered(self) -> None:
        """There is a flow."""
        if self.waiting:
            self._go()

    def on_heard(self) -> None:
        """The far end, or its proxy, answered the INVITE."""
        if self._dialled_at is not None:
            self._outage.back("signalling")

    def close(self) -> None:
        """The call was answered, or is over."""
        self.waiting = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _later(self, delay_s: float) -> None:
        self.close()
        self.waiting = True
        self._timer = asyncio.get_running_loop().call_later(delay_s, self._go)

    def _go(self) -> None:
        self.close()
        if not self._line.usable:
            self._later(LOOK_S)  # the account had not heard of its loss yet
            return
        self._dialled_at = asyncio.get_running_loop().time()
        self._outage.attempts += 1
        self._dial()
