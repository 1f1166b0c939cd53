"""We call: INVITE, forks, early media, the 2xx and its ACK (RFC 3261 13.1 - 13.2, RFC 3262 4, RFC 5407)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from phoned.errors import InvalidValue, MalformedMessage
from phoned.sip.accessors import cseq, min_se, readable_contacts, retry_after, session_expires, to, wants_privacy
from phoned.sip.dialog import Dialog
from phoned.sip.events import (
    AnswerReceived,
    DescriptionKind,
    DialogChanged,
    EndCause,
    Party,
    Progress,
)
from phoned.sip.headers import Headers
from phoned.sip.invite_session import close, modify, provisional, refresh
from phoned.sip.invite_session.state import CallerFacts, Deadline, InviteState, Leg, Outgoing, Purpose, Use, Want
from phoned.sip.message import Request, Response, serialise
from phoned.sip.offer_answer import Carrier, OfferAnswerState
from phoned.sip.options import SDP, capabilities, description_of, lenient, methods_of
from phoned.sip.uri import Uri

if TYPE_CHECKING:
    from phoned.sip.invite_session.session import InviteSession

MAX_TRIES = 2
"""Challenges answered for one request."""
MAX_REDIRECTS = 3
ANONYMOUS = '"Anonymous" <sip:anonymous@anonymous.invalid>'
_CREDENTIALS = ("Authorization", "Proxy-Authorization")


def start(
    s: InviteSession,
    target: str,
    headers: list[tuple[str, str]],
    offer: bytes | None,
    offerless: bool,
    in_name_of: str | None,
    now: float,
) -> None:
    """Call ``target``. Raises InvalidValue for what cannot be called."""
    s.caller = caller = CallerFacts(target=target, headers=headers, offerless=offerless, in_name_of=in_name_of)
    if in_name_of is not None:
        try:
            caller.in_name_of = str(Uri.parse(in_name_of))
        except MalformedMessage as error:
            raise InvalidValue(f"not a URI that can call: {error.detail}") from None
    serialise(_build(s, caller))  # what cannot be built or written is the caller's mistake: said at once
    caller.number = 0
    s.timers.set((Deadline.SETUP, None), now + s.core.limits.setup_s)
    if offerless:
        _call(s, caller, now)
    elif offer is not None:
        caller.offer, caller.offer_token = offer, s.core.random.token()
        caller.exchange.offered(caller.offer_token, Carrier.INVITE)
        _call(s, caller, now)
    else:
        s.want(DescriptionKind.OFFER, Use.FIRST_OFFER, now, exchange=caller.exchange, carrier=Carrier.INVITE)


def on_offer(s: InviteSession, want: Want, description: bytes, now: float) -> None:
    """Our media made the offer of the INVITE."""
    caller = _caller(s)
    caller.offer, caller.offer_token = description, want.token
    want.exchange.offered(want.token, Carrier.INVITE)
    _call(s, caller, now)


def on_no_offer(s: InviteSession, want: Want, status: int, now: float) -> None:
    """Our media made none: there is nothing to call with."""
    want.exchange.withdraw()
    s.end(EndCause.DESCRIPTION_FAILED, Party.LOCAL, status=status)


def _caller(s: InviteSession) -> CallerFacts:
    assert s.caller is not None
    return s.caller


def _build(s: InviteSession, caller: CallerFacts) -> Request:
    caller.number += 1
    reliable = s.account.parameters.reliable_provisionals
    headers = [
        ("Contact", s.account.contact),
        *capabilities(reliable=reliable != "never"),
        *([("Require", "100rel")] if reliable == "required" else []),
        *s.timer.request_headers(),
        *s.account.agent,
        *caller.headers,
    ]
    request = s.account.request(
        "INVITE", caller.target, call_id=s.call_id, tag=s.local_tag, number=caller.number, headers=headers
    )
    if caller.in_name_of:
        request.headers.set("From", f"<{caller.in_name_of}>;tag={s.local_tag}")
    elif wants_privacy(request):
        # RFC 3323 4.1.1.3 leaves From to us; who we are is for our server alone, and it needs to know (RFC 3325 9.2)
        request.headers.set("From", f"{ANONYMOUS};tag={s.local_tag}")
        if "P-Preferred-Identity" not in request.headers:
            request.headers.add("P-Preferred-Identity", str(s.account.aor))
    if caller.offer:
        request.headers.add("Content-Type", SDP)
        request.body = caller.offer
    return request


def _call(s: InviteSession, caller: CallerFacts, now: float) -> None:
    _send(s, caller, _build(s, caller), now)


def _send(s: InviteSession, caller: CallerFacts, request: Request, now: float, *, tries: int = 0) -> None:
    for leg in tuple(s.legs.values()):
        drop_leg(s, leg)
    if s.state is not InviteState.CALLING:
        s.enter(InviteState.CALLING)
    caller.number = cseq(request).number
    caller.invite = s.send(Purpose.INVITE, request, now, tries=tries)
    s.emit(DialogChanged(session=s.id))


def drop_leg(s: InviteSession, leg: Leg) -> None:
    """An early dialog that came to nothing."""
    s.legs.pop(leg.dialog.remote_tag, None)
    for want in tuple(s.wants.values()):
        if want.leg is leg:
            s.drop_want(want.token)


# --- responses


def on_response(s: InviteSession, out: Outgoing, response: Response, now: float) -> None:
    """A response to our INVITE."""
    caller = _caller(s)
    if response.status < 200:
        _on_provisional(s, caller, out, response, now)
    elif response.status < 300:
        _on_success(s, caller, out, response, now)
    else:
        _on_refusal(s, caller, out, response, now)


def _leg_of(s: InviteSession, caller: CallerFacts, out: Outgoing, response: Response) -> Leg | None:
    tag = to(response).tag
    if tag is None:
        return None
    leg = s.legs.get(tag)
    if leg is None and len(s.legs) < s.core.limits.early_dialogs:
        leg = _new_leg(s, caller, out, response)
    return leg


def _new_leg(s: InviteSession, caller: CallerFacts, out: Outgoing, response: Response) -> Leg:
    leg = Leg(dialog=Dialog.uac(out.request, response))
    if caller.offer:
        leg.exchange.offered(caller.offer_token, Carrier.INVITE)
    s.legs[leg.dialog.remote_tag] = leg
    return leg


def _on_provisional(s: InviteSession, caller: CallerFacts, out: Outgoing, response: Response, now: float) -> None:
    if s.state is InviteState.CALLING:
        s.enter(InviteState.PROCEEDING)
    if s.state is not InviteState.PROCEEDING or response.status == 100 or out is not caller.invite:
        return
    leg = _leg_of(s, caller, out, response)
    reliable = leg is not None and provisional.is_reliable(response)
    body = description_of(response)
    if leg is not None:
        leg.methods = methods_of(response) or leg.methods
        leg.dialog.refresh_target(response)
        if reliable and not provisional.is_next(leg, response):
            return
        if not _take_early(s, leg, body, response, now, reliable=reliable) and reliable:
            provisional.acknowledge(s, leg, response, now)
    s.emit(
        Progress(
            session=s.id,
            status=response.status,
            reason=response.reason,
            fork=leg.dialog.remote_tag if leg else None,
            reliable=reliable,
            early_media=body is not None and leg is not None,
        )
    )


def _take_early(
    s: InviteSession, leg: Leg, body: bytes | None, response: Response, now: float, *, reliable: bool
) -> bool:
    """A description in a provisional response. True when the PRACK waits for our answer to it."""
    if body is None:
        return False
    exchange = leg.exchange
    if exchange.state is OfferAnswerState.LOCAL_OFFER and exchange.exchange is not None:
        token = exchange.exchange.token
        exchange.answered()
        leg.early, leg.early_reliable = (token, body), reliable
        s.emit(AnswerReceived(session=s.id, token=token, description=body, early=True, fork=leg.dialog.remote_tag))
    elif leg.early is not None:
        leg.early_reliable = leg.early_reliable or reliable
    elif reliable and exchange.idle and not exchange.established:
        leg.prack_for = response
        s.want(
            DescriptionKind.ANSWER,
            Use.PRACK_ANSWER,
            now,
            exchange=exchange,
            carrier=Carrier.PRACK,
            leg=leg,
            remote=body,
        )
        return True
    return False


def _on_success(s: InviteSession, caller: CallerFacts, out: Outgoing, response: Response, now: float) -> None:
    tag = to(response).tag or ""
    number = cseq(response).number
    leg = s.legs.get(tag)
    if leg is not None and leg.ack_number == number:
        if leg.ack is not None:
            s.core.layer.send_ack(leg.ack, s.flow)
        return
    if s.ended or s.leg is not None or s.state is InviteState.CANCELING:
        _decline_success(s, caller, out, response, now)
        return
    if leg is None:
        leg = _new_leg(s, caller, out, response)
    leg.dialog.confirm(response)
    leg.ack_number = number
    leg.methods = methods_of(response) or leg.methods
    s.leg = leg
    for other in tuple(s.legs.values()):
        if other is not leg:
            drop_leg(s, other)
    s.timers.clear((Deadline.SETUP, None))
    s.enter(InviteState.ACCEPTED)
    s.timer.accepted_by_peer(lenient(session_expires, response), now)
    _settle(s, leg, out, description_of(response), now)


def _settle(s: InviteSession, leg: Leg, out: Outgoing, body: bytes | None, now: float) -> None:
    """Offer and answer of an accepted INVITE."""
    exchange, fork = leg.exchange, leg.dialog.remote_tag
    token, description = "", body
    if leg.early is not None:
        token = leg.early[0]
        description = leg.early[1] if body is None or leg.early_reliable else body
    elif exchange.state is OfferAnswerState.LOCAL_OFFER and exchange.exchange is not None:
        token = exchange.exchange.token
        if body is not None:
            exchange.answered()
    elif not exchange.idle or not exchange.established:
        # the offer is in the 2xx; one in a provisional response that our media still works on has been overtaken
        for want in tuple(s.wants.values()):
            s.drop_want(want.token)
        if body is not None:
            s.want(
                DescriptionKind.ANSWER,
                Use.ACK_ANSWER,
                now,
                exchange=exchange,
                carrier=Carrier.INVITE,
                leg=leg,
                remote=body,
            )
            return
    if token and description is not None:
        s.emit(AnswerReceived(session=s.id, token=token, description=description, early=False, fork=fork))
    acknowledge(s, leg, out, now)
    if not exchange.established:
        close.bye(s, leg, now)
        s.end(EndCause.DESCRIPTION_FAILED, Party.SYSTEM)
        return
    _confirm(s, leg, now)


def _confirm(s: InviteSession, leg: Leg, now: float) -> None:
    s.enter(InviteState.CONFIRMED)
    s.tell_answered(leg)
    refresh.arm(s)
    modify.pump(s, now)


def acknowledge(s: InviteSession, leg: Leg, out: Outgoing, now: float, body: bytes = b"") -> None:
    """Send the ACK of a 2xx, and keep it for repetitions."""
    ack = ack_of(leg, out)
    if body:
        ack.headers.add("Content-Type", SDP)
        ack.body = body
    leg.ack_number = cseq(out.request).number
    leg.ack = s.core.layer.send_ack(ack, s.flow)


def ack_of(leg: Leg, out: Outgoing) -> Request:
    """The ACK of a 2xx. It carries the credentials of its INVITE (13.2.2.4)."""
    ack = leg.dialog.ack(cseq(out.request).number)
    for name in _CREDENTIALS:
        value = out.request.headers.get(name)
        if value is not None:
            ack.headers.add(name, value)
    return ack


def _decline_success(s: InviteSession, caller: CallerFacts, out: Outgoing, response: Response, now: float) -> None:
    """A 2xx that nobody wants: another fork was first, or we gave up (RFC 3261 13.2.2.4, 15). ACK, then BYE."""
    if len(s.legs) >= 2 * s.core.limits.early_dialogs:
        return
    leg = _new_leg(s, caller, out, response)
    leg.dialog.confirm(response)
    acknowledge(s, leg, out, now)
    close.bye(s, leg, now, reason=caller.reason)
    if s.state is InviteState.CANCELING:
        s.end(EndCause.CANCELED, Party.LOCAL, status=response.status, reason=response.reason)


def on_ack_answer(s: InviteSession, want: Want, description: bytes, now: float) -> None:
    """The answer to the offer in the 2xx."""
    leg, out = want.leg, _caller(s).invite
    assert leg is not None
    assert out is not None
    want.exchange.answered()
    acknowledge(s, leg, out, now, description)
    _confirm(s, leg, now)


def on_no_ack_answer(s: InviteSession, want: Want, status: int, now: float) -> None:
    """No answer to the offer in the 2xx: acknowledge, then hang up."""
    leg, out = want.leg, _caller(s).invite
    assert leg is not None
    assert out is not None
    want.exchange.withdraw()
    acknowledge(s, leg, out, now)
    close.bye(s, leg, now)
    s.end(EndCause.DESCRIPTION_FAILED, Party.LOCAL, status=status)


# --- refusals


def _on_refusal(s: InviteSession, caller: CallerFacts, out: Outgoing, response: Response, now: float) -> None:
    status = response.status
    if s.state in (InviteState.CANCELING, InviteState.ENDED):
        s.end(EndCause.CANCELED, Party.LOCAL, status=status, reason=response.reason)
        return
    if status in (401, 407) and out.tries < MAX_TRIES:
        again = s.account.authorize(out.request, response, in_dialog=False)
        if again is not None:
            _send(s, caller, again, now, tries=out.tries + 1)
            return
    if status == 422 and s.timer.too_small(lenient(min_se, response)):
        _call(s, caller, now)
        return
    if status // 100 == 3 and _follow(s, caller, response, now):
        return
    after = retry_after(response)
    s.end(
        EndCause.REFUSED,
        Party.REMOTE,
        status=status,
        reason=response.reason,
        reasons=response.headers.all("Reason"),
        contacts=response.headers.all("Contact") if status // 100 == 3 else (),
        retry_after_s=None if after is None else float(after),
    )


def _follow(s: InviteSession, caller: CallerFacts, response: Response, now: float) -> bool:
    hosts = {host.lower() for host in s.account.parameters.redirect_hosts}
    if not hosts or caller.redirects >= MAX_REDIRECTS:
        return False
    for contact in readable_contacts(response):
        if contact.uri.is_sip and contact.uri.host.lower() in hosts:
            caller.redirects += 1
            caller.target = str(contact.uri.without_headers())
            _call(s, caller, now)
            return True
    return False


def on_failure(s: InviteSession, out: Outgoing, status: int, now: float) -> None:
    """No final response, or no flow."""
    caller = _caller(s)
    if s.ended or s.leg is not None:
        return
    if s.state is InviteState.CANCELING:
        s.end(EndCause.CANCELED, Party.LOCAL)
    elif status == 503:
        s.end(EndCause.UNREACHABLE, Party.SYSTEM)
    else:
        s.end(EndCause.TIMEOUT, Party.SYSTEM, status=status)
    if status == 503 and out.sent is not None:
        caller.orphan = out.sent
        s.timers.set((Deadline.LINGER, None), now + s.core.timers.transaction_s)
        if s.flow in s.account.flows:
            cancel_orphan(s, now)


def cancel_orphan(s: InviteSession, now: float) -> None:
    """The flow broke under an unanswered INVITE, which may ring on at the far end: CANCEL it over the next, with the
    branch that it had (RFC 3261 9.1)."""
    caller = s.caller
    if caller is None or caller.orphan is None:
        return
    invite, caller.orphan = caller.orphan, None
    headers = Headers([(name, value) for name, value in invite.headers if name in ("Route", "From", "To", "Call-ID")])
    headers.prepend("Via", invite.headers.all("Via")[0])
    headers.add("Max-Forwards", "70")
    headers.add("CSeq", f"{cseq(invite).number} CANCEL")
    s.timers.clear((Deadline.LINGER, None))
    s.send(Purpose.BYE, Request("CANCEL", invite.uri, headers), now)


def on_setup_expired(s: InviteSession, now: float) -> None:
    """It took too long: give up."""
    close.hangup(s, now, reason=None)
