"""One daemon per state directory: a lock that the kernel drops with the process, however that ends (flock(2)).

Owns the file ``lock`` in the state directory, which holds the owner's process id for people and is never removed: a
removed one would let two daemons lock two files of one name.
"""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path
from types import TracebackType
from typing import Self

from phoned.errors import UnavailableError

FILE = "lock"
EXIT_STATUS = 75
"""EX_TEMPFAIL of sysexits.h: nothing is wrong with the configuration, and later it may work."""


class AlreadyRunning(UnavailableError):
    """Another process has the state directory. The command ends with `EXIT_STATUS`."""

    code = "already_running"


class StateLock:
    """The lock on a state directory. `acquire` and `release` it, or use it as a context."""

    def __init__(self, state_dir: Path) -> None:
        self._path = state_dir / FILE
        self._descriptor: int | None = None

    def acquire(self) -> None:
        """Take the lock, making the directory (0700) where there is none. Never waits.

        Raises `AlreadyRunning`, and OSError where the file cannot be made or its file system has no locks. Blocks on
        the disk: call it off the loop, or before there is one.
        """
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            owner = _owner(descriptor)
            os.close(descriptor)
            if error.errno != errno.EWOULDBLOCK:
                raise OSError(
                    error.errno, f"{error.strerror}: phoned needs a state directory that can be locked", str(self._path)
                ) from None
            raise AlreadyRunning(
                f"another phoned{owner} has the state directory {self._path.parent}. Fix: stop that one, or give this"
                " one a state directory of its own ([phone] state_dir, or the unit phoned@NAME)"
            ) from None
        self._descriptor = descriptor
        try:
            os.truncate(descriptor, 0)
            os.write(descriptor, b"%d\n" % os.getpid())
        except OSError:
            pass  # a full disk: the number is for people, the lock holds without it

    def release(self) -> None:
        """Give the directory free. Idempotent."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def __enter__(self) -> Self:
        self.acquire()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def _owner(descriptor: int) -> str:
    """`` (process 123)`` as far as the file tells."""
    text = os.read(descriptor, 32).strip()
    return f" (process {int(text)})" if text.isdigit() else ""


def owner_alive(state_dir: Path) -> bool:
    """Whether the process that locked this directory last still lives. Takes no lock, so that whoever starts meanwhile
    gets it; a number that another process has got since is taken for the owner. Blocks."""
    try:
        number = int((state_dir / FILE).read_text())
        os.kill(number, 0)
    except PermissionError:
        return True
    except (OSError, ValueError, OverflowError):
        return False
    return True
