"""Keeping a session from expiring, and ending one that has (RFC 4028)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from phoned.sip.events import EndCause, ModifyCause, Party
from phoned.sip.invite_session import close, modify
from phoned.sip.invite_session.state import Deadline

if TYPE_CHECKING:
    from phoned.sip.invite_session.session import InviteSession

EXPIRED = 'SIP;cause=408;text="Session expired"'


def arm(s: InviteSession) -> None:
    """Let the next of the two deadlines ring."""
    at = s.timer.next()
    if at is None:
        s.timers.clear((Deadline.SESSION, None))
    else:
        s.timers.set((Deadline.SESSION, None), at)


def on_timer(s: InviteSession, now: float) -> None:
    """Refresh, or give the session up (RFC 4028 10)."""
    timer = s.timer
    if timer.expires_at is not None and timer.expires_at <= now:
        if s.flow in s.account.flows and s.leg is not None:
            close.bye(s, s.leg, now, reason=EXPIRED)
            s.end(EndCause.SESSION_EXPIRED, Party.SYSTEM)
            return
        timer.postpone(now, s.core.timers.transaction_s)
    if timer.refresh_at is not None and timer.refresh_at <= now:
        timer.refreshing()
        modify.wish(s, ModifyCause.REFRESH, s.modify.offer, s.modify.use_update, now)
    arm(s)
