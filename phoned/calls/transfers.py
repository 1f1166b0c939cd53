"""Transfers (RFC 5589): a far end of ours that shall talk to somebody else, ours that somebody else shall talk to, and
calls that take another's place.

`Transfers` keeps what is under way until its outcome is told. The SIP core says what is said on the wire; it must not
know how a call is made, that is the manager's.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from phoned.calls.call import Call
from phoned.calls.line import AccountFacts
from phoned.calls.policy import DialPolicy, target_of
from phoned.errors import (
    AtCapacity,
    DeadlineExceeded,
    InvalidValue,
    NotFound,
    PhonedError,
    Refused,
    UnavailableError,
)
from phoned.model import CallRequest, EndCause
from phoned.sip import events as sip

log = logging.getLogger(__name__)

TRANSFER_OF = "transfer_of"
"""Tag of a call that was placed because the far end of another asked for it: that one's id."""
REPLACES = "replaces"
"""Tag of a call that took the place of another: that one's id."""
ANSWER_S = 40.0
"""The core's own deadline is 64*T1 = 32 s."""
LEAVE_S = 10.0
"""How long the far end of a call that was moved may take to hang up before we do."""
_REFUSALS: tuple[tuple[type[PhonedError], int], ...] = ((AtCapacity, 486), (UnavailableError, 480))


class TransferSignaling(Protocol):
    """The verbs of the SIP driver."""

    def refer(self, session: str, *, target: str = "", instead_of: str | None = None) -> str: ...

    def accept_refer(self, session: str) -> None: ...

    def refuse_refer(self, session: str, status: int = 603) -> None: ...

    def notify_refer(self, session: str, status: int, reason: str) -> None: ...


@dataclass(slots=True, eq=False, kw_only=True)
class _Ours:
    """A transfer that we asked for."""

    call: Call
    other: Call | None
    answered: asyncio.Future[None] = field(repr=False)
    """For whoever asked, who may leave before it is."""
    accepted: bool = False


class Transfers:
    """Driven by the call manager: verbs, and the session events of every call."""

    def __init__(
        self,
        *,
        signaling: TransferSignaling,
        accounts: Callable[[str], AccountFacts | None],
        policy: DialPolicy,
        place: Callable[[CallRequest, tuple[tuple[str, str], ...]], Call],
        succeed: Callable[[Call, Call], None],
    ) -> None:
        """``succeed``: what else the first is in the place of the second, from its answer on."""
        self._signaling = signaling
        self._accounts = accounts
        self._policy = policy
        self._place = place
        self._succeed = succeed
        self._ours: dict[str, _Ours] = {}
        self._theirs: dict[str, Call] = {}
        """By the call that was placed: the one whose far end asked for it."""
        self._replacing: dict[str, Call] = {}
        """By the call that comes in: the one whose place it takes."""

    # --- ours

    async def transfer(self, call: Call, *, to: str | None, other: Call | None) -> None:
        """Ask the far end to call ``to``, or to take our place in ``other``; returns once it has taken that on. What
        becomes of it is told by events. Raises `Refused`, `DeadlineExceeded`, `WrongState`, `Gone`, `Denied`,
        `InvalidValue`, `NotRegistered`."""
        session = call.established("transfer")
        if (to is None) is (other is None):
            raise InvalidValue("give either `to` or `replaces`", pointer="")
        if other is call:
            raise InvalidValue("a call cannot be joined with itself", pointer="/replaces")
        answered: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if other is not None:
            token = self._signaling.refer(session, instead_of=other.established("transfer to"))
        else:
            token = self._signaling.refer(session, target=self._allowed(call.account, to or ""))
        self._ours[token] = _Ours(call=call, other=other, answered=answered)
        call.publish("call.transfer_started", to=to, replaces=other.id if other is not None else None)
        try:
            async with asyncio.timeout(ANSWER_S):
                await answered
        except TimeoutError:
            raise DeadlineExceeded("the far end did not say whether it will") from None

    def _allowed(self, account: str, to: str) -> str:
        facts = self._accounts(account)
        if facts is None:
            raise NotFound(f"no account {account}")
        target = target_of(to, facts.aor)
        self._policy.allow(target)
        return target.uri

    def _on_accepted(self, token: str) -> None:
        ours = self._ours.get(token)
        if ours is None:
            return
        for call in (ours.call, ours.other):
            if call is not None:
                call.ends_as(EndCause.TRANSFERRED)
        ours.call.publish("call.transfer_accepted")
        ours.accepted = True
        if not ours.answered.done():
            ours.answered.set_result(None)

    def _on_progress(self, event: sip.ReferProgress) -> None:
        if event.final:
            ours = self._ours.pop(event.token, None)
            if ours is not None and 200 <= event.status < 300:
                self._completed(ours, event.status)
                _leave(ours.call)
            elif ours is not None:
                self._failed(ours, event.status, event.reason)

    def _completed(self, ours: _Ours, status: int | None) -> None:
        ours.call.publish("call.transfer_completed", sip_code=status)
        if ours.other is not None:
            # its far end was told to take the other's place, and says BYE to ours
            asyncio.get_running_loop().call_later(LEAVE_S, _leave, ours.other)

    def _failed(self, ours: _Ours, status: int, reason: str) -> None:
        for call in (ours.call, ours.other):
            if call is not None:
                call.ends_as(None)
        ours.call.publish("call.transfer_failed", sip_code=status or None, reason=reason or None)
        if not ours.answered.done():
            ours.answered.set_exception(_refusal(status, reason))

    def before_end(self, call: Call, event: sip.Ended) -> None:
        """A call is about to end. Many far ends hang up once they have moved, and say no more."""
        for token, ours in tuple(self._ours.items()):
            if ours.call is not call:
                continue
            del self._ours[token]
            if ours.accepted and event.cause is sip.EndCause.BYE and event.by is sip.Party.REMOTE:
                self._completed(ours, None)
            else:
                self._failed(ours, 0, "the call has ended")

    # --- theirs

    def _on_referred(self, call: Call, event: sip.Referred) -> None:
        request = CallRequest(account=call.account, to=event.target, tags={TRANSFER_OF: call.id})
        extra = [("Referred-By", f"<{event.referred_by}>")] if event.referred_by else []
        extra += [("Replaces", event.replaces)] if event.replaces else []
        facts = {"to": event.target, "referred_by": event.referred_by}
        try:
            placed = self._place(request, tuple(extra))
        except PhonedError as error:
            log.warning("%s: the far end may not move it to %s: %s", call.id, event.target, error.detail)
            status = next((status for kind, status in _REFUSALS if isinstance(error, kind)), 603)
            self._signaling.refuse_refer(event.session, status)
            call.publish("call.transfer_requested", **facts, call_placed=None)
            return
        self._theirs[placed.id] = call
        self._signaling.accept_refer(event.session)
        call.ends_as(EndCause.TRANSFERRED)
        call.publish("call.transfer_requested", **facts, call_placed=placed.id)

    def _tell(self, placed: Call, status: int, reason: str) -> None:
        """Tell the far end that asked for it how the call fares, while it is there."""
        call = self._theirs[placed.id] if status < 200 else self._theirs.pop(placed.id)
        if call.ended or call.session is None:
            return
        try:
            self._signaling.notify_refer(call.session, status, reason)
        except PhonedError as error:
            log.info("%s: its far end is not told how it fares: %s", call.id, error.detail)
        if status >= 300:
            call.ends_as(None)
        elif status >= 200:
            asyncio.get_running_loop().call_later(LEAVE_S, _leave, call)

    # --- in the place of another

    def takes_place(self, call: Call, of: Call) -> None:
        """Once ``call`` is answered, ``of`` ends."""
        self._replacing[call.id] = of

    # --- what happens

    def on_session_event(self, call: Call, event: sip.Event) -> None:
        """After ``call`` has heard it."""
        match event:
            case sip.ReferAccepted():
                self._on_accepted(event.token)
            case sip.ReferProgress():
                self._on_progress(event)
            case sip.Referred():
                self._on_referred(call, event)
            case sip.Progress() if call.id in self._theirs and event.status >= 180:
                self._tell(call, event.status, event.reason)
            case sip.Answered():
                if call.id in self._theirs:
                    self._succeed(call, self._theirs[call.id])
                    self._tell(call, 200, "OK")
                replaced = self._replacing.pop(call.id, None)
                if replaced is not None:
                    self._succeed(call, replaced)
                    replaced.hangup(cause=EndCause.REPLACED, by="remote")
            case _:
                pass

    def on_ended(self, call: Call) -> None:
        """A call has ended, however that came."""
        self._replacing.pop(call.id, None)
        if call.id in self._theirs:
            end = call.view().end
            code = end.sip_code if end is not None and (end.sip_code or 0) >= 300 else None
            self._tell(call, code or 487, (end.sip_reason if end is not None and code else None) or "Not Connected")


def _leave(call: Call) -> None:
    """It was moved: what is left of it here ends, if its far end has not ended it."""
    call.hangup(cause=EndCause.TRANSFERRED, by="local")


def _refusal(status: int, reason: str) -> PhonedError:
    return Refused(status, reason) if status >= 300 else DeadlineExceeded("the far end did not say whether it will")
