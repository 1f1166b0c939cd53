"""What the four transactions and their users share: keys, events, the RFC's names for states and timers.

It must not know how a transaction works (`client_transaction`, `server_transaction`) nor who uses it. RFC 3261 17,
RFC 6026.

**The shape of `on_transaction`.** A machine that owns transactions implements `TransactionUser`: it is given one
`TransactionEvent` and ``now``, and returns what it has to say to its own user. The transaction layer never calls it:
the layer returns ``(owner, event)`` pairs, and the user agent core passes each event to its owner::

    for owner, event in layer.receive(flow, message, now):
        events += owner.on_transaction(event, now) if owner is not None else self._unowned(event, now)

Every transaction that has an owner ends with exactly one `Terminated`, its last event. `TimedOut` and
`TransportFailed` come before it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Literal, Protocol

from phoned.sip.io import FlowId, Outbox
from phoned.sip.message import Message, Request, Response, serialise

BRANCH_COOKIE = "z9hG4bK"


class State(Enum):
    """RFC 3261 17 and RFC 6026: the states of all four transactions; each has a table of those that it knows."""

    CALLING = "Calling"
    TRYING = "Trying"
    PROCEEDING = "Proceeding"
    ACCEPTED = "Accepted"
    COMPLETED = "Completed"
    CONFIRMED = "Confirmed"
    TERMINATED = "Terminated"


class Timer(Enum):
    """RFC 3261 table 4 and RFC 6026. `CANCEL`: the wait of RFC 3261 9.1. `ANSWER`: ours, somebody fell silent."""

    A = "A"
    B = "B"
    D = "D"
    E = "E"
    F = "F"
    G = "G"
    H = "H"
    I = "I"  # noqa: E741  the RFC's letter
    J = "J"
    K = "K"
    L = "L"
    M = "M"
    CANCEL = "CANCEL"
    ANSWER = "ANSWER"


@dataclass(frozen=True, slots=True)
class Wire:
    """One flow as a transaction sees it. ``reliable``: the transport repeats by itself."""

    flow: FlowId
    reliable: bool
    outbox: Outbox

    def send(self, message: Message) -> bool:
        """Queue the message; False when the outbox refused it. Raises `InvalidValue` for what must not be written."""
        return self.outbox.send(self.flow, serialise(message))


def check_step(legal: Mapping[State, frozenset[State]], old: State, new: State) -> None:
    """Assert that a machine's table allows the step."""
    assert new in legal[old], f"{old.value} -> {new.value}"


@dataclass(frozen=True, slots=True, kw_only=True)
class TransactionKey:
    """Names one transaction (RFC 3261 17.1.3, 17.2.3). An ACK has the key of its INVITE.

    The flow belongs to the key: what one proxy says never matches a transaction with another. ``sent_by`` is empty for
    client transactions. ``branch`` stands for the whole RFC 2543 tuple when the far end has no magic cookie.
    """

    side: Literal["client", "server"]
    flow: FlowId
    branch: str
    sent_by: str
    method: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestReceived:
    """A new request, never ACK or CANCEL, with a server transaction that waits for `TransactionLayer.respond`.

    It has no owner yet: name one with `TransactionLayer.adopt` if later events are wanted. An INVITE was already
    answered with 100.
    """

    key: TransactionKey
    request: Request


@dataclass(frozen=True, slots=True, kw_only=True)
class AckReceived:
    """The ACK of a 2xx. ``key`` is None, and there is no owner, when it stands outside every transaction (the rule:
    it has a branch of its own); find its dialog. An ACK of a refusal never comes up."""

    key: TransactionKey | None
    flow: FlowId
    request: Request


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelReceived:
    """The INVITE ``key`` was cancelled before a final response (RFC 3261 9.2). The CANCEL is answered already; answer
    the INVITE with 487."""

    key: TransactionKey
    cancel: Request


@dataclass(frozen=True, slots=True, kw_only=True)
class ResponseReceived:
    """A response to our request: each provisional one, 100 included, and the final one.

    A 2xx to INVITE comes each time that it is received (RFC 6026): the UAC core sends an ACK for each. A refusal of an
    INVITE was acknowledged already. ``request`` is the request as it was sent, with our Via.
    """

    key: TransactionKey
    request: Request
    response: Response


@dataclass(frozen=True, slots=True, kw_only=True)
class TimedOut:
    """Client: no final response in time (Timer B or F, 64*T1 after a CANCEL, ten silent minutes): to be treated as 408.
    Server: no ACK of our refusal (Timer H), or the transaction user forgot the request (`Timer.ANSWER`)."""

    key: TransactionKey
    timer: Timer


@dataclass(frozen=True, slots=True, kw_only=True)
class TransportFailed:
    """The flow is gone, or refused the bytes, before the transaction had its final response: to be treated as 503."""

    key: TransactionKey
    request: Request


@dataclass(frozen=True, slots=True, kw_only=True)
class Terminated:
    """The transaction is over and forgotten; its key means nothing from now on."""

    key: TransactionKey


TransactionEvent = (
    RequestReceived | AckReceived | CancelReceived | ResponseReceived | TimedOut | TransportFailed | Terminated
)


class TransactionUser(Protocol):
    """RFC 3261 calls it TU: whoever owns a transaction."""

    def on_transaction(self, event: TransactionEvent, now: float) -> list[Any]:
        """Take one event of a transaction of mine; return my own events."""
        ...


Delivery = tuple[TransactionUser | None, TransactionEvent]
"""An event and whom it is for; None: nobody owns the transaction yet, or it has none."""
