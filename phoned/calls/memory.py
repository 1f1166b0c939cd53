"""What of one call outlives the process, and the next one's first steps with it.

`CallMemory` describes its call for the journal (`phoned.calls.entry`) and, after a restart, watches over its way back
(`phoned.calls.comeback`). It must not know where entries are kept, nor what becomes of calls that cannot come back.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from phoned.calls.audio import CallAudio
from phoned.calls.comeback import Comeback
from phoned.calls.entry import JournalEntry, Standing
from phoned.calls.modify import Modifications
from phoned.calls.outage import Outage
from phoned.calls.ports import CallMedia, CallSignaling
from phoned.calls.repair import MediaRepair
from phoned.calls.repair_context import RepairContext
from phoned.calls.timers import CallTimers
from phoned.errors import PhonedError
from phoned.media.events import Flowing, MediaEvent
from phoned.model import CallView, Direction
from phoned.sip import events as sip


class Owner(Protocol):
    """The call, as far as its memory must know it."""

    id: str
    account: str
    direction: Direction
    session: str | None
    timers: CallTimers
    repair: MediaRepair

    @property
    def ended(self) -> bool: ...

    def view(self) -> CallView: ...

    def take_up(self, session: str | None, **facts: Any) -> None:
        """It is the call that an earlier process had; with a ``session`` it is up."""
        ...

    def offer_again(self, *, ice_restart: bool, rebuild: bool) -> None: ...

    def lose(self, reason: str) -> None: ...


class CallMemory:
    """See the module's docstring. Driven by its call: `changed`, and the events of its session and its media."""

    def __init__(
        self,
        call: Owner,
        *,
        signaling: CallSignaling,
        media: CallMedia,
        audio: CallAudio,
        changes: Modifications,
        outage: Outage,
        context: RepairContext,
        on_changed: Callable[[], None],
    ) -> None:
        self._call = call
        self._signaling = signaling
        self._media = media
        self._audio = audio
        self._changes = changes
        self._outage = outage
        self._context = context
        self._on_changed = on_changed
        self._confirmed = False
        self._comeback: Comeback | None = None
        changes.on_wish = audio.on_changed = audio.streams.on_changed = self.changed

    # --- to be remembered

    def changed(self) -> None:
        """Something that an entry holds may be another thing now. After the end there is nothing to be remembered."""
        if not self._call.ended:
            self._on_changed()

    def entry(self) -> JournalEntry | None:
        """As it is now; None for a call that is over."""
        call = self._call
        if call.ended:
            return None
        view = call.view()
        return JournalEntry(
            call=call.id,
            account=call.account,
            direction=call.direction,
            peer=view.peer,
            created_at=view.created_at,
            standing=self._standing(view),
            ringing_at=view.ringing_at,
            answered_at=view.answered_at,
            sip_call_id=view.sip_call_id,
            tags=view.tags,
            headers=view.headers,
            dialog=self._dialog(),
            media=self._media.remember(),
            codec=view.media.codec,
            held=self._changes.held,
            holding=self._changes.holding,
            muted=view.muted,
            recordings=view.recordings,
            recording=self._audio.running_recordings(),
            streams=self._audio.streams.running(),
            max_duration_s=call.timers.longest_s,
            bridge=self._audio.bridge,
        )

    def _standing(self, view: CallView) -> Standing:
        if view.answered_at is None:
            return "early"
        return "up" if self._confirmed else "answered"

    def _dialog(self) -> Mapping[str, Any] | None:
        session = self._call.session
        if session is None:
            return None
        try:
            return self._signaling.snapshot(session)
        except PhonedError:
            return None  # an incoming call that rings, or one whose INVITE is not written yet

    # --- after a restart

    def recall(self, entry: JournalEntry) -> None:
        """Its call is the one of ``entry``, whatever becomes of it."""
        self._take_up(None, entry)

    def resume(self, session: str, entry: JournalEntry, *, silent_s: float, patience_s: float) -> None:
        """It is up, as far as we know: the account's first flow carries a re-INVITE with a new association."""
        self._confirmed = True
        self._take_up(session, entry)
        self._media.mute(entry.muted)
        self._changes.held = entry.held
        self._changes.wish_held(entry.holding)
        self._audio.resume(entry.recording)
        self._comeback = Comeback(
            self._call,
            self._outage,
            self._context,
            silent_s=silent_s,
            patience_s=patience_s,
            on_back=self._audio.begin,
        )
        self._call.repair.begin(resumed=True)

    def _take_up(self, session: str | None, entry: JournalEntry) -> None:
        self._audio.streams.keep(entry.streams)
        self._call.timers.longest_s = entry.max_duration_s
        self._call.take_up(
            session,
            created_at=entry.created_at,
            ringing_at=entry.ringing_at,
            answered_at=entry.answered_at,
            sip_call_id=entry.sip_call_id,
            muted=entry.muted,
        )

    # --- what happens

    def on_session_event(self, event: sip.Event) -> None:
        """An event of its session, after the call has dealt with it."""
        match event:
            case sip.Answered():
                self._confirmed = self._call.direction == "out"
            case sip.Confirmed():
                self._confirmed = True
            case sip.Modified() | sip.ModifyRefused() if self._comeback is not None:
                self._comeback.on_outcome(event)
        self.changed()

    def on_media_event(self, event: MediaEvent) -> None:
        """A fact about its media, after the call has dealt with it."""
        if self._comeback is not None:
            if isinstance(event, Flowing):
                self._comeback.on_flowing()
            else:
                self._comeback.look()

    def close(self) -> None:
        """The call is over, or another process's."""
        if self._comeback is not None:
            self._comeback.close()
