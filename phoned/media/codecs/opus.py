"""Opus (RFC 6716, RFC 7587) by libopus: mono, straight at the graph's rate, with concealment, in-band FEC and DTX."""

from __future__ import annotations

from phoned.errors import InternalError
from phoned.media.codecs import libopus

MAX_PAYLOAD = 1275
"""The longest Opus frame (RFC 6716 section 3.4)."""
_MAX_PACKET_S = 0.12


class Opus:
    """One call's Opus encoder and decoder."""

    name = "opus"
    clock_rate = 48000

    __slots__ = (
        "_decode",
        "_decoder",
        "_dtx",
        "_encode",
        "_encoder",
        "_frame",
        "_max",
        "_nb_samples",
        "_null",
        "_out",
        "_out_view",
        "_pcm",
        "_pcm_view",
        "sample_rate",
    )

    def __init__(
        self, sample_rate: int, *, bitrate: int, complexity: int, dtx: bool = False, expected_loss_pct: int = 5
    ) -> None:
        ffi, lib, _, _ = libopus.load()
        self.sample_rate = sample_rate
        self._frame = sample_rate // 50
        self._max = int(sample_rate * _MAX_PACKET_S)
        self._dtx = dtx
        error = ffi.new("int *")
        self._encoder = ffi.gc(
            lib.opus_encoder_create(sample_rate, 1, libopus.APPLICATION_VOIP, error), lib.opus_encoder_destroy
        )
        self._decoder = ffi.gc(lib.opus_decoder_create(sample_rate, 1, error), lib.opus_decoder_destroy)
        for request, value in (
            (libopus.SET_BITRATE, bitrate),
            (libopus.SET_COMPLEXITY, complexity),
            (libopus.SET_INBAND_FEC, 1),
            (libopus.SET_PACKET_LOSS_PERC, expected_loss_pct),
            (libopus.SET_DTX, int(dtx)),
        ):
            code = lib.opus_encoder_ctl(self._encoder, request, ffi.cast("int", value))
            if code:
                raise InternalError(f"libopus refused setting {request} = {value}")
        self._encode, self._decode = lib.opus_encode, lib.opus_decode
        self._nb_samples = lib.opus_packet_get_nb_samples
        self._null = ffi.NULL
        self._out = ffi.new(f"char[{MAX_PAYLOAD}]")
        self._out_view = ffi.buffer(self._out)
        self._pcm = ffi.new(f"char[{self._max * 2}]")
        self._pcm_view = ffi.buffer(self._pcm)

    def encode(self, pcm: bytes) -> bytes:
        """See `Codec.encode`."""
        if len(pcm) != self._frame * 2:
            raise InternalError(f"a frame of {len(pcm)} bytes given to an encoder of {self._frame * 2}")
        size: int = self._encode(self._encoder, pcm, self._frame, self._out, MAX_PAYLOAD)
        if size <= 2 and self._dtx:
            return b""  # RFC 7587 section 3.1.3: nothing worth sending
        payload: bytes = self._out_view[: max(size, 0)]
        return payload

    def decode(self, payload: bytes) -> bytes:
        """See `Codec.decode`."""
        size = len(payload)
        samples: int = self._decode(self._decoder, payload, size, self._pcm, self._max, 0) if size else 0
        if samples <= 0:
            return self.conceal()
        pcm: bytes = self._pcm_view[: samples * 2]
        return pcm

    def conceal(self) -> bytes:
        """See `Codec.conceal`."""
        return self._made_up(self._null, 0, 0)

    def decode_fec(self, next_payload: bytes) -> bytes | None:
        """See `Codec.decode_fec`. libopus conceals by itself when the packet holds no copy."""
        return self._made_up(next_payload, len(next_payload), 1) if next_payload else self.conceal()

    def _made_up(self, data: object, size: int, fec: int) -> bytes:
        samples: int = self._decode(self._decoder, data, size, self._pcm, self._frame, fec)
        if samples != self._frame:  # a broken "next" packet
            return bytes(self._frame * 2)
        pcm: bytes = self._pcm_view[: samples * 2]
        return pcm

    def duration(self, payload: bytes) -> int:
        """See `Codec.duration`."""
        samples: int = self._nb_samples(payload, len(payload), 48000) if payload else 0
        return max(0, samples)
