"""Changing an established session by a re-INVITE or UPDATE of ours: one at a time, glare, Retry-After (RFC 3261 14, RFC
3311).

Wishes that come meanwhile are gathered into the next. A refusal leaves the session as it was.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from phoned.sip.accessors import cseq, min_se, retry_after, session_expires
from phoned.sip.events import (
    AnswerReceived,
    DescriptionExpired,
    DescriptionKind,
    DialogChanged,
    EndCause,
    FlowSuspect,
    Modified,
    ModifyCause,
    ModifyPutOff,
    ModifyRefused,
    Party,
    Token,
)
from phoned.sip.invite_session import accept, close, connect, provisional, refresh
from phoned.sip.invite_session.state import Deadline, InviteState, Leg, Outgoing, Purpose, Use, Want
from phoned.sip.message import Response
from phoned.sip.offer_answer import Carrier
from phoned.sip.options import SDP, capabilities, description_of, lenient, methods_of
from phoned.sip.transaction import TransactionKey

if TYPE_CHECKING:
    from phoned.sip.invite_session.session import InviteSession

MAX_AGAIN = 10
"""Glare, or Retry-After, in a row before it counts as a refusal."""
MAX_OVERLAPS = 3
"""Refusals in a row that are laid to a forerunner which the far end has not done with."""
MAX_FORERUNNERS = 16
"""Re-INVITEs without an answer that are acknowledged unheard; the far end answers one at most."""
LEAST_RETRY_S = 0.1
SHORT_RETRY_S = 10
"""RFC 3261 14.2 asks for at most this in the Retry-After of a 500 to a re-INVITE; a person does not wait for longer."""


def wish(s: InviteSession, cause: ModifyCause, offer: bytes | None, use_update: bool, now: float) -> None:
    """Our user wants the session modified. Before it is established the wish waits."""
    facts = s.modify
    if cause not in facts.wishes:
        facts.wishes.append(cause)
    facts.offer = offer
    facts.use_update = use_update
    pump(s, now)


def pump(s: InviteSession, now: float) -> None:
    """Send what is wished, if nothing is in the way; whatever was in the way calls again."""
    facts, leg = s.modify, s.leg
    blocked = (
        s.state is not InviteState.CONFIRMED
        or not facts.wishes
        or facts.current is not None
        # an INVITE of theirs is in progress until its ACK (RFC 3261 14.1)
        or not all(success.overdue for success in s.successes.values())
        or (Deadline.MODIFY_AGAIN, None) in s.timers
        or any(
            not incoming.final and incoming.request.method in ("INVITE", "UPDATE") for incoming in s.incoming.values()
        )
    )
    if blocked or leg is None or not leg.exchange.idle:
        return
    if s.flow not in s.account.flows:
        return  # `move` calls again
    causes = tuple(facts.wishes)
    facts.wishes.clear()
    if causes == (ModifyCause.REFRESH,) and "UPDATE" in leg.methods:
        _send(s, leg, Purpose.UPDATE, None, causes, b"", now)
    elif facts.offer is not None:
        token, offer = s.core.random.token(), facts.offer
        facts.offer = None
        leg.exchange.offered(token, Carrier.REINVITE, causes)
        _send(s, leg, _purpose(s, leg), token, causes, offer, now)
    else:
        s.want(
            DescriptionKind.OFFER,
            Use.MODIFY_OFFER,
            now,
            exchange=leg.exchange,
            carrier=Carrier.REINVITE,
            leg=leg,
            causes=causes,
        )


def _purpose(s: InviteSession, leg: Leg) -> Purpose:
    return Purpose.UPDATE if s.modify.use_update and "UPDATE" in leg.methods else Purpose.REINVITE


def on_offer(s: InviteSession, want: Want, description: bytes, now: float) -> None:
    """Our media made the offer."""
    leg, exchange = want.leg, want.exchange
    assert leg is not None
    assert exchange.exchange is not None
    causes = exchange.exchange.causes
    exchange.offered(want.token, Carrier.REINVITE, causes)
    _send(s, leg, _purpose(s, leg), want.token, causes, description, now)


def on_no_offer(s: InviteSession, want: Want, status: int, now: float) -> None:
    """Our media made none: nothing is sent."""
    exchange = want.exchange.withdraw()
    causes = exchange.causes if exchange else ()
    _refused(s, causes, 0, "", None, now)


def _send(
    s: InviteSession,
    leg: Leg,
    purpose: Purpose,
    token: Token | None,
    causes: tuple[ModifyCause, ...],
    body: bytes,
    now: float,
) -> None:
    request = leg.dialog.request("INVITE" if purpose is Purpose.REINVITE else "UPDATE")
    for name, value in (
        ("Contact", s.account.contact),
        *capabilities(),
        *s.timer.request_headers(),
        *s.account.agent,
    ):
        request.headers.add(name, value)
    if body:
        request.headers.add("Content-Type", SDP)
        request.body = body
    leg.rseq = None
    for forerunner in s.modify.forerunners:
        s.core.layer.send_ack(connect.ack_of(leg, forerunner), s.flow)
    s.modify.current = s.send(purpose, request, now, leg=leg, token=token, causes=causes)


# --- the outcome of ours


def on_response(s: InviteSession, out: Outgoing, response: Response, now: float) -> None:
    """A response to our re-INVITE or UPDATE."""
    leg = out.leg
    assert leg is not None
    if response.status < 200:
        if provisional.is_reliable(response) and provisional.is_next(leg, response):
            provisional.acknowledge(s, leg, response, now)
        return
    s.timers.clear((Deadline.MODIFY_END, out.key))
    if response.status < 300 and out.purpose is Purpose.REINVITE:
        # each 2xx gets its ACK, also one that comes again or that nobody waits for any more
        if leg.ack is not None and leg.ack_number == cseq(out.request).number:
            s.core.layer.send_ack(leg.ack, s.flow)
        else:
            connect.acknowledge(s, leg, out, now)
    if out is not s.modify.current:
        return
    accept.prove(s, response.status)
    if response.status < 300:
        _accepted(s, leg, out, response, now)
    elif not s.retried(out, response, now):
        _on_refusal(s, leg, out, response, now)


def _accepted(s: InviteSession, leg: Leg, out: Outgoing, response: Response, now: float) -> None:
    facts = s.modify
    facts.current, facts.strikes, facts.again, facts.put_off_since = None, 0, 0, None
    facts.forerunners.clear()
    leg.dialog.refresh_target(response)
    leg.methods = methods_of(response) or leg.methods
    s.timer.accepted_by_peer(lenient(session_expires, response), now)
    refresh.arm(s)
    body = description_of(response)
    if out.token is not None:
        if body is None:
            _withdraw(s, leg, out)
            _refused(s, out.causes, response.status, "no answer in it", None, now)
            return
        leg.exchange.answered()
        s.emit(AnswerReceived(session=s.id, token=out.token, description=body, early=False, fork=leg.dialog.remote_tag))
    s.emit(Modified(session=s.id, causes=out.causes))
    s.emit(DialogChanged(session=s.id))
    pump(s, now)


def _withdraw(s: InviteSession, leg: Leg, out: Outgoing) -> None:
    s.modify.current = None
    if out.token is not None:
        leg.exchange.withdraw()
        s.emit(DescriptionExpired(session=s.id, token=out.token))


def _leave_behind(s: InviteSession, leg: Leg, out: Outgoing) -> None:
    """Nothing more is heard of it, but the far end may have answered. It waits for an ACK then, takes no other
    re-INVITE before that, and ends the call when none comes (13.3.1.4): the next one brings the ACK along."""
    _withdraw(s, leg, out)
    again(s, out.causes)
    if out.purpose is Purpose.REINVITE and out.key is not None:
        s.modify.forerunners = [*s.modify.forerunners, out][-MAX_FORERUNNERS:]


def again(s: InviteSession, causes: tuple[ModifyCause, ...]) -> None:
    """Wish it again, before what was wished since; our media makes a new offer."""
    facts = s.modify
    facts.wishes = [*causes, *(cause for cause in facts.wishes if cause not in causes)]


def _on_refusal(s: InviteSession, leg: Leg, out: Outgoing, response: Response, now: float) -> None:
    status, facts = response.status, s.modify
    if status == 408 or (status == 487 and facts.cut_off):
        on_failure(s, out, 408, now)
        return
    _withdraw(s, leg, out)
    overlapped = bool(facts.forerunners) and facts.again < MAX_OVERLAPS
    facts.strikes, facts.cut_off = 0, False
    after = retry_after(response)
    if status == 481:
        # the far end has no such call: it is over, and there is nobody to say BYE to
        s.end(EndCause.DIALOG_GONE, Party.REMOTE, status=status, reason=response.reason)
    elif overlapped and status not in (401, 407):
        # the far end was busy with the forerunner: RFC 3261 14.2 wants 500 then, JsSIP says 403 until its ACK has come
        _later(s, out.causes, now + s.core.timers.t1_s)
    elif status == 491 and facts.again < MAX_AGAIN:
        _later(s, out.causes, now + _glare_s(s, leg))
    elif after is not None and facts.again < MAX_AGAIN and _may_wait(s, out.causes, status, after, now):
        after_s = max(float(after), LEAST_RETRY_S)
        facts.put_off_since = now if facts.put_off_since is None else facts.put_off_since
        reason = response.reason
        s.emit(ModifyPutOff(session=s.id, causes=out.causes, status=status, reason=reason, after_s=after_s))
        _later(s, out.causes, now + after_s)
    elif status == 422 and s.timer.too_small(lenient(min_se, response)):
        again(s, out.causes)
        pump(s, now)
    elif out.purpose is Purpose.UPDATE and status in (405, 501):
        leg.methods -= {"UPDATE"}
        again(s, out.causes)
        pump(s, now)
    elif ModifyCause.RECOVERY in out.causes and not s.account.confirmed_on(s.flow) and not facts.refused_early:
        facts.refused_early = out.causes
    else:
        _refused(s, out.causes, status, response.reason, None if after is None else float(after), now)


def _may_wait(s: InviteSession, causes: tuple[ModifyCause, ...], status: int, after_s: float, now: float) -> bool:
    """Whether Retry-After is a reason to say it again. A repair has all the time that its call may be without one."""
    if ModifyCause.RECOVERY in causes or ModifyCause.MEDIA in causes:
        since = now if s.modify.put_off_since is None else s.modify.put_off_since
        return now + after_s <= since + s.account.parameters.retention_s
    return (status == 480 or 500 <= status < 600) and after_s <= SHORT_RETRY_S


def _glare_s(s: InviteSession, leg: Leg) -> float:
    """RFC 3261 14.1, in steps of 10 ms."""
    if leg.dialog.initiator:
        return 2.1 + 0.01 * s.core.random.below(191)
    return 0.01 * s.core.random.below(201)


def _later(s: InviteSession, causes: tuple[ModifyCause, ...], at: float) -> None:
    s.modify.again += 1
    again(s, causes)
    s.timers.set((Deadline.MODIFY_AGAIN, None), at)


def _refused(
    s: InviteSession, causes: tuple[ModifyCause, ...], status: int, reason: str, after_s: float | None, now: float
) -> None:
    s.modify.again, s.modify.put_off_since = 0, None
    if ModifyCause.REFRESH in causes:
        s.timer.retry_refresh(now, min(32.0, s.timer.interval_s / 8))
        refresh.arm(s)
    s.emit(ModifyRefused(session=s.id, causes=causes, status=status, reason=reason, retry_after_s=after_s))
    pump(s, now)


def on_failure(s: InviteSession, out: Outgoing, status: int, now: float) -> None:
    """No answer (408): the flow is doubted first, the call only the second time. A broken flow (503) is nobody's fault:
    it is said again on the next."""
    facts, leg = s.modify, out.leg
    if out is not facts.current:
        return
    assert leg is not None
    _leave_behind(s, leg, out)
    facts.cut_off = False
    if status == 503:
        if s.flow in s.account.flows:
            s.timers.set((Deadline.MODIFY_AGAIN, None), now + s.core.timers.t2_s)  # no room, or already on a new flow
        return
    facts.strikes += 1
    if facts.strikes > 1:
        close.bye(s, leg, now)
        s.end(EndCause.NO_ANSWER_FROM_PEER, Party.SYSTEM, status=408)
        return
    s.timers.set((Deadline.MODIFY_AGAIN, None), now + s.core.timers.transaction_s)
    s.emit(FlowSuspect(session=s.id, account=s.account.id, flow=s.flow))


def on_no_final(s: InviteSession, key: TransactionKey, now: float) -> None:
    """A re-INVITE that only ever got provisional responses: cut it off; forget it when nobody waits for it."""
    current = s.modify.current
    if current is not None and current.key == key:
        s.modify.cut_off = True
        s.core.layer.cancel(key, now)
    else:
        s.core.layer.abandon(key)
        s.outgoing.pop(key, None)


def move(s: InviteSession, now: float) -> None:
    """There is a new flow: what was under way on the old one is said again on this."""
    facts = s.modify
    out = facts.current
    if out is not None and out.leg is not None and (out.key is None or out.key.flow != s.flow):
        _leave_behind(s, out.leg, out)
    s.timers.clear((Deadline.MODIFY_AGAIN, None))
    pump(s, now)


def on_registered(s: InviteSession, now: float) -> None:
    """The registrar confirmed the flow: what was refused before is said once more."""
    facts = s.modify
    if facts.refused_early:
        again(s, facts.refused_early)
        pump(s, now)
        facts.refused_early = ()
