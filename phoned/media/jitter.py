"""The adaptive jitter buffer: order by sequence number, time by timestamp.

Owns: which packet is played when, what is concealed, and how deep the buffer is. Knows no codec, no samples and no
socket: packets go in with their duration, actions come out once per 20 ms tick; `codecs.playout` turns these into
sound.

The sender's timestamps are the clock: ``_due`` is the timestamp of the sound that comes next. A hole in the sequence
numbers is loss, and lasts as long as the timestamps say; a hole in the timestamps alone is silence (DTX, or digits in
between). The *delay* of a packet is measured against the fastest packet of the last seconds, so it is what the buffer
adds, in seconds. It is kept within one tick below the *target*: the spread of 98 % of these packets and a little, plus
one tick; on a path that loses packets whose copies are in the next one, plus one more, so that this one is there then.
It changes where nobody hears it: at the start of a talk spurt, or by one frame in silence; loudly only when it is far
too long.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import NamedTuple

from phoned.media.rtp import MAX_DROPOUT, MAX_MISORDER, Packet, sequence_delta, timestamp_delta

TICK_S = 0.02
MAX_PACKETS = 128
"""More than this are never held; the oldest goes."""
_WINDOW = 200
"""Packets whose transit times are remembered: four seconds."""
_REVIEW = 25
"""Packets between two looks at target and depth: half a second."""
_LOSSY_REVIEWS = 20
"""A loss is remembered for so many of them: ten seconds."""
_CONCEAL_TICKS = 10
"""Concealed ticks in a row on an empty buffer before plain silence."""
_SLACK_S = 0.005
_ROUNDING_S = 0.001
_LOUD_EXCESS_S = 0.06
"""This much above the target, a frame is dropped although it is heard."""
_EARLY_S = 0.1
"""A packet this much faster than any before it proves a jump of the sender's timestamps."""
_LATE_S = 2.0


class Decode(NamedTuple):
    """Decode this packet. A named tuple: there is one in every tick of every call."""

    payload: bytes
    payload_type: int


@dataclass(frozen=True, slots=True)
class Conceal:
    """A packet is missing: make up its sound (20 ms)."""


@dataclass(frozen=True, slots=True)
class ConcealWithFec:
    """A packet is missing (20 ms), but the next one is here and may carry its copy; the next is decoded later as
    usual."""

    next_payload: bytes
    payload_type: int


@dataclass(frozen=True, slots=True)
class Silence:
    """20 ms in which nothing is missing: the sender is quiet, or there is nothing to play yet."""


Action = Decode | Conceal | ConcealWithFec | Silence

_CONCEAL = Conceal()
_SILENCE = Silence()
_new_tuple = tuple.__new__


@dataclass(slots=True)
class _Entry:
    timestamp: int
    arrival: float
    duration: int
    """In clock units; 0 for a packet of the sequence space that is no audio."""
    payload: bytes
    payload_type: int
    lateness: float
    """Seconds that it came after the fastest packet of its time."""


class JitterBuffer:
    """One stream's buffer. ``put`` or ``skip`` for every packet of the stream, ``pop`` once per 20 ms tick."""

    __slots__ = (
        "_ahead",
        "_base",
        "_clock_rate",
        "_copies",
        "_depths",
        "_dry",
        "_dry_ticks",
        "_due",
        "_excess",
        "_following",
        "_jump",
        "_least",
        "_lossy",
        "_lost_before",
        "_max_s",
        "_min_s",
        "_most",
        "_newest",
        "_next",
        "_packets",
        "_paused",
        "_playing",
        "_since_review",
        "_ssrc",
        "_stray",
        "_stray_put",
        "_tick",
        "_transits",
        "delay_s",
        "dropped",
        "duplicates",
        "inserted",
        "late",
        "lost",
        "resets",
        "target_s",
        "underruns",
    )

    def __init__(self, clock_rate: int, *, min_ms: int = 40, max_ms: int = 200, copies: bool = False) -> None:
        """``copies``: packets may carry the sound of the one before (FEC)."""
        self._copies = copies
        self._lossy = self._lost_before = 0
        self._min_s, self._max_s = min_ms / 1000, max_ms / 1000
        self.target_s = self._min_s
        self.delay_s = 0.0
        """What the buffer added to the packet played last."""
        self.lost = 0
        """Packets whose turn came and that were not there."""
        self.late = 0
        """Of these, packets that came after all."""
        self.duplicates = 0
        self.dropped = 0
        """Packets thrown away to shorten the delay."""
        self.inserted = 0
        """Ticks of silence put in to lengthen it."""
        self.underruns = 0
        self.resets = 0
        """New streams: SSRC changes and restarted sequences."""
        self._ssrc: int | None = None
        self.restart(clock_rate)

    def restart(self, clock_rate: int) -> None:
        """Forget the stream, keep target and counters: a new stream or another clock begins."""
        self._clock_rate = clock_rate
        self._tick = clock_rate // 50
        self._packets: dict[int, _Entry] = {}
        self._next: int | None = None
        self._due: int | None = None
        self._playing = False
        self._dry = 0
        self._dry_ticks = _CONCEAL_TICKS
        self._paused = False
        self._ahead = 0
        self._stray: tuple[int, int] | None = None
        self._stray_put: tuple[Packet, float, int] | None = None
        self._following = -1
        """The sequence number after the audio packet that came last; ``_newest`` is its timestamp."""
        self._newest = 0
        self._jump = -1
        """The sequence number with which the newest clock of the sender began: no pause lies before it."""
        self._transits: deque[float] = deque(maxlen=_WINDOW)
        self._base = 0.0
        self._since_review = 0
        self._forget_depths()

    def _forget_depths(self) -> None:
        self._depths = 0
        self._least, self._most = float("inf"), 0.0
        self._excess = 0

    # -- in

    def put(self, packet: Packet, now: float, duration: int) -> None:
        """An audio packet of ``duration`` clock units (`Codec.duration`; 0 means broken and counts as one tick)."""
        self._insert(packet, now, duration if duration > 0 else self._tick)

    def skip(self, packet: Packet, now: float) -> None:
        """A packet of the same sequence space that is no audio (telephone-event, comfort noise): not lost, not
        played."""
        self._insert(packet, now, 0)

    def _insert(self, packet: Packet, now: float, duration: int) -> None:
        number, sequence, timestamp, ssrc, payload, *_ = packet
        # in the same stream and not further away than loss and reordering explain?
        step = 0 if self._next is None else ((sequence - self._next + 0x8000) & 0xFFFF) - 0x8000
        if ssrc == self._ssrc and -MAX_MISORDER <= step <= MAX_DROPOUT:
            self._stray = self._stray_put = None
        elif self._is_stray(packet, now, duration):
            return
        else:
            step = 0 if self._next is None else sequence_delta(sequence, self._next)
        lateness = 0.0
        if duration:
            if sequence == self._following and (timestamp - self._newest) & 0x80000000:
                self._transits.clear()  # time never runs backwards: the sender goes by another clock now
            self._following, self._newest = (sequence + 1) & 0xFFFF, timestamp
            lateness = self._measure(now - timestamp / self._clock_rate)
            if len(self._transits) == 1:
                self._jump = sequence
        if self._next is None:
            self._next = sequence
        elif step < 0:
            if self._due is not None:
                self.late += 1
                return
            self._next = sequence if step > -MAX_MISORDER else self._next
        packets = self._packets
        if sequence in packets:
            self.duplicates += 1
            return
        packets[sequence] = _Entry(timestamp, now, duration, payload, number, lateness)
        if len(packets) > MAX_PACKETS:
            del packets[self._next_present(self._next)]
            self._next = self._next_present(self._next)
            self.dropped += 1

    def _is_stray(self, packet: Packet, now: float, duration: int) -> bool:
        """A packet that is not of the stream: two in a row begin a new one, as the very first does; a single one is
        dropped."""
        if self._ssrc is None:
            self._ssrc = packet.ssrc
            return False
        first = self._stray_put
        if first is None or self._stray != (packet.ssrc, packet.sequence):
            self._stray = (packet.ssrc, (packet.sequence + 1) & 0xFFFF)
            self._stray_put = (packet, now, duration)
            return True
        self.resets += 1
        ahead = self._ahead
        self.restart(self._clock_rate)
        self._ahead = ahead  # what was handed out before still has to be heard
        self._ssrc = packet.ssrc
        self._insert(*first)
        return False

    def _measure(self, transit: float) -> float:
        """Keep the fastest transit time and the target; how much later than the fastest this one is.

        ``transit``: arrival less timestamp, which is off by any constant.
        """
        transits = self._transits
        if transits and not -_EARLY_S <= transit - self._base <= _LATE_S:
            relative = transit - self._base
            half = 0x80000000 / self._clock_rate
            if abs(relative) > half:  # the timestamp wrapped
                shift = 2 * half if relative > 0 else -2 * half
                self._base += shift
                self._transits = transits = deque((value + shift for value in transits), _WINDOW)
                relative -= shift
            if relative < -_EARLY_S or relative > _LATE_S:
                transits.clear()
        transits.append(transit)
        if len(transits) == 1 or transit < self._base:
            self._base = transit
        self._since_review += 1
        if self._since_review >= _REVIEW:
            self._review()
        return transit - self._base

    def _review(self) -> None:
        self._since_review = 0
        ordered = sorted(self._transits)
        self._base = ordered[0]
        spread = ordered[-1 - len(ordered) // 50] - self._base
        if self.lost != self._lost_before:
            self._lost_before, self._lossy = self.lost, _LOSSY_REVIEWS
        elif self._lossy:
            self._lossy -= 1
        wait_s = 2 * TICK_S if self._lossy and self._copies else TICK_S
        self.target_s = min(self._max_s, max(self._min_s, spread + wait_s + _SLACK_S))

    # -- out

    @property
    def wants_quiet(self) -> bool:
        """The next silence heard will be used: `pop` profits from a true ``quiet``."""
        return self._excess != 0

    def pop(self, now: float, *, quiet: bool = False) -> tuple[Action, ...]:
        """What to do in this tick, in order. Empty: a longer packet handed out before still lasts.

        ``quiet``: the sound played last was silence, so that a frame may be dropped or inserted unheard.
        """
        tick = self._tick
        if self._ahead >= tick:
            self._ahead -= tick
            return ()
        action, duration = self._act(now, quiet)
        ahead = self._ahead + duration
        if ahead >= tick:  # the common case: one packet, one tick
            self._ahead = ahead - tick
            return (action,)
        actions = [action]
        while ahead < tick:
            action, duration = self._act(now, quiet)
            actions.append(action)
            ahead += duration
        self._ahead = ahead - tick
        return tuple(actions)

    def _act(self, now: float, quiet: bool) -> tuple[Action, int]:
        if not self._playing:
            if not self._ready(now):
                return self._dry_action()
            self._playing = True
        while True:
            assert self._next is not None  # playing means that a packet was seen
            entry = self._packets.get(self._next)
            if entry is None:
                if not self._packets:
                    self._playing = False
                    self._dry = self._dry_ticks = 0
                    self.underruns += not self._paused
                    return self._dry_action()
                action = self._hole()
                if action is None:
                    continue
                return action, self._tick
            if not entry.duration:
                self._take()
                self._paused = True
                continue
            timestamp, due = entry.timestamp, self._due
            if due is not None and due != timestamp and self._next != self._jump:
                gap = timestamp_delta(timestamp, due)
                if self._tick <= gap <= self._clock_rate and now - entry.arrival < self.target_s:
                    self._due = (due + self._tick) & 0xFFFFFFFF
                    return _SILENCE, self._tick
            if self._adjust(entry, now, quiet):
                continue
            if self._excess < 0 and quiet:
                self.inserted += 1
                self._forget_depths()
                return _SILENCE, self._tick
            self._take()
            payload, duration = entry.payload, entry.duration
            self._due = (timestamp + duration) & 0xFFFFFFFF
            self._paused = len(payload) <= 2  # Opus marks the begin of DTX so (RFC 6716 section 2.1.9)
            return _new_tuple(Decode, (payload, entry.payload_type)), duration

    def _take(self) -> None:
        assert self._next is not None
        del self._packets[self._next]
        self._next = (self._next + 1) & 0xFFFF

    def _next_present(self, after: int) -> int:
        """The held sequence number that comes first."""
        return min(self._packets, key=lambda sequence: sequence_delta(sequence, after))

    def _dry_action(self) -> tuple[Action, int]:
        """A tick without anything to play: conceal for a while, unless the sender is known to pause."""
        self._dry += self._tick
        self._dry_ticks += 1
        conceal = self._dry_ticks <= _CONCEAL_TICKS and not self._paused
        return (_CONCEAL if conceal else _SILENCE), self._tick

    def _ready(self, now: float) -> bool:
        """Whether play-out may begin, or go on after the buffer ran dry."""
        while self._next is not None and (entry := self._packets.get(self._next)) and not entry.duration:
            self._take()
            self._paused = True
        if self._next is None or not self._packets:
            return False
        first = self._packets[self._next_present(self._next)]
        deep = self._delay(first, now) >= self.target_s - TICK_S
        if self._due is None:
            return deep
        remaining = timestamp_delta(first.timestamp, self._due) - self._dry
        if deep or 0 <= remaining < self._tick:
            if remaining > -self._tick:  # what is missing has been covered while we waited
                self._due = (self._due + self._dry) & 0xFFFFFFFF
            else:
                self._review()  # it came late: the target must know now
            return True
        return False

    def _hole(self) -> Action | None:
        """The packet whose turn it is is missing, later ones are here. None: nothing to conceal, go on with these."""
        assert self._next is not None
        following = self._next_present(self._next)
        entry = self._packets[following]
        gap = timestamp_delta(entry.timestamp, self._due) if self._due is not None and entry.duration else 0
        if gap > self._max_s * self._clock_rate or gap < self._tick // 2:
            self._lose(following)
            return None
        assert self._due is not None
        self._due = (self._due + self._tick) & 0xFFFFFFFF
        if gap - self._tick >= self._tick // 2:
            return _CONCEAL
        self._lose(following)
        return ConcealWithFec(entry.payload, entry.payload_type)

    def _lose(self, following: int) -> None:
        assert self._next is not None
        self.lost += sequence_delta(following, self._next)
        self._next = following

    # -- depth

    @staticmethod
    def _delay(entry: _Entry, now: float) -> float:
        """What the buffer adds to the fastest way through, if this packet is played now."""
        return now - entry.arrival + entry.lateness

    def _adjust(self, entry: _Entry, now: float, quiet: bool) -> bool:
        """Watch the delay; True when this packet was dropped to shorten it."""
        delay = self.delay_s = now - entry.arrival + entry.lateness  # as `_delay`
        if delay < self._least:
            self._least = delay
        if delay > self._most:
            self._most = delay
        self._depths += 1
        if self._depths >= _REVIEW:
            excess = self._least - self.target_s
            self._depths = 0
            if excess > _LOUD_EXCESS_S:
                self._excess = 2
            elif excess > _SLACK_S:
                self._excess = 1
            else:
                # a depth below the spread of the packets is heard at once: no slack on this side
                self._excess = -1 if self._most < self.target_s - TICK_S - _ROUNDING_S else 0
            self._least, self._most = float("inf"), 0.0
        if len(self._packets) == 1:
            return False
        too_deep = delay > self._max_s + TICK_S and delay > self.target_s + TICK_S
        if too_deep or self._excess == 2 or (self._excess == 1 and quiet):
            self._take()
            self._due = (entry.timestamp + entry.duration) & 0xFFFFFFFF
            self.dropped += 1
            if not too_deep:
                self._forget_depths()
            return True
        return False
