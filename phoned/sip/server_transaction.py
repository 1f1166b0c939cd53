"""The two server transactions (RFC 3261 17.2, RFC 6026).

They own 100 Trying, retransmission of responses, and the absorption of repeated requests and of the ACK of a refusal.
They must not know dialogs or who answers. On a reliable flow Timer G does not run, I and J are zero.

    INVITE      Proceeding -> Accepted | Completed -> Confirmed -> Terminated
    non-INVITE  Trying -> Proceeding -> Completed -> Terminated

100 is sent at once. RFC 3261 17.2.1 asks for it within 200 ms unless the server *knows* that the user will answer
before; ours never knows (a description has to be made, a policy asked), and a proxy takes the 100 as the proof that
the flow is alive.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from phoned.sip.accessors import to
from phoned.sip.io import TimerValues
from phoned.sip.message import Request, Response, response_to
from phoned.sip.transaction import (
    AckReceived,
    State,
    TimedOut,
    Timer,
    TransactionEvent,
    TransactionKey,
    Wire,
)
from phoned.sip.transaction_machine import TransactionMachine

_INVITE_LEGAL: Mapping[State, frozenset[State]] = {
    State.PROCEEDING: frozenset({State.ACCEPTED, State.COMPLETED, State.TERMINATED}),
    State.ACCEPTED: frozenset({State.TERMINATED}),
    State.COMPLETED: frozenset({State.CONFIRMED, State.TERMINATED}),
    State.CONFIRMED: frozenset({State.TERMINATED}),
    State.TERMINATED: frozenset(),
}

_NON_INVITE_LEGAL: Mapping[State, frozenset[State]] = {
    State.TRYING: frozenset({State.PROCEEDING, State.COMPLETED, State.TERMINATED}),
    State.PROCEEDING: frozenset({State.COMPLETED, State.TERMINATED}),
    State.COMPLETED: frozenset({State.TERMINATED}),
    State.TERMINATED: frozenset(),
}


class _ServerTransaction(TransactionMachine):
    first: ClassVar[State]

    def __init__(self, *, key: TransactionKey, request: Request, wire: Wire, timers: TimerValues) -> None:
        super().__init__(key=key, request=request, wire=wire, timers=timers, state=self.first)
        self.response: Response | None = None
        """The newest response sent."""

    @property
    def to_tag(self) -> str | None:
        """The To tag of our newest response."""
        return None if self.response is None else to(self.response).tag


class InviteServerTransaction(_ServerTransaction):
    """RFC 3261 17.2.1 with the Accepted state of RFC 6026. Driven by the transaction layer.

    A user that says nothing for ten minutes, not even another provisional response (13.3.1.1 wants one each minute), is
    given up (`Timer.ANSWER`): a forgotten INVITE must not hold its place for ever.
    """

    legal = _INVITE_LEGAL
    first = State.PROCEEDING

    def start(self, now: float) -> list[TransactionEvent]:
        """Answer with 100."""
        return self.respond(response_to(self.request, 100), now)

    def accepts(self, status: int) -> bool:
        """Whether `respond` may be given a response of this status now: a 2xx may be repeated."""
        return self.pending or (self.state is State.ACCEPTED and 200 <= status < 300)

    def respond(self, response: Response, now: float) -> list[TransactionEvent]:
        """Send a response that `accepts` allowed."""
        self.response = response
        if 200 <= response.status < 300:
            # a lost 2xx is repeated by the UAS core until its ACK comes (RFC 6026 7.1)
            self._wire.send(response)
            if self.pending:
                self._enter(State.ACCEPTED)
                self.timers.set(Timer.L, now + self._values.transaction_s)
            return []
        if response.status < 200:
            self.timers.set(Timer.ANSWER, now + self._values.silence_s)
            return self._write(response)
        self._enter(State.COMPLETED)
        self.timers.set(Timer.H, now + self._values.transaction_s)
        if not self._wire.reliable:
            self.timers.set(Timer.G, now + self._interval_s)
        return self._write(response)

    def receive(self, request: Request, now: float) -> list[TransactionEvent]:
        """The INVITE again, or an ACK with its branch."""
        if request.method == "ACK":
            return self._acknowledged(request, now)
        if self.state in (State.PROCEEDING, State.COMPLETED) and self.response is not None:
            return self._write(self.response)
        return []

    def _acknowledged(self, ack: Request, now: float) -> list[TransactionEvent]:
        if self.state is State.ACCEPTED:
            return [AckReceived(key=self.key, flow=self.key.flow, request=ack)]
        if self.state is not State.COMPLETED:
            return []
        self._enter(State.CONFIRMED)
        if self._wire.reliable:
            return [self._end()]
        self.timers.set(Timer.I, now + self._values.t4_s)
        return []

    def tick(self, timer: Timer, now: float) -> list[TransactionEvent]:
        """``timer`` fired."""
        if timer is Timer.G and self.response is not None:
            self._interval_s = min(2 * self._interval_s, self._values.t2_s)
            self.timers.set(Timer.G, now + self._interval_s)
            return self._write(self.response)
        if timer in (Timer.H, Timer.ANSWER):
            return [TimedOut(key=self.key, timer=timer), self._end()]
        return [self._end()]


class NonInviteServerTransaction(_ServerTransaction):
    """RFC 3261 17.2.2. Driven by the transaction layer.

    A user that never answers is given up after 64*T1 (`Timer.ANSWER`): by then the far end's Timer F has fired, and a
    response would be stray (RFC 4320 4.2).
    """

    legal = _NON_INVITE_LEGAL
    first = State.TRYING
    keeping_timers = frozenset({State.PROCEEDING})  # the wait for an answer goes on

    def start(self, now: float) -> list[TransactionEvent]:
        """Wait for the user's answer."""
        self.timers.set(Timer.ANSWER, now + self._values.transaction_s)
        return []

    def accepts(self, status: int) -> bool:
        """Whether `respond` may be given a response of this status now."""
        return self.pending

    def respond(self, response: Response, now: float) -> list[TransactionEvent]:
        """Send a response that `accepts` allowed."""
        self.response = response
        if response.status < 200:
            if self.state is State.TRYING:
                self._enter(State.PROCEEDING)
            return self._write(response)
        self._enter(State.COMPLETED)
        events = self._write(response)
        if events:
            return events
        if self._wire.reliable:
            return [self._end()]
        self.timers.set(Timer.J, now + self._values.transaction_s)
        return []

    def receive(self, request: Request, now: float) -> list[TransactionEvent]:
        """The request again."""
        return [] if self.response is None else self._write(self.response)

    def tick(self, timer: Timer, now: float) -> list[TransactionEvent]:
        """``timer`` fired."""
        if timer is Timer.ANSWER:
            return [TimedOut(key=self.key, timer=timer), self._end()]
        return [self._end()]
