"""G.722 at 64 kbit/s by PyAV: 16 kHz sound under an RTP clock of 8 kHz (RFC 3551 section 4.5.2, a historic slip)."""

from __future__ import annotations

from fractions import Fraction
from typing import Any, Literal

import av
import numpy as np
from av.error import FFmpegError

from phoned.errors import InternalError
from phoned.media.codecs.conceal import Concealer
from phoned.media.codecs.resample import Resampler

_RATE = 16000
_FRAME = _RATE // 50


class G722:
    """One call's G.722 encoder and decoder."""

    name = "g722"
    clock_rate = 8000

    __slots__ = ("_concealer", "_decoder", "_down", "_encoder", "_pts", "_size", "_up", "sample_rate")

    def __init__(self, sample_rate: int) -> None:
        self.sample_rate = sample_rate
        self._size = sample_rate // 25
        self._encoder = _context("w")
        self._decoder = _context("r")
        self._pts = 0
        self._down = Resampler(sample_rate, _RATE)
        self._up = Resampler(_RATE, sample_rate)
        self._concealer = Concealer(_RATE)

    def encode(self, pcm: bytes) -> bytes:
        """See `Codec.encode`."""
        if len(pcm) != self._size:
            raise InternalError(f"a frame of {len(pcm)} bytes given to an encoder of {self._size}")
        if self.sample_rate != _RATE:
            pcm = self._down.process(np.frombuffer(pcm, np.int16)).tobytes()
        frame = av.AudioFrame(format="s16", layout="mono", samples=_FRAME)
        frame.planes[0].update(pcm)
        frame.sample_rate = _RATE
        frame.pts = self._pts
        self._pts += _FRAME
        return b"".join(bytes(packet) for packet in self._encoder.encode(frame))

    @property
    def discontinuous(self) -> bool:
        """See `Codec.discontinuous`."""
        return False

    def suit(self, fmtp: str) -> None:
        """See `Codec.suit`: G.722 has no parameters."""

    def expect_loss(self, percent: int) -> None:
        """See `Codec.expect_loss`: G.722 has no means against it."""

    def decode(self, payload: bytes) -> bytes:
        """See `Codec.decode`."""
        if not payload:
            return self.conceal()
        try:
            frames = self._decoder.decode(av.Packet(payload))
        except FFmpegError:
            return self.conceal()
        pcm = b"".join(bytes(frame.planes[0])[: frame.samples * 2] for frame in frames)
        return self._up.process(self._concealer.good(np.frombuffer(pcm, np.int16))).tobytes()

    def conceal(self) -> bytes:
        """See `Codec.conceal`."""
        return self._up.process(self._concealer.conceal()).tobytes()

    def rest(self) -> bytes:
        """See `Codec.rest`."""
        return bytes(self._size)

    def decode_fec(self, next_payload: bytes) -> bytes | None:
        """None: G.722 packets hold no copies."""
        return None

    def duration(self, payload: bytes) -> int:
        """See `Codec.duration`: a byte is two samples, which is one unit of the 8 kHz clock."""
        return len(payload)


def _context(mode: Literal["r", "w"]) -> Any:
    context = av.CodecContext.create("g722", mode)
    context.sample_rate = _RATE
    context.layout = "mono"
    context.format = "s16"
    if mode == "w":
        context.time_base = Fraction(1, _RATE)
    return context
