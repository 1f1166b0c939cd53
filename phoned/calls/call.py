"""One call, as a person means it: its state, what it is told, what it tells.

`Call` joins a SIP session (`phoned.signaling`) and a media session. Its id outlives both. It must not know accounts'
flows, HTTP or policy. State changes only in `_enter`; hold and mute are flags beside the state. What is heard is
`CallAudio`'s, re-INVITEs are `Modifications`', repairs `MediaRepair`'s and `Redial`'s. It ends exactly once.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from phoned.calls.audio import CallAudio
from phoned.calls.ending import cause_of_refusal, end_of, lost_reason, reason_header, refusal_of
from phoned.calls.memory import CallMemory
from phoned.calls.modify import Modifications
from phoned.calls.negotiation import Negotiation
from phoned.calls.outage import Outage
from phoned.calls.ports import CallMedia, CallSignaling
from phoned.calls.redial import Redial
from phoned.calls.repair import MediaRepair
from phoned.calls.repair_context import RepairContext
from phoned.calls.states import LEGAL
from phoned.calls.streams import StreamDesk
from phoned.calls.timers import CallTimers
from phoned.calls.waiters import Waiters
from phoned.clock import WallClock, in_ms, wall_clock
from phoned.errors import DeadlineExceeded, Gone, PhonedError, WrongState
from phoned.events import EventBus
from phoned.media.events import AFTER_THE_END, MediaEvent
from phoned.model import CallState, CallView, Direction, EndCause, EndView, HoldView, Party, Peer, StatsView, Step
from phoned.sip import events as sip
from phoned.tasks import Tasks

log = logging.getLogger(__name__)

C = CallState

ANSWER_BUDGET_S = 20.0
CLOSE_BUDGET_S = 5.0
"""For each step of leaving nothing behind."""


class Call:
    """See the module's docstring. Driven by verbs, by its session's events and by its media's."""

    def __init__(
        self,
        call_id: str,
        *,
        account: str,
        direction: Direction,
        peer: Peer,
        signaling: CallSignaling,
        media: Callable[[Callable[[MediaEvent], None]], CallMedia],
        bus: EventBus,
        repair: RepairContext,
        streams: StreamDesk,
        on_ended: Callable[[Call], None],
        on_closed: Callable[[Call], None],
        on_changed: Callable[[Call], None] = lambda call: None,
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
        self.audio = CallAudio(self, self._media, signaling, bus, self._tasks, on_answer, streams)
        self._negotiation = Negotiation(self._media, signaling, self._tasks, on_unusable=self.on_unusable)
        self.changes = Modifications(self, self._media, signaling, self._negotiation)
        self._outage = Outage(self, clock)
        self.repair = MediaRepair(self, self._media, self._tasks, self._outage, repair)
        self._redial = Redial(repair.line, self._outage, self._dial)
        self._dialled: tuple[str, tuple[tuple[str, str], ...], Callable[[str], None]] | None = None
        self._lost_reason: str | None = None
        self.replaced = False
        """Given up for a new call in its place."""
        self.timers = CallTimers(self, self._media)
        self.memory = CallMemory(
            self,
            signaling=signaling,
            media=self._media,
            audio=self.audio,
            changes=self.changes,
            outage=self._outage,
            context=repair,
            on_changed=lambda: on_changed(self),
        )
        self._view = CallView(
            id=call_id,
            account=account,
            direction=direction,
            state=self.state,
            peer=peer,
            created_at=in_ms(clock()),
            tags=dict(tags or {}),
            headers=dict(headers or {}),
        )
        self._end_as: tuple[EndCause, Party] | None = None
        self._given_up = False
        self._waiters = Waiters()
        self._closed = False
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
        media = self._media.view()
        if self.state is C.ACTIVE and self.repair.state is not None:
            media = replace(media, state=self.repair.state)
        return replace(
            view,
            state=self.state,
            duration_s=round(max(duration_s, 0.0), 3),
            hold=replace(view.hold, local=self.changes.held),
            media=media,
            recovering=None if self.ended else self._outage.recovering,
            streams=self.audio.streams.ids,
            recordings=self.audio.recording_ids,
        )

    def stats(self, *, sample: bool = False) -> StatsView:
        """Counters of the media, also after the end. ``sample``: loss and MOS are those since the last sample."""
        return replace(self._final_stats or self._media.stats(sample=sample), recoveries=self._outage.history)

    def publish(self, type_: str, **facts: object) -> None:
        """An event of this call, with its full view."""
        self._bus.publish(type_, call=self.view(), **facts)
        self.memory.changed()

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
        self.timers.ring(timeout_s, self._ring_timeout)
        self._dialled = (target, headers, on_session)
        self._dial()

    def _dial(self) -> None:
        assert self._dialled is not None
        target, headers, on_session = self._dialled
        try:
            self._signaling.invite(self.account, target, headers, on_session)
        except PhonedError as error:
            log.warning("%s: the INVITE cannot be sent: %s", self.id, error.detail)
            self.give_up(EndCause.UNREACHABLE)
        except Exception:
            log.exception("%s: the INVITE cannot be sent", self.id)
            self.give_up(EndCause.FAILED)

    async def answer(self) -> CallView:
        """Say 200 to an incoming call; returns once that is sent."""
        self._require("answer", C.RINGING, direction="in")
        self._signaling.answer(self._session())
        await self.wait_for(lambda: self.state is not C.RINGING, ANSWER_BUDGET_S)
        if self.ended and self._view.answered_at is None:
            raise refusal_of(self.view())
        return self.view()

    def reject(self, code: int, reason: str | None) -> CallView:
        """Refuse an incoming call with a final status."""
        self._require("reject", C.RINGING, direction="in")
        before, self._end_as = self._end_as, (cause_of_refusal(code, was_ringing=True), "local")
        try:
            self._signaling.reject(self._session(), code, reason or "")
        except PhonedError:
            self._end_as = before
            raise
        return self.view()

    def hangup(self, reason: str | None = None, *, cause: EndCause | None = None, by: Party = "local") -> CallView:
        """Make it end, whatever its state. Repeating it changes nothing: the first decision is told."""
        if self.ended:
            return self.view()
        if cause is None and self.direction == "in" and self.state is C.RINGING:
            cause = EndCause.REJECTED
        if not self._given_up:
            self._end_as = None if cause is None else (cause, by)
        self._given_up = True
        if self.session is None:
            self._finish(EndView(cause=cause or EndCause.CANCELED, by=by))
        else:
            self._signaling.hangup(self.session, reason_header(reason) if reason else None)
        return self.view()

    def give_up(self, cause: EndCause) -> None:
        """End it now, whether or not the far end can still be told: shutdown, or a bug of ours."""
        try:
            self.hangup(cause=cause, by="system")
        except Exception:
            log.exception("%s: its session cannot be ended", self.id)
        decided, by = self._end_as or (cause, "system")
        self._finish(EndView(cause=decided, by=by))

    def ends_as(self, cause: EndCause | None, by: Party = "remote") -> None:
        """What its end will mean when it comes: the far end is about to be, or was, moved elsewhere. None: nothing
        special any more."""
        if not self._given_up:
            self._end_as = None if cause is None else (cause, by)

    async def hold(self, on: bool) -> CallView:
        """Hold or resume; returns after the far end's 2xx. See `Modifications.hold`."""
        await self.changes.hold(on)
        return self.view()

    async def reinvite(self, *, ice_restart: bool) -> CallView:
        """The recovery verb by hand; see `Modifications.reinvite`."""
        await self.changes.reinvite(ice_restart=ice_restart)
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
        """Merge tags."""
        self._require("tag", *(state for state in C if state is not C.ENDED))
        self._view = replace(self._view, tags={**self._view.tags, **tags})
        self.publish("call.updated")
        return self.view()

    def on_flow_ready(self) -> None:
        """A new flow carries the account: one re-INVITE, or in-dialog requests never find us again. It preserves the
        state, or takes the repair of the media along."""
        if self.state is C.ACTIVE and self.session is not None:
            self.repair.on_flow_ready()

    def on_network_moved(self, *, gone: bool, forced: bool) -> None:
        """An address left this machine (``gone``: ours), routes changed, or (``forced``) every path is doubted."""
        if self.state is C.ACTIVE and (gone or forced or self._media.rerouted()):
            self.repair.on_network_moved(gone=gone)

    def on_registered(self) -> None:
        """That flow is registered: what waited for it goes on."""
        self._redial.on_registered()
        self.wake()

    # --- over a restart of the daemon

    def take_up(self, session: str | None, **facts: Any) -> None:
        """It is the call that an earlier process had: what was known of it. With a ``session`` it is up."""
        self._view = replace(self._view, **facts)
        if session is not None:
            self.session = session
            self._enter(C.ACTIVE)
            self.timers.last(self.view().duration_s)

    async def let_go(self) -> None:
        """Leave it to the next process, as it is: nothing is said to anybody."""
        self.timers.stop()
        self.repair.end()
        self.memory.close()
        self.changes.close()
        self.audio.hush()
        await self._tasks.close()

    # --- waiting

    async def wait_for(self, condition: Callable[[], bool], timeout_s: float) -> None:
        """Return when ``condition`` holds. Raises `DeadlineExceeded`."""
        if not await self._waiters.until(condition, timeout_s):
            raise DeadlineExceeded(f"call {self.id} is still {self.state} after {timeout_s:g} s")

    def wake(self) -> None:
        """Something that a waiter may wait for has changed."""
        self._waiters.wake()

    # --- the session's events

    def on_session_event(self, event: sip.Event) -> None:
        """An event of this call's session, in order."""
        match event:
            case sip.DescriptionWanted() | sip.AnswerReceived() | sip.DescriptionExpired():
                self._negotiation.on_event(event)
            case sip.Progress():
                self._on_progress(event)
            case sip.Answered():
                self._on_answered(event)
            case sip.Modified() | sip.ModifyRefused():
                self._negotiation.outcome(event, self._on_outcome)
                return
            case sip.ModifyPutOff():
                self.changes.on_put_off(event)
                self.repair.on_put_off(event)
            case sip.InfoReceived():
                self.audio.on_info(event)
            case sip.Ended():
                self._on_session_ended(event)
            case _:
                pass  # Confirmed, DialogChanged, RemoteModified: nothing that a person would see
        self.memory.on_session_event(event)

    def _on_outcome(self, event: sip.Modified | sip.ModifyRefused) -> None:
        if not self.ended:
            self.changes.on_outcome(event)
            self.repair.on_outcome(event)
            self.memory.on_session_event(event)

    def _on_progress(self, event: sip.Progress) -> None:
        self._redial.on_heard()
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
        self.timers.answer(delay_s, lambda: self._signaling.answer(self._session()))

    def _on_answered(self, event: sip.Answered) -> None:
        self._view = replace(self._view, answered_at=self._clock(), sip_call_id=event.call_id)
        self._enter(C.ACTIVE)
        self._redial.on_heard()
        self.publish("call.answered")
        self.repair.begin()
        self.timers.last()
        self.timers.look_for_sound()

    def _on_session_ended(self, event: sip.Ended) -> None:
        if not (self._given_up or self.direction == "in" or self._view.answered_at) and self._redial.takes(event):
            self.session = None
            self._negotiation.start_over()
            return
        end = end_of(event, was_ringing=self._view.ringing_at is not None, decided=self._end_as)
        self._lost_reason = self._lost_reason or lost_reason(event)
        self._finish(end)

    # --- the media's events

    def _on_media_event(self, event: MediaEvent) -> None:
        # after the end only the fate of recordings and playbacks still matters
        if not self.ended or isinstance(event, AFTER_THE_END):
            self.audio.on_media_event(event)  # what happened is told before what it leads to, the call's end even
            self.repair.on_media_event(event)
            self.memory.on_media_event(event)

    def on_remote_hold(self, on: bool) -> None:
        """The far end held or resumed."""
        self._view = replace(self._view, hold=HoldView(remote=on))
        self.publish("call.held" if on else "call.unheld")

    def offer_again(self, *, ice_restart: bool, rebuild: bool) -> None:
        """Media asks for a new offer when the dialog allows it."""
        if self.state is C.ACTIVE:
            self.say_again(sip.ModifyCause.MEDIA, ice_restart=ice_restart, rebuild=rebuild)

    def say_again(
        self, cause: sip.ModifyCause, *, ice_restart: bool = False, rebuild: bool = False, pause: bool = False
    ) -> None:
        """One re-INVITE, whose offer restarts ICE or rebuilds the association when asked."""
        self._negotiation.wish(ice_restart=ice_restart, rebuild=rebuild, pause=pause)
        self._signaling.reinvite(self._session(), cause)

    def on_media_failed(self, detail: str) -> None:
        """No audio can flow any more. In a call that is up that is for its repair."""
        if self.state is not C.ACTIVE:
            self.on_unusable(detail)

    def lose(self, reason: str, *, redial: bool = False) -> None:
        """Give it up: nothing was left to try, or to wait for."""
        self._lost_reason, self.replaced = reason, redial
        self.hangup(cause=EndCause.LOST, by="system")

    def on_unusable(self, detail: str) -> None:
        """Media cannot be had: such a call is of no use to anybody."""
        log.warning("%s: media cannot be had: %s", self.id, detail)
        self.hangup(cause=EndCause.MEDIA_FAILED, by="system")

    # --- ends

    def _ring_timeout(self) -> None:
        if self.state is not C.ACTIVE:
            self.hangup(cause=EndCause.UNREACHABLE if self._redial.waiting else EndCause.NO_ANSWER, by="system")

    def _finish(self, end: EndView) -> None:
        if self.ended:
            return
        if end.cause is EndCause.LOST:
            self.publish("call.lost", reason=self._lost_reason)
        self.audio.hush()
        self._view = replace(self._view, ended_at=self._clock(), end=end)
        self._final_stats = self._media.stats()
        self._enter(C.ENDED)
        self.changes.close()
        self.publish("call.ended")
        self._on_ended(self)
        self._tasks.spawn("close", self._close())

    async def _close(self) -> None:
        """Leave nothing behind, step by step: one that fails or hangs does not spare the next."""
        for step in (self._tasks.close, self.audio.close, self._media.close):
            try:
                async with asyncio.timeout(CLOSE_BUDGET_S):
                    await step()
            except Exception:
                log.exception("%s: its end is not clean", self.id)
        self._closed = True
        self._on_closed(self)
        self.wake()

    async def closed(self, budget_s: float) -> bool:
        """Wait until nothing of an ended call is left. False when the budget is spent before that."""
        return await self._waiters.until(lambda: self._closed, budget_s)

    # --- inside

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

    def established(self, verb: str) -> str:
        """The SIP session of a call that is up."""
        self._require(verb, C.ACTIVE)
        return self._session()

    def require_media(self, verb: str) -> None:
        """Audio verbs need a call that is up."""
        self._require(verb, C.ACTIVE, C.EARLY_MEDIA)

    def _enter(self, state: CallState) -> None:
        if state not in LEGAL[self.state]:
            raise AssertionError(f"call {self.id}: {self.state} -> {state} is not legal")
        log.info("%s: %s -> %s", self.id, self.state, state)
        self.state = state
        if state in (C.ACTIVE, C.ENDED):
            self.timers.stop()
            self._redial.close()
        if state is C.ENDED:
            self.repair.end()
            self.memory.close()
        self.wake()

    def _on_crash(self, name: str, error: BaseException) -> None:
        log.error("%s crashed; the call ends", name, exc_info=error)
        self.give_up(EndCause.FAILED)
