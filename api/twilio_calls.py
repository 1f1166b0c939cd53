"""Our calls as Twilio's JSON, and Twilio's words for orders as ours. Pure."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any

from pydantic import ValidationError

from api.facade import refused
from api.twiml import BAD_DOCUMENT, read_twiml
from phoned.config.stream import StreamOrder
from phoned.model import AccountView, CallRequest, CallState, CallView, DtmfRequest, EndCause
from phoned.twilio import call_sid

log = logging.getLogger(__name__)

STATUSES = ("queued", "ringing", "in-progress", "completed", "busy", "failed", "no-answer", "canceled")
_LIVE: Mapping[CallState, str] = {
    CallState.QUEUED: "queued",
    CallState.DIALING: "queued",
    CallState.RINGING: "ringing",
    CallState.EARLY_MEDIA: "ringing",
    CallState.ACTIVE: "in-progress",
}
_UNANSWERED: Mapping[EndCause, str] = {
    EndCause.BUSY: "busy",
    EndCause.REJECTED: "busy",
    EndCause.NO_ANSWER: "no-answer",
    EndCause.CANCELED: "canceled",
    EndCause.COMPLETED: "canceled",
    EndCause.ANSWERED_ELSEWHERE: "canceled",
}
_DIGITS = frozenset("0123456789*#ABCDw")
MAX_TIMEOUT_S, MAX_DURATION_S = 600, 86_400
MAX_TO = 512
KNOWN = frozenset({"AccountSid", "To", "From", "Timeout", "TimeLimit", "SendDigits", "Twiml"})
"""Fields of a new call that mean something here."""


def status_of(call: CallView) -> str:
    """One of Twilio's eight words."""
    if call.state is not CallState.ENDED:
        return _LIVE[call.state]
    if call.answered_at is not None:
        return "completed"
    return "failed" if call.end is None else _UNANSWERED.get(call.end.cause, "failed")


def own_numbers(accounts: Iterable[AccountView]) -> dict[str, str]:
    """What we are called in the calls of each account: the user part of its AOR."""
    return {view.id: _user(view.aor) for view in accounts}


def parties(call: CallView, own_numbers: Mapping[str, str]) -> tuple[str, str]:
    """Who calls, and who is called. An account that is no more is called by its id."""
    own, peer = own_numbers.get(call.account, call.account), call.peer.number or call.peer.uri
    return (own, peer) if call.direction == "out" else (peer, own)


def _user(aor: str) -> str:
    return aor.partition(":")[2].partition("@")[0] or aor


def call_document(call: CallView, account_sid: str, own_numbers: Mapping[str, str]) -> dict[str, Any]:
    """Twilio's Call resource. What phoned does not know is null, as it is there."""
    sid = call_sid(call.id)
    from_, to = parties(call, own_numbers)
    uri = f"/2010-04-01/Accounts/{account_sid}/Calls/{sid}"
    updated = call.ended_at or call.answered_at or call.ringing_at or call.created_at
    return {
        "sid": sid,
        "account_sid": account_sid,
        "api_version": "2010-04-01",
        "status": status_of(call),
        "direction": "outbound-api" if call.direction == "out" else "inbound",
        "from": from_,
        "from_formatted": from_,
        "to": to,
        "to_formatted": to,
        "caller_name": call.peer.display_name if call.direction == "in" else None,
        "date_created": _moment(call.created_at),
        "date_updated": _moment(updated),
        "start_time": _moment(call.answered_at),
        "end_time": _moment(call.ended_at),
        "duration": str(int(call.duration_s)) if call.state is CallState.ENDED else None,
        "annotation": None,
        "answered_by": None,
        "forwarded_from": None,
        "group_sid": None,
        "parent_call_sid": None,
        "phone_number_sid": None,
        "price": None,
        "price_unit": None,
        "queue_time": "0",
        "trunk_sid": None,
        "uri": f"{uri}.json",
        "subresource_uris": {},
    }


def _moment(when: datetime | None) -> str | None:
    """RFC 2822, as Twilio writes it."""
    return None if when is None else format_datetime(when.astimezone(UTC))


def request_of(form: Mapping[str, str], accounts: Sequence[AccountView]) -> CallRequest:
    """A new call. Raises `ProblemError` with Twilio's number for what is wrong."""
    to = form.get("To", "")
    if not to:
        raise refused("No 'To' number is specified.", 21201)
    if len(to) > MAX_TO or not to.isprintable() or to.startswith("client:"):
        raise refused("'To' is neither a number nor a SIP address.", 21211)
    timeout_s = _seconds(form, "Timeout", MAX_TIMEOUT_S)
    digits = form.get("SendDigits", "").replace("W", "ww")
    if not _DIGITS.issuperset(digits) or len(digits) > 128:
        raise refused("'SendDigits' has 0-9 * # A-D, w (half a second) and W (one second), 128 at the most.", 20001)
    return CallRequest(
        account=_account(form.get("From", ""), accounts),
        to=to,
        timeout_s=60.0 if timeout_s is None else timeout_s,
        max_duration_s=_seconds(form, "TimeLimit", MAX_DURATION_S),
        on_answer=(DtmfRequest(digits=digits),) if digits else (),
    )


def order_of(form: Mapping[str, str]) -> StreamOrder | None:
    """The bot that ``Twiml`` connects a new call to. Raises `ProblemError`."""
    if "Twiml" not in form:
        return None
    found = read_twiml(form["Twiml"])
    if found.passed_over:
        log.info("not understood of the TwiML of a call: %s", ", ".join(found.passed_over))
    try:
        return StreamOrder(url=found.url, parameters=dict(found.parameters))
    except ValidationError as error:
        first = error.errors(include_input=False)[0]
        raise refused(f"The <Stream> of 'Twiml': {first['loc'][0]}: {first['msg']}.", BAD_DOCUMENT) from None


def _account(from_: str, accounts: Sequence[AccountView]) -> str:
    """The account that ``From`` means: its id, its AOR, or the user part of it, where that names one alone."""
    if not from_:
        raise refused("No 'From' is specified: give an account's id, its AOR or its number.", 21213)
    meant = {account.id for account in accounts if from_ == account.id} or {
        account.id for account in accounts if from_ in (account.aor, account.aor.partition(":")[2], _user(account.aor))
    }
    if len(meant) != 1:
        why = (
            "means more than one account"
            if meant
            else "is no account of this phone: give its id, its AOR or its number"
        )
        raise refused(f"'From' {why}.", 21212)
    return meant.pop()


def _seconds(form: Mapping[str, str], name: str, most: int) -> float | None:
    text = form.get(name)
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 6 and 0 < int(text) <= most):
        raise refused(f"'{name}' is whole seconds, 1 to {most}.", 20001)
    return float(text)
