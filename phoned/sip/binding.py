"""What the 200 to a REGISTER says about our binding (RFC 3261 10.2.4, 5626, 5627, 3608). A pure function of it.

The response lists every binding of the AOR. It must not be mistaken: another phone's Contact alone does not make us
reachable, and one that we left in an earlier life is not the one that we asked for now.
"""

from __future__ import annotations

from dataclasses import dataclass

from phoned.errors import MalformedMessage
from phoned.sip.accessors import expires, flow_timer, readable_contacts
from phoned.sip.fields import NameAddr
from phoned.sip.message import Response
from phoned.sip.uri import Uri

MOST_EXPIRES_S = 86_400
"""A day: a binding that is said to hold longer is taken to hold for a day."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Binding:
    """Our binding, as the registrar granted it."""

    expires_s: float
    pub_gruu: str | None = None
    temp_gruu: str | None = None
    service_route: tuple[str, ...] = ()
    flow_timer_s: float | None = None


def read_binding(
    response: Response, *, contact: Uri, instance_id: str, reg_id: int, requested_s: int
) -> Binding | None:
    """Our binding in a 2xx; None when it is not there, or granted for no time.

    The granted time is that of our Contact, else of Expires, else what we asked for. A registrar that lists no Contact
    at all is believed only when it grants a time by Expires.
    """
    listed = readable_contacts(response)
    mine = max(
        (each for each in listed if _is_ours(each, contact, instance_id, reg_id)),
        key=lambda each: (each.uri.equivalent(contact), MOST_EXPIRES_S if each.expires is None else each.expires),
        default=None,
    )
    header_s = expires(response)
    if mine is None and (listed or header_s is None or "Contact" in response.headers):
        return None
    own_s = None if mine is None else mine.expires
    granted_s = own_s if own_s is not None else requested_s if header_s is None else header_s
    if granted_s == 0:
        return None
    timer_s = flow_timer(response)
    return Binding(
        expires_s=float(min(granted_s, MOST_EXPIRES_S)),
        pub_gruu=_gruu(mine, "pub-gruu"),
        temp_gruu=_gruu(mine, "temp-gruu"),
        service_route=_service_route(response),
        flow_timer_s=float(timer_s) if timer_s else None,
    )


def _is_ours(listed: NameAddr, contact: Uri, instance_id: str, reg_id: int) -> bool:
    instance = listed.parameters.get("+sip.instance")
    if instance is None:
        return listed.uri.equivalent(contact)
    if instance.strip("<>").lower() != instance_id.lower():
        return False
    return (listed.parameters.get("reg-id") or str(reg_id)) == str(reg_id)


def _gruu(mine: NameAddr | None, name: str) -> str | None:
    """A GRUU that can be used as a Contact (RFC 5627 4.2), else None."""
    text = None if mine is None else mine.parameters.get(name)
    try:
        return str(Uri.parse(text)) if text is not None and Uri.parse(text).is_sip else None
    except MalformedMessage:
        return None


def _service_route(response: Response) -> tuple[str, ...]:
    """RFC 3608: all of it, or nothing: half a route leads nowhere."""
    try:
        return tuple(str(NameAddr.parse(value)) for value in response.headers.values("Service-Route"))
    except MalformedMessage:
        return ()
