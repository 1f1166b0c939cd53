"""The receiving half of a call's audio: RTP packets to frames of sound, digits and counters (RFC 3550, RFC 4733).

Owns the payload type map, the jitter buffer and the play-out. It knows no socket and no key: authentic packets are
handed in, a frame is asked for once a tick.
"""

from __future__ import annotations

from collections.abc import Callable

from phoned.media import rtp
from phoned.media.codecs import Codec
from phoned.media.codecs.opus import DTX_SIZE
from phoned.media.codecs.playout import Playout
from phoned.media.dtmf import Digit, EventReceiver
from phoned.media.jitter import JitterBuffer
from phoned.media.sdp import AgreedCodec, Agreement
from phoned.media.stall import DTX_S
from phoned.media.tones import ToneDetector

LOST_S = 0.3
"""Without a packet for so long there is nothing to conceal: what is heard is a gap."""


class RtpReceiver:
    """Hears one call. Driven by packets and by the session's tick."""

    def __init__(self, graph_rate: int, codec: Callable[[str], Codec], *, inband: bool = False) -> None:
        self._graph_rate = graph_rate
        self._codec = codec
        self._agreed: dict[int, AgreedCodec] = {}
        self._codecs: dict[int, Codec] = {}
        self._events: dict[int, int] = {}
        self._event = EventReceiver(8000)
        self._noise: int | None = None
        self._playout: Playout | None = None
        self._clock_rate = 0
        self._detector = ToneDetector(graph_rate) if inband else None
        self.statistics = rtp.ReceiveStatistics(8000)
        self.bytes = 0
        self.malformed = 0
        self.unknown_payload_types = 0
        self.codec_name: str | None = None
        self.last_packet: float | None = None
        """When the newest packet came, audio or not."""
        self.discontinuous = False
        """The peer has used comfort noise or DTX: silence on the wire is normal."""
        self._resting = False
        """The newest packet said that now comes a pause (DTX)."""
        self._comforted = False
        """The peer sends comfort noise: the packet that begins a pause may get lost."""
        self._last_audio = -LOST_S
        self._made_up_before = 0

    def use(self, agreement: Agreement) -> None:
        """Payload types from now on; decoders, buffer and counters that still fit stay."""
        self._agreed = {codec.receive_payload_type: codec for codec in agreement.codecs}
        self._codecs = {number: self._codec(agreed.name) for number, agreed in list(self._agreed.items())[:1]}
        self._events = {event.receive_payload_type: event.clock_rate for event in agreement.telephone_events}
        self._noise = agreement.comfort_noise
        if self._playout is not None:
            self._playout.use(self._codecs)

    def packet(self, data: bytes, now: float) -> tuple[rtp.Packet | None, tuple[Digit, ...]]:
        """An authentic packet. Returns it when it is sound that will be played, and the digits that ended with it."""
        try:
            packet = rtp.parse(data)
        except rtp.MalformedPacket:
            self.malformed += 1
            return None, ()
        number = packet.payload_type
        agreed = self._agreed.get(number)
        if agreed is None:
            return None, self._no_audio(packet, len(data), now)
        self.last_packet = now
        self.bytes += len(data)
        clock_rate = agreed.clock_rate
        self.statistics.received(packet, now, clock_rate)
        playout = self._playout
        if playout is None or clock_rate != self._clock_rate or number not in self._codecs:
            playout = self._playout_for(agreed, number)
        duration = self._codecs[number].duration(packet.payload)
        if not duration:
            self.malformed += 1
            return None, ()
        playout.jitter.put(packet, now, duration)
        self._resting = len(packet.payload) <= DTX_SIZE
        if self._resting:
            self.discontinuous = True
        self._last_audio = now
        self.codec_name = agreed.name
        return packet, ()

    def _no_audio(self, packet: rtp.Packet, size: int, now: float) -> tuple[Digit, ...]:
        """A telephone-event, comfort noise, or something that was never agreed."""
        number = packet.payload_type
        event_clock = self._events.get(number)
        if event_clock is None and number != self._noise:
            self.unknown_payload_types += 1
            return ()
        self.last_packet = now
        self.bytes += size
        self.statistics.received(packet, now, timed=event_clock is None)
        if self._playout is not None:
            self._playout.jitter.skip(packet, now)
        if event_clock is not None:
            self._last_audio = now
            return self._event.packet(packet.payload, packet.timestamp, now, clock_rate=event_clock)
        self.discontinuous = self._comforted = True
        if self._playout is not None:
            self._playout.comfort(packet.payload)
        return ()

    def _playout_for(self, agreed: AgreedCodec, number: int) -> Playout:
        if number not in self._codecs:
            self._codecs[number] = self._codec(agreed.name)
        if self._playout is None or agreed.clock_rate != self._clock_rate:
            # timestamps of another clock cannot be ordered among the old ones
            self._clock_rate = agreed.clock_rate
            if self._playout is not None:
                self._made_up_before += self._playout.concealed_ms
            jitter = JitterBuffer(agreed.clock_rate, copies=agreed.name == "opus")
            self._playout = Playout(jitter, self._codecs, self._graph_rate)
        return self._playout

    def frame(self, now: float) -> bytes | None:
        """The next 20 ms, None when nothing came lately."""
        playout = self._playout
        if playout is None:
            return None
        frame = playout.frame(now)
        if now - self._last_audio > LOST_S and not (self._resting or self._comforted):
            return None
        # in a pause something comes now and then: after so long it is the far end that is gone, not its voice
        return frame if now - (self.last_packet or 0.0) <= DTX_S else None

    def late_digits(self, now: float) -> tuple[Digit, ...]:
        """Digits by RFC 4733 whose end was lost."""
        return self._event.tick(now)

    def inband_digits(self, frame: bytes) -> tuple[Digit, ...]:
        """Digits that end in this frame as tones; none unless in-band detection is on."""
        return () if self._detector is None else self._detector.feed(frame)

    @property
    def buffer_s(self) -> float:
        """The delay that the jitter buffer adds now."""
        return self._playout.jitter.delay_s if self._playout is not None else 0.0

    @property
    def concealed_ms(self) -> int:
        """Made-up sound since the session began."""
        return self._made_up_before + (self._playout.concealed_ms if self._playout is not None else 0)
