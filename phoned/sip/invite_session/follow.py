"""Following a change of the far end: its re-INVITE or UPDATE, with an offer, without one, or as a refresh (RFC 3261
14.2, RFC 3311 5.2, RFC 4028 9).

What cannot be followed is refused, and the session stays as it was.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from phoned.sip.accessors import min_se, require, session_expires, supported
from phoned.sip.events import DescriptionKind, DialogChanged, RemoteModified
from phoned.sip.invite_session import accept, modify, refresh
from phoned.sip.invite_session.state import Incoming, InviteState, Purpose, Use, Want
from phoned.sip.offer_answer import Carrier, Conflict, OfferAnswerState
from phoned.sip.options import capabilities, description_of, methods_of

if TYPE_CHECKING:
    from phoned.sip.invite_session.session import InviteSession


def on_invite(s: InviteSession, incoming: Incoming, now: float) -> None:
    """A re-INVITE."""
    if s.state in (InviteState.INCOMING, InviteState.ANSWERING) or _pending(s, incoming, "INVITE"):
        _try_again(s, incoming, now)
        return
    early = s.state in (InviteState.CALLING, InviteState.PROCEEDING, InviteState.CANCELING)
    waiting_for_ack = s.state is InviteState.ACCEPTED and s.caller is not None
    current = s.modify.current
    if early or waiting_for_ack or (current is not None and current.purpose is Purpose.REINVITE):
        s.respond(incoming, 491, now)
        return
    _take_offer(s, incoming, Carrier.REINVITE, now)


def on_update(s: InviteSession, incoming: Incoming, now: float) -> None:
    """An UPDATE, which also early dialogs take."""
    if _pending(s, incoming, "UPDATE"):
        _try_again(s, incoming, now)
        return
    if description_of(incoming.request) is None:
        if not s.ended and _interval_refused(s, incoming, now):
            return
        if s.ended:
            s.respond(incoming, 481, now)
            return
        _accept(s, incoming, b"", now)
        return
    if not incoming.leg.exchange.established and incoming.leg.exchange.idle:
        # the first offer is not answered yet: theirs, or (offerless) the one that we owe
        if s.callee is not None and s.callee.offer is not None:
            _try_again(s, incoming, now)
        else:
            s.respond(incoming, 491, now)
        return
    _take_offer(s, incoming, Carrier.UPDATE, now)


def _pending(s: InviteSession, incoming: Incoming, method: str) -> bool:
    return any(
        other is not incoming and not other.final and other.request.method == method for other in s.incoming.values()
    )


def _try_again(s: InviteSession, incoming: Incoming, now: float) -> None:
    after = str(s.core.random.below(modify.SHORT_RETRY_S + 1))
    s.respond(incoming, 500, now, headers=[("Retry-After", after)])


def _interval_refused(s: InviteSession, incoming: Incoming, now: float) -> bool:
    request = incoming.request
    min_se(request)  # read now: a malformed one is refused before our media works for it
    floor = s.timer.refuses(session_expires(request), peer_supports="timer" in _tags(incoming))
    if floor is None:
        return False
    s.respond(incoming, 422, now, headers=[("Min-SE", str(floor))])
    return True


def _tags(incoming: Incoming) -> set[str]:
    return {*supported(incoming.request), *require(incoming.request)}


def _take_offer(s: InviteSession, incoming: Incoming, carrier: Carrier, now: float) -> None:
    """Their offer, or (no description) their wish for ours."""
    if s.ended:
        s.respond(incoming, 481, now)
        return
    exchange = incoming.leg.exchange
    conflict = exchange.conflict()
    if conflict is Conflict.BUSY:
        _try_again(s, incoming, now)
        return
    if conflict is Conflict.GLARE:
        s.respond(incoming, 491, now)
        return
    if _interval_refused(s, incoming, now):
        return
    if exchange.state is OfferAnswerState.WANT_OFFER and exchange.exchange is not None:
        # ours is not on the wire yet: theirs goes first
        causes, token = exchange.exchange.causes, exchange.exchange.token
        s.drop_want(token)
        modify.again(s, causes)
    body = description_of(incoming.request)
    s.want(
        DescriptionKind.OFFER if body is None else DescriptionKind.ANSWER,
        Use.REMOTE_MODIFY,
        now,
        exchange=exchange,
        carrier=carrier,
        leg=incoming.leg,
        remote=body,
        incoming=incoming,
    )


def on_remote_description(s: InviteSession, want: Want, description: bytes, now: float) -> None:
    """Our media made the answer (or the offer that they wished for)."""
    incoming = want.incoming
    assert incoming is not None
    if want.kind is DescriptionKind.ANSWER:
        want.exchange.answered()
    else:
        want.exchange.offered(want.token, Carrier.REINVITE)
    _accept(s, incoming, description, now)


def _accept(s: InviteSession, incoming: Incoming, body: bytes, now: float) -> None:
    request = incoming.request
    timer = s.timer.accept_peer(
        session_expires(request), min_se(request), peer_supports="timer" in _tags(incoming), now=now
    )
    incoming.leg.dialog.refresh_target(request)
    incoming.leg.methods = methods_of(request) or incoming.leg.methods
    response = s.respond(incoming, 200, now, headers=[*capabilities(), *timer, *s.account.agent], body=body)
    if request.method == "INVITE":
        accept.succeed(s, incoming, response, now)
    if s.state is InviteState.CONFIRMED:
        refresh.arm(s)
    s.emit(RemoteModified(session=s.id, with_description=bool(body)))
    s.emit(DialogChanged(session=s.id))
    modify.pump(s, now)


def on_no_remote_description(s: InviteSession, want: Want, status: int, now: float) -> None:
    """Our media cannot: refused, and everything stays as it was."""
    incoming = want.incoming
    assert incoming is not None
    want.exchange.withdraw()
    s.respond(incoming, status, now)
    modify.pump(s, now)


def withdraw_remote(s: InviteSession, incoming: Incoming) -> None:
    """The request that our media works for is gone."""
    for token in [want.token for want in s.wants.values() if want.incoming is incoming]:
        s.drop_want(token)
