"""Which transactions live, on which flow, whose they are, and which of them is due next.

It owns the bookkeeping of the transaction layer: entries, deadlines, merged requests, refused INVITEs, and events that
wait for the next input. It must not know keys of messages nor what a transaction does.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from phoned.sip.client_transaction import InviteClientTransaction, NonInviteClientTransaction
from phoned.sip.io import FlowId, TimerSet
from phoned.sip.message import Request
from phoned.sip.server_transaction import InviteServerTransaction, NonInviteServerTransaction
from phoned.sip.transaction import (
    AckReceived,
    Delivery,
    Terminated,
    TransactionEvent,
    TransactionKey,
    TransactionUser,
    Wire,
)
from phoned.sip.transaction_key import MergeKey


@dataclass(slots=True, kw_only=True)
class ClientEntry:
    """A live client transaction. ``cancelled``: the user gave it up; ``cancel`` waits for the first provisional
    response (RFC 3261 9.1)."""

    transaction: InviteClientTransaction | NonInviteClientTransaction
    owner: TransactionUser | None
    cancelled: bool = False
    cancel: Request | None = None


@dataclass(slots=True, kw_only=True)
class ServerEntry:
    """A live server transaction."""

    transaction: InviteServerTransaction | NonInviteServerTransaction
    merge: MergeKey | None
    owner: TransactionUser | None = None


@dataclass(slots=True, kw_only=True)
class FlowEntry:
    """A flow that is up, and its transactions in the order of their birth."""

    wire: Wire
    transport: str
    sent_by: str
    keys: dict[TransactionKey, None] = field(default_factory=dict)


class TransactionTable:
    """Driven by the transaction layer alone."""

    def __init__(self) -> None:
        self.flows: dict[FlowId, FlowEntry] = {}
        self.clients: dict[TransactionKey, ClientEntry] = {}
        self.servers: dict[TransactionKey, ServerEntry] = {}
        self.merges: dict[MergeKey, TransactionKey] = {}
        self._timers: TimerSet[TransactionKey] = TimerSet()
        self._refused: dict[TransactionKey, None] = {}
        self._late: list[Delivery] = []
        self._late_since: float | None = None

    def __len__(self) -> int:
        return len(self.clients) + len(self.servers)

    def add_client(self, flow: FlowEntry, entry: ClientEntry) -> None:
        """From now on it is found."""
        self.clients[entry.transaction.key] = entry
        flow.keys[entry.transaction.key] = None

    def add_server(self, flow: FlowEntry, entry: ServerEntry) -> None:
        """From now on it is found, and its copies are merged requests."""
        key = entry.transaction.key
        self.servers[key] = entry
        flow.keys[key] = None
        if entry.merge is not None:
            self.merges[entry.merge] = key

    def remove(self, key: TransactionKey) -> None:
        """Forget it and everything that hung on it."""
        self.clients.pop(key, None)
        server = self.servers.pop(key, None)
        if server is not None and server.merge is not None:
            del self.merges[server.merge]
        self._refused.pop(key, None)
        self._timers.clear(key)
        flow = self.flows.get(key.flow)
        if flow is not None:
            flow.keys.pop(key, None)

    def settle(self, key: TransactionKey, events: list[TransactionEvent]) -> list[Delivery]:
        """After every step of a transaction: forget it when it ended, else arm its next deadline; address its events.

        Without an owner only an ACK has somebody to go to: the core.
        """
        entry = self._entry(key)
        if events and isinstance(events[-1], Terminated):
            self.remove(key)
        else:
            self.rearm(key)
        owner = entry.owner
        return [(owner, event) for event in events if owner is not None or isinstance(event, AckReceived)]

    def rearm(self, key: TransactionKey) -> None:
        """Follow the earliest deadline of the transaction: while it lives it has one, in every state."""
        at = self._entry(key).transaction.timers.next()
        assert at is not None, key
        self._timers.set(key, at)

    def fire(self, now: float) -> list[Delivery]:
        """Every transaction timer that is due, in order."""
        deliveries: list[Delivery] = []
        for key in self._timers.due(now):
            transaction = self._entry(key).transaction
            for timer in transaction.timers.due(now):
                deliveries += self.settle(key, transaction.tick(timer, now))
        return deliveries

    def fail(self, flow: FlowEntry) -> list[Delivery]:
        """The flow is gone, and with it all its transactions."""
        deliveries: list[Delivery] = []
        for key in list(flow.keys):
            deliveries += self.settle(key, self._entry(key).transaction.fail())
        return deliveries

    def refused(self, key: TransactionKey) -> None:
        """A refused INVITE that only waits for its ACK may be evicted. Not on an unreliable flow: there it also
        absorbs the INVITE's retransmissions."""
        if key in self.servers and self.flows[key.flow].wire.reliable:
            self._refused[key] = None

    def evict_refused(self) -> list[Delivery] | None:
        """Give up the oldest refused INVITE; None when there is none."""
        key = next(iter(self._refused), None)
        return None if key is None else self.settle(key, self.servers[key].transaction.fail())

    # --- events that no input can return

    def postpone(self, deliveries: list[Delivery], now: float) -> None:
        """Keep events for the next input, and ask for a tick at once."""
        if deliveries:
            self._late += deliveries
            self._late_since = now if self._late_since is None else self._late_since

    def drop_postponed(self, key: TransactionKey) -> None:
        """Nobody wants to hear of ``key`` any more."""
        self._late = [delivery for delivery in self._late if delivery[1].key != key]

    def take_postponed(self) -> list[Delivery]:
        """What was kept, once."""
        late, self._late, self._late_since = self._late, [], None
        return late

    def next_timer(self) -> float | None:
        """When something is to be done next."""
        return self._timers.next() if self._late_since is None else self._late_since

    def _entry(self, key: TransactionKey) -> ClientEntry | ServerEntry:
        return self.clients[key] if key.side == "client" else self.servers[key]
