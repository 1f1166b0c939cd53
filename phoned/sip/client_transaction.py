"""The two client transactions (RFC 3261 17.1, RFC 6026), and the ACK and CANCEL that follow from a request.

They own retransmission, the deadline of an answer, and the ACK of a refused INVITE. They must not know keys of others,
dialogs, or what a response means beyond its class. On a reliable flow Timers A and E do not run, D and K are zero: the
transaction ends with its final response.

    INVITE      Calling -> Proceeding -> Accepted | Completed -> Terminated
    non-INVITE  Trying  -> Proceeding -> Completed            -> Terminated
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from phoned.sip.accessors import cseq, to, via_top
from phoned.sip.fields import CSeq
from phoned.sip.headers import Headers
from phoned.sip.io import TimerValues
from phoned.sip.message import Request, Response
from phoned.sip.transaction import (
    ResponseReceived,
    State,
    TimedOut,
    Timer,
    TransactionEvent,
    TransactionKey,
    Wire,
)
from phoned.sip.transaction_machine import TransactionMachine

_INVITE_LEGAL: Mapping[State, frozenset[State]] = {
    State.CALLING: frozenset({State.PROCEEDING, State.ACCEPTED, State.COMPLETED, State.TERMINATED}),
    State.PROCEEDING: frozenset({State.ACCEPTED, State.COMPLETED, State.TERMINATED}),
    State.ACCEPTED: frozenset({State.TERMINATED}),
    State.COMPLETED: frozenset({State.TERMINATED}),
    State.TERMINATED: frozenset(),
}

_NON_INVITE_LEGAL: Mapping[State, frozenset[State]] = {
    State.TRYING: frozenset({State.PROCEEDING, State.COMPLETED, State.TERMINATED}),
    State.PROCEEDING: frozenset({State.COMPLETED, State.TERMINATED}),
    State.COMPLETED: frozenset({State.TERMINATED}),
    State.TERMINATED: frozenset(),
}


def build_ack(invite: Request, response: Response) -> Request:
    """The ACK of a final response of 300 or above (RFC 3261 17.1.1.3): the INVITE's own branch, its Route, its To with
    the tag of the response."""
    ack = _follow_up(invite, "ACK")
    ack.headers.set("To", str(to(response)))
    return ack


def build_cancel(invite: Request, reason: str | None = None) -> Request:
    """The CANCEL of an INVITE as it was sent (RFC 3261 9.1): same branch, Route, From, To and CSeq number.

    ``reason``: the value of a Reason header (RFC 3326). For an INVITE whose flow broke, send it over the new flow.
    """
    cancel = _follow_up(invite, "CANCEL")
    if reason is not None:
        cancel.headers.add("Reason", reason)
    return cancel


def _follow_up(invite: Request, method: str) -> Request:
    headers = Headers([("Via", str(via_top(invite)))])
    for name in ("Route", "Max-Forwards", "From", "To", "Call-ID"):
        for value in invite.headers.all(name):
            headers.add(name, value)
    headers.add("CSeq", str(CSeq(number=cseq(invite).number, method=method)))
    return Request(method=method, uri=invite.uri, headers=headers)


class _ClientTransaction(TransactionMachine):
    """``timeout_s``: how long the final response may take, 64*T1 unless said otherwise."""

    first: ClassVar[State]

    def __init__(
        self,
        *,
        key: TransactionKey,
        request: Request,
        wire: Wire,
        timers: TimerValues,
        timeout_s: float | None = None,
    ) -> None:
        super().__init__(key=key, request=request, wire=wire, timers=timers, state=self.first)
        self._timeout_s = timers.transaction_s if timeout_s is None else timeout_s

    def _send(self) -> list[TransactionEvent]:
        return self._write(self.request)

    def _up(self, response: Response) -> ResponseReceived:
        return ResponseReceived(key=self.key, request=self.request, response=response)


class InviteClientTransaction(_ClientTransaction):
    """RFC 3261 17.1.1 with the Accepted state of RFC 6026. Driven by the transaction layer.

    A far end that says nothing for ten minutes after a provisional response (13.3.1.1 wants one each minute) is given
    up (`Timer.ANSWER`), so that nothing waits for ever. Its user will have lost patience before, and cancelled.
    """

    legal = _INVITE_LEGAL
    first = State.CALLING
    _ack: Request | None = None

    @property
    def cancellable(self) -> bool:
        """Whether a CANCEL may be sent now: not before the first provisional response (RFC 3261 9.1)."""
        return self.state is State.PROCEEDING

    def start(self, now: float) -> list[TransactionEvent]:
        """Send the request for the first time."""
        self.timers.set(Timer.B, now + self._timeout_s)
        if not self._wire.reliable:
            self.timers.set(Timer.A, now + self._interval_s)
        return self._send()

    def cancelled(self, now: float) -> None:
        """A CANCEL went out: the answer to the INVITE must come within 64*T1 (RFC 3261 9.1)."""
        self.timers.set(Timer.CANCEL, now + self._values.transaction_s)

    def receive(self, response: Response, now: float) -> list[TransactionEvent]:
        """A response whose branch and method are ours."""
        if self.pending:
            return self._first(response, now)
        if self.state is State.ACCEPTED and 200 <= response.status < 300:
            return [self._up(response)]
        if self.state is State.COMPLETED and response.status >= 300 and self._ack is not None:
            self._wire.send(self._ack)
        return []

    def _first(self, response: Response, now: float) -> list[TransactionEvent]:
        if response.status < 200:
            if self.state is State.CALLING:
                self._enter(State.PROCEEDING)
            self.timers.set(Timer.ANSWER, now + self._values.silence_s)
            return [self._up(response)]
        if response.status < 300:
            self._enter(State.ACCEPTED)
            self.timers.set(Timer.M, now + self._values.transaction_s)
            return [self._up(response)]
        self._enter(State.COMPLETED)
        self._ack = build_ack(self.request, response)
        sent = self._wire.send(self._ack)
        if sent and not self._wire.reliable:
            self.timers.set(Timer.D, now + self._values.timer_d_s)
            return [self._up(response)]
        return [self._up(response), self._end()]

    def tick(self, timer: Timer, now: float) -> list[TransactionEvent]:
        """``timer`` fired."""
        if timer is Timer.A:
            self._interval_s *= 2
            self.timers.set(Timer.A, now + self._interval_s)
            return self._send()
        if timer in (Timer.B, Timer.CANCEL, Timer.ANSWER):
            return [TimedOut(key=self.key, timer=timer), self._end()]
        return [self._end()]


class NonInviteClientTransaction(_ClientTransaction):
    """RFC 3261 17.1.2. Driven by the transaction layer."""

    legal = _NON_INVITE_LEGAL
    first = State.TRYING
    keeping_timers = frozenset({State.PROCEEDING})  # E and F go on from Trying (17.1.2.2)

    def start(self, now: float) -> list[TransactionEvent]:
        """Send the request for the first time."""
        self.timers.set(Timer.F, now + self._timeout_s)
        if not self._wire.reliable:
            self.timers.set(Timer.E, now + self._interval_s)
        return self._send()

    def receive(self, response: Response, now: float) -> list[TransactionEvent]:
        """A response whose branch and method are ours."""
        if not self.pending:
            return []
        up = self._up(response)
        if response.status < 200:
            if self.state is State.TRYING:
                self._enter(State.PROCEEDING)
            return [up]
        self._enter(State.COMPLETED)
        if self._wire.reliable:
            return [up, self._end()]
        self.timers.set(Timer.K, now + self._values.t4_s)
        return [up]

    def tick(self, timer: Timer, now: float) -> list[TransactionEvent]:
        """``timer`` fired."""
        if timer is Timer.E:
            proceeding = self.state is State.PROCEEDING
            self._interval_s = self._values.t2_s if proceeding else min(2 * self._interval_s, self._values.t2_s)
            self.timers.set(Timer.E, now + self._interval_s)
            return self._send()
        if timer is Timer.F:
            return [TimedOut(key=self.key, timer=timer), self._end()]
        return [self._end()]
