"""Files one after another, so many rounds, as mono int16 at one rate. Blocks: for one reader thread at a time.

Each file is opened when its turn comes, and looked at once before the first is heard. Other rates are converted by
PyAV's resampler.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO, Protocol

import av
import numpy as np

from phoned.audio.decoded import DecodedReader, container_of
from phoned.audio.wav import Samples, WavReader, no_good
from phoned.errors import InvalidValue

BLOCK_S = 0.5
"""One read."""


class Reader(Protocol):
    """The sound of one open file, mono int16 at ``rate``. Each verb may raise `InvalidValue` and `OSError`."""

    rate: int

    def read(self, frames: int) -> Samples: ...

    def rewind(self) -> None: ...

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One file of a list. ``open`` gives it and its size; ``pointer`` says where it stands in the order."""

    open: Callable[[], tuple[BinaryIO, int]]
    pointer: str = "/file"
    name: str = ""
    """For people; empty for what has none."""

    def reader(self, rate: int) -> Reader:
        """Open it. Raises `InvalidValue`."""
        try:
            file, size = self.open()
            try:
                head = file.read(4)
                file.seek(0)
                container = container_of(head)
                if container is not None:
                    return DecodedReader(file, container, rate)
                if head != b"RIFF":
                    raise no_good("it is no WAV, Ogg, FLAC or MP3 file")
                return WavReader(file, size)
            except BaseException:
                file.close()
                raise
        except InvalidValue as error:
            raise self.trouble(error.detail) from error
        except OSError as error:
            raise self.trouble(f"this file cannot be read: {error.strerror or error}") from error

    def trouble(self, detail: str) -> InvalidValue:
        """What is wrong with it, in the place where it was named."""
        return InvalidValue(f"{self.name}: {detail}" if self.name else detail, pointer=self.pointer)


class Playlist:
    """See the module's docstring. ``rounds`` None: for ever."""

    def __init__(self, entries: Sequence[Entry], rate: int, rounds: int | None) -> None:
        self._entries = entries
        self._rate = rate
        self._rounds = rounds
        self._at = 0
        self._reader: Reader | None = None
        self._resampler: Any = None
        self._heard = False
        """Something, in this round."""

    def check(self) -> None:
        """Look at all of them; the first stays open. Raises `InvalidValue`."""
        for entry in self._entries[1:]:
            entry.reader(self._rate).close()
        self._open()

    def _open(self) -> Reader:
        self._reader = reader = self._entries[self._at].reader(self._rate)
        if reader.rate != self._rate:
            self._resampler = av.AudioResampler(format="s16", layout="mono", rate=self._rate)
        return reader

    def read(self) -> tuple[int, bytes]:
        """Which file, and about half a second of it; no sound: the end. Raises `InvalidValue`, `OSError`."""
        while self._rounds is None or self._rounds > 0:
            at, reader = self._at, self._reader or self._open()
            try:
                samples = reader.read(int(reader.rate * BLOCK_S))
                if len(samples):
                    self._heard = True
                    data = self._converted(samples, reader.rate)
                else:
                    data = self._turn(reader)
            except InvalidValue as error:
                raise self._entries[at].trouble(error.detail) from error
            if data:
                return at, data
        return len(self._entries) - 1, b""

    def _turn(self, reader: Reader) -> bytes:
        """To the next file. What the resampler of this one still holds."""
        last = self._at == len(self._entries) - 1
        if last:
            if not self._heard:
                raise no_good("it holds no sound")
            self._heard = False
            if self._rounds is not None:
                self._rounds -= 1
        if len(self._entries) == 1 and self._rounds != 0:
            reader.rewind()  # the last sample is followed by the first, without a seam
            return b""
        rest = self._converted(None, reader.rate)
        self._resampler = None
        self.close()
        self._at = 0 if last else self._at + 1
        return rest

    def _converted(self, samples: Samples | None, rate: int) -> bytes:
        if self._resampler is None:
            return b"" if samples is None else samples.tobytes()
        frame = None
        if samples is not None:
            frame = av.AudioFrame.from_ndarray(samples.reshape(1, -1), format="s16", layout="mono")
            frame.sample_rate = rate
        parts = [part.to_ndarray() for part in self._resampler.resample(frame)]
        return np.concatenate(parts, axis=1).tobytes() if parts else b""

    def close(self) -> None:
        """Close the file that is open."""
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.close()
