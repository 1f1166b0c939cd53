"""Play-out: what the jitter buffer orders, as 20 ms frames of the graph's rate, tick by tick.

Owns the choice of the decoder by payload type, the samples left over from packets longer than a tick, comfort noise,
and the counters of made-up sound. Knows no RTP and no sink. `MediaSession` calls ``frame`` once per tick.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from phoned.media.codecs import Codec
from phoned.media.codecs.comfort import ComfortNoise
from phoned.media.jitter import Action, ConcealWithFec, Decode, JitterBuffer, Silence

_QUIET_PEAK = 330
"""Below -40 dBFS peak a frame may be dropped or doubled unheard."""
_MAX_LEFT_S = 0.5


class Playout:
    """The receiving half of one call's sound."""

    __slots__ = ("_codec", "_codecs", "_left", "_noise", "_rate", "_silence", "_size", "concealed_ms", "jitter", "last")

    def __init__(self, jitter: JitterBuffer, codecs: Mapping[int, Codec], sample_rate: int) -> None:
        self.jitter = jitter
        self._size = sample_rate // 25
        self._silence = bytes(self._size)
        self._rate = sample_rate
        self._left = b""
        self._noise: ComfortNoise | None = None
        self._codecs: Mapping[int, Codec] = codecs
        self._codec: Codec | None = next(iter(codecs.values()), None)
        self.last = self._silence
        self.concealed_ms = 0

    def use(self, codecs: Mapping[int, Codec]) -> None:
        """Other payload types from now on (a re-negotiation): the same codec objects keep their state."""
        self._codecs = codecs
        if self._codec not in codecs.values():
            self._codec = next(iter(codecs.values()), None)

    def comfort(self, payload: bytes) -> None:
        """The sender's pauses sound so from now on (a comfort noise payload, RFC 3389)."""
        self._noise = self._noise or ComfortNoise(self._rate)
        self._noise.describe(payload)

    def frame(self, now: float) -> bytes:
        """Exactly 20 ms, mono int16."""
        jitter = self.jitter
        actions = jitter.pop(now, quiet=jitter.wants_quiet and self.quiet())
        if len(actions) == 1 and not self._left:  # the common case: one packet, one tick, no copy
            sound = self._sound(actions[0])
            if len(sound) == self._size:
                self.last = sound
                return sound
            self._left = sound
        else:
            self._left += b"".join(map(self._sound, actions))
        sound = self._left[: self._size]
        limit = int(_MAX_LEFT_S * 50) * self._size
        self._left = self._left[self._size :][-limit:]
        if len(sound) < self._size:
            sound += self._silence[len(sound) :]
        self.last = sound
        return sound

    def quiet(self) -> bool:
        """Whether the last frame was silence, or close to it."""
        samples = np.frombuffer(self.last, np.int16)
        return int(samples.max()) < _QUIET_PEAK and int(samples.min()) > -_QUIET_PEAK

    def _sound(self, action: Action) -> bytes:
        if isinstance(action, Decode):
            codec = self._codecs.get(action.payload_type)
            if codec is None:
                return self._silence  # a payload type that was never agreed
            self._codec = codec
            return codec.decode(action.payload)
        codec = self._codec
        if isinstance(action, Silence):
            if self._noise is not None:
                return self._noise.frame()
            return self._silence if codec is None else codec.rest()
        if codec is None:
            return self._silence
        self.concealed_ms += 20
        if isinstance(action, ConcealWithFec) and self._codecs.get(action.payload_type) is codec:
            sound = codec.decode_fec(action.next_payload)
            if sound is not None:
                return sound
        return codec.conceal()
