"""The adaptive jitter buffer: ordering by sequence number, timing by timestamp.

Owns: which packet is played when, what is concealed, and how deep the buffer is. Knows no codec, no samples and no
socket: packets go in with their duration, actions come out once per 20 ms tick; `codecs.playout` turns these into sound.
"""

from __future__ import annotations

from dataclasses import dataclass

from phoned.media.rtp import Packet


@dataclass(frozen=True, slots=True)
class Decode:
    """Decode this packet."""

    payload: bytes
    payload_type: int


@dataclass(frozen=True, slots=True)
class Conceal:
    """A packet is missing: make up its sound."""


@dataclass(frozen=True, slots=True)
class ConcealWithFec:
    """A packet is missing, but the next one is here and may carry its copy (the next one is decoded later as usual)."""

    next_payload: bytes
    payload_type: int


@dataclass(frozen=True, slots=True)
class Silence:
    """Nothing is missing, the sender is quiet (DTX), or there is nothing to play yet."""


Action = Decode | Conceal | ConcealWithFec | Silence


class JitterBuffer:
    """One stream's buffer. ``put`` for each packet, ``pop`` once per 20 ms tick."""

    def __init__(self, clock_rate: int, *, min_ms: int = 40, max_ms: int = 200) -> None: ...

    def put(self, packet: Packet, now: float, duration: int) -> None:
        """An audio packet of ``duration`` clock units (`Codec.duration`)."""

    def skip(self, packet: Packet, now: float) -> None:
        """A packet of the same sequence space that is no audio (telephone-event, comfort noise): no loss."""

    def pop(self, now: float, *, quiet: bool = False) -> tuple[Action, ...]:
        """What to do in this tick, in order. Empty: a longer packet decoded before still lasts.

        ``quiet``: the sound played last was silence, so that a frame may be dropped or inserted unheard.
        """
        raise NotImplementedError
