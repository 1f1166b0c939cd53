"""The transaction layer: which message belongs to which transaction, over which flow, and who owns it.

It owns client and server transactions, their keys (RFC 3261 17.1.3, 17.2.3, RFC 2543 without the magic cookie), merged
requests (8.2.2.2), CANCEL matching (9.2) and the caps that keep memory constant under a flood. It must not know
dialogs, accounts or who its users are. A response goes to the flow that its request came in on, or nowhere.
"""

from __future__ import annotations

from dataclasses import dataclass

from phoned.sip.account import FlowParameters
from phoned.sip.io import FlowId, Outbox, Random, TimerValues
from phoned.sip.message import Message, Request, Response
from phoned.sip.transaction import Delivery, TransactionKey, TransactionUser


@dataclass(frozen=True, slots=True, kw_only=True)
class TransactionLimits:
    """How many transactions may live. Beyond `server_new`, requests outside dialogs get 503 with Retry-After;
    between it and `server_total` requests with a To tag are still taken. Refusals that only wait for an ACK are given
    up first, so a flood of INVITEs that are refused at once costs neither."""

    server_new: int = 512
    server_total: int = 1024
    client: int = 2048
    retry_after_s: int = 5


@dataclass(slots=True, kw_only=True)
class TransactionCounters:
    """What was dropped or refused since the start, by reason."""

    stray_responses: int = 0
    stray_acks: int = 0
    stray_cancels: int = 0
    merged: int = 0
    over_capacity: int = 0
    malformed: int = 0
    unknown_flow: int = 0


class TransactionLayer:
    """Driven by the user agent core: it hands in messages, requests, responses and time, and passes on what comes back.

    Verbs (`send_request`, `respond`, `cancel`) return no events: a send that fails is reported by the next `tick`,
    which `next_timer` asks for at once.
    """

    def __init__(
        self,
        *,
        outbox: Outbox,
        random: Random,
        timers: TimerValues | None = None,
        limits: TransactionLimits | None = None,
    ) -> None:
        self.counters = TransactionCounters()

    # --- flows

    def flow_up(self, flow: FlowId, parameters: FlowParameters) -> None:
        """A connected flow; its transport decides which timers run, ``sent_by`` is what our Via says."""
        ...

    def flow_down(self, flow: FlowId, now: float) -> list[Delivery]:
        """The flow is gone: fail what was unfinished on it (`TransportFailed`), end everything (`Terminated`)."""
        ...

    def sent_by(self, flow: FlowId) -> str:
        """``host[:port]`` of our Via on this flow (made up under ``.invalid`` when the parameters gave none). Raises
        `NotFound` for a flow that is not up."""
        ...

    # --- client

    def send_request(
        self,
        request: Request,
        flow: FlowId,
        now: float,
        owner: TransactionUser | None,
        *,
        timeout_s: float | None = None,
    ) -> TransactionKey:
        """Send any request but ACK, in a new client transaction.

        A Via with a new branch is put on a copy of ``request``, unless it has one already. ``timeout_s`` replaces
        64*T1 of Timer B (INVITE, until the first response) or F (others, until the final one). A flow that is not up
        gives `TransportFailed` at the next `tick`. Raises `AtCapacity`.
        """
        ...

    def send_ack(self, request: Request, flow: FlowId) -> Request:
        """Send the ACK of a 2xx, outside any transaction. Returns it with the Via that it got: hand that in again for
        a 2xx that comes again."""
        ...

    def cancel(self, key: TransactionKey, now: float, *, reason: str | None = None) -> bool:
        """Cancel the INVITE ``key`` (RFC 3261 9.1): at once when it has a provisional response, else after the first.

        ``reason`` is a Reason header value (RFC 3326). False when there is nothing to cancel: it is gone, or has its
        final response. Afterwards comes the final response of the INVITE (487, or a 2xx that crossed), or `TimedOut`.
        """
        ...

    def abandon(self, key: TransactionKey) -> None:
        """Forget a client transaction without a word to anyone; late responses are stray."""
        ...

    # --- server

    def adopt(self, key: TransactionKey, owner: TransactionUser) -> None:
        """Name who gets the later events of a server transaction. Nothing happens when it is gone."""
        ...

    def respond(self, key: TransactionKey, response: Response, now: float) -> bool:
        """Send a response through its server transaction. False when that is gone (its flow broke) or has its final
        response already; a 2xx to INVITE may be repeated until the transaction ends."""
        ...

    def respond_statelessly(self, flow: FlowId, response: Response) -> bool:
        """Send a response that needs no transaction, such as the 400 to a request that could not be parsed."""
        ...

    # --- inputs

    def receive(self, flow: FlowId, message: Message, now: float) -> list[Delivery]:
        """One parsed message from the network. Never raises."""
        ...

    def tick(self, now: float) -> list[Delivery]:
        """Fire what is due."""
        ...

    def next_timer(self) -> float | None:
        """When `tick` is wanted next."""
        ...

    def __len__(self) -> int:
        """Live transactions."""
        ...
