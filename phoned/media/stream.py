"""The two RTP streams of a call, on the 20 ms clock: frames of the graph to packets, packets to frames, and reports.

Owns sender, receiver, codecs, RTCP and digits, and sees whether sound flows. Outlives every transport. It knows no
description and no key: packets are handed in authentic, and leave through the transport.
"""

from __future__ import annotations

from collections.abc import Callable

from phoned.media import codecs, rtcp, rtp
from phoned.media.digits import Digits
from phoned.media.events import CodecChanged, DtmfSent, Flowing, MediaEvent, RemoteHold, VoiceTurned
from phoned.media.graph import AudioGraph
from phoned.media.options import SessionOptions
from phoned.media.pulse import Pulse
from phoned.media.quality import ExpectedLoss
from phoned.media.receiver import RtpReceiver
from phoned.media.sdp import Agreement
from phoned.media.sender import RtpSender
from phoned.media.stall import inbound_threshold_s
from phoned.media.state import MediaStateMachine
from phoned.media.transport import SecureTransport
from phoned.media.voice import VoiceDetector
from phoned.model import MediaState, SoundDirection

WATCH_TICKS = 5
"""Every so many ticks stalls and reports are looked at."""
PTIME_S = 0.02
_FLOWING = MediaState.FLOWING
"""Here because an attribute of an enumeration costs a quarter of a microsecond (Python 3.11)."""
_ALIVE = frozenset({MediaState.FLOWING, MediaState.QUIET, MediaState.STALLED})


class EncoderFailed(Exception):
    """The encoder raised: nothing leaves any more."""


class Stream:
    """Driven by the clock (`tick`), by packets, and by agreements of `MediaSession`."""

    def __init__(
        self,
        options: SessionOptions,
        transport: SecureTransport,
        state: MediaStateMachine,
        now: float,
        *,
        emit: Callable[[MediaEvent], None],
        on_crash: Callable[[Exception], None],
    ) -> None:
        self._options = options
        self._transport = transport
        self._state = state
        self._emit = emit
        self._on_crash = on_crash
        self._codecs: dict[str, codecs.Codec] = {}
        self.graph = AudioGraph(options.graph_rate)
        self.sender = RtpSender(transport.send_rtp, self.graph.silence)
        self.receiver = RtpReceiver(options.graph_rate, self._codec, inband=options.detect_inband_dtmf)
        self.cname = f"{self.sender.ssrc:08x}@phoned.invalid"
        self.rtcp = rtcp.RtcpSession(self.sender.ssrc, self.cname, now)
        self._expected_loss = ExpectedLoss()
        self.digits = Digits(options.dtmf, self.sender, self.graph, emit)
        self._voices: dict[SoundDirection, VoiceDetector] = {each: VoiceDetector() for each in options.detect_voice}
        self.agreement: Agreement | None = None
        self.flow_awaited = True
        """The next packet on the path in use is told (`Flowing`)."""
        self._sending = False
        self._expect_since = now
        self._ticks = 0

    # -- what was agreed

    def use(self, agreement: Agreement, now: float) -> None:
        """Codecs, payload types and directions from now on."""
        first = agreement.codecs[0]
        changed = self.sender.codec_name != first.name
        before, self.agreement = self.agreement, agreement
        self.sender.use(self._codec(first.name), first, agreement.telephone_event_for(first))
        self.receiver.use(agreement)
        self._sending = agreement.direction.sends
        self.graph.expecting = agreement.direction.receives
        if agreement.direction.receives and (before is None or not before.direction.receives):
            self._expect_since = now
        if changed:
            self._emit(CodecChanged(codec=first.name))
        if agreement.remote_hold != (before is not None and before.remote_hold):
            self._emit(RemoteHold(on=agreement.remote_hold))

    def renew_sender(self) -> None:
        """A fresh encoder of the codec in use; SSRC, sequence and timestamps go on."""
        agreement = self.agreement
        if agreement is None:
            return
        first = agreement.codecs[0]
        self._codecs.pop(first.name, None)
        self.sender.use(self._codec(first.name), first, agreement.telephone_event_for(first))
        self.receiver.use(agreement)

    def pulse(self) -> Pulse:
        """What recovery must know of this moment."""
        transport, agreement = self._transport, self.agreement
        return Pulse(
            ready=transport.ready,
            heard_at=self.receiver.last_packet,
            expected_since=self._expect_since,
            expects=agreement is not None and agreement.direction.receives and not agreement.remote_hold,
            heard_here=transport.path.heard,
            stall_s=self._stall_s(),
            sends=self._sending and transport.ready and not transport.path.paused and not self.sender.discontinuous,
            sent=self.sender.packets,
            unsent=self.sender.unsent,
            consented=transport.path.consented,
            rtt_s=transport.path.rtt_s,
            ice_generation=transport.path.generation,
            dtls_generation=transport.generation,
        )

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

    # -- packets

    def rtp(self, packet: bytes, now: float) -> None:
        """An authentic RTP packet."""
        before = self.receiver.last_packet
        sound, digits = self.receiver.packet(packet, now)
        for digit in digits:
            self.digits.heard(digit, "rfc4733", now)
        if sound is None:
            return
        if self.flow_awaited and self._transport.path.heard:
            self.flow_awaited = False
            self._emit(
                Flowing(
                    codec=self.receiver.codec_name or "",
                    ssrc=sound.ssrc,
                    ice_generation=self._transport.path.generation,
                    dtls_generation=self._transport.generation,
                    gap_ms=None if before is None else round((now - before) * 1000),
                )
            )
        if self._state.current is not _FLOWING and self.graph.expecting:
            self._state.enter(_FLOWING, "rtp")

    def rtcp_packet(self, packet: bytes, now: float) -> None:
        """An authentic RTCP packet. BYE and nonsense never end anything."""
        try:
            reports = rtcp.parse(packet)
        except rtp.MalformedPacket:
            self.receiver.malformed += 1
            return
        # RFC 3550 6.4.1 allows the uptime as NTP time; the round trip then survives a wall clock that is set
        if self.rtcp.received(reports, now, unix_s=now):
            self.sender.expect_loss(self._expected_loss.reported(self.rtcp.peer_fraction_lost))

    # -- the clock (Ticker)

    def tick(self, now: float, due: float) -> None:
        """20 ms: one frame out, one frame in."""
        frame = self.graph.outgoing()
        try:
            sent = self.sender.tick(frame, sending=self._sending and self._transport.ready)
        except Exception as error:
            raise EncoderFailed(repr(error)) from error
        if sent is not None:
            self._emit(DtmfSent(digit=sent))
        heard = self.receiver.frame(due)  # that we were late ourselves is no delay of the sound
        self.graph.incoming(heard)
        for direction, voice in self._voices.items():
            if (speaking := voice.feed(heard if direction == "inbound" else frame)) is not None:
                self._emit(VoiceTurned(direction=direction, speaking=speaking))
        if heard is not None and self._options.detect_inband_dtmf:
            for digit in self.receiver.inband_digits(heard):
                self.digits.heard(digit, "inband", now)
        self.digits.tick()
        self._ticks += 1
        if self._ticks % WATCH_TICKS == 0:
            self._watch(now)

    def skip(self, ticks: int) -> None:
        """The clock jumped."""
        self.sender.skip(ticks)

    def crashed(self, error: Exception) -> None:
        """A tick raised: this call's audio ends, the others go on."""
        self._on_crash(error)

    def _watch(self, now: float) -> None:
        for digit in self.receiver.late_digits(now):
            self.digits.heard(digit, "rfc4733", now)
        agreement = self.agreement
        if agreement is None:
            return
        if self._transport.ready and agreement.rtcp_mux and self.rtcp.due(now):
            self._report(now)
        if self._state.current not in _ALIVE:
            return
        if not agreement.direction.receives:
            self._state.enter(MediaState.QUIET, "direction")
        elif now - max(self.receiver.last_packet or 0.0, self._expect_since) > self._stall_s():
            self._state.enter(MediaState.STALLED, "no packets")

    def _stall_s(self) -> float:
        return inbound_threshold_s(
            ptime_s=PTIME_S,
            jitter_s=self.receiver.statistics.jitter_s,
            rtt_s=self.rtcp.rtt_s if self.rtcp.rtt_s is not None else self._transport.path.rtt_s,
            dtx=self.receiver.discontinuous,
        )

    def _report(self, now: float) -> None:
        packet = self.rtcp.report(
            now,
            unix_s=now,
            rtp_timestamp=self.sender.timestamp,
            packets=self.sender.packets & 0xFFFFFFFF,
            octets=self.sender.octets & 0xFFFFFFFF,
            received=self.receiver.statistics.report(),
        )
        self._transport.send_rtcp(packet)
