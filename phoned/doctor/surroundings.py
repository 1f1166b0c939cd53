"""What the doctor asks of the machine and of the phone around it: one value, so that a test can hand in a sick one."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from phoned.audio.portaudio import PortAudio
from phoned.audio.sound import SoundSystem
from phoned.clock import WallClock, wall_clock
from phoned.media.codecs import libopus
from phoned.model import AccountView
from phoned.store.lock import owner_alive
from phoned.transport.resolver import Lookup, system_lookup

T = TypeVar("T")


def free_bytes(directory: Path) -> int:
    """What an ordinary user may still write there; 0 too when no file can be made for want of inodes. Blocks."""
    facts = os.statvfs(directory)
    return 0 if facts.f_files and not facts.f_favail else facts.f_bavail * facts.f_frsize


def opus_version() -> str | None:
    """Of the libopus that calls use; None when there is none. Blocks."""
    return libopus.load().version if libopus.found() else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """The machine as it is."""

    clock: WallClock = wall_clock
    lookup: Lookup = system_lookup
    free_bytes: Callable[[Path], int] = free_bytes
    opus_version: Callable[[], str | None] = opus_version
    sound: Callable[[], SoundSystem] = PortAudio
    phone_runs: Callable[[Path], bool] = owner_alive
    """Whether a phone lives in this state directory. Blocks."""
    account: Callable[[str], AccountView | None] = lambda account: None
    """An account of the phone that asks for the examination itself."""


async def off_loop(work: Callable[[], T], deadline_s: float) -> T:
    """``work`` in a thread that nobody waits for at the end: a disk that hangs must not hang the doctor. Raises what it
    raises, and `TimeoutError`."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def finish(result: T | None, error: BaseException | None) -> None:
        if done.done():
            return
        if error is not None:
            done.set_exception(error)
        else:
            done.set_result(result)  # type: ignore[arg-type]  # None only where T allows it

    def run() -> None:
        result: T | None = None
        failure: BaseException | None = None
        try:
            result = work()
        except Exception as error:
            failure = error
        with contextlib.suppress(RuntimeError):  # the loop has closed meanwhile
            loop.call_soon_threadsafe(finish, result, failure)

    threading.Thread(target=run, name="doctor", daemon=True).start()
    async with asyncio.timeout(deadline_s):
        return await done
