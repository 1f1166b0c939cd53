"""What the sessions of a process share: made by `MediaEngine`, used by `MediaSession`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import BinaryIO

from phoned.media.clock import MediaClock
from phoned.media.identities import Identities
from phoned.media.options import EngineOptions
from phoned.media.servers import ServerMemory

Fetch = Callable[[str], Awaitable[tuple[BinaryIO, int]]]
"""A URL to an open file and its size. Raises `PhonedError`."""


@dataclass(slots=True, kw_only=True)
class Shared:
    """One per engine."""

    options: EngineOptions
    clock: MediaClock
    readers: ThreadPoolExecutor
    """Where files are opened and read."""
    writer: ThreadPoolExecutor
    """The one thread that writes recordings."""
    identities: Identities
    forget: Callable[[str], None]
    """Called by a session that has closed, with its call's id."""
    fetch: Fetch | None = None
    """Where sound of URLs comes from; None: it is refused."""
    servers: ServerMemory = field(default_factory=ServerMemory)
