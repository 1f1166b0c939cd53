"""After a crash: unfinished recordings get right sizes and their final names. Called once, before the first call."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from phoned.recording import wav


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovered:
    """A recording that a crash had left unfinished. ``file`` is relative to the directory."""

    file: str
    duration_s: float
    channels: Literal["stereo", "mixed"] = "stereo"


def recover(directory: Path) -> list[Recovered]:
    """Finish what was left. Blocks on the disk: run it off the loop. Files that are none of ours are left alone."""
    found = []
    for path in sorted(directory.glob(f"*.wav{wav.PART}")):
        recovered = _finish(path)
        if recovered is not None:
            found.append(recovered)
    return found


def _finish(path: Path) -> Recovered | None:
    try:
        fd = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return None  # a link, or gone
    try:
        status = os.fstat(fd)
        shape = wav.parse(os.pread(fd, wav.SIZE, 0)) if stat.S_ISREG(status.st_mode) else None
        if shape is None:
            return None
        rate, channels = shape
        data_bytes = min(status.st_size - wav.SIZE, wav.MAX_DATA)
        data_bytes -= data_bytes % (2 * channels)
        os.pwrite(fd, wav.header(rate=rate, channels=channels, data_bytes=data_bytes), 0)
        os.ftruncate(fd, wav.SIZE + data_bytes)
        os.fsync(fd)
    finally:
        os.close(fd)
    final = path.with_suffix("")
    os.rename(path, final)
    return Recovered(
        file=final.name,
        duration_s=data_bytes / (2 * channels) / rate,
        channels="stereo" if channels == 2 else "mixed",
    )
