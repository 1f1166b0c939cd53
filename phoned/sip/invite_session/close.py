"""Endings: hang up in every state, CANCEL and BYE from the far end, crossings of them (RFC 3261 9, 15, RFC 3326)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from phoned.sip.events import EndCause, Party
from phoned.sip.invite_session import accept, connect, follow
from phoned.sip.invite_session.state import Deadline, Incoming, InviteState, Leg, Outgoing, Purpose
from phoned.sip.message import Request, Response

if TYPE_CHECKING:
    from phoned.sip.invite_session.session import InviteSession

BYE_LINGER_S = 300.0
"""How long a BYE waits for a flow."""


def hangup(s: InviteSession, now: float, reason: str | None) -> None:
    """Our user wants it over, whatever its state."""
    match s.state:
        case InviteState.PREPARING:
            s.end(EndCause.CANCELED, Party.LOCAL)
        case InviteState.CALLING | InviteState.PROCEEDING:
            _cancel(s, now, reason)
        case InviteState.INCOMING | InviteState.ANSWERING:
            accept.reject(s, 480, "", None, now)
        case InviteState.ACCEPTED:
            leg = s.leg
            assert leg is not None
            if s.caller is not None and s.caller.invite is not None:
                connect.acknowledge(s, leg, s.caller.invite, now)  # the far end gets no answer, but BYE at once
                bye(s, leg, now, reason=reason)
                s.end(EndCause.BYE, Party.LOCAL)
            else:
                # a callee's BYE waits for the ACK, or for its absence (RFC 3261 15)
                refuse_pending(s, now)
                s.owed.append((leg, _bye(s, leg, reason)))
                s.end(EndCause.BYE, Party.LOCAL, await_ack=True)
        case InviteState.CONFIRMED:
            assert s.leg is not None
            refuse_pending(s, now)
            bye(s, s.leg, now, reason=reason)
            s.end(EndCause.BYE, Party.LOCAL)
        case _:
            pass  # it is over, or on its way


def _cancel(s: InviteSession, now: float, reason: str | None) -> None:
    caller = s.caller
    assert caller is not None
    assert caller.invite is not None
    caller.reason = reason
    s.timers.clear((Deadline.SETUP, None))
    s.enter(InviteState.CANCELING)
    if caller.invite.key is None or not s.core.layer.cancel(caller.invite.key, now, reason=reason):
        s.end(EndCause.CANCELED, Party.LOCAL)


def _bye(s: InviteSession, leg: Leg, reason: str | None) -> Request:
    request = leg.dialog.request("BYE")
    if reason:
        request.headers.add("Reason", reason)
    for name, value in s.account.agent:
        request.headers.add(name, value)
    return request


def bye(s: InviteSession, leg: Leg, now: float, *, reason: str | None = None) -> None:
    """Send BYE, or keep it until there is a flow."""
    request = _bye(s, leg, reason)
    if s.flow in s.account.flows:
        s.send(Purpose.BYE, request, now, leg=leg)
    else:
        s.owed.append((leg, request))
        linger(s, now)


def linger(s: InviteSession, now: float) -> None:
    """Give what is owed some time to find a flow, or room on it; the end of the session leaves this timer alone."""
    after_s = s.core.timers.t2_s if s.flow in s.account.flows else BYE_LINGER_S
    if (Deadline.LINGER, None) not in s.timers:
        s.timers.set((Deadline.LINGER, None), now + after_s)


def on_linger(s: InviteSession, now: float) -> None:
    """What was owed found no flow in all that time; with a flow it is tried again."""
    if s.caller is not None:
        s.caller.orphan = None
    if s.flow in s.account.flows:
        flush(s, now)
    else:
        s.owed.clear()


def flush(s: InviteSession, now: float) -> None:
    """Send what waited for a flow, or for an ACK."""
    owed, s.owed = s.owed, []
    s.timers.clear((Deadline.LINGER, None))
    for leg, request in owed:
        s.send(Purpose.BYE, request, now, leg=leg)


def refuse_pending(s: InviteSession, now: float) -> None:
    """487 to what the far end still waits for (RFC 3261 15.1.2)."""
    for incoming in tuple(s.incoming.values()):
        if not incoming.final and incoming.request.method != "BYE":
            follow.withdraw_remote(s, incoming)
            s.respond(incoming, 487, now)


def on_bye(s: InviteSession, incoming: Incoming, now: float) -> None:
    """The far end hung up."""
    s.respond(incoming, 200, now)
    reasons = incoming.request.headers.all("Reason")
    match s.state:
        case InviteState.ENDED:
            pass  # they crossed
        case InviteState.INCOMING | InviteState.ANSWERING:
            refuse_pending(s, now)
            s.end(EndCause.CANCELED, Party.REMOTE, reasons=reasons)
        case InviteState.CALLING | InviteState.PROCEEDING | InviteState.CANCELING:
            connect.drop_leg(s, incoming.leg)  # an early dialog of a fork; the INVITE goes on
        case _:
            refuse_pending(s, now)
            s.end(EndCause.BYE, Party.REMOTE, reasons=reasons)


def on_cancel(s: InviteSession, incoming: Incoming, cancel: Request, now: float) -> None:
    """The far end gave up its INVITE; the CANCEL itself is answered (RFC 3261 9.2)."""
    if s.callee is not None and incoming is s.callee.incoming:
        s.respond(incoming, 487, now)
        s.end(EndCause.CANCELED, Party.REMOTE, status=487, reasons=cancel.headers.all("Reason"))
        return
    follow.withdraw_remote(s, incoming)
    s.respond(incoming, 487, now)


def on_response(s: InviteSession, out: Outgoing, response: Response, now: float) -> None:
    """The outcome of a BYE: whatever it is, the call is over. A challenge is not answered: a far end that challenges
    our BYE is after a hash."""


def on_failure(s: InviteSession, out: Outgoing, status: int, now: float) -> None:
    """A BYE that found no flow is said again on the next one."""
    if status == 503 and out.leg is not None and s.ended:
        again = out.leg.dialog.request("BYE")
        for value in out.request.headers.all("Reason"):
            again.headers.add("Reason", value)
        s.owed.append((out.leg, again))
        linger(s, now)
