"""The driver of the pure SIP core: bytes in, outbox out, one timer, events to those who wait for them.

It owns the `UserAgent` and the table of open flows. It must not know why a flow was dialled (`accounts`) nor what a
call is (`calls`); they come to it with verbs and hear events. Every turn ends the same way: the outbox is drained to
the flows, the one timer is armed again, then the events are handed out in order. A handler that calls a verb only adds
to the queue, so no callback ever runs inside another.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from phoned.model import Cause
from phoned.sip.account import AccountParameters, FlowParameters
from phoned.sip.events import (
    BindingsTold,
    Event,
    FlowSuspect,
    MessagesWaiting,
    ModifyCause,
    Registered,
    RegistrationFailed,
    RegistrationIdentityChanged,
    Unregistered,
)
from phoned.sip.user_agent import UserAgent
from phoned.trace import SipTrace
from phoned.transport.flow import Flow

log = logging.getLogger(__name__)

AccountEvent = (
    Registered
    | RegistrationFailed
    | Unregistered
    | BindingsTold
    | RegistrationIdentityChanged
    | FlowSuspect
    | MessagesWaiting
)

MAX_TURNS = 10_000
"""Events of one turn, before it is called a loop. Far above what any message can cause."""


class AccountSink(Protocol):
    """Who hears about registrations and flows."""

    def on_account_event(self, event: AccountEvent) -> None: ...

    def on_flow_closed(self, account: str, flow: Flow, cause: Cause, detail: str) -> None: ...


class SessionSink(Protocol):
    """Who hears about sessions, messages and answers."""

    def on_session_event(self, event: Event) -> None: ...


class SystemRandom:
    """Unpredictable tags, branches and Call-IDs for the core."""

    def token(self) -> str:
        return secrets.token_hex(16)

    def below(self, n: int) -> int:
        return secrets.randbelow(n)


class Signaling:
    """See the module's docstring. Made on the loop's thread and used from it alone; hears flows as their listener."""

    def __init__(self, user_agent: UserAgent, *, max_turns: int = MAX_TURNS, trace: SipTrace | None = None) -> None:
        self._agent = user_agent
        self._max_turns = max_turns
        self._trace = trace
        self._flows: dict[int, tuple[str, Flow]] = {}
        self._queue: deque[Event] = deque()
        self._handing_out = False
        self._timer: asyncio.TimerHandle | None = None
        self._accounts: AccountSink | None = None
        self._sessions: SessionSink | None = None
        self.handler_errors = 0
        """Exceptions of event handlers, which were contained. Anything but 0 is a bug."""

    def connect(self, accounts: AccountSink, sessions: SessionSink) -> None:
        """Name the two who hear events. Once, before the first flow."""
        self._accounts, self._sessions = accounts, sessions

    def due(self) -> float | None:
        """When the core wants its next turn, in the loop's time; None while it waits for nothing or has no flow. Long
        ago means that the timer was lost."""
        return self._agent.next_timer() if self._flows else None

    def close(self) -> None:
        """Stop the timer and abort every flow."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for _, flow in tuple(self._flows.values()):
            flow.abort()
        self._flows.clear()

    # --- flows

    def add_account(self, account: str, parameters: AccountParameters) -> None:
        """Make the core know an account."""
        self._agent.add_account(account, parameters)

    def change_account(self, account: str, parameters: AccountParameters) -> None:
        """Other credentials or another behaviour, for what the account says next. Raises InvalidValue for another
        address of record."""
        self._agent.change_account(account, parameters)

    def remove_account(self, account: str) -> None:
        """Make the core forget an account and end its sessions silently."""
        self._turn(self._agent.remove_account(account, self._now()))

    def attach(self, account: str, flow: Flow, *, sent_by: str | None = None) -> None:
        """A flow that was just dialled. It must be attached before its first message is delivered. ``sent_by``: what
        Via says of us, ``host:port``; None makes an ``.invalid`` name."""
        self._flows[flow.generation] = (account, flow)
        parameters = FlowParameters(transport=flow.transport, sent_by=sent_by)
        self._turn(self._agent.flow_up(flow.generation, account, parameters, self._now()))

    def on_message(self, flow: Flow, data: bytes) -> None:
        """A whole SIP message from the network."""
        if flow.generation not in self._flows:
            return
        self._note(flow, data, sent=False)
        self._turn(self._agent.receive(flow.generation, data, self._now()))

    def on_closed(self, flow: Flow, cause: Cause, detail: str) -> None:
        """The flow is gone, whoever ended it."""
        account, _ = self._flows.pop(flow.generation, (None, None))
        if account is None:
            return
        self._turn(self._agent.flow_down(flow.generation, self._now()))
        if self._accounts is not None:
            self._accounts.on_flow_closed(account, flow, cause, detail)

    # --- registration

    def register(self, account: str, flow: Flow, *, expires_s: int | None = None) -> None:
        self._turn(self._agent.register(account, flow.generation, self._now(), expires_s))

    def unregister(self, account: str) -> None:
        self._turn(self._agent.unregister(account, self._now()))

    def move_account(self, account: str, flow: Flow) -> None:
        """Everything the account says goes over ``flow`` from now on."""
        self._turn(self._agent.move_account(account, flow.generation, self._now()))

    # --- sessions

    def invite(
        self,
        account: str,
        target: str,
        headers: Sequence[tuple[str, str]],
        on_session: Callable[[str], None],
        *,
        caller: str | None = None,
    ) -> None:
        """A new outgoing session. ``on_session`` hears its id before any of its events is handed out. ``caller``: the
        From URI, for an exchange that calls in another's name."""
        session, events = self._agent.invite(account, target, self._now(), headers=headers, caller=caller)
        on_session(session)
        self._turn(events)

    def ring(self, session: str, *, status: int = 180, early_media: bool = False) -> None:
        self._turn(self._agent.ring(session, self._now(), status=status, early_media=early_media))

    def answer(self, session: str) -> None:
        self._turn(self._agent.answer(session, self._now()))

    def reject(self, session: str, status: int, reason: str = "") -> None:
        self._turn(self._agent.reject(session, self._now(), status=status, reason=reason))

    def hangup(self, session: str, reason: str | None = None) -> None:
        self._turn(self._agent.hangup(session, self._now(), reason=reason))

    def reinvite(self, session: str, cause: ModifyCause) -> None:
        self._turn(self._agent.reinvite(session, self._now(), cause))

    def info(self, session: str, content_type: str, body: bytes) -> str:
        token, events = self._agent.info(session, content_type, body, self._now())
        self._turn(events)
        return token

    def message(self, account: str, target: str, content_type: str, body: bytes) -> str:
        token, events = self._agent.message(account, target, content_type, body, self._now())
        self._turn(events)
        return token

    def refer(self, session: str, *, target: str = "", instead_of: str | None = None) -> str:
        """Ask the far end to call ``target``, or to take our place in another session."""
        token, events = self._agent.refer(session, self._now(), target=target, instead_of=instead_of)
        self._turn(events)
        return token

    def accept_refer(self, session: str) -> None:
        self._turn(self._agent.accept_refer(session, self._now()))

    def refuse_refer(self, session: str, status: int = 603) -> None:
        self._turn(self._agent.refuse_refer(session, self._now(), status=status))

    def notify_refer(self, session: str, status: int, reason: str) -> None:
        self._turn(self._agent.notify_refer(session, status, reason, self._now()))

    def supply(self, token: str, description: bytes) -> None:
        self._turn(self._agent.supply(token, description, self._now()))

    def refuse(self, token: str, status: int) -> None:
        self._turn(self._agent.refuse(token, status, self._now()))

    def call_id(self, session: str) -> str:
        return self._agent.call_id(session)

    def snapshot(self, session: str) -> Mapping[str, Any]:
        return self._agent.snapshot(session)

    def restore(self, account: str, snapshot: Mapping[str, Any]) -> str:
        """A session of an earlier process. It waits for a flow."""
        session = self._agent.restore(account, snapshot, self._now())
        self._turn([])
        return session

    # --- the turn

    def _now(self) -> float:
        return asyncio.get_running_loop().time()

    def _turn(self, events: list[Event]) -> None:
        self._queue.extend(events)
        self._drain()
        self._arm()
        if self._handing_out:
            return
        self._handing_out = True
        try:
            for _ in range(self._max_turns):
                if not self._queue:
                    return
                self._hand_out(self._queue.popleft())
            log.error("a turn of the SIP core does not end; %d events dropped", len(self._queue))
            self._queue.clear()
        finally:
            self._handing_out = False

    def _drain(self) -> None:
        for generation, data in self._agent.outbox():
            _, flow = self._flows.get(generation, (None, None))
            if flow is not None:
                self._note(flow, data, sent=True)
                flow.send(data)

    def _arm(self) -> None:
        due = self._agent.next_timer()
        if self._timer is not None:
            if due == self._timer.when():
                return
            self._timer.cancel()
            self._timer = None
        if due is not None:
            self._timer = asyncio.get_running_loop().call_at(due, self._tick)

    def _tick(self) -> None:
        self._timer = None
        self._turn(self._agent.tick(self._now()))

    def _hand_out(self, event: Event) -> None:
        if self._accounts is None or self._sessions is None:
            return
        try:
            if isinstance(event, AccountEvent):
                self._accounts.on_account_event(event)
            else:
                self._sessions.on_session_event(event)
        except Exception:
            # one account's or call's bug must not take the others down; its owner has ended what it could
            self.handler_errors += 1
            log.exception("handling %s failed", type(event).__name__)

    def _note(self, flow: Flow, data: bytes, *, sent: bool) -> None:
        if self._trace is not None:
            self._trace.note(flow, data, sent=sent)
        if log.isEnabledFor(logging.DEBUG):
            log.debug("%s flow %d\n%s", ">" if sent else "<", flow.generation, data.decode("utf-8", "replace"))
