"""DTMF as packets and as SIP INFO: RFC 4733 sender and receiver, and the two INFO bodies in use.

Owns the telephone-event state of one call and the syntax of the bodies. Knows no socket and no clock: the sender
counts 20 ms ticks, the receiver is told the time. The audible tones are `tones`' business.
"""

from __future__ import annotations

import struct
from collections import deque
from dataclasses import dataclass

from phoned.errors import AtCapacity, InvalidValue

DIGITS = "0123456789*#ABCD"
"""Event codes 0..15 in order (RFC 4733 section 3.2)."""
PAUSE = "w"
PAUSE_MS = 500
MAX_QUEUE = 256
"""Digits and pauses that may wait."""
TICK_MS = 20
VOLUME = 10
"""-10 dBm0."""
_END_PACKETS = 3
_EVENT = struct.Struct("!BBH")
_MAX_SEGMENT = 0xFFFF
_LOST_END_S = 0.15
"""No packet of an event for so long: its end was lost."""
_MAX_EVENT_S = 5.0


@dataclass(frozen=True, slots=True)
class EventPacket:
    """A telephone-event packet that the RTP sender sends instead of audio."""

    payload: bytes
    timestamp: int
    """The event's start: the same for all packets of the event."""
    marker: bool
    """True on the first one."""


@dataclass(frozen=True, slots=True)
class Digit:
    """One digit that came in."""

    digit: str
    duration_ms: int


def check_digits(digits: str) -> str:
    """The digits in canonical spelling (``a`` to ``A``, ``W`` to ``w``). Raises `InvalidValue`."""
    canonical = "".join(PAUSE if digit in "wW" else digit.upper() for digit in digits)
    if not canonical or any(digit not in DIGITS and digit != PAUSE for digit in canonical):
        raise InvalidValue("digits are 0-9 * # A-D, and w for a pause", pointer="/digits")
    return canonical


class EventSender:
    """The RFC 4733 sender of one call. ``send`` queues; ``tick`` is called once per 20 ms with the audio's timestamp.

    The SSRC and the sequence numbers are the audio stream's; sequence numbers go up by one for every packet as ever.
    """

    __slots__ = ("_before", "_clock_rate", "_ends", "_event", "_gap", "_queue", "_start", "_step", "_ticks", "_total")

    def __init__(self, clock_rate: int) -> None:
        self._clock_rate = clock_rate
        self._queue: deque[tuple[str, int, int]] = deque()
        self._event: int | None = None
        self._start = 0
        self._step = 0
        self._ticks = self._before = 0
        """Of the digit so far; of those the ones in earlier segments."""
        self._total = 0
        self._ends = 0
        self._gap = 0

    @property
    def busy(self) -> bool:
        """Digits wait or are being sent."""
        return self._event is not None or bool(self._queue) or self._gap > 0

    def send(self, digits: str, *, duration_ms: int = 100, gap_ms: int = 60) -> None:
        """Queue digits, in order. Raises `InvalidValue`, or `AtCapacity` when the queue is full (nothing is then
        queued)."""
        canonical = check_digits(digits)
        if not 40 <= duration_ms <= 4000 or not 40 <= gap_ms <= 4000:
            raise InvalidValue("a digit and a gap last 40 to 4000 ms", pointer="/duration_ms")
        if len(self._queue) + len(canonical) > MAX_QUEUE:
            raise AtCapacity("too many digits are waiting")
        self._queue.extend((digit, duration_ms, gap_ms) for digit in canonical)

    def clear(self) -> None:
        """Forget what waits; the digit that sounds is ended properly."""
        self._queue.clear()
        self._total = min(self._total, self._ticks)

    def use_clock(self, clock_rate: int) -> None:
        """The codec changed to one of another clock: from the next digit on."""
        self._clock_rate = clock_rate

    def tick(self, timestamp: int) -> tuple[EventPacket, ...]:
        """This tick's packets; none: send audio. The end of a digit is sent three times, in three ticks."""
        if self._event is None and not self._begin(timestamp):
            return ()
        assert self._event is not None
        if self._ends == 0:
            if (self._ticks - self._before + 1) * self._step > _MAX_SEGMENT:
                # a long digit goes on in another segment, without a marker (RFC 4733 section 2.5.1.3)
                self._start = (self._start + (self._ticks - self._before) * self._step) & 0xFFFFFFFF
                self._before = self._ticks
            self._ticks += 1
        if self._ticks >= self._total:
            self._ends += 1
        duration = (self._ticks - self._before) * self._step
        end = 0x80 if self._ends else 0
        first = self._ticks == 1 and self._ends <= 1
        packet = EventPacket(_EVENT.pack(self._event, end | VOLUME, duration), self._start, first)
        if self._ends == _END_PACKETS:
            self._event = None
        return (packet,)

    def _begin(self, timestamp: int) -> bool:
        if self._gap > 0:
            self._gap -= 1
            return False
        if not self._queue:
            return False
        digit, duration_ms, gap_ms = self._queue.popleft()
        if digit == PAUSE:
            self._gap = PAUSE_MS // TICK_MS - 1
            return False
        self._event, self._start = DIGITS.index(digit), timestamp
        self._ticks = self._before = self._ends = 0
        self._step = self._clock_rate * TICK_MS // 1000
        self._total = -(-duration_ms // TICK_MS)
        self._gap = max(0, -(-gap_ms // TICK_MS) - (_END_PACKETS - 1))
        return True


class EventReceiver:
    """The RFC 4733 receiver of one call: a digit is one (event, timestamp), however many of its packets arrive, and a
    long one is a chain of them (segments, section 2.5.1.3)."""

    __slots__ = ("_before", "_chain", "_clock_rate", "_current", "_done", "_duration", "_last", "_started")

    def __init__(self, clock_rate: int) -> None:
        self._clock_rate = clock_rate
        self._current: tuple[int, int] | None = None
        self._done: deque[tuple[int, int]] = deque(maxlen=4)
        self._chain: tuple[int, int] | None = None
        """The newest segment of a digit that has not ended, which may have been told already (`_MAX_EVENT_S`)."""
        self._before = self._duration = 0
        """Of the segments before it; of this one."""
        self._last = self._started = 0.0

    def packet(self, payload: bytes, timestamp: int, now: float, *, clock_rate: int | None = None) -> tuple[Digit, ...]:
        """One telephone-event packet; the digits that ended with it (its own, and one before it whose end was lost).

        ``clock_rate``: of the packet's payload type, when several are agreed. Anything but a digit is ignored.
        """
        if len(payload) < 4:
            return ()
        event, flags, duration = _EVENT.unpack_from(payload)
        if event >= len(DIGITS):
            return ()
        key = (event, timestamp)
        if self._goes_on(key):
            self._link(key)
        if key in self._done:
            if key == self._chain:
                self._duration = max(self._duration, duration)
                self._last = now
            return ()
        ended: tuple[Digit, ...] = ()
        if key != self._current:
            ended = self._end()
            self._clock_rate = clock_rate or self._clock_rate
            self._current = self._chain = key
            self._before, self._duration, self._started = 0, 0, now
        self._duration = max(self._duration, duration)
        self._last = now
        if flags & 0x80:
            ended += self._end()
            self._chain = None
        elif now - self._started > _MAX_EVENT_S:
            ended += self._end()
        return ended

    def _goes_on(self, key: tuple[int, int]) -> bool:
        """The segment follows the newest one: it begins where that ended, as far as that was heard."""
        if self._chain is None or key[0] != self._chain[0] or key in self._done:
            return False
        step = (key[1] - self._chain[1]) & 0xFFFFFFFF
        lost = self._clock_rate // 10  # the last packets of a full segment
        return 0 < step == self._duration or _MAX_SEGMENT - lost <= self._duration < step <= _MAX_SEGMENT

    def _link(self, key: tuple[int, int]) -> None:
        assert self._chain is not None
        self._before += (key[1] - self._chain[1]) & 0xFFFFFFFF
        self._duration = 0
        if self._current is None:
            self._done.append(key)  # its digit has been told
        else:
            self._done.append(self._current)
            self._current = key
        self._chain = key

    def tick(self, now: float) -> tuple[Digit, ...]:
        """Call it every so often: the digit all of whose end packets were lost."""
        if self._chain is None or now - self._last <= _LOST_END_S:
            return ()
        self._chain = None
        return self._end()

    def _end(self) -> tuple[Digit, ...]:
        if self._current is None:
            return ()
        key, self._current = self._current, None
        self._done.append(key)
        return (Digit(DIGITS[key[0]], (self._before + self._duration) * 1000 // self._clock_rate),)


def info_body(digit: str, duration_ms: int, *, plain: bool = False) -> tuple[str, bytes]:
    """Content type and body of a SIP INFO for one digit: application/dtmf-relay, or application/dtmf when ``plain``."""
    if len(digit) != 1 or digit not in DIGITS:
        raise InvalidValue("one digit of 0-9 * # A-D goes into an INFO", pointer="/digits")
    if plain:
        return "application/dtmf", digit.encode()
    return "application/dtmf-relay", f"Signal={digit}\r\nDuration={duration_ms}\r\n".encode()


def parse_info(content_type: str, body: bytes) -> Digit:
    """A digit from a SIP INFO body of either type. Raises `InvalidValue`.

    Event numbers 10..15 stand for ``*``, ``#`` and ``A``..``D``; a missing or odd duration counts as 250 ms.
    """
    kind = content_type.partition(";")[0].strip().lower()
    text = body[:256].decode("utf-8", "replace")
    signal, duration_ms = text.strip(), 250
    if kind == "application/dtmf-relay":
        fields = {}
        for line in text.splitlines():
            key, _, value = line.partition("=")
            fields[key.strip().lower()] = value.strip()
        signal = fields.get("signal", "")
        duration = fields.get("duration", "")
        if duration.isascii() and duration.isdigit() and 0 < int(duration) <= 10_000:
            duration_ms = int(duration)
    elif kind != "application/dtmf":
        raise InvalidValue(f"{kind or 'an empty type'} carries no digits")
    signal = signal.upper()
    if signal.isascii() and signal.isdigit() and len(signal) == 2 and int(signal) < len(DIGITS):
        signal = DIGITS[int(signal)]
    if len(signal) != 1 or signal not in DIGITS:
        raise InvalidValue("an INFO without a digit")
    return Digit(signal, duration_ms)
