"""Sound from a URL: fetched whole, within a deadline and a size, into a file without a name, before it is played.

Where it may come from is for the guard to say. FFmpeg sees the bytes, and never the URL. Writing happens off the loop.
"""

from __future__ import annotations

import asyncio
import errno
import io
import os
import ssl
import tempfile
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, BinaryIO, TypeVar

import httpcore

from phoned.errors import AtCapacity, DeadlineExceeded, DiskFull, FetchFailed, PhonedError, UnavailableError
from phoned.urls import UrlGuard, read_url
from phoned.web import CONNECT_S, FAILURES, SCHEMES, GuardedBackend, header_of, reason_of, system_tls

R = TypeVar("R")

MAX_BYTES = 32 * 1024 * 1024
DEADLINE_S = 15.0
"""For all of it."""
AT_ONCE = 4
HELD_BYTES = 256 * 1024 * 1024
"""Of all that was fetched and still plays."""
PIECE = 256 * 1024
"""Bytes that are written at a time."""


class Spool(io.FileIO):
    """A file without a name. Written and closed in threads, in any order; ``count`` hears how much there is of it."""

    def __init__(self, count: Callable[[int], None]) -> None:
        with tempfile.TemporaryFile(buffering=0) as file:
            super().__init__(os.dup(file.fileno()), "r+b")
        self._count = count
        self._busy = threading.Lock()
        self.size = 0

    def put(self, data: bytes) -> None:
        """Append. One that was closed meanwhile takes no more."""
        with self._busy:
            view = memoryview(data)
            while view and not self.closed:
                written = os.write(self.fileno(), view)
                view = view[written:]
                self.size += written
                self._count(written)

    def close(self) -> None:
        """Its bytes are gone."""
        with self._busy:
            if not self.closed:
                super().close()
                self._count(-self.size)


class SoundFetcher:
    """Made by the composition root; driven by whoever plays."""

    def __init__(
        self, guard: UrlGuard, *, agent: str, tls: ssl.SSLContext | None = None, deadline_s: float = DEADLINE_S
    ) -> None:
        self._guard = guard
        self._agent = agent
        self._tls = tls
        self._deadline_s = deadline_s
        self._running = 0
        self._lock = threading.Lock()
        self.held = 0
        """Bytes of what was fetched and still plays."""

    async def fetch(self, url: str) -> tuple[BinaryIO, int]:
        """The file, at its beginning, and its size. Raises `InvalidValue` and `Denied` for the URL, `FetchFailed`,
        `DeadlineExceeded`, `UnavailableError`, `AtCapacity`, `DiskFull`."""
        scheme = read_url(url, SCHEMES, pointer="/url").scheme
        if self._running >= AT_ONCE or self.held > HELD_BYTES - MAX_BYTES:
            raise AtCapacity("too much is being fetched or played from URLs already")
        self._running += 1
        try:
            async with asyncio.timeout(self._deadline_s), self._asked(url, scheme) as response:
                _check(response)
                return await self._spooled(response)
        except TimeoutError:
            raise DeadlineExceeded(f"the sound did not come within {self._deadline_s:g} s") from None
        except PhonedError:
            raise
        except FAILURES as error:
            raise FetchFailed(reason_of(error)) from None
        finally:
            self._running -= 1

    @asynccontextmanager
    async def _asked(self, url: str, scheme: str) -> AsyncIterator[httpcore.Response]:
        if scheme == "https" and self._tls is None:
            self._tls = await asyncio.to_thread(system_tls)
        backend = GuardedBackend(self._guard, scheme, trusted=False)
        headers = [("User-Agent", self._agent), ("Accept", "audio/*, */*;q=0.5"), ("Accept-Encoding", "identity")]
        connect = {"timeout": {"connect": min(CONNECT_S, self._deadline_s)}}
        async with (
            httpcore.AsyncConnectionPool(ssl_context=self._tls, network_backend=backend) as pool,
            pool.stream("GET", url, headers=headers, extensions=connect) as response,
        ):
            yield response

    async def _spooled(self, response: httpcore.Response) -> tuple[BinaryIO, int]:
        spool = await _on_disk(Spool, self._count)
        try:
            total, waiting = 0, bytearray()
            async for piece in response.aiter_stream():
                total += len(piece)
                waiting += piece
                if total > MAX_BYTES:
                    raise _too_big()
                if len(waiting) >= PIECE:
                    await _on_disk(spool.put, bytes(waiting))
                    waiting.clear()
            await _on_disk(spool.put, bytes(waiting))
            spool.seek(0)
        except BaseException:
            # not here: a thread may be writing still, and the number of a closed file is soon another's
            asyncio.get_running_loop().run_in_executor(None, spool.close)
            raise
        return io.BufferedReader(spool), total

    def _count(self, change: int) -> None:
        with self._lock:
            self.held += change


def _check(response: httpcore.Response) -> None:
    """Whether the body is the sound. Raises `FetchFailed`."""
    if 300 <= response.status < 400:
        raise FetchFailed("the server answers with a redirect: give the URL that it leads to")
    if response.status != 200:
        raise FetchFailed(f"the server answers with HTTP {response.status}")
    encoding = header_of(response, b"content-encoding")
    if encoding not in (None, "", "identity"):
        raise FetchFailed("the server packs the sound, which was not asked for (Content-Encoding)")
    stated = header_of(response, b"content-length") or ""
    if stated.isdecimal() and (len(stated) > 15 or int(stated) > MAX_BYTES):
        raise _too_big()


def _too_big() -> FetchFailed:
    return FetchFailed(f"more than {MAX_BYTES >> 20} MiB; put the file into the media directory")


async def _on_disk(work: Callable[..., R], *arguments: Any) -> R:
    """``work``, in a thread. Raises `DiskFull`, `UnavailableError`."""
    try:
        return await asyncio.to_thread(work, *arguments)
    except OSError as error:
        kind = DiskFull if error.errno == errno.ENOSPC else UnavailableError
        raise kind(f"what was fetched cannot be kept in {tempfile.gettempdir()}: {error.strerror}") from error
