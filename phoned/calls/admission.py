"""How a call that comes in is received: refused, made to ring, or answered by rule.

`Admission` asks the policies and drives the new call's first steps. It must not know how calls are kept.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Protocol

from phoned.calls.call import Call
from phoned.calls.incoming import Caller, Decision, IncomingPolicy
from phoned.calls.ports import CallSignaling
from phoned.calls.transfers import REPLACES, Transfers
from phoned.sip import events as sip

log = logging.getLogger(__name__)

MAX_HEADERS, MAX_HEADER_LENGTH = 32, 1024
_TOLD_HEADERS = ("x-", "p-asserted-identity", "alert-info", "call-info", "subject", "diversion", "history-info")


class Calls(Protocol):
    """What admission needs of those who keep the calls."""

    draining: bool

    @property
    def capacity(self) -> int: ...

    def active(self) -> int: ...

    def of_session(self, session: str | None) -> Call | None: ...

    def take_in(self, event: sip.IncomingCall, headers: Mapping[str, str], tags: Mapping[str, str] | None) -> Call:
        """A new call, which rings."""
        ...


class Admission:
    """Driven by the INVITEs that the call manager hears of."""

    def __init__(self, calls: Calls, signaling: CallSignaling, policy: IncomingPolicy, transfers: Transfers) -> None:
        self._calls = calls
        self._signaling = signaling
        self._policy = policy
        self._transfers = transfers

    def on_invite(self, event: sip.IncomingCall) -> None:
        """Decide, and do it."""
        replaced = self._calls.of_session(event.replaces)
        if replaced is not None:
            self._receive(event, Decision(), replaced)
            return
        decision = self._policy.decide(
            Caller(account=event.account, caller=event.from_uri, called=event.to_uri, headers=event.headers)
        )
        if self._calls.draining:
            self._signaling.reject(event.session, 503, "Service Unavailable")
        elif self._calls.active() >= self._calls.capacity:
            self._signaling.reject(event.session, 486, "Busy Here")
        elif decision.action == "reject" and not decision.after_s:
            self._signaling.reject(event.session, decision.code)
        else:
            self._receive(event, decision, None)

    def _receive(self, event: sip.IncomingCall, decision: Decision, replaced: Call | None) -> None:
        told = [(name, value[:MAX_HEADER_LENGTH]) for name, value in event.headers]
        headers = dict([pair for pair in told if pair[0].lower().startswith(_TOLD_HEADERS)][:MAX_HEADERS])
        try:
            call = self._calls.take_in(event, headers, {REPLACES: replaced.id} if replaced is not None else None)
        except Exception:
            log.exception("no call can be made of an INVITE")
            self._signaling.reject(event.session, 500, "Server Internal Error")
            return
        if replaced is not None:
            # somebody talks to us already: the far end changes, and that it does is not for us to decide
            self._transfers.takes_place(call, replaced)
            self._signaling.answer(event.session)
        elif decision.action == "answer":
            call.answer_later(decision.after_s)
        elif decision.action == "stream":
            bot = decision.rule.bot() if decision.rule is not None else None
            call.audio.then((bot.value(trusted=True),) if bot is not None else ())
            call.answer_later(decision.after_s)
        elif decision.action == "reject":
            call.timers.answer(decision.after_s, lambda: call.reject(decision.code, None))
