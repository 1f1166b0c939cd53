"""The binding of libopus: the copy inside PyAV's wheel, else the system's library (cffi, ABI mode).

PyAV's copy is in the process as soon as PyAV is, so this way there is one libopus and not two; and it is the newer
one (1.6.1 encodes speech for 14 % less CPU than the 1.3.1 of Debian 12).
Owns finding and declaring the library, nothing else. cffi's call costs 0.6 us against 1.1 us of ctypes (measured), and
releases the GIL. ``bytes`` go in without a copy because sound is declared as ``char``.
"""

from __future__ import annotations

import ctypes.util
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from phoned.errors import UnavailableError

APPLICATION_VOIP = 2048
SET_BITRATE = 4002
SET_MAX_BANDWIDTH = 4004
SET_VBR = 4006
SET_COMPLEXITY = 4010
SET_INBAND_FEC = 4012
SET_PACKET_LOSS_PERC = 4014
SET_DTX = 4016
GET_LOOKAHEAD = 4027
BANDWIDTHS = ((8000, 1101), (12000, 1102), (16000, 1103), (24000, 1104), (48000, 1105))
"""Sample rates in Hz, and the bandwidth that holds all of their sound."""

_DECLARATIONS = """
typedef struct OpusEncoder OpusEncoder;
typedef struct OpusDecoder OpusDecoder;
const char *opus_get_version_string(void);
const char *opus_strerror(int error);
OpusEncoder *opus_encoder_create(int rate, int channels, int application, int *error);
int opus_encode(OpusEncoder *encoder, const char *pcm, int samples, char *out, int size);
int opus_encoder_ctl(OpusEncoder *encoder, int request, ...);
void opus_encoder_destroy(OpusEncoder *encoder);
OpusDecoder *opus_decoder_create(int rate, int channels, int *error);
int opus_decode(OpusDecoder *decoder, const char *data, int size, char *pcm, int samples, int fec);
void opus_decoder_destroy(OpusDecoder *decoder);
typedef struct OpusMSEncoder OpusMSEncoder;
OpusMSEncoder *opus_multistream_encoder_create(
    int rate, int channels, int streams, int coupled, const char *mapping, int application, int *error);
int opus_multistream_encode(OpusMSEncoder *encoder, const char *pcm, int samples, char *out, int size);
int opus_multistream_encoder_ctl(OpusMSEncoder *encoder, int request, ...);
void opus_multistream_encoder_destroy(OpusMSEncoder *encoder);
int opus_packet_get_nb_samples(const char *data, int size, int rate);
"""


class Library(NamedTuple):
    """The loaded library: cffi's two objects, where it came from, and its version."""

    ffi: Any
    lib: Any
    path: str
    version: str


def _paths() -> list[str]:
    """Where to look, in this order."""
    import av  # here, not above: it is large

    bundled = Path(av.__file__).resolve().parent.parent / "av.libs"
    paths = sorted(str(path) for path in bundled.glob("libopus-*.so*"))
    if paths:
        return [*paths, "libopus.so.0"]
    named = ctypes.util.find_library("opus")  # starts programs: only where nothing is bundled
    return ["libopus.so.0", *([named] if named is not None else [])]


def open_first(paths: list[str]) -> Library | None:
    """The first of these that loads."""
    from cffi import FFI

    ffi = FFI()
    ffi.cdef(_DECLARATIONS)
    for path in paths:
        try:
            lib = ffi.dlopen(path)
        except OSError:
            continue
        return Library(ffi, lib, path, ffi.string(lib.opus_get_version_string()).decode())
    return None


@cache
def _load() -> Library | None:
    return open_first(_paths())


def found() -> bool:
    """Whether there is a libopus."""
    return _load() is not None


def load() -> Library:
    """The library, loaded once. Raises `UnavailableError` when there is none."""
    library = _load()
    if library is None:
        raise UnavailableError("libopus is missing: install libopus0, or the wheel of PyAV")
    return library
