"""The sending half of a call's audio: frames and digits to RTP packets, one clock tick at a time (RFC 3550, RFC 4733).

Owns the SSRC, sequence numbers and timestamps, which never restart while the session lives: not at an ICE restart, not
at a new association, not at a codec switch. It knows no socket and no key: packets leave through a callable.
"""

from __future__ import annotations

import secrets
from collections import deque
from collections.abc import Callable

from phoned.media import rtp
from phoned.media.codecs import Codec
from phoned.media.dtmf import PAUSE, EventSender
from phoned.media.sdp import AgreedCodec

STATELESS = frozenset({"pcmu", "pcma"})
"""Codecs whose encoded silence is always the same."""


class RtpSender:
    """Sends one packet a tick. Driven by the session's tick."""

    def __init__(self, send: Callable[[bytes], bool], silence: bytes) -> None:
        self._send = send
        self._silence = silence
        self.ssrc = secrets.randbits(32)
        self.sequence = secrets.randbits(15)
        self.timestamp = secrets.randbits(32)
        self.packets = 0
        self.octets = 0
        """Payload bytes, as RTCP counts them."""
        self.bytes = 0
        """Bytes of RTP packets, before protection."""
        self.unsent = 0
        """Packets that the path did not take."""
        self.codec_name: str | None = None
        self.clock_rate = 8000
        self._codec: Codec | None = None
        self.loss_pct = 0
        """What is expected to get lost on the way, in percent."""
        self._payload_type = 0
        self._step = 160
        self._quiet_payload: bytes | None = None
        self._talking = False
        self._events = EventSender(8000)
        self._event_payload_type: int | None = None
        self._digits: deque[str] = deque()
        self._digit_open = False

    def use(self, codec: Codec, agreed: AgreedCodec, event: AgreedCodec | None) -> None:
        """Send with this codec from the next tick on; ``event``: the telephone-event format with the same clock."""
        if codec is not self._codec:
            self._codec = codec
            self._quiet_payload = codec.encode(self._silence) if agreed.name in STATELESS else None
        codec.suit(agreed.fmtp)
        codec.expect_loss(self.loss_pct)
        self.codec_name = agreed.name
        self.clock_rate = agreed.clock_rate
        self._step = agreed.clock_rate // 50
        self._payload_type = agreed.send_payload_type
        self._event_payload_type = None if event is None else event.send_payload_type
        self._events.use_clock(agreed.clock_rate)

    def expect_loss(self, percent: int) -> None:
        """So many of 100 packets do not reach the far end."""
        self.loss_pct = percent
        if self._codec is not None:
            self._codec.expect_loss(percent)

    @property
    def discontinuous(self) -> bool:
        """Nothing is sent while nothing is said (DTX)."""
        return self._codec is not None and self._codec.discontinuous

    # -- digits by RFC 4733

    @property
    def can_send_events(self) -> bool:
        """The peer takes telephone-event with the clock of our codec."""
        return self._event_payload_type is not None

    def send_digits(self, digits: str, duration_ms: int, gap_ms: int) -> None:
        """Queue digits. Raises `InvalidValue` or `AtCapacity`; only when `can_send_events`."""
        self._events.send(digits, duration_ms=duration_ms, gap_ms=gap_ms)
        self._digits.extend(digit for digit in digits if digit != PAUSE)

    # -- the clock

    def tick(self, frame: bytes | None, *, sending: bool) -> str | None:
        """One 20 ms frame, None for silence. Returns the digit whose last packet has just been sent, if any."""
        done = None
        timestamp = self.timestamp
        if sending and self._codec is not None:
            number = self._event_payload_type
            packets = self._events.tick(timestamp) if number is not None and self._events.busy else ()
            if self._digit_open and (not packets or packets[0].marker):
                self._digit_open = False
                done = self._digits.popleft()
            for packet in packets:
                self._digit_open = True
                self._talking = False
                self._packet(number or 0, packet.timestamp, packet.payload, packet.marker)
            if not packets:
                self._audio(frame, timestamp)
        else:
            self._talking = False
        self.timestamp = (timestamp + self._step) & 0xFFFFFFFF
        return done

    def _audio(self, frame: bytes | None, timestamp: int) -> None:
        codec = self._codec
        assert codec is not None
        if frame is None:
            payload = self._quiet_payload if self._quiet_payload is not None else codec.encode(self._silence)
        else:
            payload = codec.encode(frame)
        if not payload:
            self._talking = False  # DTX: the next packet begins a talk spurt
            return
        self._packet(self._payload_type, timestamp, payload, not self._talking)
        self._talking = True

    def _packet(self, payload_type: int, timestamp: int, payload: bytes, marker: bool) -> None:
        sequence = self.sequence
        packet = rtp.pack(payload_type, sequence, timestamp, self.ssrc, payload, marker)
        self.sequence = (sequence + 1) & 0xFFFF
        if self._send(packet):
            self.packets += 1
            self.octets += len(payload)
            self.bytes += len(packet)
        else:
            self.unsent += 1

    def skip(self, ticks: int) -> None:
        """The clock jumped: timestamps follow real time."""
        self.timestamp = (self.timestamp + ticks * self._step) & 0xFFFFFFFF
