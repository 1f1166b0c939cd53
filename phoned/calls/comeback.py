"""The way back of one call after a restart of the daemon (recovery.md): verified by the far end, then heard.

The re-INVITE on the account's first flow is sent like after any new flow. `Comeback` tells when the media is back,
tries again what was refused, and gives up in the end: a far end that answers and is not heard has as long as in any
call (``rtp_timeout_s``; a held one need not be heard), and while signalling is down only the retention ends its call.
It must not know how a call was remembered.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Protocol

from phoned.calls.outage import Outage
from phoned.calls.repair_context import RepairContext
from phoned.model import CallView, Cause
from phoned.sip.events import Modified, ModifyCause, ModifyRefused

log = logging.getLogger(__name__)

TIER = 2
TRIES = 3
"""Offers that the far end may refuse, while nothing is heard."""
AGAIN_S = 2.0
AGAIN_CAP_S = 30.0
LOOK_S = 1.0
"""So often a call that is verified and silent is looked at."""


class Owner(Protocol):
    """The call, as far as its way back must know it."""

    @property
    def id(self) -> str: ...

    def view(self) -> CallView: ...

    def offer_again(self, *, ice_restart: bool, rebuild: bool) -> None: ...

    def lose(self, reason: str) -> None: ...


class Comeback:
    """See the module's docstring. Driven by its call; `close` when that has ended. ``silent_s``: how long the call had
    been without a process; ``patience_s``: how long it may stay without signalling; ``on_back``: who is to hear
    that the media is back."""

    def __init__(
        self,
        call: Owner,
        outage: Outage,
        context: RepairContext,
        *,
        silent_s: float,
        patience_s: float,
        on_back: Callable[[], None],
    ) -> None:
        self._call = call
        self._outage = outage
        self._line = context.line
        self._policy = context.policy
        self._on_back = on_back
        self._loop = asyncio.get_running_loop()
        self._silent_since = self._loop.time() - silent_s
        self._verified = self._heard = self._over = False
        self._quiet_since = 0.0
        """Since when the far end could be heard, and is not: while signalling is down nobody counts."""
        self._lost_at: float | None = None
        """Since when signalling is down, again."""
        self._refusals = 0
        self._again: asyncio.TimerHandle | None = None
        self._deadline = self._loop.call_later(patience_s, self._call.lose, "signalling_timeout")
        outage.lost_all(Cause.RESUME)

    @property
    def over(self) -> bool:
        """It came back, or it never will."""
        return self._over

    def on_outcome(self, event: Modified | ModifyRefused) -> None:
        """What became of a re-INVITE."""
        if self.over or not {ModifyCause.RECOVERY, ModifyCause.MEDIA} & set(event.causes):
            return
        if isinstance(event, Modified):
            if not self._verified or ModifyCause.RECOVERY in event.causes:
                self._quiet_since, self._lost_at = self._loop.time(), None
            self._verified = True
            self._watch()
        elif event.status:
            self._refused(event)

    def _refused(self, event: ModifyRefused) -> None:
        """The dialog is there, but our media is not wanted: once more, a few times."""
        self._refusals += 1
        if self._refusals >= TRIES:
            self._call.lose("media_timeout")
            return
        after_s = min(event.retry_after_s or AGAIN_S, AGAIN_CAP_S)
        log.warning("%s: the re-INVITE was refused (%d); again in %g s", self._call.id, event.status, after_s)
        self._again = self._loop.call_later(after_s, self._offer_again)

    def _offer_again(self) -> None:
        self._call.offer_again(ice_restart=False, rebuild=True)

    def on_flowing(self) -> None:
        """The far end is heard."""
        self._heard = True
        self.look()

    def look(self) -> None:
        """Tell that the media is back, when it is. A call that is held, by whomever, need not be heard."""
        if self.over or not self._verified:
            return
        hold = self._call.view().hold
        if self._heard or hold.local or hold.remote:
            self.close()
            gap_ms = round((self._loop.time() - self._silent_since) * 1000)
            self._outage.back("media", tier=TIER, gap_ms=gap_ms)
            self._on_back()

    def _watch(self) -> None:
        """It is verified: look for sound until there is some, or no more hope."""
        self.look()
        if self.over:
            return
        now, timeout_s = self._loop.time(), self._policy.rtp_timeout_s
        if self._line.usable:
            self._lost_at = None
        else:
            self._quiet_since = now
            self._lost_at = now if self._lost_at is None else self._lost_at
        if self._lost_at is not None and now >= self._lost_at + self._policy.retention_s:
            self._call.lose("signalling_timeout")
        elif timeout_s and now >= self._quiet_since + timeout_s:
            self._call.lose("media_timeout")
        else:
            self._deadline.cancel()
            self._deadline = self._loop.call_later(LOOK_S, self._watch)

    def close(self) -> None:
        """No more of it."""
        self._over = True
        self._deadline.cancel()
        if self._again is not None:
            self._again.cancel()
