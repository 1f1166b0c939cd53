"""Where an input of the user agent belongs: deliveries to their machines, requests to their dialogs, the rest to
whoever takes new ones (RFC 3261 8.2, 12.2.2).

`Routing` holds the accounts, flows and sessions of one user agent. Whatever goes wrong here ends in a response, and an
exception of ours in the end of what it hit.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

from phoned.errors import MalformedMessage, NotFound, PhonedError
from phoned.sip import inbound
from phoned.sip.accessors import to
from phoned.sip.account import Limits
from phoned.sip.core import AccountCore, Core
from phoned.sip.events import AccountId, EndCause, Event, FlowId, Party, Registered, Unregistered
from phoned.sip.invite_session import accept, modify
from phoned.sip.invite_session.session import InviteSession
from phoned.sip.invite_session.state import InviteState
from phoned.sip.io import Outbox, Random, TimerValues
from phoned.sip.message import Request, Response, is_keepalive, parse, response_to, salvaged
from phoned.sip.options import respond_to, unacceptable
from phoned.sip.session_table import SessionTable
from phoned.sip.subscription import Subscription
from phoned.sip.transaction import AckReceived, Delivery, RequestReceived, TransactionEvent, TransactionKey
from phoned.sip.transaction_layer import TransactionLayer, TransactionLimits

log = logging.getLogger(__name__)


@dataclass(slots=True, kw_only=True)
class Counters:
    """What went wrong since the start."""

    malformed: int = 0
    """Bytes that were no message."""
    unknown_flow: int = 0
    internal_errors: int = 0
    """Exceptions that were contained. Anything but 0 is a bug."""
    refused_new: int = 0
    """New requests that were refused for want of room."""


class Routing:
    """Driven by the user agent."""

    def __init__(
        self,
        *,
        random: Random,
        limits: Limits,
        timers: TimerValues,
        transaction_limits: TransactionLimits | None,
    ) -> None:
        self.counters = Counters()
        self.outbox = Outbox()
        self.layer = TransactionLayer(outbox=self.outbox, random=random, timers=timers, limits=transaction_limits)
        self.core = Core(layer=self.layer, random=random, limits=limits, timers=timers)
        self.accounts: dict[AccountId, AccountCore] = {}
        self.flows: dict[FlowId, AccountCore] = {}
        self.sessions = SessionTable()
        self.subscriptions: dict[AccountId, Subscription] = {}
        """To mailboxes, of accounts that want them."""
        self._bucket = inbound.TokenBucket(limits)

    # --- finding

    def account(self, account: AccountId) -> AccountCore:
        """Raises NotFound."""
        known = self.accounts.get(account)
        if known is None:
            raise NotFound(f"no account {account}")
        return known

    def new_session(self, account: AccountCore, flow: FlowId, state: InviteState) -> InviteSession:
        """One that is not kept yet."""
        return InviteSession(session=self.core.random.token(), core=self.core, account=account, flow=flow, state=state)

    # --- in

    def move(self, account: AccountCore, flow: FlowId, now: float) -> list[Event]:
        """Adopt ``flow`` for everything the account says from now on; its sessions move there."""
        account.flow = flow
        if account.parameters.allow_unregistered_incoming:
            account.trusted.add(flow)
        events: list[Event] = []
        for session in self.sessions.of(account):
            session.move(flow, now)
            events += self.sessions.settle(session)
        return events

    def receive(self, flow: FlowId, data: bytes, now: float) -> list[Event]:
        """One message, or keep-alive."""
        if is_keepalive(data):
            if data == b"\r\n\r\n":
                self.outbox.send(flow, b"\r\n")  # RFC 5626 4.4.1
            return []
        try:
            message = parse(data)
        except MalformedMessage as error:
            self.counters.malformed += 1
            request = salvaged(error)
            if request is not None and request.method != "ACK":
                tag = self.core.random.token()
                self.layer.respond_statelessly(flow, response_to(request, error.status, to_tag=tag))
            return []
        return self.deal(self.layer.receive(flow, message, now), now)

    # --- routing

    def deal(self, deliveries: list[Delivery], now: float) -> list[Event]:
        """What the transactions have to tell, to whom it concerns."""
        events: list[Event] = []
        for owner, event in deliveries:
            try:
                if owner is None:
                    events += self._unowned(event, now)
                    continue
                events += owner.on_transaction(event, now)
            except Exception as error:
                self.crashed(error, owner)
            if isinstance(owner, InviteSession):
                events += self.sessions.settle(owner)
        return self.settle_registered(events, now)

    def settle_registered(self, events: list[Event], now: float) -> list[Event]:
        """A registration that succeeded adopts its flow."""
        dealt: list[Event] = []
        for event in events:
            dealt.append(event)
            if isinstance(event, Registered) and event.flow in self.flows:
                known = self.flows[event.flow]
                known.registered = event
                known.trusted.add(event.flow)
                dealt += self.move(known, event.flow, now)
                for session in self.sessions.of(known):
                    modify.on_registered(session, now)
                    dealt += self.sessions.settle(session)
                self._subscribe(known, event.flow, now)
            elif isinstance(event, Unregistered) and event.flow in self.flows:
                known = self.flows[event.flow]
                known.registered = None
                known.trusted.clear()
        return dealt

    def _subscribe(self, account: AccountCore, flow: FlowId, now: float) -> None:
        """To its mailbox, if it wants that: it may have changed its mind."""
        if account.parameters.mailbox:
            if account.id not in self.subscriptions:
                self.subscriptions[account.id] = Subscription(core=self.core, account=account)
            self.subscriptions[account.id].on_registered(flow, now)
        elif account.id in self.subscriptions:
            self.subscriptions.pop(account.id).stop(now)

    def _unowned(self, event: TransactionEvent, now: float) -> list[Event]:
        if isinstance(event, RequestReceived):
            return self._on_request(event.key, event.request, now)
        assert isinstance(event, AckReceived), event
        found = self.sessions.leg_of(event.request, self.flows.get(event.flow))
        if found is None:
            return []
        session, leg = found
        session.on_ack(event.request, leg, now)
        return self.sessions.settle(session)

    def _on_request(self, key: TransactionKey, request: Request, now: float) -> list[Event]:
        """A new request. Whatever goes wrong ends in a response."""
        try:
            return self._route(key, request, now)
        except MalformedMessage as error:
            self._refuse(key, respond_to(request, error.status), now)
        except Exception as error:
            self.crashed(error, None)
            self._refuse(key, respond_to(request, 500), now)
        return []

    def _route(self, key: TransactionKey, request: Request, now: float) -> list[Event]:
        account = self.flows[key.flow]
        refusal = unacceptable(request)
        if refusal is not None:
            return self._refuse(key, refusal, now)
        if to(request).tag is not None:
            found = self.sessions.leg_of(request, account)
            if found is None:
                subscription = self.subscriptions.get(account.id)
                if request.method == "NOTIFY" and subscription is not None and subscription.means(request):
                    return subscription.on_notify(key, request, now)
                return self._refuse(key, respond_to(request, 481), now)
            session, leg = found
            try:
                session.on_request(key, request, leg, now)
            except Exception as error:
                self.crashed(error, session)
                self._refuse(key, respond_to(request, 500), now)
            return self.sessions.settle(session)
        refusal = inbound.refusal(request, account, key.flow)
        if refusal is None and not self._bucket.take(now):
            self.counters.refused_new += 1
            refusal = inbound.no_room(request)
        if refusal is None and request.method == "INVITE":
            replaced = self.sessions.replaced_by(request, account)
            if isinstance(replaced, int):
                return self._refuse(key, respond_to(request, replaced), now)
            if self.sessions.live < self.core.limits.sessions:
                session = self.new_session(account, key.flow, InviteState.INCOMING)
                accept.start(session, key, request, replaced.id if replaced is not None else None, now)
                self.sessions.keep(session)
                return self.sessions.settle(session)
            self.counters.refused_new += 1
            refusal = inbound.no_room(request)
        if refusal is not None:
            return self._refuse(key, refusal, now)
        return inbound.answer(self.core, account, key, request, now)

    def _refuse(self, key: TransactionKey, response: Response, now: float) -> list[Event]:
        if ";tag=" not in (response.headers.get("To") or ""):
            response.headers.set("To", f"{response.headers.get('To')};tag={self.core.random.token()}")
        self.layer.respond(key, response, now)
        return []

    def crashed(self, error: Exception, owner: object) -> None:
        """An exception of ours, contained: what it hit ends, everything else goes on."""
        self.counters.internal_errors += 1
        log.error("contained an error of our own", exc_info=error)
        if isinstance(owner, InviteSession):
            owner.end(EndCause.FAILED, Party.SYSTEM)
            owner.abandon()

    def do(self, session: InviteSession, verb: Callable[..., None], *arguments: object) -> list[Event]:
        """A verb of our user. It may refuse (`PhonedError`); an error of our own ends the session."""
        try:
            verb(session, *arguments)
        except PhonedError:
            raise
        except Exception as error:
            self.crashed(error, session)
        return self.sessions.settle(session)
