"""The UAC/UAS core of all accounts (RFC 3261 8): the one pure object that the driver feeds.

It owns accounts, flows, registrations and sessions, and only routes between them: *up is returned, down is queued,
time is passed in*. It must not know sockets, clocks, session descriptions or why a flow was dialled.

Every input takes ``now`` (monotonic seconds) and returns the events it caused, in order. Drain `outbox` after each.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from phoned.errors import AtCapacity, InvalidValue, MalformedMessage, NotFound, NotRegistered, PhonedError
from phoned.sip import inbound, standalone
from phoned.sip.accessors import to
from phoned.sip.account import AccountParameters, FlowParameters, Limits
from phoned.sip.core import AccountCore, Core, checked_headers, written
from phoned.sip.events import (
    AccountId,
    EndCause,
    Event,
    FlowId,
    ModifyCause,
    Party,
    Registered,
    SessionId,
    Token,
    Unregistered,
)
from phoned.sip.invite_session import accept, close, connect, journal, messages, modify
from phoned.sip.invite_session.session import InviteSession
from phoned.sip.invite_session.state import InviteState
from phoned.sip.io import Outbox, Random, TimerValues
from phoned.sip.message import Request, Response, is_keepalive, parse, response_to, salvaged
from phoned.sip.options import respond_to, unacceptable
from phoned.sip.session_table import SessionTable
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


class UserAgent:
    """Driven by `phoned.signaling`. Verbs about things that do not exist raise `phoned.errors.UsageError`."""

    def __init__(
        self,
        *,
        random: Random,
        limits: Limits | None = None,
        timers: TimerValues | None = None,
        transaction_limits: TransactionLimits | None = None,
    ) -> None:
        self.counters = Counters()
        self._limits = limits or Limits()
        self._outbox = Outbox()
        self._layer = TransactionLayer(outbox=self._outbox, random=random, timers=timers, limits=transaction_limits)
        self._core = Core(layer=self._layer, random=random, limits=self._limits, timers=timers or TimerValues())
        self._accounts: dict[AccountId, AccountCore] = {}
        self._flows: dict[FlowId, AccountCore] = {}
        self._sessions = SessionTable()
        self._bucket = inbound.TokenBucket(self._limits)

    @property
    def layer(self) -> TransactionLayer:
        """The transactions, for counters and tests."""
        return self._layer

    def __len__(self) -> int:
        """Sessions that are not forgotten yet, ended ones with words on the wire included."""
        return len(self._sessions)

    @property
    def live(self) -> int:
        """Sessions that have not ended."""
        return self._sessions.live

    def left(self) -> list[str]:
        """What each session that is kept still waits for, in words: for tests and diagnosis."""
        return self._sessions.describe()

    # --- accounts and flows

    def add_account(self, account: AccountId, parameters: AccountParameters) -> None:
        """Raises InvalidValue for parameters that cannot be, or for an account that is there already."""
        if account in self._accounts:
            raise InvalidValue(f"account {account} exists already")
        self._accounts[account] = AccountCore(account, parameters, self._core)

    def remove_account(self, account: AccountId, now: float) -> list[Event]:
        """Ends its sessions (without a word on the wire) and forgets it."""
        known = self._account(account)
        events: list[Event] = []
        for session in self._sessions.of(known):
            session.end(EndCause.FLOW_LOST, Party.LOCAL)
            events += session.take()
            self._sessions.forget(session)
        for flow in tuple(known.flows):
            self._flows.pop(flow, None)
            self._layer.flow_down(flow, now)
        del self._accounts[account]
        return events

    def flow_up(self, flow: FlowId, account: AccountId, parameters: FlowParameters, now: float) -> list[Event]:
        """A connected flow. It is not used for calls before it is registered or adopted."""
        known = self._account(account)
        if flow in self._flows:
            raise InvalidValue(f"flow {flow} is up already")
        self._flows[flow] = known
        known.flows.add(flow)
        self._layer.flow_up(flow, parameters)
        return []

    def flow_down(self, flow: FlowId, now: float) -> list[Event]:
        """The flow is gone: its transactions fail, established sessions wait for the next flow."""
        known = self._flows.pop(flow, None)
        if known is None:
            return []
        known.flows.discard(flow)
        known.trusted.discard(flow)
        if known.flow == flow:
            known.flow = None
        return self._deal(self._layer.flow_down(flow, now), now)

    def move_account(self, account: AccountId, flow: FlowId, now: float) -> list[Event]:
        """Adopt ``flow`` for everything the account says from now on; its sessions move there. `Registered` on a flow
        adopts it by itself."""
        known = self._account(account)
        if flow not in known.flows:
            raise NotFound(f"flow {flow} is not up")
        known.flow = flow
        if known.parameters.allow_unregistered_incoming:
            known.trusted.add(flow)
        events: list[Event] = []
        for session in self._sessions.of(known):
            session.move(flow, now)
            events += self._sessions.settle(session)
        return events

    # --- bytes and time

    def receive(self, flow: FlowId, data: bytes, now: float) -> list[Event]:
        """One message (or keep-alive) from the network. Never raises, whatever the bytes are."""
        if flow not in self._flows:
            self.counters.unknown_flow += 1
            return []
        try:
            return self._receive(flow, data, now)
        except Exception as error:
            self._crashed(error, None)
            return []

    def _receive(self, flow: FlowId, data: bytes, now: float) -> list[Event]:
        if is_keepalive(data):
            if data == b"\r\n\r\n":
                self._outbox.send(flow, b"\r\n")  # RFC 5626 4.4.1
            return []
        try:
            message = parse(data)
        except MalformedMessage as error:
            self.counters.malformed += 1
            request = salvaged(error)
            if request is not None and request.method != "ACK":
                tag = self._core.random.token()
                self._layer.respond_statelessly(flow, response_to(request, error.status, to_tag=tag))
            return []
        return self._deal(self._layer.receive(flow, message, now), now)

    def tick(self, now: float) -> list[Event]:
        """Fire what is due."""
        events = self._deal(self._layer.tick(now), now)
        for session in self._sessions.due(now):
            try:
                session.tick(now)
            except Exception as error:
                self._crashed(error, session)
            events += self._sessions.settle(session)
        return self._registered(events, now)

    def next_timer(self) -> float | None:
        """When `tick` is wanted next."""
        deadlines = [at for at in (self._layer.next_timer(), self._sessions.next_timer()) if at is not None]
        return min(deadlines) if deadlines else None

    def outbox(self) -> list[tuple[FlowId, bytes]]:
        """What to send, in order; emptied by the call."""
        return self._outbox.drain()

    # --- registration

    def register(self, account: AccountId, flow: FlowId, now: float, expires_s: int | None = None) -> list[Event]:
        """Bind, or refresh, over ``flow``."""
        return self._account(account).registration.register(flow, now, expires_s)

    def unregister(self, account: AccountId, now: float) -> list[Event]:
        """Remove the binding, over the flow that the account uses. Raises NotRegistered without one."""
        known = self._account(account)
        if known.flow is None:
            raise NotRegistered(f"account {account} has no flow")
        return known.registration.unregister(known.flow, now)

    # --- calls

    def invite(
        self,
        account: AccountId,
        target: str,
        now: float,
        *,
        headers: Sequence[tuple[str, str]] = (),
        offer: bytes | None = None,
        offerless: bool = False,
        caller: str | None = None,
    ) -> tuple[SessionId, list[Event]]:
        """A new outgoing call. Without ``offer`` (and not ``offerless``) a `DescriptionWanted` comes first. ``caller``:
        the From URI, for an exchange that calls in another's name."""
        known = self._account(account)
        if known.flow is None:
            raise NotRegistered(f"account {account} has no flow")
        if self._sessions.live >= self._limits.sessions:
            raise AtCapacity("too many calls")
        session = self._new_session(known, known.flow, InviteState.PREPARING)
        connect.start(session, target, checked_headers(headers), offer, offerless, caller, now)
        self._sessions.keep(session)
        return session.id, self._sessions.settle(session)

    def ring(self, session: SessionId, now: float, *, status: int = 180, early_media: bool = False) -> list[Event]:
        """Send a provisional response; ``early_media`` asks for an answer to go with it (183 as a rule)."""
        if not 100 < status < 200:
            raise InvalidValue("a provisional response has a status of 101 to 199")
        found = self._sessions.live_one(session)
        return self._do(found, accept.ring, status, early_media, now)

    def answer(self, session: SessionId, now: float) -> list[Event]:
        """Answer an incoming call: a `DescriptionWanted` follows when none was given yet."""
        found = self._sessions.live_one(session)
        return self._do(found, accept.answer, now)

    def reject(
        self, session: SessionId, now: float, *, status: int = 486, reason: str = "", retry_after_s: int | None = None
    ) -> list[Event]:
        """Refuse an incoming call."""
        if not 300 <= status < 700:
            raise InvalidValue("a refusal has a status of 300 to 699")
        written(reason)
        found = self._sessions.live_one(session)
        return self._do(found, accept.reject, status, reason, retry_after_s, now)

    def hangup(self, session: SessionId, now: float, *, reason: str | None = None) -> list[Event]:
        """Make it end, whatever its state: CANCEL, BYE or a refusal. ``reason`` is a Reason header value. `Ended`
        comes at once after an answered call (the BYE is on its way), and with the final response before that. Ending
        what has ended does nothing."""
        found = self._sessions.get(session)
        written(reason or "")
        if found is None or found.ended:
            return []
        return self._do(found, close.hangup, now, reason)

    def reinvite(
        self,
        session: SessionId,
        now: float,
        cause: ModifyCause,
        *,
        offer: bytes | None = None,
        use_update: bool = False,
    ) -> list[Event]:
        """One state-preserving re-INVITE (or UPDATE, where the far end can); wishes that come while one is in flight
        are gathered into the next."""
        found = self._sessions.live_one(session)
        return self._do(found, modify.wish, cause, offer, use_update, now)

    def info(
        self, session: SessionId, content_type: str, body: bytes, now: float, *, info_package: str | None = None
    ) -> tuple[Token, list[Event]]:
        """Send an INFO; `RequestAnswered` tells what came of it."""
        headers = [("Info-Package", info_package)] if info_package else []
        return self._send_in_dialog(session, "INFO", content_type, body, now, headers)

    def session_message(
        self, session: SessionId, content_type: str, body: bytes, now: float
    ) -> tuple[Token, list[Event]]:
        """Send a MESSAGE inside a dialog; `RequestAnswered` tells what came of it."""
        return self._send_in_dialog(session, "MESSAGE", content_type, body, now, [])

    def _send_in_dialog(
        self,
        session: SessionId,
        method: str,
        content_type: str,
        body: bytes,
        now: float,
        headers: list[tuple[str, str]],
    ) -> tuple[Token, list[Event]]:
        written(content_type, *(value for _, value in headers))
        found = self._sessions.live_one(session)
        token = messages.send(found, method, content_type, body, now, headers)
        return token, self._sessions.settle(found)

    def message(
        self, account: AccountId, target: str, content_type: str, body: bytes, now: float
    ) -> tuple[Token, list[Event]]:
        """Send a MESSAGE; `RequestAnswered` tells what came of it."""
        return self._send_standalone(account, "MESSAGE", target, now, [("Content-Type", content_type)], body)

    def options(self, account: AccountId, target: str, now: float) -> tuple[Token, list[Event]]:
        """Ask what the far end can; `RequestAnswered` brings it."""
        return self._send_standalone(account, "OPTIONS", target, now, [("Accept", "application/sdp")], b"")

    def _send_standalone(
        self,
        account: AccountId,
        method: str,
        target: str,
        now: float,
        headers: list[tuple[str, str]],
        body: bytes,
    ) -> tuple[Token, list[Event]]:
        return standalone.begin(self._core, self._account(account), method, target, now, headers, body), []

    # --- descriptions

    def supply(self, token: Token, description: bytes, now: float) -> list[Event]:
        """The description that was wanted. A stale token is ignored."""
        found = self._sessions.wanting(token)
        if found is None:
            return []
        return self._do(found, InviteSession.supply, token, description, now)

    def refuse(self, token: Token, status: int, now: float) -> list[Event]:
        """There will be none; ``status`` answers the far end where it waits for one. A stale token is ignored."""
        found = self._sessions.wanting(token)
        if found is None:
            return []
        return self._do(found, InviteSession.refuse, token, status if 400 <= status < 700 else 488, now)

    # --- journal

    def call_id(self, session: SessionId) -> str:
        """Of its dialogs. Raises NotFound and Gone."""
        return self._sessions.live_one(session).call_id

    def snapshot(self, session: SessionId) -> Mapping[str, Any]:
        """The session as plain JSON-able values. Raises WrongState while there is nothing worth to be kept: before the
        answer of an incoming call, before the INVITE of an outgoing one."""
        return journal.snapshot(self._sessions.live_one(session))

    def restore(self, account: AccountId, snapshot: Mapping[str, Any], now: float) -> SessionId:
        """A session from an earlier life; `reinvite` it, or hang up. One that was not answered has ended, and is
        cancelled on the next flow. Raises `InvalidValue`."""
        known = self._account(account)
        session = self._new_session(known, -1 if known.flow is None else known.flow, InviteState.CONFIRMED)
        journal.restore(session, snapshot, now)
        if self._sessions.has_dialog(session):
            raise InvalidValue("this dialog is here already")
        self._sessions.keep(session)
        self._sessions.settle(session)
        return session.id

    # --- routing

    def _deal(self, deliveries: list[Delivery], now: float) -> list[Event]:
        events: list[Event] = []
        for owner, event in deliveries:
            try:
                if owner is None:
                    events += self._unowned(event, now)
                    continue
                events += owner.on_transaction(event, now)
            except Exception as error:
                self._crashed(error, owner)
            if isinstance(owner, InviteSession):
                events += self._sessions.settle(owner)
        return self._registered(events, now)

    def _registered(self, events: list[Event], now: float) -> list[Event]:
        """A registration that succeeded adopts its flow."""
        dealt: list[Event] = []
        for event in events:
            dealt.append(event)
            if isinstance(event, Registered) and event.flow in self._flows:
                known = self._flows[event.flow]
                known.registered = event
                known.trusted.add(event.flow)
                dealt += self.move_account(known.id, event.flow, now)
                for session in self._sessions.of(known):
                    modify.on_registered(session, now)
                    dealt += self._sessions.settle(session)
            elif isinstance(event, Unregistered) and event.flow in self._flows:
                known = self._flows[event.flow]
                known.registered = None
                known.trusted.clear()
        return dealt

    def _unowned(self, event: TransactionEvent, now: float) -> list[Event]:
        if isinstance(event, RequestReceived):
            return self._on_request(event.key, event.request, now)
        assert isinstance(event, AckReceived), event
        found = self._sessions.leg_of(event.request, self._flows.get(event.flow))
        if found is None:
            return []
        session, leg = found
        session.on_ack(event.request, leg, now)
        return self._sessions.settle(session)

    def _on_request(self, key: TransactionKey, request: Request, now: float) -> list[Event]:
        """A new request. Whatever goes wrong ends in a response."""
        try:
            return self._route(key, request, now)
        except MalformedMessage as error:
            self._refuse(key, respond_to(request, error.status), now)
        except Exception as error:
            self._crashed(error, None)
            self._refuse(key, respond_to(request, 500), now)
        return []

    def _route(self, key: TransactionKey, request: Request, now: float) -> list[Event]:
        account = self._flows[key.flow]
        refusal = unacceptable(request)
        if refusal is not None:
            return self._refuse(key, refusal, now)
        if to(request).tag is not None:
            found = self._sessions.leg_of(request, account)
            if found is None:
                return self._refuse(key, respond_to(request, 481), now)
            session, leg = found
            try:
                session.on_request(key, request, leg, now)
            except Exception as error:
                self._crashed(error, session)
                self._refuse(key, respond_to(request, 500), now)
            return self._sessions.settle(session)
        refusal = inbound.refusal(request, account, key.flow)
        if refusal is None and not self._bucket.take(now):
            self.counters.refused_new += 1
            refusal = inbound.no_room(request)
        if refusal is None and request.method == "INVITE":
            if self._sessions.live < self._limits.sessions:
                session = self._new_session(account, key.flow, InviteState.INCOMING)
                accept.start(session, key, request, now)
                self._sessions.keep(session)
                return self._sessions.settle(session)
            self.counters.refused_new += 1
            refusal = inbound.no_room(request)
        if refusal is not None:
            return self._refuse(key, refusal, now)
        return inbound.answer(self._core, account, key, request, now)

    def _refuse(self, key: TransactionKey, response: Response, now: float) -> list[Event]:
        if ";tag=" not in (response.headers.get("To") or ""):
            response.headers.set("To", f"{response.headers.get('To')};tag={self._core.random.token()}")
        self._layer.respond(key, response, now)
        return []

    def _crashed(self, error: Exception, owner: object) -> None:
        """An exception of ours, contained: what it hit ends, everything else goes on."""
        self.counters.internal_errors += 1
        log.error("contained an error of our own", exc_info=error)
        if isinstance(owner, InviteSession):
            owner.end(EndCause.FAILED, Party.SYSTEM)
            owner.abandon()

    def _do(self, session: InviteSession, verb: Callable[..., None], *arguments: object) -> list[Event]:
        """A verb of our user. It may refuse (`PhonedError`); an error of our own ends the session."""
        try:
            verb(session, *arguments)
        except PhonedError:
            raise
        except Exception as error:
            self._crashed(error, session)
        return self._sessions.settle(session)

    # --- bookkeeping

    def _account(self, account: AccountId) -> AccountCore:
        known = self._accounts.get(account)
        if known is None:
            raise NotFound(f"no account {account}")
        return known

    def _new_session(self, account: AccountCore, flow: FlowId, state: InviteState) -> InviteSession:
        return InviteSession(
            session=self._core.random.token(), core=self._core, account=account, flow=flow, state=state
        )
