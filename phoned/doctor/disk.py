"""Can the phone keep what it must keep: the state directory and the recordings?"""

from __future__ import annotations

import errno
import os
import pwd
import tempfile
from collections.abc import Callable
from pathlib import Path

from phoned.doctor.chain import Chain
from phoned.doctor.surroundings import off_loop

DEADLINE_S = 5.0
LEAST_FREE = 32 * 2**20
"""An hour of a recorded call takes 230 MB; below this not even the events of a day are safe."""
OWN_FILES = ("phoned.sqlite3", "identity.json", "tokens.json", "lock")


class Sick(Exception):
    """What is wrong, and what helps."""

    def __init__(self, detail: str, fix: str) -> None:
        super().__init__(detail)
        self.detail = detail
        self.fix = fix


async def check(chain: Chain, state_dir: Path, recordings_dir: Path, free_bytes: Callable[[Path], int]) -> None:
    """The check ``disk``. Writes one small file into each directory and removes it."""

    def look() -> str:
        told = _look_at(state_dir, free_bytes)
        _look_at(recordings_dir, free_bytes)
        _look_at_owners(state_dir)
        return told

    try:
        chain.passed(await off_loop(look, DEADLINE_S))
    except Sick as sick:
        chain.failed(sick.detail, sick.fix)
    except TimeoutError:
        chain.failed(f"{state_dir}: no answer within {DEADLINE_S:g} s", "see whether the disk hangs (dmesg)")
    except OSError as error:
        chain.failed(str(error), "give [phone] state_dir a directory that phoned may write")


def _look_at(directory: Path, free_bytes: Callable[[Path], int]) -> str:
    there = directory
    while not there.exists() and there != there.parent:
        there = there.parent
    if not there.is_dir():
        raise Sick(f"{there} is no directory", f"move it away, or name another directory than {directory}")
    free = free_bytes(there)
    if free < LEAST_FREE:
        raise Sick(
            f"{there}: {_size(free)} free, which is less than {_size(LEAST_FREE)}",
            "make room (old recordings?), or move [phone] state_dir and [media] recordings_dir to a bigger disk",
        )
    if there != directory:
        if not os.access(there, os.W_OK | os.X_OK, effective_ids=True):
            raise _denied(directory, there)
        return f"{directory} will be made, {_size(free)} free"
    try:
        with tempfile.TemporaryFile(dir=directory) as file:
            file.write(b"phoned doctor\n" * 300)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            fix = "make room (old recordings?), or move [phone] state_dir to a bigger disk"
            raise Sick(f"{directory}: {error.strerror}", fix) from None
        if error.errno == errno.EROFS:
            fix = "mount it writable; under systemd list it in ReadWritePaths= or StateDirectory="
            raise Sick(f"{directory}: {error.strerror}", fix) from None
        if error.errno in (errno.EACCES, errno.EPERM):
            raise _denied(directory, directory) from None
        raise
    return f"{directory} can be written, {_size(free)} free"


def _denied(directory: Path, there: Path) -> Sick:
    user = _name(os.geteuid())
    owner = _name(there.stat().st_uid)
    return Sick(
        f"{directory}: {user} may not write in {there}, which belongs to {owner}",
        f"chown -R {user} {there}, or run this as {owner}",
    )


def _look_at_owners(state_dir: Path) -> None:
    """A phone that ran once as root leaves files that the service cannot write."""
    if not state_dir.is_dir():
        return
    owner = state_dir.stat().st_uid
    for name in OWN_FILES:
        path = state_dir / name
        if path.exists() and path.stat().st_uid != owner:
            other = _name(path.stat().st_uid)
            raise Sick(
                f"{path} belongs to {other}, its directory to {_name(owner)}: one of the two cannot write it",
                f"chown -R {_name(owner)}: {state_dir}",
            )


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _size(count: int) -> str:
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.0f} MiB"
