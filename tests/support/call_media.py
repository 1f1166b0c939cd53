"""A media session for calls without network."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from phoned.audio.port import AudioPort
from phoned.errors import NotFound
from phoned.ids import new_id
from phoned.media.events import MediaEvent, RecordingFinished
from phoned.media.graph import AudioGraph
from phoned.media.pulse import Pulse
from phoned.model import DtmfRequest, MediaView, PlaybackView, PlayRequest, RecordingView, RecordRequest, StatsView


def playing(request: PlayRequest, call: str = "", *, playback_id: str | None = None) -> PlaybackView:
    """What plays, as it begins."""
    return PlaybackView(
        id=playback_id or new_id("pb"),
        call=call,
        state="playing",
        file=request.files[0] if request.files else request.file,
        files=request.files if len(request.files) > 1 else None,
        tone=request.tone,
        url=request.url,
    )


class FakeMedia:
    """A media session that does as it is told. ``log`` is what was asked of it; `emit` is what it reports."""

    def __init__(self, on_event: Callable[[MediaEvent], None]) -> None:
        self.emit = on_event
        self.log: list[Any] = []
        self.errors: dict[str, list[Exception]] = {}
        self.work_s = 0.01
        self.held = False
        self.muted = False
        self.closed = 0
        self.close_waits_for: asyncio.Event | None = None
        self.current: bytes | None = None
        self.numbers = StatsView()
        self.state = MediaView()
        self.beat = Pulse()
        self.talking = False
        """The far end is heard all the time."""
        self.answers: list[float | None] = []
        """To probes, in order; then None."""
        self.probes = 0
        self.elsewhere = False
        """Another route leads to the far end."""
        self.wanted_codecs: tuple[str, ...] = ("opus", "PCMU")
        self.running: dict[str, PlaybackView | RecordingView] = {}
        self.ports: list[AudioPort] = []
        self.graph = AudioGraph(16_000)

    def _do(self, what: str, *facts: Any) -> None:
        self.log.append((what, *facts) if facts else what)
        if self.errors.get(what):
            raise self.errors[what].pop(0)

    async def offer(self, *, ice_restart: bool = False, rebuild: bool = False, pause: bool = False) -> bytes:
        told = (("ice", ice_restart), ("rebuild", rebuild), ("pause", pause), ("held", self.held))
        await asyncio.sleep(self.work_s)
        self._do("offer", *(name for name, on in told if on))
        return b"offer"

    async def answer(self, remote: bytes) -> bytes:
        await asyncio.sleep(self.work_s)
        self._do("answer", remote)
        return b"answer"

    async def accept_answer(self, remote: bytes) -> None:
        await asyncio.sleep(self.work_s)
        self._do("accept", remote)

    def rollback(self) -> None:
        self._do("rollback")

    def current_offer(self) -> bytes | None:
        return self.current

    def remember(self) -> str | None:
        return None if self.current is None else self.current.decode()

    def hold(self, on: bool) -> None:
        self.held = on

    def mute(self, on: bool) -> None:
        self.muted = on

    def pastime(self, on: bool) -> None:
        self._do("pastime", on)

    def dtmf(self, request: DtmfRequest) -> None:
        self._do("dtmf", request.digits)

    def info_digit(self, digit: str, duration_ms: int) -> None:
        self._do("info_digit", digit, duration_ms)

    def port(self, rate: int | None = None, *, both: bool = False) -> AudioPort:
        self._do("port", rate)
        self.ports.append(AudioPort(16000, rate, both=both))
        return self.ports[-1]

    async def play(self, request: PlayRequest, playback_id: str | None = None) -> PlaybackView:
        self._do("play")
        view = playing(request, playback_id=playback_id)
        self.running[view.id] = view
        return view

    def pause_playback(self, playback_id: str, on: bool = True) -> PlaybackView:
        return replace(self._playback(playback_id), state="paused" if on else "playing")

    def stop_playback(self, playback_id: str) -> PlaybackView:
        view = replace(self._playback(playback_id), state="finished")
        del self.running[playback_id]
        return view

    def _playback(self, playback_id: str) -> PlaybackView:
        view = self.running.get(playback_id)
        if not isinstance(view, PlaybackView):
            raise NotFound("no playback")
        return view

    def playbacks(self) -> tuple[PlaybackView, ...]:
        return tuple(view for view in self.running.values() if isinstance(view, PlaybackView))

    async def record(self, request: RecordRequest, recording_id: str | None = None) -> RecordingView:
        self._do("record")
        view = RecordingView(
            id=recording_id or new_id("rec"), call="", state="recording", format="wav", channels="stereo", file="r.wav"
        )
        self.running[view.id] = view
        return view

    def pause_recording(self, recording_id: str, on: bool = True) -> RecordingView:
        return replace(self._recording(recording_id), state="paused" if on else "recording")

    async def stop_recording(self, recording_id: str) -> RecordingView:
        self._do("stop_recording")
        view = replace(self._recording(recording_id), state="finished")
        del self.running[recording_id]
        asyncio.get_running_loop().call_soon(self.emit, RecordingFinished(recording=view))
        return view

    def _recording(self, recording_id: str) -> RecordingView:
        view = self.running.get(recording_id)
        if not isinstance(view, RecordingView):
            raise NotFound("no recording")
        return view

    def recordings(self) -> tuple[RecordingView, ...]:
        return tuple(view for view in self.running.values() if isinstance(view, RecordingView))

    def pulse(self) -> Pulse:
        return replace(self.beat, heard_at=asyncio.get_running_loop().time()) if self.talking else self.beat

    async def probe(self) -> float | None:
        self.probes += 1
        await asyncio.sleep(0.4)
        return self.answers.pop(0) if self.answers else None

    def rerouted(self) -> bool:
        return self.elsewhere

    def prefer(self, names: tuple[str, ...]) -> None:
        self.wanted_codecs = names
        self._do("prefer", *names)

    def renew_sender(self) -> None:
        self._do("renew")

    def stats(self, *, sample: bool = False) -> StatsView:
        return self.numbers

    def view(self) -> MediaView:
        return self.state

    async def close(self) -> None:
        self.closed += 1
        self._do("close")
        if self.close_waits_for is not None:
            await self.close_waits_for.wait()
