"""Transfers: a REFER of ours or of the far end's inside the dialog, and the NOTIFYs that tell how it went (RFC 3515,
RFC 3891, RFC 3892, RFC 4488, RFC 5589). What is done about theirs is for our user.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from phoned.errors import Gone, InvalidValue, MalformedMessage, NotRegistered, WrongState
from phoned.sip.accessors import cseq, event, refer_to, referred_by, subscription_state
from phoned.sip.events import EndCause, Party, ReferAccepted, ReferProgress, Referred, Token
from phoned.sip.extension_fields import Replaces
from phoned.sip.fields import NameAddr
from phoned.sip.grammar import parse_uint
from phoned.sip.invite_session.state import Deadline, Incoming, InviteState, Outgoing, Purpose, Referral, Taken
from phoned.sip.message import Request, Response
from phoned.sip.options import REFER, SIPFRAG, lenient
from phoned.sip.uri import Uri

if TYPE_CHECKING:
    from phoned.sip.invite_session.session import InviteSession

OUTCOME_S = 200.0
"""How long the far end may take to tell the outcome: an INVITE of its own may ring for three minutes."""
_CALLABLE = ("sip", "sips", "tel")


# --- ours


def refer(s: InviteSession, target: str, other: InviteSession | None, now: float) -> Token:
    """Ask the far end to call ``target``, or to take the place that we have in ``other``; `ReferAccepted` and
    `ReferProgress` with the token that is returned follow. Raises WrongState, NotRegistered and InvalidValue."""
    if s.state is not InviteState.CONFIRMED or s.leg is None:
        raise WrongState("no transfer now", state=s.state, allowed_in=("confirmed",))
    if s.referral is not None:
        raise WrongState("a transfer is under way", state=s.state, allowed_in=("confirmed",))
    if s.flow not in s.account.flows:
        raise NotRegistered(f"account {s.account.id} has no flow")
    value = _callable(target) if other is None else _in_our_place(other)
    request = s.leg.dialog.request("REFER")
    for name, text in (
        ("Refer-To", f"<{value}>"),
        ("Referred-By", f"<{s.account.aor.uri}>"),
        ("Contact", s.account.contact),
        *s.account.agent,
    ):
        request.headers.add(name, text)
    token = s.core.random.token()
    s.referral = Referral(token=token, numbers={cseq(request).number})
    s.timers.set((Deadline.REFERRAL, None), now + OUTCOME_S)
    s.send(Purpose.REFER, request, now, leg=s.leg, token=token)
    return token


def _callable(target: str) -> Uri:
    try:
        uri = Uri.parse(target)
    except MalformedMessage as error:
        raise InvalidValue(f"not a URI that can be called: {error.detail}") from None
    if uri.scheme not in _CALLABLE or uri.headers:
        raise InvalidValue(f"no call can be transferred to {target}")
    return uri


def _in_our_place(other: InviteSession) -> Uri:
    """The far end of ``other``, with a Replaces that names the dialog as that one sees it (RFC 5589 7.3). Its Contact
    is said when it reaches it from anywhere (a GRUU), else its address."""
    leg = other.leg
    if other.state is not InviteState.CONFIRMED or leg is None:
        raise WrongState("the other call is not up", state=other.state, allowed_in=("confirmed",))
    dialog = leg.dialog
    contact = Uri.parse(dialog.remote_target)
    uri = (
        contact if "gr" in {name.lower() for name, _ in contact.parameters.pairs} else NameAddr.parse(dialog.remote).uri
    )
    replaces = Replaces(call_id=dialog.call_id, to_tag=dialog.remote_tag, from_tag=dialog.local_tag)
    return uri.without_headers().with_header("Replaces", str(replaces))


def on_response(s: InviteSession, out: Outgoing, response: Response, now: float) -> None:
    """The answer to our REFER: taken on, or refused."""
    referral, leg = s.referral, out.leg
    if response.status < 200 or referral is None or leg is None:
        return
    if s.retried(out, response, now):
        referral.numbers.add(leg.dialog.local_cseq)
        return
    if response.status < 300:
        _accepted(s, referral)
        if (response.headers.get("Refer-Sub") or "").lower().startswith("false"):
            _conclude(s, referral, response.status, response.reason)  # nothing more will be told (RFC 4488)
        return
    _conclude(s, referral, response.status, response.reason)
    if response.status == 481:
        s.end(EndCause.DIALOG_GONE, Party.REMOTE, status=481, reason=response.reason)


def on_failure(s: InviteSession, out: Outgoing, status: int, now: float) -> None:
    """No answer. When the flow broke it may have arrived all the same: saying it again might make two calls, so the
    outcome is waited for as long as an answer would be."""
    referral = s.referral
    if referral is None:
        return
    if status == 503 and out.key is not None:
        s.timers.set((Deadline.REFERRAL, None), now + s.core.timers.transaction_s)
    else:
        _conclude(s, referral, 0, "")


def on_no_outcome(s: InviteSession, now: float) -> None:
    """Nothing final was heard in time."""
    assert s.referral is not None
    _conclude(s, s.referral, 0, "")


def on_notify(s: InviteSession, incoming: Incoming, now: float) -> None:
    """How the far end fares with our REFER."""
    referral, request = s.referral, incoming.request
    if referral is None:
        s.respond(incoming, 481, now)  # no subscription of ours is meant (RFC 6665 4.1.3)
        return
    about, state = event(request), subscription_state(request)
    if about is None or about.token != REFER:
        s.respond(incoming, 489, now, headers=[("Allow-Events", REFER)])
        return
    named = about.parameters.get("id")
    if named is not None and parse_uint(named, "Event id") not in referral.numbers:
        s.respond(incoming, 481, now)
        return
    status, reason = _fragment(request.body)
    s.respond(incoming, 200, now)
    _accepted(s, referral)
    if status >= 200 or (state is not None and state.token == "terminated"):
        _conclude(s, referral, status, reason)
    else:
        s.emit(ReferProgress(session=s.id, token=referral.token, status=status, reason=reason, final=False))


def _fragment(body: bytes) -> tuple[int, str]:
    """The status line of a ``message/sipfrag`` (RFC 3420). Raises MalformedMessage."""
    line = body.partition(b"\r\n")[0].partition(b"\n")[0].decode("utf-8", "replace")
    version, _, rest = line.partition(" ")
    number, _, reason = rest.partition(" ")
    status = parse_uint(number, "status")
    if version.upper() != "SIP/2.0" or not 100 <= status <= 699:
        raise MalformedMessage("no status line in the NOTIFY")
    return status, reason.strip()


def _accepted(s: InviteSession, referral: Referral) -> None:
    if not referral.accepted:
        referral.accepted = True
        s.emit(ReferAccepted(session=s.id, token=referral.token))


def _conclude(s: InviteSession, referral: Referral, status: int, reason: str) -> None:
    s.referral = None
    s.timers.clear((Deadline.REFERRAL, None))
    s.emit(ReferProgress(session=s.id, token=referral.token, status=status, reason=reason, final=True))


# --- theirs


def on_refer(s: InviteSession, incoming: Incoming, now: float) -> None:
    """The far end wants us to call somebody. Nobody moves our calls unless the account says so."""
    request = incoming.request
    if s.ended:
        s.respond(incoming, 481, now)
        return
    if not s.account.parameters.allow_refer or s.state not in (InviteState.ACCEPTED, InviteState.CONFIRMED):
        s.respond(incoming, 603, now)
        return
    if s.taken is not None:
        s.respond(incoming, 491, now)
        return
    target, replaces = _wanted(request)
    if target is None:
        s.respond(incoming, 416, now)
        return
    far = lenient(referred_by, request)
    token = s.core.random.token()
    s.taken = Taken(token=token, number=cseq(request).number, incoming=incoming)
    s.timers.set((Deadline.TAKEN, None), now + s.core.limits.description_s)
    s.emit(
        Referred(session=s.id, token=token, target=target, replaces=replaces, referred_by=str(far.uri) if far else None)
    )


def _wanted(request: Request) -> tuple[str | None, str | None]:
    """Whom to call, None when that is nobody who can be called, and the Replaces to call with. Raises
    MalformedMessage."""
    field = refer_to(request)
    if field is None:
        raise MalformedMessage("Refer-To is missing")
    uri = field.uri
    method = uri.parameters.get("method") or "INVITE"
    if uri.scheme not in _CALLABLE or method.upper() != "INVITE":
        return None, None
    pairs = [value for name, value in uri.header_pairs if name.lower() == "replaces"]
    if len(pairs) > 1:
        raise MalformedMessage("more than one Replaces")
    replaces = str(Replaces.parse(pairs[0])) if pairs else None
    return str(uri.without_headers().without_parameters("method")), replaces


def _taken(s: InviteSession, *, answered: bool) -> Taken:
    taken = s.taken
    if taken is None or (taken.incoming is None) is not answered:
        raise Gone("this REFER is settled")
    return taken


def accept(s: InviteSession, now: float) -> None:
    """It will be tried (202); `notify` tells the rest."""
    taken = _taken(s, answered=False)
    assert taken.incoming is not None
    s.timers.clear((Deadline.TAKEN, None))
    s.respond(taken.incoming, 202, now, headers=[("Contact", s.account.contact), *s.account.agent])
    taken.incoming = None
    notify(s, 100, "Trying", now)


def refuse(s: InviteSession, status: int, now: float) -> None:
    """It will not be tried."""
    taken = _taken(s, answered=False)
    assert taken.incoming is not None
    s.timers.clear((Deadline.TAKEN, None))
    s.taken = None
    s.respond(taken.incoming, status, now)


def on_undecided(s: InviteSession, now: float) -> None:
    """Our user said nothing in time."""
    refuse(s, 603, now)


def notify(s: InviteSession, status: int, reason: str, now: float) -> None:
    """Tell how the call that they wanted fares. A status of 200 or above is the last word."""
    taken = _taken(s, answered=True)
    taken.said = (status, reason)
    _tell(s, taken, now)


def _tell(s: InviteSession, taken: Taken, now: float) -> None:
    assert s.leg is not None
    status, reason = taken.said
    final = status >= 200
    request = s.leg.dialog.request("NOTIFY")
    for name, value in (
        ("Event", f"{REFER};id={taken.number}"),
        ("Subscription-State", "terminated;reason=noresource" if final else f"active;expires={round(OUTCOME_S)}"),
        ("Contact", s.account.contact),
        *s.account.agent,
        ("Content-Type", SIPFRAG),
    ):
        request.headers.add(name, value)
    request.body = f"SIP/2.0 {status} {reason}\r\n".encode()
    s.send(Purpose.NOTIFY, request, now, leg=s.leg, token=taken.token)


def on_notified(s: InviteSession, out: Outgoing, response: Response, now: float) -> None:
    """The answer to our NOTIFY. The last word was heard, or nobody listens any more."""
    taken = s.taken
    if response.status < 200 or taken is None or out.token != taken.token or s.retried(out, response, now):
        return
    if taken.said[0] >= 200 or response.status == 481:
        s.taken = None


def on_not_notified(s: InviteSession, out: Outgoing, status: int, now: float) -> None:
    """Our NOTIFY was not heard: said again on the next flow, when it was the flow."""
    taken = s.taken
    if taken is None or out.token != taken.token:
        return
    if status == 503:
        taken.unheard = True
    elif taken.said[0] >= 200:
        s.taken = None


def move(s: InviteSession, now: float) -> None:
    """There is a new flow: the newest that was not heard is said again."""
    taken = s.taken
    if taken is not None and taken.unheard:
        taken.unheard = False
        _tell(s, taken, now)
