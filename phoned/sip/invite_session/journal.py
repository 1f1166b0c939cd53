"""A session as plain JSON-able values, and back: for the journal that outlives the process.

An answered session goes on where its snapshot was taken. Of an unanswered outgoing one only the INVITE is kept: its
answer can not find us any more, so that all that is left to do is to cancel it (RFC 3261 9.1).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from phoned.errors import InvalidValue, MalformedMessage, WrongState
from phoned.sip.accessors import cseq, from_, to, via_top
from phoned.sip.dialog import Dialog, DialogState
from phoned.sip.headers import Headers
from phoned.sip.invite_session import refresh
from phoned.sip.invite_session.state import CallerFacts, Deadline, InviteState, Leg
from phoned.sip.message import Request
from phoned.sip.uri import Uri

if TYPE_CHECKING:
    from phoned.sip.invite_session.session import InviteSession

VERSION = 1
CSEQ_SKIP = 100
"""Numbers that may have been used after the last snapshot was written."""
ORPHAN_LINGER_S = 300.0
"""How long the CANCEL of an INVITE from an earlier life waits for a flow."""

_KEPT = ("Via", "Route", "From", "To", "Call-ID", "CSeq")
"""What a CANCEL takes over from its INVITE; nothing else of it is kept, no credentials above all."""


def snapshot(s: InviteSession) -> dict[str, Any]:
    """Raises WrongState for an incoming session that is not answered, and before the INVITE of an outgoing one."""
    leg = s.leg
    if leg is not None and leg.dialog.state is DialogState.CONFIRMED:
        return {
            "version": VERSION,
            "dialog": leg.dialog.snapshot(),
            "methods": sorted(leg.methods),
            "session_interval_s": s.timer.interval_s,
            "local_refresher": s.timer.local_refresher,
        }
    key = s.caller.invite.key if s.caller is not None and s.caller.invite is not None else None
    sent = None if key is None else s.core.layer.request_of(key)
    if sent is None:
        raise WrongState("the call is not answered", state=s.state, allowed_in=("accepted", "confirmed"))
    headers = [[name, value] for name, value in sent.headers if name in _KEPT]
    return {"version": VERSION, "invite": {"uri": sent.uri, "headers": headers}}


def restore(s: InviteSession, values: Mapping[str, Any], now: float) -> None:
    """Continue where the snapshot was taken. Raises InvalidValue."""
    if values.get("version") == VERSION and isinstance(values.get("invite"), Mapping):
        _restore_orphan(s, values["invite"], now)
        return
    dialog, methods, interval = values.get("dialog"), values.get("methods"), values.get("session_interval_s")
    if values.get("version") != VERSION or not isinstance(dialog, Mapping):
        raise InvalidValue("session snapshot is of another kind")
    if not isinstance(methods, list) or not isinstance(interval, int):
        raise InvalidValue("session snapshot is damaged")
    leg = Leg(dialog=Dialog.restore(dialog, cseq_skip=CSEQ_SKIP), methods=frozenset(map(str, methods)))
    leg.exchange.established = True
    s.call_id, s.local_tag = leg.dialog.call_id, leg.dialog.local_tag
    s.leg = s.legs[leg.dialog.remote_tag] = leg
    s.timer.restart(interval, local=values.get("local_refresher") is True, now=now)
    refresh.arm(s)


def _restore_orphan(s: InviteSession, values: Mapping[str, Any], now: float) -> None:
    """A session that is over but for its CANCEL, which goes out on the next flow."""
    uri, pairs = values.get("uri"), values.get("headers")
    if not isinstance(uri, str) or not isinstance(pairs, list):
        raise InvalidValue("INVITE snapshot is damaged")
    if not all(isinstance(pair, list) and len(pair) == 2 and all(isinstance(x, str) for x in pair) for pair in pairs):
        raise InvalidValue("INVITE snapshot has damaged headers")
    invite = Request("INVITE", uri, Headers([(name, value) for name, value in pairs if name in _KEPT]), b"")
    try:
        Uri.parse(uri)
        for read in (via_top, to, cseq):
            read(invite)
        s.local_tag = from_(invite).tag or ""
    except MalformedMessage as error:
        raise InvalidValue(f"INVITE snapshot: {error.detail}") from None
    s.call_id = invite.headers.get("Call-ID") or ""
    s.caller = CallerFacts(target=uri, headers=[], offerless=False, orphan=invite)
    s.timers.set((Deadline.LINGER, None), now + ORPHAN_LINGER_S)
    s.state = InviteState.ENDED
