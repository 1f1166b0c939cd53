"""From the way a SIP session ended to what a person calls it. Pure tables, no state."""

from __future__ import annotations

from phoned.model import EndCause

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
