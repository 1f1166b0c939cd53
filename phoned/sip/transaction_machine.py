"""What the four transactions have alike: a table of legal steps, timers, a wire, and how they end. RFC 3261 17.

It must not know which of them it is: their states and answers stand in `client_transaction` and `server_transaction`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from phoned.sip.io import TimerSet, TimerValues
from phoned.sip.message import Message, Request
from phoned.sip.transaction import (
    State,
    Terminated,
    Timer,
    TransactionEvent,
    TransactionKey,
    TransportFailed,
    Wire,
    check_step,
)


class TransactionMachine:
    """Driven by the transaction layer. A step clears every timer, except into a state of ``keeping_timers``."""

    legal: ClassVar[Mapping[State, frozenset[State]]]
    keeping_timers: ClassVar[frozenset[State]] = frozenset()

    def __init__(self, *, key: TransactionKey, request: Request, wire: Wire, timers: TimerValues, state: State) -> None:
        self.key = key
        self.request = request
        self.state = state
        self.timers: TimerSet[Timer] = TimerSet()
        self._wire = wire
        self._values = timers
        self._interval_s = timers.t1_s

    @property
    def pending(self) -> bool:
        """Whether the final response is still to come, or to be given."""
        return self.state in (State.CALLING, State.TRYING, State.PROCEEDING)

    def fail(self) -> list[TransactionEvent]:
        """The flow is gone."""
        if self.pending:
            return [TransportFailed(key=self.key, request=self.request), self._end()]
        return [self._end()]

    def _write(self, message: Message) -> list[TransactionEvent]:
        return [] if self._wire.send(message) else self.fail()

    def _end(self) -> Terminated:
        self._enter(State.TERMINATED)
        return Terminated(key=self.key)

    def _enter(self, state: State) -> None:
        check_step(self.legal, self.state, state)
        self.state = state
        if state not in self.keeping_timers:
            self.timers.clear_all()
