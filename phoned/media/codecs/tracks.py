"""Opus for files: each channel a stream of its own in one packet (RFC 7845 section 5.1.1.2), by libopus.

Two sides of a call have nothing in common. Joint stereo would let the one be heard on the channel of the other.
"""

from __future__ import annotations

from phoned.errors import InternalError
from phoned.media.codecs import libopus
from phoned.media.codecs.opus import MAX_PAYLOAD


class TrackEncoder:
    """Frames of 20 ms to packets. ``bitrate`` is that of one channel, in bit/s. Raises `UnavailableError` without
    libopus."""

    __slots__ = ("_channels", "_encode", "_encoder", "_out", "_out_view", "_samples", "_size", "pre_skip", "vendor")

    def __init__(self, rate: int, channels: int, *, bitrate: int = 24000, complexity: int = 1) -> None:
        ffi, lib, _, version = libopus.load()
        self.vendor = version
        self._channels = channels
        self._samples = rate // 50
        error = ffi.new("int *")
        self._encoder = ffi.gc(
            lib.opus_multistream_encoder_create(
                rate, channels, channels, 0, bytes(range(channels)), libopus.APPLICATION_VOIP, error
            ),
            lib.opus_multistream_encoder_destroy,
        )
        for request, value in ((libopus.SET_BITRATE, bitrate * channels), (libopus.SET_COMPLEXITY, complexity)):
            if lib.opus_multistream_encoder_ctl(self._encoder, request, ffi.cast("int", value)):
                raise InternalError(f"libopus refused setting {request} = {value}")
        lookahead = ffi.new("int *")
        lib.opus_multistream_encoder_ctl(self._encoder, libopus.GET_LOOKAHEAD, lookahead)
        self.pre_skip: int = lookahead[0] * 48000 // rate
        """The encoder's delay in samples of 48 kHz."""
        self._encode = lib.opus_multistream_encode
        self._size = (MAX_PAYLOAD + 2) * channels
        self._out = ffi.new(f"char[{self._size}]")
        self._out_view = ffi.buffer(self._out)

    def encode(self, pcm: bytes) -> bytes:
        """20 ms of int16, native endian, channels interleaved."""
        if len(pcm) != self._samples * self._channels * 2:
            raise InternalError(f"{len(pcm)} bytes are no frame of {self._channels} x {self._samples} samples")
        size: int = self._encode(self._encoder, pcm, self._samples, self._out, self._size)
        if size <= 0:
            raise InternalError(f"libopus failed with {size}")
        packet: bytes = self._out_view[:size]
        return packet
