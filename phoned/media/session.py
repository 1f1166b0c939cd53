"""One call's audio, from its session descriptions to its samples.

Owns the media state of the call and puts its parts together: `Negotiation` reads and writes descriptions,
`SecureTransport` carries packets, `RtpSender` and `RtpReceiver` turn frames into packets and back, `AudioGraph` and
`AudioDesk` are what is said and heard. Everything above it speaks of wishes; what happens comes up as an event.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

from phoned.audio.port import AudioPort
from phoned.errors import Gone, UnavailableError
from phoned.media import codecs, rtcp, rtp
from phoned.media.desk import AudioDesk
from phoned.media.digits import Digits
from phoned.media.dtls import DtlsFailed
from phoned.media.dtmf import Digit
from phoned.media.events import (
    CodecChanged,
    DtmfSent,
    Flowing,
    MediaEvent,
    MediaFailed,
    MediaFailure,
    MediaStateChanged,
    PathChanged,
    PathTrouble,
    RemoteHold,
    RestartFailed,
)
from phoned.media.graph import AudioGraph
from phoned.media.ice import IceFailed, RemoteIce
from phoned.media.negotiation import Negotiation, Plan
from phoned.media.options import SessionOptions
from phoned.media.receiver import RtpReceiver
from phoned.media.sdp import Agreement, Direction, write
from phoned.media.sender import RtpSender
from phoned.media.shared import Shared
from phoned.media.stall import inbound_threshold_s
from phoned.media.statistics import stats_view
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

S = MediaState
_LIVE = frozenset({S.CONNECTING_MEDIA, S.FLOWING, S.QUIET, S.STALLED, S.FAILED})
LEGAL: dict[MediaState, frozenset[MediaState]] = {
    S.NEGOTIATING: frozenset({S.CONNECTING_MEDIA, S.FAILED}),
    S.CONNECTING_MEDIA: _LIVE,
    S.FLOWING: _LIVE,
    S.QUIET: _LIVE,
    S.STALLED: _LIVE,
    S.FAILED: frozenset({S.CONNECTING_MEDIA}),
}
WATCH_TICKS = 5
"""Every so many ticks stalls and reports are looked at."""


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
        self._state = S.NEGOTIATING
        self._closed = False
        self._lock = asyncio.Lock()
        self._codecs: dict[str, codecs.Codec] = {}
        usable = codecs.available()
        self._wanted_codecs = tuple(name for name in options.codecs if name.lower() in usable)
        self._transport = SecureTransport(
            f"call {call_id}",
            options.ice,
            self,
            self._tasks,
            shared.servers,
            handshake_deadline_s=options.handshake_deadline_s,
        )
        self._graph = AudioGraph(options.graph_rate)
        self._sender = RtpSender(self._transport.send_rtp, self._graph.silence)
        self._receiver = RtpReceiver(options.graph_rate, self._codec, inband=options.detect_inband_dtmf)
        cname = f"{self._sender.ssrc:08x}@phoned.invalid"
        self._rtcp = rtcp.RtcpSession(self._sender.ssrc, cname, self._loop.time())
        self._negotiation = Negotiation(
            self._transport, ssrc=self._sender.ssrc, cname=cname, allow_loopback=options.ice.allow_loopback
        )
        self._desk = AudioDesk(call_id, shared, self._graph, self._tasks, self._emit)
        self._digits = Digits(options.dtmf, self._sender, self._graph, self._emit)
        self._agreement: Agreement | None = None
        self._peer_due: Peer | None = None
        self._connecting: asyncio.Task[Any] | None = None
        self._remove_from_clock: Callable[[], None] | None = None
        self._sending = False
        self._flow_awaited = True
        self._ticks = 0
        self._expect_since = 0.0

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
            self._transport.path.paused = pause
            return data

    async def answer(self, remote: bytes) -> bytes:
        """Take the peer's offer and answer it. Raises `DescriptionError` (``.status``); media stays as it was then."""
        self._check_open()
        async with self._lock:
            try:
                data, plan = await self._negotiation.answer(remote, self._wanted_codecs, self._direction())
            except IceFailed as error:
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
            self._tasks.spawn("discard", self._transport.path.discard())

    def current_offer(self) -> bytes | None:
        """The local description in force, for a session refresh (same o= version); None before there is one."""
        local = self._negotiation.local
        return None if local is None else write(local)

    def _check_open(self) -> None:
        if self._closed:
            raise Gone("the media session is closed")

    def _direction(self) -> Direction:
        return Direction.SENDONLY if self._graph.held else Direction.SENDRECV

    def _apply(self, plan: Plan) -> None:
        self._use(plan.agreement)
        if plan.peer is not None:
            self._peer_due = plan.peer
        if plan.wanted is not None:
            self._emit(plan.wanted)
        if plan.candidates:
            self._spawn("feed", self._transport.path.feed(plan.candidates))
        handshaking = self._transport.path.connected and self._connecting is not None
        if plan.ice is not None or (plan.peer is not None and (self._connecting is None or handshaking)):
            if self._connecting is not None:
                self._connecting.cancel()
            self._connecting = self._spawn("connect", self._connect(plan.ice))
        else:
            self._transport.end_collecting(keep=True)
        if self._remove_from_clock is None:
            self._remove_from_clock = self._shared.clock.add(self)

    def _use(self, agreement: Agreement) -> None:
        first = agreement.codecs[0]
        changed = self._sender.codec_name != first.name
        before, self._agreement = self._agreement, agreement
        self._sender.use(self._codec(first.name), first, agreement.telephone_event_for(first))
        self._receiver.use(agreement)
        self._sending = agreement.direction.sends
        self._graph.expecting = agreement.direction.receives
        if agreement.direction.receives and (before is None or not before.direction.receives):
            self._expect_since = self._loop.time()
        if changed:
            self._emit(CodecChanged(codec=first.name))
        if agreement.remote_hold != (before is not None and before.remote_hold):
            self._emit(RemoteHold(on=agreement.remote_hold))

    def _codec(self, name: str) -> codecs.Codec:
        if name not in self._codecs:
            options = self._options
            self._codecs[name] = codecs.create(
                name,
                options.graph_rate,
                bitrate=options.opus_bitrate,
                complexity=options.opus_complexity,
                dtx=options.opus_dtx,
            )
        return self._codecs[name]

    # -- the transport's life

    async def _connect(self, ice: RemoteIce | None) -> None:
        restart = self._transport.ready
        if not restart:
            self._enter(S.CONNECTING_MEDIA, "description")
        try:
            if ice is not None:
                await self._transport.path.connect(ice)
            if self._peer_due is not None:
                peer, self._peer_due = self._peer_due, None
                await self._transport.establish(peer)
        except IceFailed as error:
            self._connect_failed(MediaFailure.ICE, str(error), restart=restart)
        except DtlsFailed as error:
            cause = MediaFailure.FINGERPRINT if error.fingerprint else MediaFailure.DTLS
            self._connect_failed(cause, str(error), restart=restart)
        finally:
            self._transport.end_collecting(keep=True)
            if self._connecting is asyncio.current_task():
                self._connecting = None

    def _connect_failed(self, cause: MediaFailure, detail: str, *, restart: bool) -> None:
        if restart and cause is not MediaFailure.FINGERPRINT:
            self._emit(RestartFailed(cause=cause, detail=detail))
        else:
            self._fail(cause, detail)

    def _fail(self, cause: MediaFailure, detail: str) -> None:
        log.warning("call %s: media failed: %s %s", self.call_id, cause, detail)
        self._enter(S.FAILED, cause)
        self._emit(MediaFailed(cause=cause, detail=detail))

    def _task_crashed(self, name: str, error: BaseException) -> None:
        log.error("call %s: %s crashed", self.call_id, name, exc_info=error)
        if not self._closed:
            self._fail(MediaFailure.INTERNAL, f"{name}: {error!r}")

    def path_changed(self) -> None:
        """The path moved (TransportListener)."""
        path = self._transport.path
        self._flow_awaited = True
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

    # -- packets (TransportListener)

    def rtp(self, packet: bytes) -> None:
        """An authentic RTP packet."""
        now = self._loop.time()
        before = self._receiver.last_packet
        sound, digits = self._receiver.packet(packet, now)
        for digit in digits:
            self._digits.heard(digit, "rfc4733", now)
        if sound is None:
            return
        if self._flow_awaited and self._transport.path.heard:
            self._flow_awaited = False
            gap_ms = None if before is None else round((now - before) * 1000)
            self._emit(
                Flowing(
                    codec=self._receiver.codec_name or "",
                    ssrc=sound.ssrc,
                    ice_generation=self._transport.path.generation,
                    dtls_generation=self._transport.generation,
                    gap_ms=gap_ms,
                )
            )
        if self._state is not S.FLOWING:
            self._enter(S.FLOWING, "rtp")

    def rtcp(self, packet: bytes) -> None:
        """An authentic RTCP packet. BYE and nonsense never end anything."""
        try:
            reports = rtcp.parse(packet)
        except rtp.MalformedPacket:
            self._receiver.malformed += 1
            return
        now = self._loop.time()
        # RFC 3550 6.4.1 allows the uptime as NTP time; the round trip then survives a wall clock that is set
        self._rtcp.received(reports, now, unix_s=now)

    # -- the clock (Ticker)

    def tick(self, now: float) -> None:
        """20 ms: one frame out, one frame in."""
        frame = self._graph.outgoing()
        sent = self._sender.tick(frame, sending=self._sending and self._transport.ready)
        if sent is not None:
            self._emit(DtmfSent(digit=sent))
        heard = self._receiver.frame(now)
        self._graph.incoming(heard)
        if heard is not None:
            for digit in self._receiver.inband_digits(heard):
                self._digits.heard(digit, "inband", now)
        self._digits.tick()
        self._ticks += 1
        if self._ticks % WATCH_TICKS == 0:
            self._watch(now)

    def _report(self, now: float) -> None:
        sender = self._sender
        packet = self._rtcp.report(
            now,
            unix_s=now,
            rtp_timestamp=sender.timestamp,
            packets=sender.packets & 0xFFFFFFFF,
            octets=sender.octets & 0xFFFFFFFF,
            received=self._receiver.statistics.report(),
        )
        self._transport.send_rtcp(packet)

    def _watch(self, now: float) -> None:
        for digit in self._receiver.late_digits(now):
            self._digits.heard(digit, "rfc4733", now)
        agreement = self._agreement
        if self._transport.ready and agreement is not None and agreement.rtcp_mux and self._rtcp.due(now):
            self._report(now)
        if agreement is None or self._state not in (S.FLOWING, S.QUIET, S.STALLED):
            return
        if not agreement.direction.receives:
            if self._state is not S.QUIET:
                self._enter(S.QUIET, "direction")
            return
        last = max(self._receiver.last_packet or 0.0, self._expect_since)
        limit = inbound_threshold_s(
            ptime_s=0.02,
            jitter_s=self._receiver.statistics.jitter_s,
            rtt_s=self._rtcp.rtt_s or self._transport.path.rtt_s,
            dtx=self._receiver.discontinuous,
        )
        if now - last > limit and self._state is not S.STALLED:
            self._enter(S.STALLED, "no packets")

    def skip(self, ticks: int) -> None:
        """The clock jumped."""
        self._sender.skip(ticks)

    def crashed(self, error: Exception) -> None:
        """A tick raised: this call's audio ends, the others go on."""
        self._remove_from_clock = None
        self._fail(MediaFailure.INTERNAL, repr(error))

    def _enter(self, state: MediaState, cause: str) -> None:
        old = self._state
        if old is state:
            return
        assert state in LEGAL[old], f"{old} -> {state}"
        self._state = state
        log.info("call %s: media %s -> %s (%s)", self.call_id, old, state, cause)
        self._emit(MediaStateChanged(old=old, new=state, cause=str(cause)))

    def _emit(self, event: MediaEvent) -> None:
        if not self._closed:
            self._loop.call_soon(self._on_event, event)

    def _spawn(self, name: str, coroutine: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        return self._tasks.spawn(name, coroutine)

    # -- wishes; `hold` needs an offer to reach the peer, the rest works at once

    def hold(self, on: bool) -> None:
        """Wish to hold: what we hear and say stops now; the next `offer` carries ``a=sendonly`` (or its mirror)."""
        self._graph.held = on

    @property
    def remote_hold(self) -> bool:
        """True while the peer's description keeps us from being heard."""
        return self._agreement is not None and self._agreement.remote_hold

    def mute(self, on: bool) -> None:
        """Send silence instead of what the sources give."""
        self._graph.muted = on

    def prefer(self, names: tuple[str, ...]) -> None:
        """Codecs for the next description, the preferred one first (codec switch by re-INVITE)."""
        usable = codecs.available()
        self._wanted_codecs = tuple(name for name in names if name.lower() in usable)

    # -- digits

    def dtmf(self, request: DtmfRequest) -> None:
        """Queue digits. Digits for SIP INFO come back as `InfoWanted`, paced like the others.

        Raises `InvalidValue`, `AtCapacity` for too many, `WrongState` for a method that the peer did not agree to.
        """
        self._check_open()
        self._digits.send(request)

    def info_digit(self, digit: str, duration_ms: int) -> None:
        """A digit came by SIP INFO: reported as `DtmfReceived`, unless it repeats one just heard by RFC 4733."""
        self._digits.heard(Digit(digit, duration_ms), "info", self._loop.time())

    # -- audio

    def port(self) -> AudioPort:
        """A tap that feeds and reads PCM at the graph's rate. Close it to detach."""
        self._check_open()
        return self._desk.port()

    @property
    def graph(self) -> AudioGraph:
        """Sources and sinks, for those that are more than a port: bridges, meters."""
        return self._graph

    @property
    def sender(self) -> RtpSender:
        """The outgoing stream."""
        return self._sender

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
        """Start to record. Raises `UnavailableError` without a directory, `NotImplementedYet` for an unknown format."""
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

    # -- views

    @property
    def state(self) -> MediaState:
        """The media plane of this call."""
        return self._state

    def levels(self) -> tuple[float, float]:
        """dBov of what we send and of what we hear, over the last 200 ms (0 is full scale, -127 silence)."""
        return self._graph.sent.dbov, self._graph.heard.dbov

    def stats(self) -> StatsView:
        """Counters since the session began."""
        return stats_view(self._sender, self._receiver, self._rtcp, self._transport)

    def drops(self) -> dict[str, int]:
        """Datagrams that were not let in, by cause."""
        return dict(self._transport.path.log.counts)

    def view(self) -> MediaView:
        """State, codec and addresses."""
        path = self._transport.path
        return MediaView(
            state=self._state,
            codec=self._sender.codec_name,
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
            self._transport.send_rtcp(self._rtcp.goodbye())
        await self._desk.close()
        self._closed = True
        if self._connecting is not None:
            self._connecting.cancel()
        await self._transport.close()
        await self._tasks.close()
        self._shared.forget(self.call_id)
