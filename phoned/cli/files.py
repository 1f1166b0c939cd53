"""Writing several files as one: all of them or none, and nothing that was there before is lost."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from phoned.store.atomic import write_atomically

MOST_COPIES = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class NewFile:
    """A file to be written. ``group``: who may read it beside us, by its number."""

    path: Path
    content: bytes
    mode: int
    group: int | None = None


def write_all(files: Sequence[NewFile], write: Callable[[NewFile], None] | None = None) -> list[Path]:
    """Write them in order; returns where the old ones went (``name.bak``, ``name.bak2``, ...). When one fails, all is
    as it was. Ctrl-C and SIGTERM wait until it is done. Raises `OSError`."""
    write = write or _write
    begun: list[tuple[Path, Path | None]] = []
    with _undisturbed():
        try:
            for file in files:
                begun.append((file.path, _keep(file.path)))
                write(file)
        except BaseException:
            for path, kept in reversed(begun):
                _undo(path, kept)
            raise
    return [kept for _, kept in begun if kept is not None]


def _write(file: NewFile) -> None:
    if file.group is None:
        write_atomically(file.path, file.content, mode=file.mode)
        return
    write_atomically(file.path, file.content, mode=0o600)
    os.chown(file.path, -1, file.group)
    file.path.chmod(file.mode)


def _keep(path: Path) -> Path | None:
    """A second name for what is there, so that replacing the first loses nothing. A link never overwrites."""
    for number in range(1, MOST_COPIES):
        kept = path.with_name(f"{path.name}.bak{number if number > 1 else ''}")
        try:
            os.link(path, kept)
        except FileExistsError:
            continue
        except FileNotFoundError:
            return None
        return kept
    raise FileExistsError(f"{path}: {MOST_COPIES} old copies are enough; remove some")


def _undo(path: Path, kept: Path | None) -> None:
    if kept is None:
        path.unlink(missing_ok=True)
    elif path.exists() and path.samefile(kept):
        kept.unlink()  # renaming one name of a file onto another does nothing
    else:
        os.replace(kept, path)


@contextmanager
def _undisturbed() -> Iterator[None]:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM, signal.SIGHUP})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
