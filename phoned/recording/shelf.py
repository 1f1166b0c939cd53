"""What lies in the recordings directory: which files are recordings, how big and how old, what they say of themselves.

Only files that carry the names that a recorder gives count; links and everything else are never looked into. All of it
blocks on the disk.
"""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from phoned.model import RecordingView
from phoned.recording import ogg, wav
from phoned.recording.recorder import SUFFIXES
from phoned.recording.tapes import PART

_NAME = re.compile(r"(?P<call>call_[0-9a-f]{32})-(?P<id>rec_[0-9a-f]{32})\.(?P<format>wav|opus)")
_HEAD = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A recording that is finished. ``file`` is relative to the directory."""

    file: str
    recording: str
    size: int
    written_at: float
    """When its end was written, in seconds of the epoch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shelf:
    """All of it. ``unfinished``: bytes of recordings that run, or that a crash has left."""

    kept: tuple[Kept, ...] = ()
    unfinished: int = 0


def look(directory: Path) -> Shelf:
    """What is there now. Raises `OSError`."""
    kept: list[Kept] = []
    unfinished = 0
    with os.scandir(directory) as entries:
        for entry in entries:
            found = _NAME.fullmatch(entry.name.removesuffix(PART))
            if found is None:
                continue
            try:
                status = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue  # it was finished, or deleted, in this moment
            if not stat.S_ISREG(status.st_mode):
                continue
            if entry.name.endswith(PART):
                unfinished += status.st_size
            else:
                kept.append(
                    Kept(file=entry.name, recording=found["id"], size=status.st_size, written_at=status.st_mtime)
                )
    return Shelf(kept=tuple(kept), unfinished=unfinished)


def remove(directory: Path, file: str) -> bool:
    """Delete one; False: it was gone already. Raises `OSError`."""
    try:
        os.unlink(directory / file)
    except FileNotFoundError:
        return False
    return True


def describe(directory: Path, file: str) -> RecordingView:
    """A finished recording that nobody remembers, as its name and its file show it. Never raises for what is in it."""
    found = _NAME.fullmatch(file)
    assert found is not None
    channels, duration_s = _contents(directory / file)
    format_: Literal["wav", "opus"] = "wav" if found["format"] == "wav" else "opus"
    return RecordingView(
        id=found["id"],
        call=found["call"],
        state="finished",
        format=format_,
        channels="stereo" if channels == 2 else "mixed",
        file=file,
        duration_s=round(duration_s, 3),
    )


def _contents(path: Path) -> tuple[int, float]:
    """Channels and seconds; zeros where that cannot be read."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return 0, 0.0
    try:
        size = os.fstat(fd).st_size
        head = os.pread(fd, _HEAD, 0)
        if path.suffix == SUFFIXES["opus"]:
            return _opus(head, os.pread(fd, ogg.MAX_PAGE, max(0, size - ogg.MAX_PAGE)))
        shape = wav.parse(head)
        return (0, 0.0) if shape is None else (shape[1], (size - wav.SIZE) / (2 * shape[1]) / shape[0])
    except OSError:
        return 0, 0.0
    finally:
        os.close(fd)


def _opus(start: bytes, end: bytes) -> tuple[int, float]:
    first = ogg.look(start)
    head = None if first is None else ogg.OpusHead.parse(start[first.body_at : first.size])
    if head is None:
        return 0, 0.0
    at = end.rfind(b"OggS")
    while at >= 0:
        page = ogg.look(end[at:])
        if page is not None:
            return head.channels, max(page.position - head.pre_skip, 0) / ogg.CLOCK_RATE
        at = end.rfind(b"OggS", 0, at)
    return head.channels, 0.0
