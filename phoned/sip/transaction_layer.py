"""The transaction layer: which message belongs to which transaction, over which flow, and who owns it.

It owns client and server transactions, their keys (RFC 3261 17.1.3, 17.2.3, RFC 2543 without the magic cookie), merged
requests (8.2.2.2), CANCEL matching (9.2) and the caps that keep memory constant under a flood. It must not know
dialogs, accounts or who its users are. A response goes to the flow that its request came in on, or nowhere.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

from phoned.errors import AtCapacity, InternalError, InvalidValue, MalformedMessage, NotFound
from phoned.sip.account import FlowParameters
from phoned.sip.client_transaction import InviteClientTransaction, NonInviteClientTransaction, build_cancel
from phoned.sip.io import FlowId, Outbox, Random, TimerValues
from phoned.sip.message import Message, Request, Response, response_to, serialise
from phoned.sip.server_transaction import InviteServerTransaction, NonInviteServerTransaction
from phoned.sip.transaction import (
    BRANCH_COOKIE,
    AckReceived,
    CancelReceived,
    Delivery,
    RequestReceived,
    Terminated,
    TransactionKey,
    TransactionUser,
    TransportFailed,
    Wire,
)
from phoned.sip.transaction_key import ack_keys, client_key, merge_key, response_key, server_key
from phoned.sip.transaction_table import ClientEntry, FlowEntry, ServerEntry, TransactionTable


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

    Verbs (`send_request`, `respond`, `cancel`) return no events: what could not be sent, and what
    ended with a response, is reported by the next `receive` or `tick`, which `next_timer` asks for at once.
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
        self._outbox = outbox
        self._random = random
        self._secret = random.token()
        self._values = timers or TimerValues()
        self._limits = limits or TransactionLimits()
        self._table = TransactionTable()

    def __len__(self) -> int:
        """Live transactions."""
        return len(self._table)

    # --- flows

    def flow_up(self, flow: FlowId, parameters: FlowParameters) -> None:
        """A connected flow; its transport decides which timers run, ``sent_by`` is what our Via says."""
        self._table.flows[flow] = FlowEntry(
            wire=Wire(flow, parameters.reliable, self._outbox),
            transport=parameters.transport,
            sent_by=parameters.sent_by or f"{self._random.token()}.invalid",
        )

    def flow_down(self, flow: FlowId, now: float) -> list[Delivery]:
        """The flow is gone: fail what was unfinished on it (`TransportFailed`), end everything (`Terminated`)."""
        entry = self._table.flows.get(flow)
        if entry is None:
            return []
        deliveries = self._table.fail(entry)
        del self._table.flows[flow]
        self._outbox.discard(flow)
        return deliveries

    def sent_by(self, flow: FlowId) -> str:
        """``host[:port]`` of our Via on this flow (made up under ``.invalid`` when the parameters gave none). Raises
        `NotFound` for a flow that is not up."""
        entry = self._table.flows.get(flow)
        if entry is None:
            raise NotFound(f"flow {flow} is not up")
        return entry.sent_by

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
        gives `TransportFailed` with the next input. Raises `AtCapacity`, and `InvalidValue` for what must not be
        written.
        """
        if len(self._table.clients) >= self._limits.client:
            raise AtCapacity("too many requests are unanswered")
        entry = self._table.flows.get(flow)
        request = self._with_via(request, entry)
        if entry is not None:
            return self._start(request, entry, now, owner, timeout_s)
        key = client_key(request, flow)
        if owner is not None:
            self._table.postpone(
                [(owner, TransportFailed(key=key, request=request)), (owner, Terminated(key=key))], now
            )
        return key

    def send_ack(self, request: Request, flow: FlowId) -> Request:
        """Send the ACK of a 2xx, outside any transaction. Returns it with the Via that it got: hand that in again for
        a 2xx that comes again. Nothing is sent over a flow that is not up."""
        entry = self._table.flows.get(flow)
        request = self._with_via(request, entry)
        if entry is not None:
            entry.wire.send(request)
        return request

    def request_of(self, key: TransactionKey) -> Request | None:
        """The request of a live client transaction as it was sent, with our Via."""
        entry = self._table.clients.get(key)
        return None if entry is None else entry.transaction.request

    def cancel(self, key: TransactionKey, now: float, *, reason: str | None = None) -> bool:
        """Cancel the INVITE ``key`` (RFC 3261 9.1): at once when it has a provisional response, else after the first.

        ``reason`` is a Reason header value (RFC 3326). False when there is nothing to cancel: it is gone, or has its
        final response. Afterwards comes the final response of the INVITE (487, or a 2xx that crossed), or `TimedOut`.
        """
        entry = self._table.clients.get(key)
        if entry is None or not isinstance(entry.transaction, InviteClientTransaction) or not entry.transaction.pending:
            return False
        if not entry.cancelled:
            cancel = build_cancel(entry.transaction.request, reason)
            serialise(cancel)  # a reason that cannot be written is the caller's fault now, not the network's later
            entry.cancelled, entry.cancel = True, cancel
            self._send_cancel(entry, now)
        return True

    def abandon(self, key: TransactionKey) -> None:
        """Forget a client transaction without a word to anyone; late responses are stray."""
        self._table.remove(key)
        self._table.drop_postponed(key)

    def _start(
        self,
        request: Request,
        flow: FlowEntry,
        now: float,
        owner: TransactionUser | None,
        timeout_s: float | None,
    ) -> TransactionKey:
        key = client_key(request, flow.wire.flow)
        if key in self._table.clients:
            raise InternalError("a branch is used twice")
        kind = InviteClientTransaction if request.method == "INVITE" else NonInviteClientTransaction
        transaction = kind(key=key, request=request, wire=flow.wire, timers=self._values, timeout_s=timeout_s)
        events = transaction.start(now)
        self._table.add_client(flow, ClientEntry(transaction=transaction, owner=owner))
        self._table.postpone(self._table.settle(key, events), now)
        return key

    def _with_via(self, request: Request, flow: FlowEntry | None) -> Request:
        if "Via" in request.headers:
            return request
        transport, sent_by, rport = "WS", "down.invalid", ""
        if flow is not None:
            transport, sent_by, rport = flow.transport, flow.sent_by, "" if flow.wire.reliable else ";rport"
        headers = request.headers.copy()
        headers.prepend("Via", f"SIP/2.0/{transport} {sent_by};branch={BRANCH_COOKIE}{self._random.token()}{rport}")
        return replace(request, headers=headers)

    def _send_cancel(self, entry: ClientEntry, now: float) -> None:
        invite, cancel = entry.transaction, entry.cancel
        if cancel is None or not isinstance(invite, InviteClientTransaction) or not invite.cancellable:
            return
        entry.cancel = None
        invite.cancelled(now)
        self._table.rearm(invite.key)
        self._start(cancel, self._table.flows[invite.key.flow], now, None, None)

    # --- server

    def adopt(self, key: TransactionKey, owner: TransactionUser) -> None:
        """Name who gets the later events of a server transaction. Nothing happens when it is gone."""
        entry = self._table.servers.get(key)
        if entry is not None:
            entry.owner = owner

    def respond(self, key: TransactionKey, response: Response, now: float) -> bool:
        """Send a response through its server transaction. False when that is gone (its flow broke) or has its final
        response already; a 2xx to INVITE may be repeated until the transaction ends."""
        entry = self._table.servers.get(key)
        if entry is None or not entry.transaction.accepts(response.status):
            return False
        self._table.postpone(self._table.settle(key, entry.transaction.respond(response, now)), now)
        if key.method == "INVITE" and response.status >= 300:
            self._table.refused(key)
        return True

    def respond_statelessly(self, flow: FlowId, response: Response) -> bool:
        """Send a response that needs no transaction, such as the 400 to a request that could not be parsed. False
        when the flow is not up, or full."""
        entry = self._table.flows.get(flow)
        return entry is not None and entry.wire.send(response)

    # --- inputs

    def receive(self, flow: FlowId, message: Message, now: float) -> list[Delivery]:
        """One parsed message from the network. Never raises."""
        deliveries = self._table.take_postponed()
        entry = self._table.flows.get(flow)
        if entry is None:
            self.counters.unknown_flow += 1
            return deliveries
        try:
            if isinstance(message, Response):
                deliveries += self._receive_response(flow, message, now)
            elif message.method == "ACK":
                deliveries += self._receive_ack(flow, message, now)
            else:
                deliveries += self._receive_request(entry, message, now)
        except (MalformedMessage, InvalidValue):
            # what `message.parse` let through, but cannot be answered
            self.counters.malformed += 1
        return deliveries

    def tick(self, now: float) -> list[Delivery]:
        """Fire what is due."""
        return self._table.take_postponed() + self._table.fire(now)

    def next_timer(self) -> float | None:
        """When `tick` is wanted next."""
        return self._table.next_timer()

    def _receive_response(self, flow: FlowId, response: Response, now: float) -> list[Delivery]:
        key = response_key(response, flow)
        entry = None if key is None else self._table.clients.get(key)
        if key is None or entry is None:
            self.counters.stray_responses += 1
            return []
        deliveries = self._table.settle(key, entry.transaction.receive(response, now))
        self._send_cancel(entry, now)
        return deliveries

    def _receive_ack(self, flow: FlowId, ack: Request, now: float) -> list[Delivery]:
        for key, to_tag in ack_keys(ack, flow):
            entry = self._table.servers.get(key)
            if entry is not None and to_tag in (None, entry.transaction.to_tag):
                return self._table.settle(key, entry.transaction.receive(ack, now))
        self.counters.stray_acks += 1
        return [(None, AckReceived(key=None, flow=flow, request=ack))]

    def _receive_request(self, flow: FlowEntry, request: Request, now: float) -> list[Delivery]:
        key = server_key(request, flow.wire.flow)
        known = self._table.servers.get(key)
        if known is not None:
            return self._table.settle(key, known.transaction.receive(request, now))
        merge = merge_key(request)
        if merge in self._table.merges:
            self.counters.merged += 1
            self._refuse(flow, request, 482)
            return []
        evicted = self._make_room(self._limits.server_total if merge is None else self._limits.server_new)
        if evicted is None:
            self.counters.over_capacity += 1
            self._refuse(flow, request, 503)
            return []
        kind = InviteServerTransaction if request.method == "INVITE" else NonInviteServerTransaction
        transaction = kind(key=key, request=request, wire=flow.wire, timers=self._values)
        events = transaction.start(now)
        self._table.add_server(flow, ServerEntry(transaction=transaction, merge=merge))
        evicted += self._table.settle(key, events)
        if request.method == "CANCEL":
            return evicted + self._receive_cancel(key, request, now)
        return [*evicted, (None, RequestReceived(key=key, request=request))]

    def _receive_cancel(self, key: TransactionKey, cancel: Request, now: float) -> list[Delivery]:
        invite = self._table.servers.get(replace(key, method="INVITE"))
        if invite is None:
            self.counters.stray_cancels += 1
            self.respond(key, response_to(cancel, 481, to_tag=self._tag(cancel)), now)
            return []
        to_tag = invite.transaction.to_tag or self._tag(cancel)
        self.respond(key, response_to(cancel, 200, to_tag=to_tag), now)
        if not invite.transaction.pending:
            return []
        return [(invite.owner, CancelReceived(key=invite.transaction.key, cancel=cancel))]

    def _make_room(self, limit: int) -> list[Delivery] | None:
        """The events of what had to go for one more server transaction; None when there is no room."""
        return [] if len(self._table.servers) < limit else self._table.evict_refused()

    def _refuse(self, flow: FlowEntry, request: Request, status: int) -> None:
        """Answer without a transaction (RFC 3261 8.2.7): costs no memory; the ACK comes up as a stray one."""
        response = response_to(request, status, to_tag=self._tag(request))
        if status == 503:
            response.headers.add("Retry-After", str(self._limits.retry_after_s))
        flow.wire.send(response)

    def _tag(self, request: Request) -> str:
        """A To tag that is the same for each copy of a request, and cannot be guessed."""
        text = "\x1f".join((self._secret, str(request.headers.get("Call-ID")), str(request.headers.get("Via"))))
        return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:32]
