"""What the sessions of a process share: made by `MediaEngine`, used by `MediaSession`."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from phoned.media.clock import MediaClock
from phoned.media.identities import Identities
from phoned.media.options import EngineOptions
from phoned.media.servers import ServerMemory


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
    servers: ServerMemory = field(default_factory=ServerMemory)
