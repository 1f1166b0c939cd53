"""A call's sound for programs, as protocols: what a bot in this process holds (`AudioPort`), and who dials bots
elsewhere (`StreamRuntime`)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol, Self

from phoned.model import CallView, Frame, StreamRequest, StreamView

MAX_QUEUED = 8 * 1024 * 1024
"""Bytes that a port's queue holds: 8.7 minutes at 8 kHz, 2.9 at 24 kHz."""
MIN_FRAME = 8000 // 50 * 2
"""Bytes of 20 ms at the lowest rate that a port has."""
MAX_MARKS = -(-MAX_QUEUED // MIN_FRAME) + 1
"""Marks that wait to be reached: one behind each 20 ms of a full queue, and one behind those that are being said."""


class AudioPort(Protocol):
    """A call's audio in the hands of a program, which may run in a thread with a loop of its own. PCM is mono int16,
    native endian, at `rate`. It is an iterator of frames, one each 20 ms, silence included, that ends with the call;
    frames that are not taken within 2 s are dropped, the oldest first. It survives everything that a call does."""

    @property
    def rate(self) -> int: ...

    def __aiter__(self) -> Self: ...

    async def __anext__(self) -> Frame: ...

    def take(self) -> list[Frame]:
        """Every frame that waits."""
        ...

    def write(self, pcm: bytes) -> int:
        """Queue sound for the far end, of any length; the queue holds minutes. Returns how many bytes were taken."""
        ...

    def mark(self) -> asyncio.Future[bool]:
        """Done when all that was queued before has been played (True), at once when nothing is queued, and when it was
        cleared or the call ended (False). Raises `AtCapacity` when `MAX_MARKS` wait."""
        ...

    def clear(self) -> None:
        """Forget what is queued, as when the far end interrupts; at most 20 ms of it go on."""
        ...

    @property
    def queued_ms(self) -> int: ...

    @property
    def played_ms(self) -> int: ...

    @property
    def refused_ms(self) -> int:
        """What did not fit the queue."""
        ...

    @property
    def missed_ms(self) -> int:
        """What was heard and not taken in time."""
        ...

    @property
    def closed(self) -> bool: ...

    def close(self) -> None:
        """Detach from the call, which goes on."""
        ...


class StreamLink(Protocol):
    """One bot on one call. It ends with its port."""

    def view(self) -> StreamView: ...

    @property
    def request(self) -> StreamRequest: ...

    @property
    def present(self) -> bool:
        """The bot is there."""
        ...

    @property
    def over(self) -> bool:
        """Stopped or failed."""
        ...

    def dtmf(self, digit: str, duration_ms: int) -> None:
        """The far end pressed a key."""
        ...

    def stop(self) -> None:
        """End it; the call goes on."""
        ...


class StreamRuntime(Protocol):
    """What the streams service offers."""

    async def check(self, request: StreamRequest) -> None:
        """Whether a bot could be dialled so. Raises `InvalidValue`, `Denied`, `UnavailableError`."""
        ...

    async def ready(self) -> None:
        """What takes time before the first bot is dialled."""
        ...

    def open(
        self, request: StreamRequest, call: CallView, port: AudioPort, on_change: Callable[[], None]
    ) -> StreamLink:
        """Begin to dial, for a request that has an id; `check` or `ready` came before. ``on_change`` is called when the
        bot has come, when it has gone, and when it is over."""
        ...
