"""One call, as a person means it: its state, what it is told, what it tells.

`Call` joins a SIP session (`phoned.signaling`) and a media session. Its id outlives both. It must not know accounts'
flows, HTTP or policy. State changes only in `_enter`; hold and mute are flags beside the state. Whatever happens, the
call ends exactly once.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime

from phoned.calls.audio import CallAudio
from phoned.calls.ending import end_of, lost_reason
from phoned.calls.negotiation import Negotiation
from phoned.clock import WallClock, wall_clock
from phoned.errors import DeadlineExceeded, Gone, NotRegistered, PhonedError, Refused, UnavailableError, WrongState
from phoned.events import EventBus
from phoned.media.events import MediaEvent, PlaybackFinished, RecordingFailed, RecordingFinished
from phoned.media.session import MediaSession
from phoned.model import (
    CallState,
    CallView,
    Direction,
    EndCause,
    EndView,
    HoldView,
    Party,
    Peer,
    StatsView,
    Step,
)
from phoned.signaling import Signaling
from phoned.sip import events as sip
from phoned.tasks import Tasks

log = logging.getLogger(__name__)

C = CallState

LEGAL: dict[CallState, frozenset[CallState]] = {
    C.QUEUED: frozenset({C.DIALING, C.ENDED}),
    C.DIALING: frozenset({C.RINGING, C.EARLY_MEDIA, C.ACTIVE, C.ENDED}),
    C.RINGING: frozenset({C.EARLY_MEDIA, C.ACTIVE, C.ENDED}),
    C.EARLY_MEDIA: frozenset({C.ACTIVE, C.ENDED}),
    C.ACTIVE: frozenset({C.ENDED}),
    C.ENDED: frozenset(),
}

MODIFY_BUDGET_S = 40.0
"""Longer than any INVITE transaction can take (64*T1 and a digest round)."""
ANSWER_BUDGET_S = 20.0


class Call:
    """See the module's docstring. Driven by verbs, by its session's events and by its media's."""

    def __init__(
        self,
        call_id: str,
        *,
        account: str,
        direction: Direction,
        peer: Peer,
        signaling: Signaling,
        media: Callable[[Callable[[MediaEvent], None]], MediaSession],
        bus: EventBus,
        on_ended: Callable[[Call], None],
        on_closed: Callable[[Call], None],
        tags: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        on_answer: tuple[Step, ...] = (),
        clock: WallClock = wall_clock,
    ) -> None:
        self.id = call_id
        self.account = account
        self.direction = direction
        self.state = C.RINGING if direction == "in" else C.QUEUED
        self.session: str | None = None
        self._signaling = signaling
        self._bus = bus
        self._clock = clock
        self._on_ended = on_ended
        self._on_closed = on_closed
        self._tasks = Tasks(call_id, self._on_crash)
        self._media = media(self._on_media_event)
        self.audio = CallAudio(self, self._media, signaling, bus, self._tasks, on_answer)
        self._negotiation = Negotiation(self._media, signaling, self._tasks, on_unusable=self._on_unusable)
        self._view = CallView(
            id=call_id,
            account=account,
            direction=direction,
            state=self.state,
            peer=peer,
            created_at=clock(),
            tags=dict(tags or {}),
            headers=dict(headers or {}),
        )
        self._end_as: tuple[EndCause, Party] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._modifying = asyncio.Lock()
        self._modified: asyncio.Future[sip.Modified | sip.ModifyRefused] | None = None
        self._waiters: set[asyncio.Future[None]] = set()
        self._closed = asyncio.Event()
        self._rebuilt = False
        self._max_duration_s: float | None = None
        self._final_stats: StatsView | None = None

    # --- views

    @property
    def ended(self) -> bool:
        """True once, and for ever after."""
        return self.state is C.ENDED

    def view(self) -> CallView:
        """A copy of this moment."""
        view = self._view
        duration_s = 0.0
        if view.answered_at is not None:
            duration_s = ((view.ended_at or self._clock()) - view.answered_at).total_seconds()
        return replace(
            view,
            state=self.state,
            duration_s=round(max(duration_s, 0.0), 3),
            media=self._media.view(),
            recordings=self.audio.recording_ids,
        )

    def stats(self) -> StatsView:
        """Counters of the media, also after the end."""
        return self._final_stats or self._media.stats()

    def publish(self, type_: str, **facts: object) -> None:
        """An event of this call, with its full view."""
        self._bus.publish(type_, call=self.view(), **facts)

    # --- verbs

    def start(
        self,
        target: str,
        headers: tuple[tuple[str, str], ...],
        timeout_s: float,
        on_session: Callable[[str], None],
    ) -> None:
        """Send the INVITE (of an outgoing call that is queued)."""
        self._enter(C.DIALING)
        self.publish("call.dialing")
        self._after(timeout_s, self._ring_timeout)
        self._signaling.invite(self.account, target, headers, on_session)

    async def answer(self) -> CallView:
        """Say 200 to an incoming call; returns once that is sent."""
        self._require("answer", C.RINGING, direction="in")
        self._signaling.answer(self._session())
        await self.wait_for(lambda: self.state is not C.RINGING, ANSWER_BUDGET_S)
        if self.ended:
            raise self._refusal()
        return self.view()

    def reject(self, code: int, reason: str | None) -> CallView:
        """Refuse an incoming call with a final status."""
        self._require("reject", C.RINGING, direction="in")
        self._end_as = (EndCause.REJECTED, "local")
        self._signaling.reject(self._session(), code, reason or "")
        return self.view()

    def hangup(self, reason: str | None = None, *, cause: EndCause | None = None, by: Party = "local") -> CallView:
        """Make it end, whatever its state. Repeating it changes nothing."""
        if self.ended:
            return self.view()
        if cause is not None:
            self._end_as = (cause, by)
        if self.session is None:
            self._finish(EndView(cause=cause or EndCause.CANCELED, by=by))
        else:
            header = f'SIP;cause=200;text="{_quotable(reason)}"' if reason else None
            self._signaling.hangup(self.session, header)
        return self.view()

    async def hold(self, on: bool) -> CallView:
        """Hold or resume; returns after the far end's 2xx. `Refused` leaves everything as it was."""
        self._require("hold" if on else "unhold", C.ACTIVE)
        async with self._modifying:
            self._require("hold" if on else "unhold", C.ACTIVE)
            if self._view.hold.local == on:
                return self.view()
            self._media.hold(on)
            try:
                await self._modify(sip.ModifyCause.HOLD)
            except PhonedError:
                self._media.hold(not on)
                raise
            self._view = replace(self._view, hold=HoldView(local=on, remote=self._view.hold.remote))
            self.publish("call.held" if on else "call.unheld")
            return self.view()

    async def reinvite(self, *, ice_restart: bool) -> CallView:
        """The recovery verb by hand: one re-INVITE, with an ICE restart when asked."""
        self._require("reinvite", C.ACTIVE)
        async with self._modifying:
            self._require("reinvite", C.ACTIVE)
            self._negotiation.wish(ice_restart=ice_restart)
            await self._modify(sip.ModifyCause.RECOVERY)
            return self.view()

    def mute(self, muted: bool) -> CallView:
        """Send silence, or what the sources give."""
        self._require("mute" if muted else "unmute", *(state for state in C if state is not C.ENDED))
        if self._view.muted != muted:
            self._media.mute(muted)
            self._view = replace(self._view, muted=muted)
            self.publish("call.muted" if muted else "call.unmuted")
        return self.view()

    def tag(self, tags: Mapping[str, str]) -> CallView:
        """Merge tags; works on an ended call too."""
        self._view = replace(self._view, tags={**self._view.tags, **tags})
        self.publish("call.updated")
        return self.view()

    def repair(self) -> None:
        """A new flow carries the account: one state-preserving re-INVITE, or in-dialog requests never find us again."""
        if self.state is C.ACTIVE and self.session is not None:
            self._signaling.reinvite(self.session, sip.ModifyCause.RECOVERY)

    def limit(self, seconds: float) -> None:
        """End the call so long after it was answered."""
        self._max_duration_s = seconds

    # --- waiting

    async def wait_for(self, condition: Callable[[], bool], timeout_s: float) -> None:
        """Return when ``condition`` holds. Raises `DeadlineExceeded`."""
        try:
            async with asyncio.timeout(timeout_s):
                while not condition():
                    waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
                    self._waiters.add(waiter)
                    try:
                        await waiter
                    finally:
                        self._waiters.discard(waiter)
        except TimeoutError:
            raise DeadlineExceeded(f"call {self.id} is still {self.state} after {timeout_s:g} s") from None

    def wake(self) -> None:
        """Something that a waiter may wait for has changed."""
        for waiter in tuple(self._waiters):
            if not waiter.done():
                waiter.set_result(None)

    # --- the session's events

    def on_session_event(self, event: sip.Event) -> None:
        """An event of this call's session, in order."""
        match event:
            case sip.DescriptionWanted():
                self._negotiation.wanted(event)
            case sip.AnswerReceived():
                self._negotiation.answered(event)
            case sip.DescriptionExpired():
                self._negotiation.expired(event)
            case sip.Progress():
                self._on_progress(event)
            case sip.Answered():
                self._on_answered(event)
            case sip.Modified() | sip.ModifyRefused():
                self._on_modify_outcome(event)
            case sip.InfoReceived():
                self.audio.on_info(event)
            case sip.Ended():
                self._on_session_ended(event)
            case _:
                pass  # Confirmed, DialogChanged, RemoteModified: nothing that a person would see

    def _on_progress(self, event: sip.Progress) -> None:
        if event.early_media and self.state in (C.DIALING, C.RINGING):
            self._note_ringing()
            self._enter(C.EARLY_MEDIA)
            self.publish("call.early_media")
        elif event.status == 180 and self.state is C.DIALING:
            self._note_ringing()
            self._enter(C.RINGING)
            self.publish("call.ringing")

    def _note_ringing(self) -> None:
        if self._view.ringing_at is None:
            self._view = replace(self._view, ringing_at=self._clock())

    def rings_here(self, sip_call_id: str) -> None:
        """An incoming call: say 180 and tell everybody."""
        self._note_ringing()
        self._view = replace(self._view, sip_call_id=sip_call_id)
        self.publish("call.incoming")
        self._signaling.ring(self._session())

    def answer_later(self, delay_s: float) -> None:
        """Answer by rule, if it still rings then."""
        self._after(delay_s, lambda: self._signaling.answer(self._session()))

    def _on_answered(self, event: sip.Answered) -> None:
        self._view = replace(self._view, answered_at=self._clock(), sip_call_id=event.call_id)
        self._enter(C.ACTIVE)
        self.publish("call.answered")
        if self._max_duration_s is not None:
            self._after(self._max_duration_s, self._duration_spent)

    def _on_modify_outcome(self, event: sip.Modified | sip.ModifyRefused) -> None:
        if isinstance(event, sip.ModifyRefused):
            self._negotiation.refused()
        elif sip.ModifyCause.RECOVERY in event.causes:
            self.publish("call.dialog_verified")
        if self._modified is not None and not self._modified.done():
            self._modified.set_result(event)

    def _on_session_ended(self, event: sip.Ended) -> None:
        end = end_of(event, was_ringing=self._view.ringing_at is not None, decided=self._end_as)
        if end.cause is EndCause.LOST:
            self.publish("call.lost", reason=lost_reason(event))
        self._finish(end)

    # --- the media's events

    def _on_media_event(self, event: MediaEvent) -> None:
        # after the end only the fate of recordings and playbacks still matters
        if not self.ended or isinstance(event, PlaybackFinished | RecordingFinished | RecordingFailed):
            self.audio.on_media_event(event)

    def on_remote_hold(self, on: bool) -> None:
        """The far end held or resumed."""
        self._view = replace(self._view, hold=HoldView(local=self._view.hold.local, remote=on))
        self.publish("call.updated")

    def offer_again(self, *, ice_restart: bool, rebuild: bool) -> None:
        """Media asks for a new offer when the dialog allows it."""
        if self.state is C.ACTIVE:
            self._negotiation.wish(ice_restart=ice_restart, rebuild=rebuild)
            self._signaling.reinvite(self._session(), sip.ModifyCause.MEDIA)

    def on_media_failed(self, detail: str) -> None:
        """No audio can flow any more. One rebuild is tried; then the call is of no use to anybody."""
        if self.state is C.ACTIVE and not self._rebuilt:
            log.warning("%s: media failed (%s); a new association is offered", self.id, detail)
            self._rebuilt = True
            self.offer_again(ice_restart=False, rebuild=True)
        else:
            self._on_unusable(detail)

    def _on_unusable(self, detail: str) -> None:
        log.warning("%s: media cannot be had: %s", self.id, detail)
        self.hangup(cause=EndCause.MEDIA_FAILED, by="system")

    # --- ends

    def _ring_timeout(self) -> None:
        if self.state is not C.ACTIVE:
            self.hangup(cause=EndCause.NO_ANSWER, by="system")

    def _duration_spent(self) -> None:
        self.hangup("maximum duration", cause=EndCause.COMPLETED, by="system")

    def _finish(self, end: EndView) -> None:
        if self.ended:
            return
        self._view = replace(self._view, ended_at=self._clock(), end=end)
        self._final_stats = self._media.stats()
        self._enter(C.ENDED)
        if self._modified is not None and not self._modified.done():
            self._modified.cancel()
        self.publish("call.ended")
        self._on_ended(self)
        self._tasks.spawn("close", self._close())

    async def _close(self) -> None:
        await self.audio.close()
        await self._media.close()
        await self._tasks.close()
        self._closed.set()
        self._on_closed(self)

    async def closed(self, budget_s: float) -> None:
        """Wait until nothing of an ended call is left."""
        try:
            async with asyncio.timeout(budget_s):
                await self._closed.wait()
        except TimeoutError:
            log.warning("%s: its media did not close in time", self.id)

    # --- inside

    async def _modify(self, cause: sip.ModifyCause) -> None:
        loop = asyncio.get_running_loop()
        self._modified = loop.create_future()
        try:
            self._signaling.reinvite(self._session(), cause)
            async with asyncio.timeout(MODIFY_BUDGET_S):
                outcome = await self._modified
        except TimeoutError:
            raise DeadlineExceeded("the far end did not answer the re-INVITE") from None
        except asyncio.CancelledError:
            if self.ended:
                raise Gone("the call ended meanwhile") from None
            raise
        finally:
            self._modified = None
        if isinstance(outcome, sip.ModifyRefused):
            if outcome.status == 0:
                raise UnavailableError("there is no flow to the server at the moment", retry_after_s=1.0)
            raise Refused(outcome.status, outcome.reason, retry_after_s=outcome.retry_after_s)

    def _session(self) -> str:
        if self.session is None:
            raise WrongState("the call is not on its way yet", state=str(self.state))
        return self.session

    def _require(self, verb: str, *states: CallState, direction: Direction | None = None) -> None:
        if self.ended:
            raise Gone(f"call {self.id} has ended")
        if self.state not in states or (direction is not None and self.direction != direction):
            raise WrongState(
                f"cannot {verb} a call that is {self.state} ({self.direction})",
                state=str(self.state),
                allowed_in=tuple(str(state) for state in states),
            )

    def require_media(self, verb: str) -> None:
        """Audio verbs need a call that is up."""
        self._require(verb, C.ACTIVE, C.EARLY_MEDIA)

    def _refusal(self) -> PhonedError:
        end = self._view.end
        if end is not None and end.sip_code is not None:
            return Refused(end.sip_code, end.sip_reason or "")
        return Gone(f"call {self.id} has ended")

    def refusal(self) -> PhonedError:
        """What to tell a caller that waited for this call, now that it has ended without an answer."""
        end = self._view.end
        if end is not None and end.cause is EndCause.NO_ANSWER and end.by == "system":
            return DeadlineExceeded("nobody answered in time")
        if end is not None and end.cause is EndCause.UNREACHABLE and end.by == "system":
            return NotRegistered(f"account {self.account} has no flow to the server", retry_after_s=5)
        return self._refusal()

    def _enter(self, state: CallState) -> None:
        if state not in LEGAL[self.state]:
            raise AssertionError(f"call {self.id}: {self.state} -> {state} is not legal")
        log.info("%s: %s -> %s", self.id, self.state, state)
        self.state = state
        if state in (C.ACTIVE, C.ENDED) and self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self.wake()

    def _after(self, delay_s: float, action: Callable[[], None]) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(delay_s, action)

    def _on_crash(self, name: str, error: BaseException) -> None:
        log.error("%s crashed; the call ends", name, exc_info=error)
        self.hangup(cause=EndCause.FAILED, by="system")

    @property
    def created_at(self) -> datetime:
        """Wall time of its beginning."""
        return self._view.created_at


def _quotable(text: str) -> str:
    return "".join(character for character in text if character.isprintable() and character not in '"\\')[:120]
