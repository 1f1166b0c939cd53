"""One call's audio, from its session descriptions to its samples."""

from __future__ import annotations

from phoned.audio.port import AudioPort
from phoned.model import (
    DtmfRequest,
    MediaState,
    MediaView,
    PlaybackView,
    PlayRequest,
    RecordingView,
    RecordRequest,
    StatsView,
)


class MediaSession:
    """The negotiated audio of one call. Made by `MediaEngine.session`; driven by the call's verbs and the 20 ms clock.

    Descriptions are RFC 8866 bytes. At most one offer of ours is open at a time: `offer`, then `accept_answer` or
    `rollback`. `answer` may be called whenever no offer of ours is open.
    """

    # -- descriptions (RFC 3264)

    async def offer(self, *, ice_restart: bool = False, rebuild: bool = False) -> bytes:
        """A new offer, o= version + 1. Media goes on as it was until the answer.

        ``ice_restart``: new ICE credentials and candidates, same DTLS association (tier 1). ``rebuild``: new certificate,
        tls-id and ICE (tier 2). Neither: the same transport, with the present wishes for hold and codecs.
        Raises `WrongState` while an offer is open or after `close`, `UnavailableError` without any local address.
        """
        raise NotImplementedError

    async def answer(self, remote: bytes) -> bytes:
        """Take the peer's offer and answer it. Raises `DescriptionError` (``.status`` 400 or 488); media stays as it was."""
        raise NotImplementedError

    async def accept_answer(self, remote: bytes) -> None:
        """Take the answer to our open offer, or once more the same one (183, then 200).

        Raises `DescriptionError` when it cannot be used; the session is then as before the offer.
        """
        raise NotImplementedError

    def rollback(self) -> None:
        """Our open offer was refused: forget it. Everything that ran before it keeps running."""
        raise NotImplementedError

    def current_offer(self) -> bytes | None:
        """The last local description as sent, for a session refresh (same o= version); None before the first."""
        raise NotImplementedError

    # -- wishes; `hold` needs an offer to reach the peer, the rest works at once

    def hold(self, on: bool) -> None:
        """Wish to hold: what we hear and say stops now; the next `offer` carries ``a=sendonly`` (or its mirror)."""
        raise NotImplementedError

    @property
    def remote_hold(self) -> bool:
        """True while the peer's description keeps us from hearing it."""
        raise NotImplementedError

    def mute(self, on: bool) -> None:
        """Send silence instead of what the sources give."""
        raise NotImplementedError

    def prefer(self, codecs: tuple[str, ...]) -> None:
        """Codecs for the next offer, the preferred one first (codec switch by re-INVITE)."""
        raise NotImplementedError

    # -- DTMF

    def dtmf(self, request: DtmfRequest) -> None:
        """Queue digits. Digits for SIP INFO come back as `InfoWanted`, paced like the others."""
        raise NotImplementedError

    def info_digit(self, digit: str, duration_ms: int) -> None:
        """A digit came by SIP INFO: reported as `DtmfReceived`, unless it repeats one just heard by RFC 4733."""
        raise NotImplementedError

    # -- audio

    def port(self) -> AudioPort:
        """A tap that feeds and reads PCM at the graph's rate. Close it to detach."""
        raise NotImplementedError

    async def play(self, request: PlayRequest, playback_id: str | None = None) -> PlaybackView:
        """Play a file or tone to the far end. Raises `InvalidValue` for a file that is none of ours or no good."""
        raise NotImplementedError

    def pause_playback(self, playback_id: str, on: bool = True) -> PlaybackView:
        """Pause or resume. Raises `NotFound`."""
        raise NotImplementedError

    def stop_playback(self, playback_id: str) -> PlaybackView:
        """Stop; `PlaybackFinished` follows. Raises `NotFound`."""
        raise NotImplementedError

    def playbacks(self) -> tuple[PlaybackView, ...]:
        """Those that have not ended."""
        raise NotImplementedError

    async def record(self, request: RecordRequest, recording_id: str | None = None) -> RecordingView:
        """Start to record. Raises `UnavailableError` without a directory, `NotImplementedYet` for an unknown format."""
        raise NotImplementedError

    def pause_recording(self, recording_id: str, on: bool = True) -> RecordingView:
        """Pause or resume. Raises `NotFound`."""
        raise NotImplementedError

    async def stop_recording(self, recording_id: str) -> RecordingView:
        """Finish the file. Raises `NotFound`."""
        raise NotImplementedError

    def recordings(self) -> tuple[RecordingView, ...]:
        """Those that run."""
        raise NotImplementedError

    # -- views

    @property
    def state(self) -> MediaState:
        """The media plane of this call."""
        raise NotImplementedError

    def levels(self) -> tuple[float, float]:
        """dBov of what we send and of what we hear, over the last 200 ms (0 is full scale, -127 silence)."""
        raise NotImplementedError

    def stats(self) -> StatsView:
        """Counters since the session began."""
        raise NotImplementedError

    def view(self) -> MediaView:
        """State, codec and addresses."""
        raise NotImplementedError

    async def close(self) -> None:
        """Stop everything: RTCP BYE, recordings finished, sockets and tasks gone. Idempotent."""
        raise NotImplementedError
