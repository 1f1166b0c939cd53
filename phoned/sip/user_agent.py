"""The UAC/UAS core of all accounts (RFC 3261 8): the one pure object that the driver feeds.

It owns accounts, flows, registrations and sessions, and only routes between them: *up is returned, down is queued,
time is passed in*. It must not know sockets, clocks, session descriptions or why a flow was dialled.

Every input takes ``now`` (monotonic seconds) and returns the events it caused, in order. Drain `outbox` after each.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from phoned.errors import AtCapacity, InvalidValue, NotFound, NotRegistered
from phoned.sip import standalone
from phoned.sip.account import AccountParameters, FlowParameters, Limits
from phoned.sip.core import AccountCore, checked_headers, written
from phoned.sip.events import (
    AccountId,
    EndCause,
    Event,
    FlowId,
    ModifyCause,
    Party,
    SessionId,
    Token,
)
from phoned.sip.invite_session import accept, close, connect, journal, messages, modify, transfer
from phoned.sip.invite_session.session import InviteSession
from phoned.sip.invite_session.state import InviteState
from phoned.sip.io import Random, TimerValues
from phoned.sip.routing import Counters, Routing
from phoned.sip.transaction_layer import TransactionLayer, TransactionLimits


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
        self._routing = Routing(
            random=random,
            limits=limits or Limits(),
            timers=timers or TimerValues(),
            transaction_limits=transaction_limits,
        )

    @property
    def counters(self) -> Counters:
        """What went wrong since the start."""
        return self._routing.counters

    @property
    def layer(self) -> TransactionLayer:
        """The transactions, for counters and tests."""
        return self._routing.layer

    def __len__(self) -> int:
        """Sessions that are not forgotten yet, ended ones with words on the wire included."""
        return len(self._routing.sessions)

    @property
    def live(self) -> int:
        """Sessions that have not ended."""
        return self._routing.sessions.live

    def left(self) -> list[str]:
        """What each session that is kept still waits for, in words: for tests and diagnosis."""
        return self._routing.sessions.describe()

    # --- accounts and flows

    def add_account(self, account: AccountId, parameters: AccountParameters) -> None:
        """Raises InvalidValue for parameters that cannot be, or for an account that is there already."""
        if account in self._routing.accounts:
            raise InvalidValue(f"account {account} exists already")
        self._routing.accounts[account] = AccountCore(account, parameters, self._routing.core)

    def change_account(self, account: AccountId, parameters: AccountParameters) -> None:
        """Other credentials or another behaviour of an account, for what it says next. Its binding, its flows and its
        sessions stay. Raises InvalidValue for another address of record."""
        self._routing.account(account).change(parameters)

    def remove_account(self, account: AccountId, now: float) -> list[Event]:
        """Ends its sessions (without a word on the wire) and forgets it."""
        known = self._routing.account(account)
        events: list[Event] = []
        for session in self._routing.sessions.of(known):
            session.end(EndCause.FLOW_LOST, Party.LOCAL)
            events += session.take()
            self._routing.sessions.forget(session)
        for flow in tuple(known.flows):
            self._routing.flows.pop(flow, None)
            self._routing.layer.flow_down(flow, now)
        self._routing.subscriptions.pop(account, None)
        del self._routing.accounts[account]
        return events

    def flow_up(self, flow: FlowId, account: AccountId, parameters: FlowParameters, now: float) -> list[Event]:
        """A connected flow. It is not used for calls before it is registered or adopted."""
        known = self._routing.account(account)
        if flow in self._routing.flows:
            raise InvalidValue(f"flow {flow} is up already")
        self._routing.flows[flow] = known
        known.flows.add(flow)
        self._routing.layer.flow_up(flow, parameters)
        return []

    def flow_down(self, flow: FlowId, now: float) -> list[Event]:
        """The flow is gone: its transactions fail, established sessions wait for the next flow."""
        known = self._routing.flows.pop(flow, None)
        if known is None:
            return []
        known.flows.discard(flow)
        known.trusted.discard(flow)
        if known.flow == flow:
            known.flow = None
        return self._routing.deal(self._routing.layer.flow_down(flow, now), now)

    def move_account(self, account: AccountId, flow: FlowId, now: float) -> list[Event]:
        """Adopt ``flow`` for everything the account says from now on; its sessions move there. `Registered` on a flow
        adopts it by itself."""
        known = self._routing.account(account)
        if flow not in known.flows:
            raise NotFound(f"flow {flow} is not up")
        return self._routing.move(known, flow, now)

    # --- bytes and time

    def receive(self, flow: FlowId, data: bytes, now: float) -> list[Event]:
        """One message (or keep-alive) from the network. Never raises, whatever the bytes are."""
        if flow not in self._routing.flows:
            self._routing.counters.unknown_flow += 1
            return []
        try:
            return self._routing.receive(flow, data, now)
        except Exception as error:
            self._routing.crashed(error, None)
            return []

    def tick(self, now: float) -> list[Event]:
        """Fire what is due."""
        events = self._routing.deal(self._routing.layer.tick(now), now)
        for session in self._routing.sessions.due(now):
            try:
                session.tick(now)
            except Exception as error:
                self._routing.crashed(error, session)
            events += self._routing.sessions.settle(session)
        for subscription in self._routing.subscriptions.values():
            if subscription.at is not None and subscription.at <= now:
                subscription.tick(now)
        return self._routing.settle_registered(events, now)

    def next_timer(self) -> float | None:
        """When `tick` is wanted next."""
        layer, sessions = self._routing.layer.next_timer(), self._routing.sessions.next_timer()
        renewals = (subscription.at for subscription in self._routing.subscriptions.values())
        deadlines = [at for at in (layer, sessions, *renewals) if at is not None]
        return min(deadlines) if deadlines else None

    def outbox(self) -> list[tuple[FlowId, bytes]]:
        """What to send, in order; emptied by the call."""
        return self._routing.outbox.drain()

    # --- registration

    def register(self, account: AccountId, flow: FlowId, now: float, expires_s: int | None = None) -> list[Event]:
        """Bind, or refresh, over ``flow``."""
        return self._routing.account(account).registration.register(flow, now, expires_s)

    def unregister(self, account: AccountId, now: float) -> list[Event]:
        """Remove the binding, over the flow that the account uses. Raises NotRegistered without one."""
        known = self._routing.account(account)
        if known.flow is None:
            raise NotRegistered(f"account {account} has no flow")
        if account in self._routing.subscriptions:
            self._routing.subscriptions[account].stop(now)
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
        known = self._routing.account(account)
        if known.flow is None:
            raise NotRegistered(f"account {account} has no flow")
        if self._routing.sessions.live >= self._routing.core.limits.sessions:
            raise AtCapacity("too many calls")
        session = self._routing.new_session(known, known.flow, InviteState.PREPARING)
        connect.start(session, target, checked_headers(headers), offer, offerless, caller, now)
        self._routing.sessions.keep(session)
        return session.id, self._routing.sessions.settle(session)

    def ring(self, session: SessionId, now: float, *, status: int = 180, early_media: bool = False) -> list[Event]:
        """Send a provisional response; ``early_media`` asks for an answer to go with it (183 as a rule)."""
        if not 100 < status < 200:
            raise InvalidValue("a provisional response has a status of 101 to 199")
        found = self._routing.sessions.live_one(session)
        return self._routing.do(found, accept.ring, status, early_media, now)

    def answer(self, session: SessionId, now: float) -> list[Event]:
        """Answer an incoming call: a `DescriptionWanted` follows when none was given yet."""
        found = self._routing.sessions.live_one(session)
        return self._routing.do(found, accept.answer, now)

    def reject(
        self, session: SessionId, now: float, *, status: int = 486, reason: str = "", retry_after_s: int | None = None
    ) -> list[Event]:
        """Refuse an incoming call."""
        if not 300 <= status < 700:
            raise InvalidValue("a refusal has a status of 300 to 699")
        written(reason)
        found = self._routing.sessions.live_one(session)
        return self._routing.do(found, accept.reject, status, reason, retry_after_s, now)

    def hangup(self, session: SessionId, now: float, *, reason: str | None = None) -> list[Event]:
        """Make it end, whatever its state: CANCEL, BYE or a refusal. ``reason`` is a Reason header value. `Ended`
        comes at once after an answered call (the BYE is on its way), and with the final response before that. Ending
        what has ended does nothing."""
        found = self._routing.sessions.get(session)
        written(reason or "")
        if found is None or found.ended:
            return []
        return self._routing.do(found, close.hangup, now, reason)

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
        found = self._routing.sessions.live_one(session)
        return self._routing.do(found, modify.wish, cause, offer, use_update, now)

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
        found = self._routing.sessions.live_one(session)
        token = messages.send(found, method, content_type, body, now, headers)
        return token, self._routing.sessions.settle(found)

    def refer(
        self, session: SessionId, now: float, *, target: str = "", instead_of: SessionId | None = None
    ) -> tuple[Token, list[Event]]:
        """Ask the far end to call ``target``, or to take our place in the session ``instead_of`` (RFC 5589);
        `ReferAccepted` and `ReferProgress` follow. Raises NotFound, Gone, WrongState, NotRegistered and
        InvalidValue."""
        found = self._routing.sessions.live_one(session)
        other = self._routing.sessions.live_one(instead_of) if instead_of is not None else None
        token = transfer.refer(found, target, other, now)
        return token, self._routing.sessions.settle(found)

    def accept_refer(self, session: SessionId, now: float) -> list[Event]:
        """Say 202 to what `Referred` asked for. Raises Gone when it is settled."""
        return self._routing.do(self._routing.sessions.live_one(session), transfer.accept, now)

    def refuse_refer(self, session: SessionId, now: float, *, status: int = 603) -> list[Event]:
        """It will not be tried. Raises Gone when it is settled."""
        return self._routing.do(self._routing.sessions.live_one(session), transfer.refuse, status, now)

    def notify_refer(self, session: SessionId, status: int, reason: str, now: float) -> list[Event]:
        """Tell how the call that was asked for fares; a status of 200 or above is the last word. Raises Gone."""
        if not 100 <= status < 700:
            raise InvalidValue("a status is 100 to 699")
        written(reason)
        return self._routing.do(self._routing.sessions.live_one(session), transfer.notify, status, reason, now)

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
        return standalone.begin(
            self._routing.core, self._routing.account(account), method, target, now, headers, body
        ), []

    # --- descriptions

    def supply(self, token: Token, description: bytes, now: float) -> list[Event]:
        """The description that was wanted. A stale token is ignored."""
        found = self._routing.sessions.wanting(token)
        if found is None:
            return []
        return self._routing.do(found, InviteSession.supply, token, description, now)

    def refuse(self, token: Token, status: int, now: float) -> list[Event]:
        """There will be none; ``status`` answers the far end where it waits for one. A stale token is ignored."""
        found = self._routing.sessions.wanting(token)
        if found is None:
            return []
        return self._routing.do(found, InviteSession.refuse, token, status if 400 <= status < 700 else 488, now)

    # --- journal

    def call_id(self, session: SessionId) -> str:
        """Of its dialogs. Raises NotFound and Gone."""
        return self._routing.sessions.live_one(session).call_id

    def snapshot(self, session: SessionId) -> Mapping[str, Any]:
        """The session as plain JSON-able values. Raises WrongState while there is nothing worth to be kept: before the
        answer of an incoming call, before the INVITE of an outgoing one."""
        return journal.snapshot(self._routing.sessions.live_one(session))

    def restore(self, account: AccountId, snapshot: Mapping[str, Any], now: float) -> SessionId:
        """A session from an earlier life; `reinvite` it, or hang up. One that was not answered has ended, and is
        cancelled on the next flow. Raises `InvalidValue`."""
        known = self._routing.account(account)
        session = self._routing.new_session(known, -1 if known.flow is None else known.flow, InviteState.CONFIRMED)
        journal.restore(session, snapshot, now)
        if self._routing.sessions.has_dialog(session):
            raise InvalidValue("this dialog is here already")
        self._routing.sessions.keep(session)
        self._routing.sessions.settle(session)
        return session.id
