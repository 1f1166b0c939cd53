"""A confirmed session as plain JSON-able values, and back: for the journal that outlives the process."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from phoned.errors import InvalidValue, WrongState
from phoned.sip.dialog import Dialog, DialogState
from phoned.sip.invite_session import modify
from phoned.sip.invite_session.state import Leg

if TYPE_CHECKING:
    from phoned.sip.invite_session.session import InviteSession

VERSION = 1
CSEQ_SKIP = 100
"""Numbers that may have been used after the last snapshot was written."""


def snapshot(s: InviteSession) -> dict[str, Any]:
    """Raises WrongState before the session is answered."""
    leg = s.leg
    if leg is None or leg.dialog.state is not DialogState.CONFIRMED:
        raise WrongState("the call is not answered", state=s.state, allowed_in=("accepted", "confirmed"))
    return {
        "version": VERSION,
        "dialog": leg.dialog.snapshot(),
        "methods": sorted(leg.methods),
        "session_interval_s": s.timer.interval_s,
        "local_refresher": s.timer.local_refresher,
    }


def restore(s: InviteSession, values: Mapping[str, Any], now: float) -> None:
    """Continue where the snapshot was taken. Raises InvalidValue."""
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
    modify.arm_session_timer(s)
