"""Reliable provisional responses and PRACK, both roles (RFC 3262)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from phoned.errors import MalformedMessage
from phoned.sip.accessors import cseq, rack, require, rseq
from phoned.sip.events import AnswerReceived, DescriptionKind, EndCause, Party
from phoned.sip.extension_fields import RAck
from phoned.sip.invite_session import accept, close
from phoned.sip.invite_session.state import CalleeFacts, Deadline, Incoming, Leg, Outgoing, Purpose, Reliable, Use, Want
from phoned.sip.message import Response
from phoned.sip.offer_answer import Carrier, OfferAnswerState
from phoned.sip.options import ALLOW, SDP, description_of, lenient

if TYPE_CHECKING:
    from phoned.sip.invite_session.session import InviteSession


# --- as caller


def is_reliable(response: Response) -> bool:
    """Whether a provisional response asks for a PRACK."""
    return "100rel" in (lenient(require, response) or ()) and rseq(response) is not None


def is_next(leg: Leg, response: Response) -> bool:
    """Whether it is new and in order; a repetition, or one that overtook another, is dropped (RFC 3262 4)."""
    number = rseq(response)
    if number is None or (leg.rseq is not None and number != leg.rseq + 1):
        return False
    leg.rseq = number
    return True


def acknowledge(s: InviteSession, leg: Leg, response: Response, now: float, body: bytes = b"") -> None:
    """Send the PRACK."""
    request = leg.dialog.request("PRACK")
    request.headers.add("RAck", str(RAck(rseq=rseq(response) or 0, cseq=cseq(response))))
    if body:
        request.headers.add("Content-Type", SDP)
        request.body = body
    s.send(Purpose.PRACK, request, now, leg=leg)


def on_answer(s: InviteSession, want: Want, description: bytes, now: float) -> None:
    """The answer to an offer in a reliable provisional response: it goes into the PRACK."""
    leg = want.leg
    assert leg is not None
    assert leg.prack_for is not None
    want.exchange.answered()
    acknowledge(s, leg, leg.prack_for, now, description)
    leg.prack_for = None


def on_no_answer(s: InviteSession, want: Want, status: int, now: float) -> None:
    """Without an answer this call cannot be."""
    want.exchange.withdraw()
    close.hangup(s, now, None)


def on_response(s: InviteSession, out: Outgoing, response: Response, now: float) -> None:
    """A PRACK was answered. Its refusal concerns the far end's provisional response, not the call."""


def on_failure(s: InviteSession, out: Outgoing, status: int, now: float) -> None:
    """A PRACK without answer: the INVITE will tell."""


# --- as callee


def send(s: InviteSession, callee: CalleeFacts, status: int, body: bytes, now: float) -> None:
    """Send a provisional response that is repeated until its PRACK comes."""
    headers = [("Require", "100rel"), ("RSeq", str(callee.rseq)), ("Allow", ALLOW)]
    response = s.respond(callee.incoming, status, now, headers=headers, body=body)
    t1 = s.core.timers.t1_s
    callee.reliable = Reliable(response=response, rseq=callee.rseq, interval_s=t1, has_description=bool(body))
    callee.rseq += 1
    s.timers.set((Deadline.RELIABLE, None), now + t1)
    s.timers.set((Deadline.NO_PRACK, None), now + s.core.timers.transaction_s)


def repeat(s: InviteSession, now: float) -> None:
    """No PRACK yet."""
    callee = s.callee
    assert callee is not None
    assert callee.reliable is not None
    s.core.layer.respond(callee.incoming.key, callee.reliable.response, now)
    callee.reliable.interval_s *= 2
    s.timers.set((Deadline.RELIABLE, None), now + callee.reliable.interval_s)


def stop(s: InviteSession, callee: CalleeFacts) -> None:
    """Repeat it no more: its PRACK came, or the final response did."""
    callee.reliable = None
    s.timers.clear((Deadline.RELIABLE, None))
    s.timers.clear((Deadline.NO_PRACK, None))


def on_no_prack(s: InviteSession, now: float) -> None:
    """64*T1 without PRACK: the INVITE is refused (RFC 3262 3)."""
    callee = s.callee
    assert callee is not None
    s.respond(callee.incoming, 504, now)
    s.end(EndCause.TIMEOUT, Party.SYSTEM, status=504)


def on_prack(s: InviteSession, incoming: Incoming, now: float) -> None:
    """The far end acknowledges a provisional response."""
    callee = s.callee
    acknowledged = rack(incoming.request)
    if acknowledged is None:
        raise MalformedMessage("PRACK without RAck")
    if (
        callee is None
        or callee.reliable is None
        or acknowledged.rseq != callee.reliable.rseq
        or acknowledged.cseq != cseq(callee.incoming.request)
    ):
        s.respond(incoming, 481, now)
        return
    stop(s, callee)
    body, leg = description_of(incoming.request), incoming.leg
    exchange = leg.exchange
    if body is not None and exchange.state is OfferAnswerState.LOCAL_OFFER and exchange.exchange is not None:
        token = exchange.exchange.token
        exchange.answered()
        s.emit(AnswerReceived(session=s.id, token=token, description=body, early=True, fork=leg.dialog.remote_tag))
    elif body is not None and exchange.idle:
        s.want(
            DescriptionKind.ANSWER,
            Use.ANSWER_TO_PRACK,
            now,
            exchange=exchange,
            carrier=Carrier.PRACK,
            leg=leg,
            remote=body,
            incoming=incoming,
        )
        return
    s.respond(incoming, 200, now)
    accept.proceed(s, callee, now)


def on_answer_to_prack(s: InviteSession, want: Want, description: bytes, now: float) -> None:
    """The answer to the offer in a PRACK."""
    incoming, callee = want.incoming, s.callee
    assert incoming is not None
    assert callee is not None
    want.exchange.answered()
    s.respond(incoming, 200, now, body=description)
    accept.proceed(s, callee, now)


def on_no_answer_to_prack(s: InviteSession, want: Want, status: int, now: float) -> None:
    """The offer in a PRACK is refused; what was agreed before stands."""
    incoming, callee = want.incoming, s.callee
    assert incoming is not None
    assert callee is not None
    want.exchange.withdraw()
    s.respond(incoming, 488 if status == 500 else status, now)
    accept.proceed(s, callee, now)
