"""We are called: ringing, the answer, the 2xx until its ACK (RFC 3261 13.3, RFC 3262 3, RFC 5407)."""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING

from phoned.errors import WrongState
from phoned.sip.accessors import (
    asserted_identities,
    cseq,
    from_,
    min_se,
    require,
    session_expires,
    supported,
    to,
    wants_privacy,
)
from phoned.sip.dialog import Dialog, DialogState
from phoned.sip.events import (
    AnswerReceived,
    Confirmed,
    DescriptionExpired,
    DescriptionKind,
    EndCause,
    IncomingCall,
    Party,
    SessionId,
)
from phoned.sip.invite_session import close, follow, modify, provisional, refresh
from phoned.sip.invite_session.state import (
    CalleeFacts,
    Deadline,
    Incoming,
    InviteState,
    Leg,
    Success,
    Use,
    Want,
)
from phoned.sip.message import Request, Response
from phoned.sip.offer_answer import Carrier, OfferAnswerState
from phoned.sip.options import capabilities, description_of, lenient, methods_of
from phoned.sip.transaction import TransactionKey

if TYPE_CHECKING:
    from phoned.sip.invite_session.session import InviteSession


def start(s: InviteSession, key: TransactionKey, request: Request, replaces: SessionId | None, now: float) -> None:
    """A new INVITE for us. Raises MalformedMessage before anything is kept."""
    tags = {*supported(request), *require(request)}
    asked = session_expires(request)
    min_se(request)  # read now: a malformed one is refused before anything is kept
    dialog = Dialog.uas(request, s.local_tag)
    far = from_(request)
    s.call_id = dialog.call_id
    leg = Leg(dialog=dialog, methods=methods_of(request))
    s.leg = s.legs[dialog.remote_tag] = leg
    incoming = Incoming(key=key, request=request, leg=leg)
    s.incoming[key] = incoming
    s.core.layer.adopt(key, s)
    s.callee = CalleeFacts(
        incoming=incoming,
        offer=description_of(request),
        peer_reliable="100rel" in tags,
        must_reliable="100rel" in require(request),
        rseq=1 + s.core.random.below(2**31 - 2),
    )
    too_small = s.timer.refuses(asked, peer_supports="timer" in tags)
    if too_small is not None:
        s.respond(incoming, 422, now, headers=[("Min-SE", str(too_small))])
        s.enter(InviteState.ENDED)  # never told of
        return
    s.timers.set((Deadline.RING, None), now + s.core.limits.ring_s)
    asserted = lenient(asserted_identities, request)
    s.emit(
        IncomingCall(
            session=s.id,
            account=s.account.id,
            flow=s.flow,
            call_id=dialog.call_id,
            from_uri=str(far.uri),
            from_display_name=far.display_name or None,
            to_uri=str(to(request).uri),
            request_uri=request.uri,
            headers=tuple(request.headers),
            has_offer=s.callee.offer is not None,
            replaces=replaces,
            asserted_uri=str(asserted[0].uri) if asserted else None,
            asserted_display_name=(asserted[0].display_name or None) if asserted else None,
            private=wants_privacy(request),
        )
    )


def _callee(s: InviteSession, verb: str) -> CalleeFacts:
    if s.callee is None or s.state not in (InviteState.INCOMING, InviteState.ANSWERING):
        raise WrongState(f"cannot {verb} now", state=s.state, allowed_in=("incoming",))
    return s.callee


def ring(s: InviteSession, status: int, early_media: bool, now: float) -> None:
    """Send a provisional response."""
    callee = _callee(s, "ring")
    place = len(callee.ringing)
    if not early_media:
        # what needs no description does not wait for one
        place = next((index for index, (_, waits) in enumerate(callee.ringing) if waits), place)
    callee.ringing.insert(place, (status, early_media))
    proceed(s, callee, now)


def answer(s: InviteSession, now: float) -> None:
    """It shall be answered. Saying so twice is saying it once."""
    callee = _callee(s, "answer")
    callee.answer_wanted = True
    if s.state is InviteState.INCOMING:
        s.enter(InviteState.ANSWERING)
    proceed(s, callee, now)


def reject(s: InviteSession, status: int, reason: str, retry_after_s: int | None, now: float) -> None:
    """Refuse the call."""
    callee = _callee(s, "reject")
    headers = [("Retry-After", str(retry_after_s))] if retry_after_s is not None else []
    s.respond(callee.incoming, status, now, reason=reason, headers=headers)
    s.end(EndCause.REFUSED, Party.LOCAL, status=status, reason=reason)


def proceed(s: InviteSession, callee: CalleeFacts, now: float) -> None:
    """Say as much of what is wished as can be said now."""
    while callee.ringing and callee.reliable is None:
        status, early_media = callee.ringing[0]
        reliable = callee.peer_reliable and (callee.must_reliable or (early_media and callee.offer is not None))
        # the first reliable provisional response to an offerless INVITE must carry the offer (RFC 3262 5)
        needs = early_media or (reliable and callee.offer is None)
        if needs and not callee.description:
            _want(s, callee, now)
            break
        callee.ringing.pop(0)
        body = callee.description if needs and not callee.description_reliable else b""
        if reliable:
            callee.description_reliable = callee.description_reliable or bool(body)
            provisional.send(s, callee, status, body, now)
        else:
            s.respond(callee.incoming, status, now, headers=[("Allow", capabilities()[0][1])], body=body)
    if not callee.answer_wanted or callee.ringing:
        if callee.answer_wanted and callee.reliable is None:
            callee.ringing.clear()  # overtaken: the description that they wait for goes into the 2xx
        return
    if callee.reliable is not None and callee.reliable.has_description:
        return  # the 2xx waits for the PRACK (RFC 3262 3)
    if not callee.description:
        _want(s, callee, now)
        return
    _accept(s, callee, now)


def _want(s: InviteSession, callee: CalleeFacts, now: float) -> None:
    leg = callee.incoming.leg
    if not leg.exchange.idle:
        return  # asked already
    s.want(
        DescriptionKind.OFFER if callee.offer is None else DescriptionKind.ANSWER,
        Use.INCOMING,
        now,
        exchange=leg.exchange,
        carrier=Carrier.INVITE,
        leg=leg,
        remote=callee.offer,
    )


def on_description(s: InviteSession, want: Want, description: bytes, now: float) -> None:
    """Our media made the answer, or the offer of an offerless call."""
    callee = s.callee
    assert callee is not None
    callee.description = description
    if callee.offer is not None:
        want.exchange.answered()
    else:
        want.exchange.offered(want.token, Carrier.INVITE)
    proceed(s, callee, now)


def on_no_description(s: InviteSession, want: Want, status: int, now: float) -> None:
    """Our media cannot: the call cannot be taken."""
    callee = s.callee
    assert callee is not None
    want.exchange.withdraw()
    s.respond(callee.incoming, status, now)
    s.end(EndCause.DESCRIPTION_FAILED, Party.LOCAL, status=status)


def _accept(s: InviteSession, callee: CalleeFacts, now: float) -> None:
    request, leg = callee.incoming.request, callee.incoming.leg
    peer_supports = "timer" in supported(request)
    headers = [
        *capabilities(),
        *s.timer.accept_peer(session_expires(request), min_se(request), peer_supports=peer_supports, now=now),
        *s.account.agent,
    ]
    body = b"" if callee.description_reliable else callee.description
    response = s.respond(callee.incoming, 200, now, headers=headers, body=body)
    s.timers.clear((Deadline.RING, None))
    provisional.stop(s, callee)
    leg.dialog.state = DialogState.CONFIRMED
    s.enter(InviteState.ACCEPTED)
    succeed(s, callee.incoming, response, now)
    s.tell_answered(leg)
    refresh.arm(s)


# --- the 2xx and its ACK, also of a re-INVITE


def succeed(s: InviteSession, incoming: Incoming, response: Response, now: float) -> None:
    """A 2xx to INVITE went out: repeat it until the ACK, whatever the transport (RFC 3261 13.3.1.4)."""
    number = cseq(incoming.request).number
    t1 = s.core.timers.t1_s
    s.successes[number] = Success(
        incoming=incoming,
        response=response,
        number=number,
        interval_s=t1,
        offered=incoming.leg.exchange.state is OfferAnswerState.LOCAL_OFFER,
    )
    s.timers.set((Deadline.SUCCESS, number), now + t1)
    s.timers.set((Deadline.NO_ACK, number), now + s.core.timers.transaction_s)


def repeat_success(s: InviteSession, name: Hashable, now: float) -> None:
    """No ACK yet."""
    success = s.successes[int(str(name))]
    _say(s, success, now)
    success.interval_s = min(2 * success.interval_s, s.core.timers.t2_s)
    s.timers.set((Deadline.SUCCESS, name), now + success.interval_s)


def _say(s: InviteSession, success: Success, now: float) -> None:
    if success.moved:
        s.core.layer.respond_statelessly(s.flow, success.response)
    else:
        s.core.layer.respond(success.incoming.key, success.response, now)


def on_ack(s: InviteSession, request: Request, leg: Leg, now: float) -> None:
    """The ACK of a 2xx: of this one and, as it is newer, of those before."""
    number = cseq(request).number
    success = s.successes.get(number)
    if success is None:
        return
    for older in [known for known in s.successes if known <= number]:
        forget_success(s, older)
    missing = success.offered and not _take_answer(s, leg, description_of(request))
    if s.state is InviteState.ACCEPTED:
        if missing:
            close.bye(s, leg, now)
            s.end(EndCause.DESCRIPTION_FAILED, Party.REMOTE)
            return
        confirm(s, now)
    elif s.ended:
        close.flush(s, now)
    else:
        modify.pump(s, now)


def _take_answer(s: InviteSession, leg: Leg, body: bytes | None) -> bool:
    """The answer in the ACK to the offer in our 2xx."""
    exchange = leg.exchange
    assert exchange.exchange is not None
    token = exchange.exchange.token
    if body is None:
        exchange.withdraw()
        s.emit(DescriptionExpired(session=s.id, token=token))
        return False
    exchange.answered()
    s.emit(AnswerReceived(session=s.id, token=token, description=body, early=False, fork=leg.dialog.remote_tag))
    return True


def confirm(s: InviteSession, now: float) -> None:
    """The dialog is established at both ends."""
    s.enter(InviteState.CONFIRMED)
    s.emit(Confirmed(session=s.id))
    modify.pump(s, now)


def forget_success(s: InviteSession, number: int) -> None:
    """Repeat it no more."""
    s.successes.pop(number, None)
    for kind in (Deadline.SUCCESS, Deadline.NO_ACK, Deadline.OVERDUE):
        s.timers.clear((kind, number))


def on_no_ack(s: InviteSession, name: Hashable, now: float) -> None:
    """64*T1 without ACK: the session is ended with BYE (RFC 3261 13.3.1.4)."""
    success = s.successes[int(str(name))]
    forget_success(s, success.number)
    leg = success.incoming.leg
    if s.ended:
        close.flush(s, now)
        return
    close.bye(s, leg, now)
    s.end(EndCause.NO_ACK, Party.SYSTEM)


# --- the end before the answer


def on_ring_expired(s: InviteSession, now: float) -> None:
    """Nobody answered."""
    callee = s.callee
    assert callee is not None
    s.respond(callee.incoming, 480, now)
    s.end(EndCause.NO_ANSWER, Party.SYSTEM, status=480)


def on_server_failure(s: InviteSession, incoming: Incoming, now: float) -> None:
    """A server transaction ended without its ACK, or its flow broke."""
    callee = s.callee
    if incoming.final or s.ended:
        return
    incoming.final = True
    if callee is not None and incoming is callee.incoming:
        s.end(EndCause.UNREACHABLE, Party.SYSTEM)
        return
    follow.withdraw_remote(s, incoming)


def move(s: InviteSession, now: float) -> None:
    """There is a new flow. A 2xx without ACK is said again on it: a proxy knows a response by its branch, whatever it
    comes over (RFC 3261 16.7). The old flow may have taken the 2xx with it, and then the far end still rings, or the
    ACK, and then it is sent again. When neither shows within 2*T1, the recovery's re-INVITE does not wait any longer:
    its answer tells as well whether the far end has the call."""
    t1 = s.core.timers.t1_s
    for number, success in s.successes.items():
        success.moved, success.overdue, success.interval_s = True, False, t1
        _say(s, success, now)
        s.timers.set((Deadline.SUCCESS, number), now + t1)
        s.timers.set((Deadline.NO_ACK, number), now + s.core.timers.transaction_s)
        s.timers.set((Deadline.OVERDUE, number), now + 2 * t1)


def on_overdue(s: InviteSession, name: Hashable, now: float) -> None:
    """The ACK does not come over the new flow either."""
    s.successes[int(str(name))].overdue = True
    leg = s.leg
    if s.ended or leg is None or not leg.exchange.idle:
        return  # a description is to come in the ACK: nothing else brings it
    if s.state is InviteState.ACCEPTED:
        confirm(s, now)
    else:
        modify.pump(s, now)


def prove(s: InviteSession, status: int) -> None:
    """The far end answered a re-INVITE of ours: it has the session, and with it our 2xx. Who has not is busy with the
    INVITE of before (491; some say 403 or 500)."""
    if status not in (403, 491, 500):
        for number in [number for number, success in s.successes.items() if success.moved]:
            forget_success(s, number)
