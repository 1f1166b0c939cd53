"""From the way a SIP session ended to what a person calls it. Pure tables, no state."""

from __future__ import annotations

from collections.abc import Mapping

from phoned.errors import DeadlineExceeded, Gone, NotRegistered, PhonedError, Refused
from phoned.model import CallView, EndCause, EndView, Party
from phoned.sip import events as sip

_BY_STATUS = {
    486: EndCause.BUSY,
    600: EndCause.BUSY,
    603: EndCause.REJECTED,
    607: EndCause.REJECTED,
    480: EndCause.NO_ANSWER,
    404: EndCause.NOT_FOUND,
    410: EndCause.NOT_FOUND,
    484: EndCause.NOT_FOUND,
    604: EndCause.NOT_FOUND,
    401: EndCause.FORBIDDEN,
    403: EndCause.FORBIDDEN,
    407: EndCause.FORBIDDEN,
    488: EndCause.MEDIA_FAILED,
    606: EndCause.MEDIA_FAILED,
    487: EndCause.CANCELED,
}


def cause_of_refusal(status: int, *, was_ringing: bool) -> EndCause:
    """The cause that stands for a final response of 300 or above to our INVITE."""
    if status == 408:
        return EndCause.NO_ANSWER if was_ringing else EndCause.TIMEOUT
    if 500 <= status <= 599:
        return EndCause.UNREACHABLE
    return _BY_STATUS.get(status, EndCause.FAILED)


def q850_of_reason(values: list[str]) -> int | None:
    """The Q.850 cause in Reason header values (RFC 3326), e.g. ``Q.850;cause=16;text="..."``."""
    for value in values:
        protocol, *parameters = (part.strip() for part in value.split(";"))
        if protocol.lower() != "q.850":
            continue
        for parameter in parameters:
            name, _, number = parameter.partition("=")
            if name.strip().lower() == "cause" and number.strip().isdecimal() and len(number) <= 4:
                return int(number)
    return None


def was_answered_elsewhere(values: list[str]) -> bool:
    """True when a CANCEL or BYE says that another phone took the call (RFC 3326, ``SIP;cause=200``)."""
    return any("".join(value.lower().split()).startswith("sip;cause=200") for value in values)


_CAUSES: Mapping[sip.EndCause, EndCause] = {
    sip.EndCause.BYE: EndCause.COMPLETED,
    sip.EndCause.CANCELED: EndCause.CANCELED,
    sip.EndCause.TIMEOUT: EndCause.TIMEOUT,
    sip.EndCause.NO_ANSWER: EndCause.NO_ANSWER,
    sip.EndCause.UNREACHABLE: EndCause.UNREACHABLE,
    sip.EndCause.NO_ACK: EndCause.TIMEOUT,
    sip.EndCause.DESCRIPTION_FAILED: EndCause.MEDIA_FAILED,
    sip.EndCause.FLOW_LOST: EndCause.COMPLETED,
    sip.EndCause.FAILED: EndCause.FAILED,
}

_LOST_REASONS: Mapping[sip.EndCause, str] = {
    sip.EndCause.DIALOG_GONE: "dialog_gone",
    sip.EndCause.NO_ANSWER_FROM_PEER: "no_answer_from_peer",
    sip.EndCause.SESSION_EXPIRED: "signalling_timeout",
}

_PARTIES: Mapping[sip.Party, Party] = {
    sip.Party.LOCAL: "local",
    sip.Party.REMOTE: "remote",
    sip.Party.SYSTEM: "system",
}


def end_of(event: sip.Ended, *, was_ringing: bool, decided: tuple[EndCause, Party] | None) -> EndView:
    """How a call ended. ``decided``: what we had made up our mind to before the session ended."""
    reasons = list(event.reasons)
    by = _PARTIES[event.by]
    if event.cause in _LOST_REASONS:
        cause, by = EndCause.LOST, "system"
    elif decided is not None:
        cause, by = decided
    elif event.cause is sip.EndCause.REFUSED:
        cause = cause_of_refusal(event.status or 500, was_ringing=was_ringing)
    elif event.cause is sip.EndCause.CANCELED and was_answered_elsewhere(reasons):
        cause = EndCause.ANSWERED_ELSEWHERE
    else:
        cause = _CAUSES[event.cause]
    return EndView(
        cause=cause, by=by, sip_code=event.status, sip_reason=event.reason or None, q850=q850_of_reason(reasons)
    )


def lost_reason(event: sip.Ended) -> str:
    """The ``reason`` of ``call.lost``."""
    return _LOST_REASONS.get(event.cause, "signalling_timeout")


def refusal_of(call: CallView) -> PhonedError:
    """What to tell somebody who waited for an answer of ``call``, now that it has ended without one."""
    end = call.end
    if end is not None and end.by == "system" and end.cause is EndCause.NO_ANSWER:
        return DeadlineExceeded("nobody answered in time")
    if end is not None and end.by == "system" and end.cause is EndCause.UNREACHABLE:
        return NotRegistered(f"account {call.account} has no flow to the server", retry_after_s=5)
    if end is not None and end.sip_code is not None:
        return Refused(end.sip_code, end.sip_reason or "")
    return Gone(f"call {call.id} has ended")


def reason_header(text: str) -> str:
    """A Reason header value (RFC 3326) with words of a person's, which cannot break out of their quotes."""
    words = "".join(character for character in text if character.isprintable() and character not in '"\\')[:120]
    return f'SIP;cause=200;text="{words}"'
