"""One call's audio, from its session descriptions to its samples.

Owns the media state of the call and puts its parts together: `Negotiation` reads and writes descriptions,
`SecureTransport` carries packets, `Stream` turns frames into packets and back, `AudioGraph` and `AudioDesk` are what is
said and heard. Everything above it speaks of wishes; what happens comes up as an event.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from phoned.audio.port import BEGIN_MS, AudioPort
from phoned.errors import Gone, UnavailableError
from phoned.media import codecs
from phoned.media.desk import AudioDesk
from phoned.media.dtls import DtlsFailed
from phoned.media.dtmf import Digit
from phoned.media.events import MediaEvent, MediaFailed, MediaFailure, PathChanged, PathTrouble, RestartFailed
from phoned.media.graph import AudioGraph
from phoned.media.hold_music import HoldMusic, beside, on_hold
from phoned.media.ice import IceDiscarded, IceFailed, RemoteIce
from phoned.media.negotiation import Negotiation, Plan
from phoned.media.options import SessionOptions
from phoned.media.pulse import Pulse
from phoned.media.sdp import Direction, OpusFormat, write
from phoned.media.sender import RtpSender
from phoned.media.shared import Shared
from phoned.media.state import MediaStateMachine
from phoned.media.statistics import stats_view
from phoned.media.stream import EncoderFailed, Stream
from phoned.media.transport import Peer, SecureTransport
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
from phoned.tasks import Tasks

log = logging.getLogger(__name__)


class MediaSession:
    """The negotiated audio of one call. Made by `MediaEngine.session`; driven by the call's verbs and the 20 ms clock.

    Descriptions are RFC 8866 bytes. At most one offer of ours is open at a time: `offer`, then `accept_answer` or
    `rollback`. `answer` may be called whenever no offer of ours is open.
    """

    def __init__(
        self, shared: Shared, call_id: str, options: SessionOptions, on_event: Callable[[MediaEvent], None]
    ) -> None:
        self.call_id = call_id
        self._shared = shared
        self._options = options
        self._on_event = on_event
        self._loop = asyncio.get_running_loop()
        self._tasks = Tasks(f"media/{call_id}", self._task_crashed)
        self._state = MediaStateMachine(f"call {call_id}", self._emit)
        self._closed = False
        self._lock = asyncio.Lock()
        self._wanted_codecs: tuple[str, ...] = ()
        self.prefer(options.continues.codecs(options.codecs) if options.continues else options.codecs)
        self._transport = SecureTransport(
            f"call {call_id}",
            options.ice,
            self,
            self._tasks,
            shared.servers,
            handshake_deadline_s=options.handshake_deadline_s,
        )
        self._stream = Stream(
            options,
            self._transport,
            self._state,
            self._loop.time(),
            emit=self._emit,
            on_crash=self._stream_crashed,
        )
        self._negotiation = Negotiation(
            self._transport,
            identities=shared.identities.take,
            ssrc=self._stream.sender.ssrc,
            cname=self._stream.cname,
            allow_loopback=options.ice.allow_loopback,
            opus=OpusFormat(playback_rate=options.graph_rate, fec=True, dtx=options.opus_dtx),
            previous=options.continues.previous() if options.continues else None,
        )
        self._desk = AudioDesk(call_id, shared, options, self._stream.graph, self._emit)
        self._music, self._pastime = (
            HoldMusic(
                f"call {call_id}",
                shared.options.hold_music,
                options.graph_rate,
                sound(self._stream.graph),
                shared.readers,
                self._tasks,
            )
            for sound in (on_hold, beside)
        )
        self._sampled = (0, 0)
        """Packets received and lost, at the last sample."""
        self._peer_due: Peer | None = None
        self._connecting: asyncio.Task[Any] | None = None
        self._discarded = False
        """The agent that was to connect was given up for another, of which nothing is known yet."""
        self._remove_from_clock: Callable[[], None] | None = None

    # -- descriptions (RFC 3264)

    async def offer(self, *, ice_restart: bool = False, rebuild: bool = False, pause: bool = False) -> bytes:
        """A new offer, o= version + 1. Media goes on as it was until the answer.

        ``ice_restart``: new ICE credentials and candidates, same DTLS association (tier 1). ``rebuild``: new
        certificate, tls-id and ICE (tier 2). Neither: the same transport, with the present wishes for hold and codecs.
        ``pause``: the path in use is believed dead, send nothing until the new one is there (ICE restart rule 2).
        Raises `WrongState` while an offer is open, `Gone` after `close`, `UnavailableError` without a local address.
        """
        self._check_open()
        async with self._lock:
            try:
                data = await self._negotiation.offer(
                    self._wanted_codecs, self._direction(), ice_restart=ice_restart, rebuild=rebuild
                )
            except IceFailed as error:
                raise UnavailableError(str(error)) from error
            self._transport.path.paused = pause and (ice_restart or rebuild)
            return data

    async def answer(self, remote: bytes) -> bytes:
        """Take the peer's offer and answer it. Raises `DescriptionError` (``.status``); media stays as it was then."""
        self._check_open()
        async with self._lock:
            try:
                data, plan = await self._negotiation.answer(remote, self._wanted_codecs, self._direction())
            except IceFailed as error:
                self._nothing_came_of_it()
                raise UnavailableError(str(error)) from error
            self._apply(plan)
            return data

    async def accept_answer(self, remote: bytes) -> None:
        """Take the answer to our open offer, or once more the same one (183, then 200).

        Raises `DescriptionError` when it cannot be used: the offer is then still open, for `rollback`.
        """
        self._check_open()
        async with self._lock:
            self._apply(self._negotiation.accept_answer(remote))

    def rollback(self) -> None:
        """Our open offer was refused: forget it. Everything that ran before it keeps running."""
        self._transport.path.paused = False
        if self._negotiation.rollback():
            self._transport.path.discard_soon()
        self._nothing_came_of_it()

    def current_offer(self) -> bytes | None:
        """The local description in force, for a session refresh (same o= version); None before there is one."""
        local = self._negotiation.local
        return None if local is None else write(local)

    def remember(self) -> str | None:
        """What a successor in another process needs (`SessionOptions.continues`); None before there is anything."""
        return self._negotiation.remember()

    def _check_open(self) -> None:
        if self._closed:
            raise Gone("the media session is closed")

    def _direction(self) -> Direction:
        return Direction.SENDONLY if self._stream.graph.held else Direction.SENDRECV

    def _apply(self, plan: Plan) -> None:
        self._stream.use(plan.agreement, self._loop.time())
        if plan.peer is not None:
            self._peer_due = plan.peer
        if plan.wanted is not None:
            self._emit(plan.wanted)
        if plan.candidates:
            self._tasks.spawn("feed", self._transport.path.feed(plan.candidates))
        handshaking = self._transport.path.connected and self._connecting is not None
        if plan.ice is not None or (plan.peer is not None and (self._connecting is None or handshaking)):
            if self._connecting is not None:
                self._connecting.cancel()
            self._discarded = False
            self._transport.collecting = self._transport.ready
            self._connecting = self._tasks.spawn("connect", self._connect(plan.ice))
        elif self._connecting is None:
            self._transport.end_collecting(keep=True)
        self._tick()

    # -- the transport's life

    async def _connect(self, ice: RemoteIce | None) -> None:
        restart = self._transport.ready
        if not restart:
            self._state.enter(MediaState.CONNECTING_MEDIA, "description")
        try:
            if ice is not None:
                await self._transport.path.connect(ice)
            if self._peer_due is not None:
                peer, self._peer_due = self._peer_due, None
                await self._transport.establish(peer)
        except IceDiscarded as error:
            if self._lock.locked() or self._negotiation.offering:
                self._discarded = True  # what it was given up for decides
            else:
                self._connect_failed(MediaFailure.ICE, str(error), restart=restart)
        except IceFailed as error:
            self._connect_failed(MediaFailure.ICE, str(error), restart=restart)
        except DtlsFailed as error:
            cause = MediaFailure.FINGERPRINT if error.fingerprint else MediaFailure.DTLS
            self._connect_failed(cause, str(error), restart=restart)
        finally:
            if self._connecting is asyncio.current_task():  # else a newer one has taken over
                self._connecting = None
                self._transport.end_collecting(keep=True)

    def _connect_failed(self, cause: MediaFailure, detail: str, *, restart: bool) -> None:
        self._transport.path.paused = False
        if cause is MediaFailure.FINGERPRINT:
            self._transport.revoke()  # not a word more to whoever that is
        if restart and cause is not MediaFailure.FINGERPRINT:
            self._emit(RestartFailed(cause=cause, detail=detail))
        else:
            self._fail(cause, detail)

    def _nothing_came_of_it(self) -> None:
        """There is no newer description after all: if an agent was given up for it, there is no path to come."""
        if self._discarded:
            self._discarded = False
            detail = "given up for a description that came to nothing"
            self._connect_failed(MediaFailure.ICE, detail, restart=self._transport.ready)

    def _fail(self, cause: MediaFailure, detail: str) -> None:
        log.warning("call %s: media failed: %s %s", self.call_id, cause, detail)
        self._state.enter(MediaState.FAILED, cause)
        self._emit(MediaFailed(cause=cause, detail=detail))

    def _task_crashed(self, name: str, error: BaseException) -> None:
        log.error("call %s: %s crashed", self.call_id, name, exc_info=error)
        if not self._closed:
            self._fail(MediaFailure.INTERNAL, f"{name}: {error!r}")

    def path_changed(self) -> None:
        """The path moved (TransportListener)."""
        path = self._transport.path
        self._stream.flow_awaited = True
        self._emit(PathChanged(local=path.local or "", remote=path.remote or "", ice_generation=path.generation))

    def socket_error(self, error: OSError) -> None:
        """The kernel refused a packet (TransportListener)."""
        self._emit(PathTrouble(kind="socket", detail=error.strerror or str(error)))

    def consent_missed(self, misses: int) -> None:
        """Consent checks went unanswered (TransportListener)."""
        self._emit(PathTrouble(kind="consent", detail="", misses=misses))

    def consent_expired(self) -> None:
        """The peer is gone (TransportListener)."""
        self._fail(MediaFailure.CONSENT, "no answer to consent checks")

    def rtp(self, packet: bytes) -> None:
        """An authentic RTP packet (TransportListener)."""
        self._stream.rtp(packet, self._loop.time())

    def rtcp(self, packet: bytes) -> None:
        """An authentic RTCP packet (TransportListener)."""
        self._stream.rtcp_packet(packet, self._loop.time())

    def _stream_crashed(self, error: Exception) -> None:
        self._remove_from_clock = None
        cause = MediaFailure.CODEC if isinstance(error, EncoderFailed) else MediaFailure.INTERNAL
        self._fail(cause, repr(error))

    def _emit(self, event: MediaEvent) -> None:
        if not self._closed:
            self._loop.call_soon(self._on_event, event)

    # -- wishes; `hold` needs an offer to reach the peer, the rest works at once

    def hold(self, on: bool) -> None:
        """Wish to hold: what we hear and say stops now, music begins if there is any; the next `offer` carries
        ``a=sendonly`` (or its mirror)."""
        self._stream.graph.held = on
        self._music.play(on)

    def pastime(self, on: bool) -> None:
        """The far end hears the music on hold, beside what else is said: whom it talks to is away."""
        self._pastime.play(on)

    @property
    def remote_hold(self) -> bool:
        """True while the peer's description keeps us from being heard."""
        agreement = self._stream.agreement
        return agreement is not None and agreement.remote_hold

    def mute(self, on: bool) -> None:
        """Send silence instead of what the sources give."""
        self._stream.graph.muted = on

    def prefer(self, names: tuple[str, ...]) -> None:
        """Codecs for the next description, the preferred one first (codec switch by re-INVITE)."""
        usable = codecs.available()
        self._wanted_codecs = tuple(name for name in names if name.lower() in usable)

    @property
    def wanted_codecs(self) -> tuple[str, ...]:
        """Codecs for the next description, as their SDP names."""
        return self._wanted_codecs

    def renew_sender(self) -> None:
        """A fresh encoder of the same codec, on the same SSRC and sequence, back on the clock if it fell off."""
        self._stream.renew_sender()
        self._tick()

    def _tick(self) -> None:
        if self._remove_from_clock is None and not self._closed:
            self._remove_from_clock = self._shared.clock.add(self._stream)

    # -- digits

    def dtmf(self, request: DtmfRequest) -> None:
        """Queue digits. Digits for SIP INFO come back as `InfoWanted`, paced like the others.

        Raises `InvalidValue`, `AtCapacity` for too many, `WrongState` for a method that the peer did not agree to.
        """
        self._check_open()
        self._stream.digits.send(request)

    def info_digit(self, digit: str, duration_ms: int) -> None:
        """A digit came by SIP INFO: reported as `DtmfReceived`, unless it repeats one just heard by RFC 4733."""
        self._stream.digits.heard(Digit(digit, duration_ms), "info", self._loop.time())

    # -- audio

    def port(self, rate: int | None = None, *, both: bool = False, begin_ms: int = BEGIN_MS) -> AudioPort:
        """What a program hears and says with (`AudioPort`), at the graph's rate unless another is named. Close it to
        detach. Raises `AtCapacity`, `InvalidValue`, `Gone`."""
        self._check_open()
        return self._desk.port(rate, both=both, begin_ms=begin_ms)

    @property
    def graph(self) -> AudioGraph:
        """Sources and sinks, for those that are more than a port: bridges, meters."""
        return self._stream.graph

    @property
    def sender(self) -> RtpSender:
        """The outgoing stream."""
        return self._stream.sender

    @property
    def transport(self) -> SecureTransport:
        """Path and keys."""
        return self._transport

    async def play(self, request: PlayRequest, playback_id: str | None = None) -> PlaybackView:
        """Play a file or tone to the far end. Raises `InvalidValue` for a file that is none of ours or no good."""
        self._check_open()
        return await self._desk.play(request, playback_id)

    def pause_playback(self, playback_id: str, on: bool = True) -> PlaybackView:
        """Pause or resume. Raises `NotFound`."""
        return self._desk.pause_playback(playback_id, on)

    def stop_playback(self, playback_id: str) -> PlaybackView:
        """Stop; `PlaybackFinished` follows. Raises `NotFound`."""
        return self._desk.stop_playback(playback_id)

    def playbacks(self) -> tuple[PlaybackView, ...]:
        """Those that have not ended."""
        return self._desk.playbacks()

    async def record(self, request: RecordRequest, recording_id: str | None = None) -> RecordingView:
        """Start to record. Raises `UnavailableError` without a directory, `AtCapacity`, `InvalidValue`."""
        self._check_open()
        return await self._desk.record(request, recording_id)

    def pause_recording(self, recording_id: str, on: bool = True) -> RecordingView:
        """Pause or resume. Raises `NotFound`."""
        return self._desk.pause_recording(recording_id, on)

    async def stop_recording(self, recording_id: str) -> RecordingView:
        """Finish the file. Raises `NotFound`."""
        return await self._desk.stop_recording(recording_id)

    def recordings(self) -> tuple[RecordingView, ...]:
        """Those that run."""
        return self._desk.recordings()

    # -- the path

    async def probe(self) -> float | None:
        """Ask the peer three times, 200 ms apart: the round trip time in seconds, None when nobody answers."""
        return await self._transport.path.probe()

    def rerouted(self) -> bool:
        """The kernel would send to the peer from another address than when the pair in use was chosen."""
        return self._transport.path.rerouted()

    # -- views

    def pulse(self) -> Pulse:
        """What recovery must know of this moment."""
        return self._stream.pulse()

    @property
    def state(self) -> MediaState:
        """The media plane of this call."""
        return self._state.current

    def levels(self) -> tuple[float, float]:
        """dBov of what we send and of what we hear, over the last 200 ms (0 is full scale, -127 silence)."""
        return self._stream.graph.sent.dbov, self._stream.graph.heard.dbov

    def stats(self, *, sample: bool = False) -> StatsView:
        """Counters since the session began. ``sample``: loss and MOS are those since the last sample."""
        view = stats_view(self._stream, self._transport, self._sampled if sample else (0, 0))
        if sample:
            self._sampled = view.packets_received, view.packets_lost
        return view

    def drops(self) -> dict[str, int]:
        """Datagrams that were not let in, by cause."""
        return dict(self._transport.path.log.counts)

    def view(self) -> MediaView:
        """State, codec and addresses."""
        path = self._transport.path
        return MediaView(
            state=self._state.current,
            codec=self._stream.sender.codec_name,
            local=path.local,
            remote=path.remote,
            generation=self._transport.generation,
        )

    async def close(self) -> None:
        """Stop everything: RTCP BYE, recordings finished, sockets and tasks gone. Idempotent."""
        if self._closed:
            return
        if self._remove_from_clock is not None:
            self._remove_from_clock()
        if self._transport.ready:
            self._transport.send_rtcp(self._stream.rtcp.goodbye())
        self._music.play(False)
        self._pastime.play(False)
        await self._desk.close()
        self._closed = True
        await self._tasks.close()
        await self._transport.close()
        await self._tasks.close()  # a check that was answered meanwhile has begun something
        self._shared.forget(self.call_id)
