"""Audio codecs of one call: `create` makes a codec for a graph rate, `Playout` turns jitter buffer actions into frames.

The graph works in mono int16 frames of 20 ms at ``sample_rate`` 8000, 16000 or 48000. A codec speaks that rate on its PCM
side whatever its own rate is (G.711 resamples inside).
"""

from __future__ import annotations

from typing import Protocol


class Codec(Protocol):
    """One direction-pair of a codec: encoder and decoder state of one call. Not shared between calls."""

    name: str
    clock_rate: int
    """RTP clock in Hz."""
    sample_rate: int
    """PCM side: the graph's rate."""

    def encode(self, pcm: bytes) -> bytes:
        """A 20 ms frame (``sample_rate // 50`` samples, mono int16) to a payload; empty: send nothing (DTX)."""
        ...

    def decode(self, payload: bytes) -> bytes:
        """A payload of any ptime to mono int16. Never raises: a broken payload is concealed."""
        ...

    def conceal(self) -> bytes:
        """20 ms of made-up sound in place of a lost packet."""
        ...

    def decode_fec(self, next_payload: bytes) -> bytes | None:
        """The lost 20 ms from the copy in the packet after it, or None when the codec or packet has none."""
        ...

    def duration(self, payload: bytes) -> int:
        """How long a payload lasts in RTP clock units; 0 for a broken one."""
        ...


def create(
    name: str,
    sample_rate: int,
    *,
    bitrate: int = 32000,
    complexity: int = 5,
    dtx: bool = False,
    expected_loss_pct: int = 5,
) -> Codec:
    """Make a codec: ``opus``, ``g722``, ``pcmu`` or ``pcma``. Raises `InvalidValue` for another name or rate."""
    raise NotImplementedError


def available() -> tuple[str, ...]:
    """The codecs that this machine can run, in order of preference."""
    raise NotImplementedError
