"""After a crash: unfinished recordings are made whole and get their final names. Called once, before the first call."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from phoned.recording import ogg, wav
from phoned.recording.recorder import SUFFIXES
from phoned.recording.tapes import PART


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovered:
    """A recording that a crash had left unfinished. ``file`` is relative to the directory."""

    file: str
    format: Literal["wav", "opus"]
    channels: Literal["stereo", "mixed"]
    duration_s: float


def recover(directory: Path) -> list[Recovered]:
    """Finish what was left. Blocks on the disk: run it off the loop. Files that are none of ours are left alone."""
    paths = sorted(path for suffix in SUFFIXES.values() for path in directory.glob(f"*{suffix}{PART}"))
    return [recovered for recovered in map(_finish, paths) if recovered is not None]


def _finish(path: Path) -> Recovered | None:
    final = path.with_suffix("")
    made_whole = _opus if final.suffix == SUFFIXES["opus"] else _wav
    try:
        fd = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return None  # a link, or gone
    try:
        status = os.fstat(fd)
        found = made_whole(fd, status.st_size) if stat.S_ISREG(status.st_mode) else None
        if found is None:
            return None
        os.fsync(fd)
    finally:
        os.close(fd)
    os.rename(path, final)
    channels, duration_s = found
    return Recovered(
        file=final.name,
        format="opus" if made_whole is _opus else "wav",
        channels="stereo" if channels == 2 else "mixed",
        duration_s=duration_s,
    )


def _wav(fd: int, size: int) -> tuple[int, float] | None:
    """Channels and length of a WAV file that is whole now; None for one that is not ours."""
    shape = wav.parse(os.pread(fd, wav.SIZE, 0))
    if shape is None:
        return None
    rate, channels = shape
    data_bytes = min(size - wav.SIZE, wav.MAX_DATA)
    data_bytes -= data_bytes % (2 * channels)
    os.pwrite(fd, wav.header(rate=rate, channels=channels, data_bytes=data_bytes), 0)
    os.ftruncate(fd, wav.SIZE + data_bytes)
    return channels, data_bytes / (2 * channels) / rate


def _opus(fd: int, size: int) -> tuple[int, float] | None:
    """The same of an Ogg/Opus file: what follows its last whole page is cut off, and that page is the last."""
    at, head, page, data = 0, None, None, b""
    while at < size:
        found = ogg.look(start := os.pread(fd, ogg.MAX_PAGE, at))
        if found is None or found.sequence != (0 if page is None else page.sequence + 1):
            break
        if page is None:
            head = ogg.OpusHead.parse(start[found.body_at : found.size])
        elif found.serial != page.serial:
            break
        page, data = found, start[: found.size]
        at += found.size
    if head is None or page is None or page.sequence == 0:
        return None  # two pages are written before anything can be said
    os.ftruncate(fd, at)
    os.pwrite(fd, ogg.closed(data), at - len(data))
    return head.channels, max(page.position - head.pre_skip, 0) / ogg.CLOCK_RATE
