"""The state of one INVITE usage, and who deals with what happens to it (RFC 3261 13 - 15).

`InviteSession` owns its legs (dialogs), timers and transactions and hands every input to the verb that it concerns. It
must not know other sessions, what a description says, or why its user wants what it wants.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable

from phoned.errors import AtCapacity, InvalidValue, MalformedMessage
from phoned.sip.core import AccountCore, Core
from phoned.sip.events import (
    Answered,
    DescriptionExpired,
    DescriptionKind,
    DescriptionWanted,
    DialogChanged,
    EndCause,
    Ended,
    Event,
    FlowId,
    ModifyCause,
    Party,
    SessionId,
    Token,
)
from phoned.sip.fields import NameAddr
from phoned.sip.invite_session import accept, close, connect, follow, messages, modify, provisional, refresh, transfer
from phoned.sip.invite_session.state import (
    LEGAL,
    CalleeFacts,
    CallerFacts,
    Deadline,
    Incoming,
    InviteState,
    Leg,
    ModifyFacts,
    Outgoing,
    Purpose,
    Referral,
    Success,
    Taken,
    Use,
    Want,
)
from phoned.sip.io import TimerSet
from phoned.sip.message import Request, Response
from phoned.sip.offer_answer import Carrier, OfferAnswer
from phoned.sip.options import respond_to
from phoned.sip.session_timer import SessionTimer
from phoned.sip.transaction import (
    AckReceived,
    CancelReceived,
    ResponseReceived,
    Terminated,
    TimedOut,
    TransactionEvent,
    TransactionKey,
    TransportFailed,
)


class InviteSession:
    """One call as SIP sees it. Driven by the user agent: verbs, requests of its dialogs, transaction events, time.

    Verbs and handlers gather events in ``self``; `take` hands them up.
    """

    def __init__(
        self, *, session: SessionId, core: Core, account: AccountCore, flow: FlowId, state: InviteState
    ) -> None:
        self.id = session
        self.core = core
        self.account = account
        self.flow = flow
        """What our requests go out on."""
        self.state = state
        self.local_tag = core.random.token()
        self.call_id = core.random.token()
        self.legs: dict[str, Leg] = {}
        """By the far end's tag."""
        self.leg: Leg | None = None
        """The one that counts, once that is known."""
        self.caller: CallerFacts | None = None
        self.callee: CalleeFacts | None = None
        self.modify = ModifyFacts()
        self.referral: Referral | None = None
        self.taken: Taken | None = None
        self.timer = SessionTimer(account.parameters.session_timer)
        self.timers: TimerSet[tuple[Deadline, Hashable]] = TimerSet()
        self.wants: dict[Token, Want] = {}
        self.outgoing: dict[TransactionKey, Outgoing] = {}
        self.incoming: dict[TransactionKey, Incoming] = {}
        self.successes: dict[int, Success] = {}
        self.owed: list[tuple[Leg, Request]] = []
        """BYEs that wait for a flow."""
        self._unsendable: dict[int, Outgoing] = {}
        self._events: list[Event] = []

    # --- state

    def enter(self, state: InviteState) -> None:
        """The one place where the state changes."""
        assert state in LEGAL[self.state], f"{self.id}: {self.state} -> {state}"
        self.state = state

    @property
    def ended(self) -> bool:
        return self.state is InviteState.ENDED

    @property
    def finished(self) -> bool:
        """Ended, and nothing of it is left on the wire."""
        return self.ended and not self.outgoing and not self.incoming and not len(self.timers)

    def emit(self, event: Event) -> None:
        """Tell our user; nothing is told after the end."""
        if not self.ended:
            self._events.append(event)

    def tell_answered(self, leg: Leg) -> None:
        """The call is answered, by this leg: its dialog is the call's from now on."""
        dialog = leg.dialog
        self.emit(
            Answered(
                session=self.id,
                call_id=dialog.call_id,
                local_tag=dialog.local_tag,
                remote_tag=dialog.remote_tag,
                remote_uri=str(NameAddr.parse(dialog.remote).uri),
                remote_target=dialog.remote_target,
            )
        )
        self.emit(DialogChanged(session=self.id))

    def take(self) -> list[Event]:
        """What there is to tell."""
        events, self._events = self._events, []
        return events

    def end(
        self,
        cause: EndCause,
        by: Party,
        *,
        status: int | None = None,
        reason: str = "",
        reasons: Iterable[str] = (),
        contacts: Iterable[str] = (),
        retry_after_s: float | None = None,
        await_ack: bool = False,
    ) -> None:
        """The end, once. What must still be said on the wire is said by transactions that outlive it.

        ``await_ack``: our 2xx goes on until its ACK, then the BYE that is owed goes out.
        """
        if self.ended:
            return
        for token in tuple(self.wants):
            self.drop_want(token)
        if self.modify.current is not None and self.modify.current.token is not None:
            self.emit(DescriptionExpired(session=self.id, token=self.modify.current.token))
        self.modify = ModifyFacts()
        self.referral = self.taken = None
        if self.callee is not None:
            self.callee.reliable = None  # a PRACK that comes late acknowledges nothing
        self.timer.stop()
        if not await_ack:
            self.successes.clear()
        kept: list[tuple[Deadline, Hashable]] = [(Deadline.LINGER, None)]
        kept += [(kind, number) for number in self.successes for kind in (Deadline.SUCCESS, Deadline.NO_ACK)]
        kept += [(Deadline.MODIFY_END, key) for key in self.outgoing]
        kept += [(Deadline.FAILED, name) for name in self._unsendable]
        deadlines = [(name, self.timers.at(name)) for name in kept]
        self.timers.clear_all()
        for name, at in deadlines:
            if at is not None:
                self.timers.set(name, at)
        self.emit(
            Ended(
                session=self.id,
                cause=cause,
                by=by,
                status=status,
                reason=reason,
                reasons=tuple(reasons),
                contacts=tuple(contacts),
                retry_after_s=retry_after_s,
            )
        )
        self.enter(InviteState.ENDED)

    # --- descriptions

    def want(
        self,
        kind: DescriptionKind,
        use: Use,
        now: float,
        *,
        exchange: OfferAnswer,
        carrier: Carrier,
        leg: Leg | None = None,
        remote: bytes | None = None,
        causes: tuple[ModifyCause, ...] = (),
        incoming: Incoming | None = None,
    ) -> None:
        """Ask our media for an offer, or for the answer to ``remote``."""
        token = self.core.random.token()
        deadline = now + self.core.limits.description_s
        if kind is DescriptionKind.OFFER:
            exchange.want_offer(token, carrier, deadline, causes)
        else:
            exchange.remote_offered(token, carrier, deadline)
        self.wants[token] = Want(token=token, kind=kind, use=use, leg=leg, exchange=exchange, incoming=incoming)
        self.timers.set((Deadline.DESCRIPTION, token), deadline)
        self.emit(
            DescriptionWanted(
                session=self.id,
                token=token,
                kind=kind,
                remote=remote,
                deadline=deadline,
                causes=causes,
                fork=leg.dialog.remote_tag if leg else None,
            )
        )

    def drop_want(self, token: Token) -> None:
        """What was asked for is not needed any more; our media is told."""
        want = self.wants.pop(token)
        self.timers.clear((Deadline.DESCRIPTION, token))
        want.exchange.withdraw()
        self.emit(DescriptionExpired(session=self.id, token=token))

    def supply(self, token: Token, description: bytes, now: float) -> None:
        """Our media made what one of our ``wants`` asked for."""
        want = self.wants.pop(token)
        self.timers.clear((Deadline.DESCRIPTION, token))
        if not description:
            _REFUSED[want.use](self, want, 500, now)
            return
        _SUPPLIED[want.use](self, want, description, now)

    def refuse(self, token: Token, status: int, now: float) -> None:
        """Our media cannot, or was too late."""
        want = self.wants.pop(token)
        self.timers.clear((Deadline.DESCRIPTION, token))
        _REFUSED[want.use](self, want, status, now)

    # --- out

    def send(
        self,
        purpose: Purpose,
        request: Request,
        now: float,
        *,
        leg: Leg | None = None,
        tries: int = 0,
        token: Token | None = None,
        causes: tuple[ModifyCause, ...] = (),
    ) -> Outgoing:
        """Send a request of ours; its outcome comes to the verb of its purpose."""
        out = Outgoing(purpose=purpose, request=request, leg=leg, tries=tries, token=token, causes=causes)
        try:
            out.key = self.core.layer.send_request(request, self.flow, now, self)
            self.outgoing[out.key] = out
            if purpose is Purpose.REINVITE:
                self.timers.set((Deadline.MODIFY_END, out.key), now + self.core.timers.transaction_s)
        except (AtCapacity, InvalidValue):
            # it fails as a broken flow would, but not before its sender is done
            self._unsendable[id(out)] = out
            self.timers.set((Deadline.FAILED, id(out)), now)
        return out

    def retried(self, out: Outgoing, response: Response, now: float) -> bool:
        """Answer a challenge inside the dialog, once, if our policy allows it."""
        leg = out.leg
        if leg is None or response.status not in (401, 407) or out.tries or not self.account.answers(response):
            return False
        again = self.account.authorize(out.request, response, in_dialog=True)
        if again is None:
            return False
        again.headers.set("CSeq", f"{leg.dialog.next_cseq()} {again.method}")
        sent = self.send(out.purpose, again, now, leg=leg, tries=1, token=out.token, causes=out.causes)
        if self.modify.current is out:
            self.modify.current = sent
        return True

    def move(self, flow: FlowId, now: float) -> None:
        """Everything that is said from now on goes over ``flow``."""
        if flow == self.flow and not self.owed:
            return
        self.flow = flow
        accept.move(self, now)
        if self.ended:
            if not self.successes:
                close.flush(self, now)
            connect.cancel_orphan(self, now)
            return
        modify.move(self, now)
        transfer.move(self, now)

    def abandon(self) -> None:
        """Forget every request of ours: what is left of a session after an error of our own."""
        for key in self.outgoing:
            self.core.layer.abandon(key)
        self.outgoing.clear()
        self.timers.clear_all()

    def respond(
        self,
        incoming: Incoming,
        status: int,
        now: float,
        *,
        reason: str = "",
        headers: Iterable[tuple[str, str]] = (),
        body: bytes = b"",
    ) -> Response:
        """Answer a request of the far end inside our dialog."""
        fields = [*headers]
        if incoming.request.method in ("INVITE", "UPDATE") and 100 < status < 300:
            fields.append(("Contact", self.account.contact))
        response = respond_to(incoming.request, status, tag=self.local_tag, reason=reason, headers=fields, body=body)
        incoming.final = incoming.final or status >= 200
        self.core.layer.respond(incoming.key, response, now)
        return response

    # --- in

    def find(self, remote_tag: str) -> Leg | None:
        """The leg with this remote tag."""
        return self.legs.get(remote_tag)

    def on_request(self, key: TransactionKey, request: Request, leg: Leg, now: float) -> None:
        """A request inside one of our dialogs, already judged to be acceptable."""
        incoming = Incoming(key=key, request=request, leg=leg)
        self.incoming[key] = incoming
        self.core.layer.adopt(key, self)
        if not leg.dialog.in_order(request):
            self.respond(incoming, 500, now)
            return
        try:
            _REQUESTS[request.method](self, incoming, now)
        except MalformedMessage as error:
            self.respond(incoming, error.status, now)

    def on_ack(self, request: Request, leg: Leg, now: float) -> None:
        """The ACK of one of our 2xx."""
        accept.on_ack(self, request, leg, now)

    def on_transaction(self, event: TransactionEvent, now: float) -> list[Event]:
        """An event of one of our transactions."""
        match event:
            case ResponseReceived(key=key, response=response):
                answered = self.outgoing[key]
                _RESPONSES[answered.purpose](self, answered, response, now)
            case TimedOut(key=key) | TransportFailed(key=key):
                out = self.outgoing.get(key)
                if out is not None:
                    out.sent = event.request if isinstance(event, TransportFailed) else None
                    _FAILURES[out.purpose](self, out, 408 if isinstance(event, TimedOut) else 503, now)
            case CancelReceived(key=key, cancel=cancel):
                close.on_cancel(self, self.incoming[key], cancel, now)
            case AckReceived(key=TransactionKey() as key, request=request):
                # with the branch of its INVITE, against the rule; others come by the user agent
                accept.on_ack(self, request, self.incoming[key].leg, now)
            case _:
                assert isinstance(event, Terminated), event
                self.outgoing.pop(event.key, None)
                self.timers.clear((Deadline.MODIFY_END, event.key))
                incoming = self.incoming.pop(event.key, None)
                if incoming is not None:
                    accept.on_server_failure(self, incoming, now)
        return self.take()

    # --- time

    def next_timer(self) -> float | None:
        """When `tick` is wanted next."""
        return self.timers.next()

    def tick(self, now: float) -> None:
        """Fire what is due."""
        for deadline, name in self.timers.due(now):
            self._on_deadline(deadline, name, now)

    def _on_deadline(self, deadline: Deadline, name: Hashable, now: float) -> None:
        match deadline:
            case Deadline.DESCRIPTION:
                token = str(name)
                self.emit(DescriptionExpired(session=self.id, token=token))
                self.refuse(token, 500, now)
            case Deadline.SETUP:
                connect.on_setup_expired(self, now)
            case Deadline.RING:
                accept.on_ring_expired(self, now)
            case Deadline.SUCCESS:
                accept.repeat_success(self, name, now)
            case Deadline.NO_ACK:
                accept.on_no_ack(self, name, now)
            case Deadline.OVERDUE:
                accept.on_overdue(self, name, now)
            case Deadline.RELIABLE:
                provisional.repeat(self, now)
            case Deadline.NO_PRACK:
                provisional.on_no_prack(self, now)
            case Deadline.MODIFY_AGAIN:
                modify.pump(self, now)
            case Deadline.MODIFY_END:
                assert isinstance(name, TransactionKey)
                modify.on_no_final(self, name, now)
            case Deadline.SESSION:
                refresh.on_timer(self, now)
            case Deadline.REFERRAL:
                transfer.on_no_outcome(self, now)
            case Deadline.TAKEN:
                transfer.on_undecided(self, now)
            case Deadline.LINGER:
                close.on_linger(self, now)
            case _:
                out = self._unsendable.pop(int(str(name)))
                _FAILURES[out.purpose](self, out, 503, now)


_SUPPLIED = {
    Use.FIRST_OFFER: connect.on_offer,
    Use.ACK_ANSWER: connect.on_ack_answer,
    Use.PRACK_ANSWER: provisional.on_answer,
    Use.ANSWER_TO_PRACK: provisional.on_answer_to_prack,
    Use.INCOMING: accept.on_description,
    Use.MODIFY_OFFER: modify.on_offer,
    Use.REMOTE_MODIFY: follow.on_remote_description,
}
_REFUSED = {
    Use.FIRST_OFFER: connect.on_no_offer,
    Use.ACK_ANSWER: connect.on_no_ack_answer,
    Use.PRACK_ANSWER: provisional.on_no_answer,
    Use.ANSWER_TO_PRACK: provisional.on_no_answer_to_prack,
    Use.INCOMING: accept.on_no_description,
    Use.MODIFY_OFFER: modify.on_no_offer,
    Use.REMOTE_MODIFY: follow.on_no_remote_description,
}
_RESPONSES = {
    Purpose.INVITE: connect.on_response,
    Purpose.REINVITE: modify.on_response,
    Purpose.UPDATE: modify.on_response,
    Purpose.PRACK: provisional.on_response,
    Purpose.BYE: close.on_response,
    Purpose.REFER: transfer.on_response,
    Purpose.NOTIFY: transfer.on_notified,
    Purpose.MESSAGE: messages.on_response,
}
_FAILURES = {
    Purpose.INVITE: connect.on_failure,
    Purpose.REINVITE: modify.on_failure,
    Purpose.UPDATE: modify.on_failure,
    Purpose.PRACK: provisional.on_failure,
    Purpose.BYE: close.on_failure,
    Purpose.REFER: transfer.on_failure,
    Purpose.NOTIFY: transfer.on_not_notified,
    Purpose.MESSAGE: messages.on_failure,
}
_REQUESTS = {
    "INVITE": follow.on_invite,
    "UPDATE": follow.on_update,
    "PRACK": provisional.on_prack,
    "BYE": close.on_bye,
    "INFO": messages.on_info,
    "MESSAGE": messages.on_message,
    "OPTIONS": messages.on_options,
    "REFER": transfer.on_refer,
    "NOTIFY": transfer.on_notify,
}
