"""What is heard and said in one call: playbacks, recordings, digits, and the steps that follow an answer.

`CallAudio` passes verbs on to the media session and turns its events into events of the call. It must not know SIP
states beyond asking its call whether there is media.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Protocol

from phoned.audio.port import AudioPort
from phoned.calls.collect import Keypad
from phoned.calls.ports import CallMedia, CallSignaling
from phoned.calls.streams import CallStreams, StreamDesk
from phoned.errors import InvalidValue, NotFound, PhonedError
from phoned.events import EventBus
from phoned.ids import new_id
from phoned.media import events as media
from phoned.media.dtmf import info_body, parse_info
from phoned.media.graph import AudioGraph
from phoned.model import (
    CallState,
    CallView,
    CollectRequest,
    CollectView,
    DtmfRequest,
    MediaState,
    PlaybackView,
    PlayRequest,
    RecordingView,
    RecordRequest,
    SoundDirection,
    Step,
    StreamRequest,
)
from phoned.sip.events import InfoReceived
from phoned.tasks import Tasks

log = logging.getLogger(__name__)

MAX_PLAYBACKS = 64
"""Finished playbacks that a call remembers."""


class Owner(Protocol):
    """The call, as far as its audio must know it."""

    id: str
    session: str | None

    def publish(self, type_: str, **facts: object) -> None: ...

    def require_media(self, verb: str) -> None: ...

    def view(self) -> CallView: ...

    def hangup(self, reason: str | None = None) -> object: ...

    def on_remote_hold(self, on: bool) -> None: ...

    def offer_again(self, *, ice_restart: bool, rebuild: bool) -> None: ...

    def on_media_failed(self, detail: str) -> None: ...


class CallAudio:
    """See the module's docstring. Driven by verbs and by the media session's events."""

    def __init__(
        self,
        call: Owner,
        session: CallMedia,
        signaling: CallSignaling,
        bus: EventBus,
        tasks: Tasks,
        on_answer: tuple[Step, ...],
        desk: StreamDesk,
    ) -> None:
        self._call = call
        self._media = session
        self._signaling = signaling
        self._bus = bus
        self._tasks = tasks
        self._steps = on_answer
        self._playbacks: dict[str, PlaybackView] = {}
        self._recordings: dict[str, RecordingView] = {}
        self._keypad = Keypad(call.id, self.play, self._stop_prompt)
        self.streams = CallStreams(call, bus, desk, self._stream_port, session.pastime)
        self._resumes = False
        """What an earlier process had on the call waits for `begin`."""
        self._again: deque[RecordRequest] = deque()
        """Of that, recordings that have yet to go on."""
        self._speaking: set[SoundDirection] = set()
        """As it was told."""
        self.bridge: str | None = None
        """The bridge that the call is in."""
        self.on_changed: Callable[[], None] = lambda: None
        """Who is to hear that other recordings run, or none, or of another bridge."""

    # --- verbs

    def dtmf(self, request: DtmfRequest) -> None:
        """Queue digits for the far end."""
        self._call.require_media("send DTMF in")
        self._media.dtmf(request)

    def port(self, rate: int, *, both: bool = False) -> AudioPort:
        """What a program hears and says with."""
        self._call.require_media("hear")
        return self._media.port(rate, both=both)

    def _stream_port(self, request: StreamRequest) -> AudioPort:
        return self.port(request.sample_rate, both=request.tracks == "both")

    def then(self, steps: tuple[Step, ...]) -> None:
        """Do this, too, once media flows."""
        self._steps = (*self._steps, *steps)

    def resume(self, recordings: Iterable[RecordRequest]) -> None:
        """These ran in an earlier process: with `begin` they go on, in files of their own, and bots are dialled
        again."""
        self._again = deque(recordings)
        self._resumes = True

    def begin(self) -> None:
        """Media flows, or need not: what waited for that is done, once."""
        if self._resumes:
            self._resumes = False
            self._tasks.spawn("record-again", self._record_again())
            self._tasks.spawn("dial-again", self.streams.resume())
        if self._steps:
            steps, self._steps = self._steps, ()
            self._tasks.spawn("on-answer", self._follow(steps))

    async def _record_again(self) -> None:
        while self._again:
            try:
                await self.record(self._again[0])
            except PhonedError as error:
                log.warning("%s: a recording does not go on: %s", self._call.id, error.detail)
            self._again.popleft()

    async def play(self, request: PlayRequest) -> PlaybackView:
        """Play a file or a tone to the far end."""
        self._call.require_media("play into")
        view = await self._media.play(request, new_id("pb"))
        while len(self._playbacks) >= MAX_PLAYBACKS:
            self._playbacks.pop(next(iter(self._playbacks)))
        self._playbacks[view.id] = view
        self._bus.publish("playback.started", playback=view)
        return view

    def playback(self, playback: str) -> PlaybackView | None:
        """A playback of this call, running or ended."""
        running = {view.id: view for view in self._media.playbacks()}
        return running.get(playback) or self._playbacks.get(playback)

    def pause_playback(self, playback: str, on: bool) -> PlaybackView:
        """Pause or resume."""
        return self._media.pause_playback(playback, on)

    def stop_playback(self, playback: str) -> PlaybackView:
        """Stop; an ended one stays as it is."""
        ended = self._playbacks.get(playback)
        if ended is not None and ended.state in ("finished", "failed"):
            return ended
        return self._media.stop_playback(playback)

    async def collect(self, request: CollectRequest) -> CollectView:
        """Ask for digits, and return them. One question at a time."""
        self._call.require_media("collect digits in")
        view = await self._keypad.ask(request)
        if view.reason != "call_ended":
            self._call.publish("call.digits", digits=view.digits, reason=view.reason, terminator=view.terminator)
        return view

    def _stop_prompt(self, playback: str) -> None:
        with suppress(NotFound):  # it has ended by itself, and the news is on its way
            self.stop_playback(playback)

    async def record(self, request: RecordRequest) -> RecordingView:
        """Start to record."""
        self._call.require_media("record")
        view = await self._media.record(request, new_id("rec"))
        self._note(view, "recording.started")
        return view

    def _note(self, view: RecordingView, type_: str, **facts: object) -> None:
        self._recordings[view.id] = view
        self._bus.publish(type_, recording=view, **facts)
        self.on_changed()

    @property
    def graph(self) -> AudioGraph:
        """What is said and heard, for those that join calls."""
        return self._media.graph

    def in_bridge(self, bridge: str | None) -> None:
        """It has come into a bridge, or left it."""
        self.bridge = bridge
        self.on_changed()

    @property
    def recording_ids(self) -> tuple[str, ...]:
        """Recordings of this call, oldest first."""
        return tuple(self._recordings)

    def recordings(self) -> tuple[RecordingView, ...]:
        """Recordings of this call as they are now."""
        running = {view.id: view for view in self._media.recordings()}
        return tuple(running.get(view.id, view) for view in self._recordings.values())

    def running_recordings(self) -> tuple[RecordRequest, ...]:
        """Orders for recordings like those that run now, or are to go on."""
        running = (view for view in self.recordings() if view.state == "recording")
        return (
            *(RecordRequest(format=view.format, channels=view.channels, beep=view.beep) for view in running),
            *self._again,
        )

    def pause_recording(self, recording: str, on: bool) -> RecordingView:
        """Pause or resume."""
        view = self._media.pause_recording(recording, on)
        self._note(view, "recording.paused" if on else "recording.resumed")
        return view

    async def stop_recording(self, recording: str) -> RecordingView:
        """Finish the file; a finished one stays as it is."""
        known = self._recordings.get(recording)
        if known is None:
            raise NotFound(f"no recording {recording}")
        if known.state in ("finished", "failed"):
            return known
        self._recordings[recording] = await self._media.stop_recording(recording)
        return self._recordings[recording]

    def recovered(self, views: Iterable[RecordingView]) -> None:
        """Recordings of this call that an earlier process had begun."""
        self._recordings.update((view.id, view) for view in views)

    def forget_recording(self, recording: str) -> None:
        """Its file is gone."""
        self._recordings.pop(recording, None)

    async def close(self) -> None:
        """Finish the recordings of a call that ended."""
        self._keypad.close()
        self.streams.close()
        for view in self._media.recordings():
            try:
                self._recordings[view.id] = await self._media.stop_recording(view.id)
            except PhonedError as error:
                log.warning("%s: recording %s: %s", self._call.id, view.id, error.detail)

    # --- SIP INFO

    def on_info(self, event: InfoReceived) -> None:
        """A digit may have come by INFO; anything else is not for us."""
        if event.content_type.partition(";")[0].strip().lower() not in ("application/dtmf-relay", "application/dtmf"):
            return
        try:
            digit = parse_info(event.content_type, event.body)
        except InvalidValue as error:
            log.info("%s: INFO without a usable digit: %s", self._call.id, error.detail)
            return
        self._media.info_digit(digit.digit, digit.duration_ms)

    # --- the media session's events

    def on_media_event(self, event: media.MediaEvent) -> None:
        """A fact about this call's media."""
        match event:
            case media.Flowing():
                self.begin()
            case media.MediaStateChanged():
                self._on_state(event)
            case media.RemoteHold():
                self._call.on_remote_hold(event.on)
            case media.OfferWanted():
                self._call.offer_again(ice_restart=event.ice_restart, rebuild=event.rebuild)
            case media.MediaFailed():
                self._call.publish("call.media_failed", local=event.cause in _LOCAL_FAILURES)
                self._call.on_media_failed(f"{event.cause} {event.detail}".strip())
            case media.CodecChanged() | media.PathChanged():
                self._call.publish("call.updated")
            case media.DtmfReceived():
                self.streams.dtmf(event.digit, event.duration_ms)
                self._call.publish("call.dtmf", digit=event.digit, duration_ms=event.duration_ms, method=event.method)
                self._keypad.digit(event.digit)
            case media.VoiceTurned():
                self._on_voice(event.direction, event.speaking)
            case media.InfoWanted():
                if self._call.session is not None:
                    content_type, body = info_body(event.digit, event.duration_ms)
                    self._signaling.info(self._call.session, content_type, body)
            case media.PlaybackFinished():
                self._playbacks[event.playback.id] = event.playback
                self._keypad.playback_ended(event.playback.id)
                outcome = "playback.failed" if event.playback.state == "failed" else "playback.finished"
                facts = {"detail": event.detail} if event.playback.state == "failed" else {}
                self._bus.publish(outcome, playback=event.playback, **facts)
            case media.RecordingGap():
                self._bus.publish(
                    "recording.gap",
                    recording=event.recording,
                    start_s=event.start_s,
                    end_s=event.end_s,
                    cause=event.cause,
                )
            case media.RecordingFinished():
                self._note(event.recording, "recording.finished")
            case media.RecordingFailed():
                self._note(event.recording, "recording.failed", detail=event.detail)
            case _:
                pass  # DtmfSent, PathTrouble: facts for recovery, not for people

    def _on_state(self, event: media.MediaStateChanged) -> None:
        if event.new is not MediaState.STALLED:  # that is told with a direction, by the call's repair
            self._call.publish("call.updated")

    def _on_voice(self, direction: SoundDirection, speaking: bool) -> None:
        if speaking and self._call.view().state is not CallState.ACTIVE:
            return  # before the answer it is a tone or an announcement
        if speaking != (direction in self._speaking):
            self._speaking ^= {direction}
            self._call.publish("call.speech_started" if speaking else "call.speech_stopped", direction=direction)

    def hush(self) -> None:
        """Nobody is heard any more, by this process at least."""
        for direction in sorted(self._speaking):
            self._on_voice(direction, False)

    async def _follow(self, steps: tuple[Step, ...]) -> None:
        for step in steps:
            try:
                match step:
                    case PlayRequest():
                        await self.play(step)
                    case RecordRequest():
                        await self.record(step)
                    case DtmfRequest():
                        self.dtmf(step)
                    case StreamRequest():
                        await self.streams.start(step)
            except PhonedError as error:
                log.warning("%s: on_answer step failed: %s", self._call.id, error.detail)
                self._call.publish("call.updated", on_answer_failed=error.detail)
                if isinstance(step, StreamRequest) and step.on_close != "keep":
                    self._call.hangup()  # as for a bot that is not to be reached: nobody else would talk
                return


_LOCAL_FAILURES = frozenset({media.MediaFailure.CODEC, media.MediaFailure.NO_CANDIDATES, media.MediaFailure.INTERNAL})
