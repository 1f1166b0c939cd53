"""Two sessions joined back to back: what one says, the other hears. Descriptions pass through untouched, so that media
flows directly between the two phones."""

from __future__ import annotations

from collections.abc import Callable

from phoned.errors import PhonedError
from phoned.signaling import Signaling
from phoned.sip import events as sip

NOT_ACCEPTABLE_HERE = 488
REQUEST_PENDING = 491
TIMED_OUT = 408


class Bridge:
    """A call from one registered phone to another. ``caller`` is an incoming session, ``callee`` one of our own;
    ``on_callee`` hears its id before any of its events."""

    def __init__(
        self,
        caller: str,
        *,
        account: str,
        target: str,
        caller_uri: str,
        headers: tuple[tuple[str, str], ...],
        signaling: Signaling,
        on_callee: Callable[[str], None],
    ) -> None:
        self.caller = caller
        self.callee: str | None = None
        self._account = account
        self._target = target
        self._caller_uri = caller_uri
        self._headers = headers
        self._signaling = signaling
        self._on_callee = on_callee
        self._wanted: dict[str, sip.DescriptionWanted] = {}
        """By session: the answer that it waits for."""
        self._offers: dict[str, bytes] = {}
        """By session: the offer that it is to make."""
        self._answered = False
        self._accepted = False
        """A transfer is under way."""
        self._ended: set[str] = set()

    def start(self) -> None:
        """Ask the caller for its offer; with it the callee is called."""
        self._signaling.ring(self.caller, status=183, early_media=True)

    def sessions(self) -> tuple[str, ...]:
        """Both ends, as far as there are two."""
        return (self.caller,) if self.callee is None else (self.caller, self.callee)

    def on_event(self, event: sip.Event) -> None:
        """An event of either session."""
        match event:
            case sip.DescriptionWanted():
                self._on_wanted(event)
            case sip.AnswerReceived() if not event.early or not self._answered:
                waiting = self._wanted.pop(self._other(event.session) or "", None)
                if waiting is not None:
                    self._signaling.supply(waiting.token, event.description)
            case sip.Progress() if event.status == 180:
                self._signaling.ring(self.caller)
            case sip.Answered() if event.session == self.callee and not self._answered:
                self._answered = True
                self._signaling.answer(self.caller)
            case sip.ModifyRefused():
                waiting = self._wanted.pop(self._other(event.session) or "", None)
                if waiting is not None:
                    self._signaling.refuse(waiting.token, event.status or NOT_ACCEPTABLE_HERE)
            case sip.InfoReceived():
                other = self._other(event.session)
                if other is not None:
                    self._signaling.info(other, event.content_type, event.body)
            case sip.Referred() | sip.ReferAccepted() | sip.ReferProgress():
                self._on_refer(event)
            case sip.Ended():
                self._on_ended(event)
            case _:
                pass

    def _on_wanted(self, event: sip.DescriptionWanted) -> None:
        if event.kind is sip.DescriptionKind.OFFER:
            offer = self._offers.pop(event.session, None)
            if offer is None:
                self._signaling.refuse(event.token, NOT_ACCEPTABLE_HERE)
            else:
                self._signaling.supply(event.token, offer)
            return
        if event.remote is None:
            self._signaling.refuse(event.token, NOT_ACCEPTABLE_HERE)
            return
        if self._other(event.session) in self._wanted:
            self._signaling.refuse(event.token, REQUEST_PENDING)  # both at once: each would wait for the other
            return
        self._wanted[event.session] = event
        if self.callee is None:
            offer = event.remote

            def adopt(session: str) -> None:
                self.callee = session
                self._offers[session] = offer
                self._on_callee(session)

            self._signaling.invite(self._account, self._target, self._headers, adopt, caller=self._caller_uri)
            return
        other = self._other(event.session)
        if other is not None:
            self._offers[other] = event.remote
            self._signaling.reinvite(other, sip.ModifyCause.MEDIA)

    def _on_refer(self, event: sip.Referred | sip.ReferAccepted | sip.ReferProgress) -> None:
        """A blind transfer goes through to the other phone, and back how it fares. An attended one names a call that
        is between us and a phone: the other phone has no such call."""
        other = self._other(event.session)
        if other is None:
            return
        match event:
            case sip.Referred(replaces=None):
                try:
                    self._signaling.refer(other, target=event.target)
                except PhonedError:
                    self._signaling.refuse_refer(event.session)
            case sip.Referred():
                self._signaling.refuse_refer(event.session)
            case sip.ReferAccepted():
                self._signaling.accept_refer(other)
                self._accepted = True
            case sip.ReferProgress() if self._accepted:
                self._signaling.notify_refer(other, event.status or TIMED_OUT, event.reason)
            case sip.ReferProgress(final=True):
                self._signaling.refuse_refer(other, event.status or TIMED_OUT)
            case _:
                pass

    def _other(self, session: str) -> str | None:
        return self.callee if session == self.caller else self.caller

    def _on_ended(self, event: sip.Ended) -> None:
        self._ended.add(event.session)
        other = self._other(event.session)
        if other is None or other in self._ended:
            return
        self._ended.add(other)
        if other == self.caller and not self._answered and event.cause is sip.EndCause.REFUSED:
            self._signaling.reject(other, event.status or 480, event.reason)
        else:
            self._signaling.hangup(other, event.reasons[0] if event.reasons else None)
