"""DTMF: telephone-event packets both ways (RFC 4733), SIP INFO bodies, in-band tones and their detection."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class EventPacket:
    """What the RTP sender must send in this tick instead of audio."""

    payload: bytes
    timestamp: int
    """The event's start: held for all packets of the event."""
    marker: bool


@dataclass(frozen=True, slots=True)
class Digit:
    """One received digit."""

    digit: str
    duration_ms: int


class EventSender:
    """RFC 4733 sender: ``send(digits, ...)`` queues, ``tick(timestamp)`` once per 20 ms returns the packets of the tick.

    While ``busy`` the caller sends no audio. The SSRC, sequence numbers and timestamps are the audio stream's.
    """

    def __init__(self, clock_rate: int) -> None: ...

    def send(self, digits: str, *, duration_ms: int = 100, gap_ms: int = 60) -> None:
        """Queue digits ``0-9 * # A-D`` and ``w`` (half a second). Raises `InvalidValue`, or `AtCapacity`."""

    def tick(self, timestamp: int) -> tuple[EventPacket, ...] | None:
        """This tick's packets (several when the event ends), an empty tuple in a gap (send audio), None when idle."""
        raise NotImplementedError


class EventReceiver:
    """RFC 4733 receiver, keyed by (event, timestamp), tolerant of lost start and end packets."""

    def __init__(self, clock_rate: int) -> None: ...

    def packet(self, payload: bytes, timestamp: int, now: float) -> Digit | None:
        """One telephone-event packet; the digit when it has ended."""
        raise NotImplementedError

    def tick(self, now: float) -> Digit | None:
        """The digit whose end packets were all lost, once its deadline passed."""
        raise NotImplementedError


def parse_info(content_type: str, body: bytes) -> Digit:
    """A SIP INFO body (application/dtmf-relay, application/dtmf). Raises `InvalidValue`."""
    raise NotImplementedError


def info_body(digit: str, duration_ms: int) -> tuple[str, bytes]:
    """Content type and body of a SIP INFO for one digit (application/dtmf-relay)."""
    raise NotImplementedError


def tone(digit: str, sample_rate: int, duration_ms: int) -> bytes:
    """The digit's dual tone as mono int16."""
    raise NotImplementedError


class ToneDetector:
    """In-band detection by Goertzel: ``feed(pcm)`` mono int16 of any length, digits out."""

    def __init__(self, sample_rate: int) -> None: ...

    def feed(self, pcm: bytes) -> tuple[Digit, ...]:
        raise NotImplementedError
