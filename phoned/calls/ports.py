"""What a call needs of the storeys below it: the verbs of the SIP driver and of a media session. Protocols only.

`phoned.signaling.Signaling` and `phoned.media.session.MediaSession` are the real ones; tests bring their own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from phoned.media.events import MediaEvent
from phoned.model import DtmfRequest, MediaView, PlaybackView, PlayRequest, RecordingView, RecordRequest, StatsView
from phoned.sip.events import ModifyCause


class DescriptionDesk(Protocol):
    """Where descriptions that the SIP core wants are handed in."""

    def supply(self, token: str, description: bytes) -> None: ...

    def refuse(self, token: str, status: int) -> None: ...


class CallSignaling(DescriptionDesk, Protocol):
    """The verbs about SIP sessions. Each may raise a `phoned.errors.PhonedError`; none blocks."""

    def invite(
        self,
        account: str,
        target: str,
        headers: Sequence[tuple[str, str]],
        on_session: Callable[[str], None],
    ) -> None: ...

    def ring(self, session: str, *, status: int = 180, early_media: bool = False) -> None: ...

    def answer(self, session: str) -> None: ...

    def reject(self, session: str, status: int, reason: str = "") -> None: ...

    def hangup(self, session: str, reason: str | None = None) -> None: ...

    def reinvite(self, session: str, cause: ModifyCause) -> None: ...

    def info(self, session: str, content_type: str, body: bytes) -> str: ...


class DescribedMedia(Protocol):
    """A media session, as far as its descriptions go (RFC 3264)."""

    async def offer(self, *, ice_restart: bool = False, rebuild: bool = False) -> bytes: ...

    async def answer(self, remote: bytes) -> bytes: ...

    async def accept_answer(self, remote: bytes) -> None: ...

    def rollback(self) -> None: ...

    def current_offer(self) -> bytes | None: ...


class CallMedia(DescribedMedia, Protocol):
    """All of a media session that a call uses."""

    def hold(self, on: bool) -> None: ...

    def mute(self, on: bool) -> None: ...

    def dtmf(self, request: DtmfRequest) -> None: ...

    def info_digit(self, digit: str, duration_ms: int) -> None: ...

    async def play(self, request: PlayRequest, playback_id: str | None = None) -> PlaybackView: ...

    def pause_playback(self, playback_id: str, on: bool = True) -> PlaybackView: ...

    def stop_playback(self, playback_id: str) -> PlaybackView: ...

    def playbacks(self) -> tuple[PlaybackView, ...]: ...

    async def record(self, request: RecordRequest, recording_id: str | None = None) -> RecordingView: ...

    def pause_recording(self, recording_id: str, on: bool = True) -> RecordingView: ...

    async def stop_recording(self, recording_id: str) -> RecordingView: ...

    def recordings(self) -> tuple[RecordingView, ...]: ...

    def stats(self) -> StatsView: ...

    def view(self) -> MediaView: ...

    async def close(self) -> None: ...


MediaFactory = Callable[[str, str, Callable[[MediaEvent], None]], CallMedia]
"""``media(account, call_id, on_event)``: a fresh media session."""
