"""What a call says and hears by order: ports of programs, playbacks, recordings.

Owns their identifiers, their lives and their events. It puts them into the call's `AudioGraph`; files are opened, read
and written off the loop. It knows no packet and no description: all of it survives every restart of the transport.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from phoned.audio.port import BEGIN_MS, AudioPort
from phoned.audio.tones import Beeps
from phoned.errors import AtCapacity, DiskFull, Gone, InvalidValue, NotFound, UnavailableError
from phoned.ids import new_id
from phoned.media.events import MediaEvent, PlaybackFinished, RecordingFailed, RecordingFinished, RecordingGap
from phoned.media.graph import AudioGraph, Source
from phoned.media.options import SessionOptions
from phoned.media.playback import Playback, open_source
from phoned.media.shared import Shared
from phoned.model import PlaybackView, PlayRequest, RecordingView, RecordRequest
from phoned.recording.recorder import GapCause, Recorder

MAX_PLAYBACKS = 16
MAX_RECORDINGS = 4
MAX_PORTS = 16
BEEP_S = 15.0
"""Between the beeps of a recording that asked for them, where the configuration does not say."""


class AudioDesk:
    """Driven by `MediaSession`'s verbs."""

    def __init__(
        self,
        call_id: str,
        shared: Shared,
        options: SessionOptions,
        graph: AudioGraph,
        emit: Callable[[MediaEvent], None],
    ) -> None:
        self._call_id = call_id
        self._shared = shared
        self._options = options
        self._graph = graph
        self._emit = emit
        self._ports: list[AudioPort] = []
        self._playbacks: dict[str, Playback] = {}
        self._opening: set[str] = set()
        """Playbacks whose sound is being looked for."""
        self._closed = False
        self._recordings: dict[str, Recorder] = {}
        self._beeps: dict[str, Beeps] = {}

    # -- ports

    def port(self, rate: int | None = None, *, both: bool = False, begin_ms: int = BEGIN_MS) -> AudioPort:
        """A new port, attached. See `AudioPort`."""
        if len(self._ports) >= MAX_PORTS:
            raise AtCapacity("this call has too many audio ports")
        graph, loop = self._graph, asyncio.get_running_loop()

        def closed(port: AudioPort) -> None:
            try:
                loop.call_soon_threadsafe(self._detach, port)  # a program closes it in its own thread
            except RuntimeError:
                pass  # the phone is no more

        port = AudioPort(graph.rate, rate, both=both, begin_ms=begin_ms, on_close=closed)
        port.plug.said = lambda: graph.said or graph.silence
        self._ports.append(port)
        graph.sources.append(port.plug)
        graph.sinks.append(port.plug)
        return port

    def _detach(self, port: AudioPort) -> None:
        if port in self._ports:
            self._ports.remove(port)
            self._graph.sources.remove(port.plug)
            self._graph.sinks.remove(port.plug)

    # -- playbacks

    async def play(self, request: PlayRequest, playback_id: str | None) -> PlaybackView:
        """Start a playback. Raises `InvalidValue`, `AtCapacity`, `UnavailableError`."""
        if len(self._playbacks) + len(self._opening) >= MAX_PLAYBACKS:
            raise AtCapacity("this call plays too many things at once")
        playback_id = playback_id or new_id("pb")
        if playback_id in self._playbacks or playback_id in self._opening:
            raise InvalidValue("there is such a playback", pointer="/id")
        self._opening.add(playback_id)
        try:
            source = await open_source(request, self._graph.rate, self._shared)
        finally:
            self._opening.discard(playback_id)
        if self._closed:
            source.close()
            raise Gone("the call has ended")
        playback = Playback(playback_id, self._call_id, request, source, lambda: self._playback_ended(playback))
        self._playbacks[playback_id] = playback
        self._shelf(request).append(playback)
        return playback.view()

    def _shelf(self, request: PlayRequest) -> list[Source]:
        return self._graph.sources if request.mix else self._graph.overlays

    def _playback_ended(self, playback: Playback, detail: str = "") -> None:
        self._playbacks.pop(playback.id, None)
        shelf = self._shelf(playback.request)
        if playback in shelf:
            shelf.remove(playback)
        playback.close()
        self._emit(
            PlaybackFinished(
                playback=playback.view("failed" if playback.error else "finished"), detail=detail or playback.error
            )
        )

    def _playback(self, playback_id: str) -> Playback:
        if playback_id not in self._playbacks:
            raise NotFound(f"no playback {playback_id[:80]!r} runs in this call")
        return self._playbacks[playback_id]

    def pause_playback(self, playback_id: str, on: bool) -> PlaybackView:
        """Pause or resume."""
        playback = self._playback(playback_id)
        playback.pause(on)
        return playback.view()

    def stop_playback(self, playback_id: str) -> PlaybackView:
        """Stop."""
        playback = self._playback(playback_id)
        self._playback_ended(playback, "stopped")
        return playback.view("finished")

    def playbacks(self) -> tuple[PlaybackView, ...]:
        """Those that have not ended."""
        return tuple(playback.view() for playback in self._playbacks.values())

    # -- recordings

    async def record(self, request: RecordRequest, recording_id: str | None) -> RecordingView:
        """Start a recording."""
        directory = self._shared.options.recordings_dir
        if directory is None:
            raise UnavailableError("no recordings directory is configured")
        if len(self._recordings) >= MAX_RECORDINGS:
            raise AtCapacity("this call is being recorded too many times at once")
        recording_id = recording_id or new_id("rec")
        if recording_id in self._recordings:
            raise InvalidValue("there is such a recording", pointer="/id")
        recorder = Recorder(
            recording_id,
            self._call_id,
            self._graph.rate,
            request,
            directory=directory,
            writer=self._shared.writer,
            on_failed=self._recording_failed,
            on_gap=self._recording_gap,
            floor=self._options.recordings_floor,
        )
        try:
            await recorder.start()
        except DiskFull as error:  # the one reason that only waits to get worse: told to everybody
            self._recording_failed(recorder, error.detail)
            raise
        self._recordings[recording_id] = recorder
        self._beep(recorder, request)
        self._graph.witnesses.append(recorder)
        return recorder.view()

    def _beep(self, recorder: Recorder, request: RecordRequest) -> None:
        every_s = self._options.recording_beep_s
        if every_s or request.beep:
            beeps = Beeps(self._graph.rate, every_s or BEEP_S, lambda: not recorder.paused)
            self._beeps[recorder.id] = beeps
            recorder.beeps = True
            self._graph.notices.append(beeps)

    def _recording_gap(self, recorder: Recorder, start_s: float, end_s: float, cause: GapCause) -> None:
        self._emit(RecordingGap(recording=recorder.view(), start_s=start_s, end_s=end_s, cause=cause))

    def _recording_failed(self, recorder: Recorder, detail: str) -> None:
        self._forget_recording(recorder)
        self._emit(RecordingFailed(recording=recorder.view(), detail=detail))

    def _forget_recording(self, recorder: Recorder) -> None:
        self._recordings.pop(recorder.id, None)
        if recorder in self._graph.witnesses:
            self._graph.witnesses.remove(recorder)
        beeps = self._beeps.pop(recorder.id, None)
        if beeps is not None:
            self._graph.notices.remove(beeps)

    def _recording(self, recording_id: str) -> Recorder:
        if recording_id not in self._recordings:
            raise NotFound(f"no recording {recording_id[:80]!r} runs in this call")
        return self._recordings[recording_id]

    def pause_recording(self, recording_id: str, on: bool) -> RecordingView:
        """Pause or resume."""
        recorder = self._recording(recording_id)
        recorder.paused = on
        return recorder.view()

    async def stop_recording(self, recording_id: str) -> RecordingView:
        """Finish the file."""
        recorder = self._recording(recording_id)
        self._forget_recording(recorder)
        view = await recorder.finish()
        if view.state == "finished":
            self._emit(RecordingFinished(recording=view))
        return view

    def recordings(self) -> tuple[RecordingView, ...]:
        """Those that run."""
        return tuple(recorder.view() for recorder in self._recordings.values())

    async def close(self) -> None:
        """End all of it, finishing the recordings."""
        self._closed = True
        for port in list(self._ports):
            port.close()
        for playback in list(self._playbacks.values()):
            self._playback_ended(playback, "the call ended")
        for recording_id in list(self._recordings):
            await self.stop_recording(recording_id)
