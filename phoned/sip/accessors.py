"""Typed reading of the header fields of a message. Each takes a Request or a Response.

Reading may raise MalformedMessage, but for what ``message.parse`` has already checked, which never raises on a parsed
message: ``via_top``, ``from_``, ``to``, ``call_id``, ``cseq``; ``contacts``, ``routes`` and ``record_routes`` of a
request and of a 1xx or 2xx response (not of one to REGISTER: use ``readable_contacts`` there).
Fields about which a malformed value tells nothing are read leniently: their docstrings say so.
"""

from __future__ import annotations

from phoned.errors import MalformedMessage
from phoned.sip.extension_fields import FieldToken, RAck, Reason, Replaces
from phoned.sip.fields import ContentType, CSeq, NameAddr, SessionExpires, Via, check_call_id, lenient_seconds
from phoned.sip.grammar import WSP, parse_uint, split_list
from phoned.sip.message import Message

# ---------------------------------------------------------------- always there


def via_top(message: Message) -> Via:
    """The topmost Via (RFC 3261 20.42)."""
    line = _needed(message, "Via")
    return Via.parse(line if "," not in line else split_list(line)[0])


def vias(message: Message) -> list[Via]:
    """Every Via, topmost first."""
    return [Via.parse(value) for value in message.headers.values("Via")]


def from_(message: Message) -> NameAddr:
    """From (RFC 3261 20.20)."""
    return NameAddr.parse(_needed(message, "From"))


def to(message: Message) -> NameAddr:
    """To (RFC 3261 20.39)."""
    return NameAddr.parse(_needed(message, "To"))


def call_id(message: Message) -> str:
    """Call-ID (RFC 3261 20.8): compared byte for byte."""
    return check_call_id(_needed(message, "Call-ID"))


def cseq(message: Message) -> CSeq:
    """CSeq (RFC 3261 20.16)."""
    return CSeq.parse(_needed(message, "CSeq"))


def _needed(message: Message, name: str) -> str:
    value = message.headers.get(name)
    if value is None:
        raise MalformedMessage(f"{name} is missing")
    return value


# ---------------------------------------------------------------- addresses


def contacts(message: Message) -> list[NameAddr]:
    """Every Contact (RFC 3261 20.10); none for the star, which ``contact_is_star`` tells."""
    return _addresses(message, "Contact") if not contact_is_star(message) else []


def readable_contacts(message: Message) -> list[NameAddr]:
    """Every Contact that can be read: a registrar's list also holds what other user agents wrote."""
    found: list[NameAddr] = []
    for line in message.headers.all("Contact"):
        try:
            parts = split_list(line)
        except MalformedMessage:
            continue
        for part in parts:
            try:
                found.append(NameAddr.parse(part))
            except MalformedMessage:
                pass  # that one is not ours
    return found


def contact_is_star(message: Message) -> bool:
    """``Contact: *``, which unregisters everything (RFC 3261 10.2.2)."""
    return message.headers.get("Contact") == "*"


def routes(message: Message) -> list[NameAddr]:
    """Route (RFC 3261 20.34)."""
    return _addresses(message, "Route")


def record_routes(message: Message) -> list[NameAddr]:
    """Record-Route (RFC 3261 20.30), in the order of the message."""
    return _addresses(message, "Record-Route")


def service_routes(message: Message) -> list[NameAddr]:
    """Service-Route of a 2xx to REGISTER (RFC 3608)."""
    return _addresses(message, "Service-Route")


def asserted_identities(message: Message) -> list[NameAddr]:
    """P-Asserted-Identity (RFC 3325 9.1)."""
    return _addresses(message, "P-Asserted-Identity")


def wants_privacy(message: Message) -> bool:
    """Whether Privacy (RFC 3323 4.2, RFC 3325 9.3) asks that nobody learns who it is from."""
    asked = (word.strip().lower() for value in message.headers.all("Privacy") for word in value.split(";"))
    return not {"id", "user", "header"}.isdisjoint(asked)


def refer_to(message: Message) -> NameAddr | None:
    """Refer-To (RFC 3515 2.1); exactly one, or MalformedMessage."""
    lines = message.headers.all("Refer-To")
    if len(lines) > 1:
        raise MalformedMessage("more than one Refer-To")
    return NameAddr.parse(lines[0]) if lines else None


def referred_by(message: Message) -> NameAddr | None:
    """Referred-By (RFC 3892 3)."""
    line = message.headers.get("Referred-By")
    return None if line is None else NameAddr.parse(line)


def _addresses(message: Message, name: str) -> list[NameAddr]:
    return [NameAddr.parse(value) for value in message.headers.values(name)]


# ---------------------------------------------------------------- numbers


def max_forwards(message: Message) -> int | None:
    """Max-Forwards (RFC 3261 20.22); None when it is missing or malformed: an end point does not need it."""
    return _lenient_number(message, "Max-Forwards")


def expires(message: Message) -> int | None:
    """Expires in seconds (RFC 3261 20.19): None when missing; too large counts as 2**32-1, malformed as 3600."""
    return _lenient_seconds(message, "Expires")


def min_expires(message: Message) -> int | None:
    """Min-Expires of a 423 in seconds (RFC 3261 20.23); None when missing or malformed."""
    return _lenient_number(message, "Min-Expires")


def flow_timer(message: Message) -> int | None:
    """Flow-Timer in seconds (RFC 5626 11.2); None when missing or malformed."""
    return _lenient_number(message, "Flow-Timer")


def retry_after(message: Message) -> int | None:
    """Retry-After in seconds (RFC 3261 20.33), its comment and parameters dropped; None when missing or malformed."""
    line = message.headers.get("Retry-After") or ""
    return _number(line.partition(";")[0].partition("(")[0].strip(WSP))


def rseq(message: Message) -> int | None:
    """RSeq (RFC 3262 7.1), None when missing or malformed: the provisional response is then not reliable."""
    return _lenient_number(message, "RSeq") or None


def min_se(message: Message) -> int | None:
    """Min-SE in seconds (RFC 4028 5)."""
    line = message.headers.get("Min-SE")
    return None if line is None else SessionExpires.parse(line).seconds


def _lenient_seconds(message: Message, name: str) -> int | None:
    line = message.headers.get(name)
    return None if line is None else lenient_seconds(line)


def _lenient_number(message: Message, name: str) -> int | None:
    return _number(message.headers.get(name) or "")


def _number(text: str) -> int | None:
    try:
        return parse_uint(text, "number")
    except MalformedMessage:
        return None


# ---------------------------------------------------------------- lists of tokens


def require(message: Message) -> tuple[str, ...]:
    """Option tags of Require in lower case (RFC 3261 20.32)."""
    return _tokens(message, "Require")


def proxy_require(message: Message) -> tuple[str, ...]:
    """Option tags of Proxy-Require in lower case (RFC 3261 20.29)."""
    return _tokens(message, "Proxy-Require")


def supported(message: Message) -> tuple[str, ...]:
    """Option tags of Supported in lower case (RFC 3261 20.37)."""
    return _tokens(message, "Supported")


def unsupported(message: Message) -> tuple[str, ...]:
    """Option tags of Unsupported in lower case (RFC 3261 20.40)."""
    return _tokens(message, "Unsupported")


def allow(message: Message) -> tuple[str, ...]:
    """Methods of Allow as written (RFC 3261 20.5)."""
    return tuple(message.headers.values("Allow"))


def _tokens(message: Message, name: str) -> tuple[str, ...]:
    return tuple(value.lower() for value in message.headers.values(name))


# ---------------------------------------------------------------- the rest


def content_type(message: Message) -> ContentType | None:
    """Content-Type (RFC 3261 20.15)."""
    line = message.headers.get("Content-Type")
    return None if line is None else ContentType.parse(line)


def content_disposition(message: Message) -> FieldToken | None:
    """Content-Disposition (RFC 3261 20.11)."""
    return _field_token(message, "Content-Disposition")


def accept(message: Message) -> list[ContentType] | None:
    """Accept (RFC 3261 20.1): None when the field is missing, an empty list when it is empty: the two differ."""
    if "Accept" not in message.headers:
        return None
    return [ContentType.parse(value) for value in message.headers.values("Accept")]


def event(message: Message) -> FieldToken | None:
    """Event (RFC 6665 8.2.1)."""
    return _field_token(message, "Event")


def subscription_state(message: Message) -> FieldToken | None:
    """Subscription-State (RFC 6665 8.2.3)."""
    return _field_token(message, "Subscription-State")


def _field_token(message: Message, name: str) -> FieldToken | None:
    line = message.headers.get(name)
    return None if line is None else FieldToken.parse(line)


def session_expires(message: Message) -> SessionExpires | None:
    """Session-Expires (RFC 4028 4)."""
    line = message.headers.get("Session-Expires")
    return None if line is None else SessionExpires.parse(line)


def rack(message: Message) -> RAck | None:
    """RAck (RFC 3262 7.2)."""
    line = message.headers.get("RAck")
    return None if line is None else RAck.parse(line)


def reasons(message: Message) -> list[Reason]:
    """Reason (RFC 3326), those that can be read: it never decides whether a request is valid."""
    found: list[Reason] = []
    for line in message.headers.all("Reason"):
        try:
            found.extend(Reason.parse(value) for value in split_list(line) if value)
        except MalformedMessage:
            pass  # said for people; not worth a 400
    return found


def replaces(message: Message) -> Replaces | None:
    """Replaces (RFC 3891 3); more than one is MalformedMessage."""
    lines = message.headers.all("Replaces")
    if len(lines) > 1:
        raise MalformedMessage("more than one Replaces")
    return Replaces.parse(lines[0]) if lines else None
