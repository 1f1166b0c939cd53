"""Compressed sound: Ogg (Opus, Vorbis, FLAC), FLAC and MP3, decoded by PyAV a piece at a time. It blocks.

FFmpeg is given bytes and never a name or a URL. What the first bytes say chooses the one demuxer and the few decoders
that it may use, so that no playlist, picture or unusual codec is ever looked into. Memory and work are bounded by what
is asked for: a file from which `MAX_SILENT_BYTES` were read without any sound is given up.
"""

from __future__ import annotations

from typing import Any, BinaryIO

import av
import numpy as np

from phoned.audio.wav import MAX_CHANNELS, MAX_RATE, MIN_RATE, Samples, no_good

MAX_SILENT_BYTES = 16 * 1024 * 1024
"""A cover picture fits in there."""
MAX_BAD_PACKETS = 50
"""In a row: the rest of the file is no sound either."""
DECODERS = ("opus", "vorbis", "flac", "mp3float", "mp3")


def container_of(head: bytes) -> str | None:
    """FFmpeg's name for what begins with these bytes; None for what is not played."""
    if head[:4] == b"OggS":
        return "ogg"
    if head[:4] == b"fLaC":
        return "flac"
    # a frame of layer III begins with eleven ones, and 01 for the layer
    if head[:3] == b"ID3" or (len(head) > 1 and head[0] == 0xFF and head[1] & 0xE6 == 0xE2):
        return "mp3"
    return None


class _Bounded:
    """What FFmpeg reads: an open file, with a bound on what is taken from it before `refill`.

    Nothing is raised through FFmpeg, where it would be printed and lost: the file ends there, and `check` tells why.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._left = MAX_SILENT_BYTES
        self._trouble: Exception | None = None

    def refill(self) -> None:
        self._left = MAX_SILENT_BYTES

    def check(self) -> None:
        """Raises what happened."""
        if self._trouble is not None:
            raise self._trouble

    def read(self, count: int) -> bytes:
        if self._trouble is not None:
            return b""
        try:
            data = self._file.read(count)
        except (OSError, ValueError) as error:
            self._trouble = error
            return b""
        self._left -= len(data)
        if self._left < 0:
            self._trouble = no_good(f"{MAX_SILENT_BYTES >> 20} MiB of it hold no sound")
            return b""
        return data

    def seek(self, offset: int, whence: int = 0) -> int:
        try:
            return self._file.seek(offset, whence)
        except (OSError, ValueError):
            return -1  # it may ask for what is before the beginning

    def tell(self) -> int:
        return self._file.tell()


class DecodedReader:
    """The sound of one open file, as mono int16 at ``rate``. Raises `InvalidValue` for what cannot be played."""

    def __init__(self, file: BinaryIO, container: str, rate: int) -> None:
        self._file = file
        self._kind = container
        self.rate = rate
        self._container: Any = None
        self._begin()

    def _begin(self) -> None:
        self._end()
        self._file.seek(0)
        self._source = _Bounded(self._file)
        try:
            self._container = av.open(
                self._source,
                format=self._kind,
                options={"codec_whitelist": ",".join(DECODERS)},
                metadata_errors="replace",
            )
        except (av.FFmpegError, ValueError) as error:
            self._source.check()
            raise no_good("it is damaged, or cut off before its sound begins") from error
        self._source.check()
        stream = next(iter(self._container.streams.audio), None)
        if stream is None or stream.codec_context is None or stream.codec_context.name not in DECODERS:
            raise no_good("it holds no sound that can be decoded: Opus, Vorbis, FLAC or MP3")
        stream.codec_context.thread_count = 1  # it is read ahead of time, in a thread already
        self._packets = self._container.demux(stream)
        self._resampler: Any = None
        self._shape: tuple[Any, ...] = ()
        self._ready: list[Samples] = []
        self._over = False
        self._bad = 0

    def read(self, frames: int) -> Samples:
        """About ``frames`` samples, or a packet more; empty at the end."""
        self._source.refill()
        have = sum(map(len, self._ready))
        while have < frames and not self._over:
            decoded = self._decode()
            self._source.check()
            have += sum(map(len, decoded))
            self._ready += decoded
        samples = np.concatenate(self._ready) if self._ready else np.empty(0, np.int16)
        self._ready = []
        return samples

    def _decode(self) -> list[Samples]:
        """What the next packet holds."""
        try:
            packet = next(self._packets, None)
            decoded = [] if packet is None else packet.decode()
        except av.FFmpegError as error:  # players go on behind a damaged place, and so do we
            self._bad += 1
            if self._bad > MAX_BAD_PACKETS:
                raise no_good("it is damaged") from error
            return []
        if packet is None:
            self._over = True
            return self._flushed()
        self._bad = 0
        return [samples for frame in decoded for samples in self._converted(frame)]

    def _converted(self, frame: Any) -> list[Samples]:
        shape = (frame.sample_rate, frame.format.name, frame.layout.name)
        made: list[Samples] = []
        if shape != self._shape:  # the first, or a chained file that goes on in another way
            if not MIN_RATE <= frame.sample_rate <= MAX_RATE or not 1 <= frame.layout.nb_channels <= MAX_CHANNELS:
                raise no_good(f"{frame.sample_rate} Hz, {frame.layout.nb_channels} channels")
            made = self._flushed()
            self._resampler = av.AudioResampler(format="s16", layout="mono", rate=self.rate)
            self._shape = shape
        frame.pts = None  # gaps in the time stamps are no sound
        try:
            return made + [_samples(part) for part in self._resampler.resample(frame)]
        except (av.FFmpegError, ValueError) as error:
            raise no_good(f"{frame.layout.name} at {frame.sample_rate} Hz") from error

    def _flushed(self) -> list[Samples]:
        resampler, self._resampler, self._shape = self._resampler, None, ()
        return [] if resampler is None else [_samples(part) for part in resampler.resample(None)]

    def rewind(self) -> None:
        """Back to the first sample."""
        self._begin()

    def _end(self) -> None:
        container, self._container = self._container, None
        if container is not None:
            container.close()

    def close(self) -> None:
        """With the file."""
        self._end()
        self._file.close()


def _samples(frame: Any) -> Samples:
    return np.asarray(frame.to_ndarray()[0], dtype=np.int16)
