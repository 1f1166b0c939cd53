"""Opus (RFC 6716, RFC 7587) by libopus: mono, straight at the graph's rate, with concealment, in-band FEC and DTX."""

from __future__ import annotations

from functools import partial

from phoned.errors import InternalError
from phoned.media.codecs import libopus
from phoned.media.sdp import OpusFormat

MAX_PAYLOAD = 1275
"""The longest Opus frame (RFC 6716 section 3.4)."""
_MAX_PACKET_S = 0.12
_WITH_COPIES = 1.5
"""Times the bit rate while copies are sent. At 24 kbit/s and complexity 1 libopus finds no room for any in wide band:
up to 5 % loss it sends none, above that it narrows the band for them. With 36 kbit/s, PESQ at 5 % loss is 4.1, not 2.7.
"""
_LEAST_TOLD = 10
"""Percent of loss that libopus is told of at least. Below 6 % it gives copies up rather than bandwidth, which sounds
worse (PESQ at 5 % loss and 24 kbit/s: 2.7 against 3.9)."""
DTX_SIZE = 2
"""A payload no longer than this holds no sound: the sender is quiet from here on (RFC 6716 section 2.1.9)."""


class Opus:
    """One call's Opus encoder and decoder."""

    name = "opus"
    clock_rate = 48000

    __slots__ = (
        "_bitrate",
        "_ctl",
        "_decode",
        "_decoder",
        "_dtx",
        "_encode",
        "_encoder",
        "_far",
        "_frame",
        "_int",
        "_loss_pct",
        "_max",
        "_nb_samples",
        "_null",
        "_out",
        "_out_view",
        "_pcm",
        "_pcm_view",
        "_quiet",
        "_resting",
        "discontinuous",
        "sample_rate",
    )

    def __init__(
        self, sample_rate: int, *, bitrate: int, complexity: int, dtx: bool = False, expected_loss_pct: int = 0
    ) -> None:
        ffi, lib, _, _ = libopus.load()
        self.sample_rate = sample_rate
        self._frame = sample_rate // 50
        self._max = int(sample_rate * _MAX_PACKET_S)
        self._bitrate, self._dtx, self._loss_pct = bitrate, dtx, expected_loss_pct
        self._far = OpusFormat(fec=True)
        self.discontinuous = dtx
        self._quiet = self._resting = False
        error = ffi.new("int *")
        self._encoder = ffi.gc(
            lib.opus_encoder_create(sample_rate, 1, libopus.APPLICATION_VOIP, error), lib.opus_encoder_destroy
        )
        self._decoder = ffi.gc(lib.opus_decoder_create(sample_rate, 1, error), lib.opus_decoder_destroy)
        self._ctl, self._int = lib.opus_encoder_ctl, partial(ffi.cast, "int")
        self._set(libopus.SET_COMPLEXITY, complexity)
        self._tune()
        self._encode, self._decode = lib.opus_encode, lib.opus_decode
        self._nb_samples = lib.opus_packet_get_nb_samples
        self._null = ffi.NULL
        self._out = ffi.new(f"char[{MAX_PAYLOAD}]")
        self._out_view = ffi.buffer(self._out)
        self._pcm = ffi.new(f"char[{self._max * 2}]")
        self._pcm_view = ffi.buffer(self._pcm)

    def _set(self, request: int, value: int) -> None:
        if self._ctl(self._encoder, request, self._int(value)):
            raise InternalError(f"libopus refused setting {request} = {value}")

    def _tune(self) -> None:
        """Give the encoder what is configured, what the far end asks for, and what the path is like."""
        far = self._far
        bandwidth = next(number for rate, number in libopus.BANDWIDTHS if far.playback_rate <= rate)
        self.discontinuous = self._dtx or far.dtx
        copies = far.fec and self._loss_pct > 0
        bitrate = int(self._bitrate * _WITH_COPIES) if copies else self._bitrate
        self._set(libopus.SET_BITRATE, min(bitrate, far.bitrate or bitrate))
        self._set(libopus.SET_MAX_BANDWIDTH, bandwidth)
        self._set(libopus.SET_VBR, int(not far.constant))
        self._set(libopus.SET_DTX, int(self.discontinuous))
        self._set(libopus.SET_INBAND_FEC, int(copies))
        self._set(libopus.SET_PACKET_LOSS_PERC, max(_LEAST_TOLD, self._loss_pct) if copies else self._loss_pct)

    def suit(self, fmtp: str) -> None:
        """See `Codec.suit` (RFC 7587 section 6.1). We send mono whatever it asks: every decoder takes it."""
        far = OpusFormat.parse(fmtp)
        if far != self._far:
            self._far = far
            self._tune()

    def expect_loss(self, percent: int) -> None:
        """See `Codec.expect_loss`: by in-band FEC, when the far end makes use of it."""
        if percent != self._loss_pct:
            self._loss_pct = percent
            self._tune()

    def encode(self, pcm: bytes) -> bytes:
        """See `Codec.encode`."""
        if len(pcm) != self._frame * 2:
            raise InternalError(f"a frame of {len(pcm)} bytes given to an encoder of {self._frame * 2}")
        size: int = self._encode(self._encoder, pcm, self._frame, self._out, MAX_PAYLOAD)
        if size <= DTX_SIZE and self.discontinuous:
            if self._quiet:
                return b""  # RFC 7587 section 3.1.3: nothing worth sending
            self._quiet = True  # the first goes out, so that what follows is not taken for loss
        else:
            self._quiet = False
        payload: bytes = self._out_view[: max(size, 0)]
        return payload

    def decode(self, payload: bytes) -> bytes:
        """See `Codec.decode`."""
        size = len(payload)
        self._resting = size <= DTX_SIZE
        samples: int = self._decode(self._decoder, payload, size, self._pcm, self._max, 0) if size else 0
        if samples <= 0:
            return self.conceal()
        pcm: bytes = self._pcm_view[: samples * 2]
        return pcm

    def conceal(self) -> bytes:
        """See `Codec.conceal`."""
        return self._made_up(self._null, 0, 0)

    def rest(self) -> bytes:
        """See `Codec.rest`: libopus goes on with the background noise of the pause."""
        return self.conceal() if self._resting else bytes(self._frame * 2)

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
