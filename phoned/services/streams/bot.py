"""One connection of a bot, and what it shall be told beside sound, in bounds.

Marks wait here in their order beside the futures of the port: nothing runs for each of them when they are reached or
cleared, as that may be tens of thousands at once. They are told a few hundred at a time, with the frames.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from typing import NamedTuple

from phoned.errors import AtCapacity
from phoned.services.streams.protocol import Message, StreamProtocol
from phoned.services.streams.socket import Socket
from phoned.stream import MAX_MARKS

MAX_NEWS = 2 * MAX_MARKS
"""What may wait to be told: the marks of a full queue, and as much again that was reached and not told yet."""
MAX_NAMES = 8 * 1024 * 1024
"""Bytes of the names of marks that wait: 300 for each of a full queue."""


class Told(NamedTuple):
    """One piece of news."""

    messages: list[Message]
    name: str | None = None
    """Of the mark that it is about."""
    played: bool = False


class _Mark(NamedTuple):
    name: str
    reached: asyncio.Future[bool]


class Bot:
    """One connection. Driven by its `Link`: `tell`, `mark` and `cleared` for what there is to be told, `news` with each
    frame."""

    def __init__(self, socket: Socket, protocol: StreamProtocol) -> None:
        self.socket = socket
        self.protocol = protocol
        self._news: deque[Callable[[], list[Message]]] = deque()
        self._marks: deque[_Mark | None] = deque()
        """None: the queue was cleared here."""
        self._names = 0

    def tell(self, news: Callable[[], list[Message]]) -> None:
        """Say it with the next frame."""
        if self._room():
            self._news.append(news)

    def mark(self, name: str, take: Callable[[], asyncio.Future[bool]]) -> None:
        """Say so once the mark that ``take`` gives is reached. Raises `AtCapacity` when too much waits already."""
        if not self._room():
            return
        size = _size(name)
        if self._names + size > MAX_NAMES:
            raise AtCapacity(f"{MAX_NAMES} bytes of names of marks wait already")
        self._marks.append(_Mark(name, take()))
        self._names += size

    def cleared(self) -> None:
        """Say so after the marks that waited."""
        if self._room():
            self._marks.append(None)

    def _room(self) -> bool:
        """A bot that lets too much wait is left."""
        if len(self._news) + len(self._marks) < MAX_NEWS:
            return True
        self.socket.abort()
        return False

    def news(self, most: int) -> Iterator[Told]:
        """What there is to be told now, each piece at most once; not more than ``most`` of what came by itself and as
        many marks. What waits while these are being sent is for the next time."""
        for _ in range(min(most, len(self._news))):
            yield Told(self._news.popleft()())
        for _ in range(min(most, len(self._marks))):
            mark = self._marks[0]
            if mark is None:
                self._marks.popleft()
                yield Told(self.protocol.cleared())
            elif mark.reached.done():
                self._marks.popleft()
                self._names -= _size(mark.name)
                yield Told(self.protocol.played(mark.name), mark.name, mark.reached.result())
            else:
                return


def _size(name: str) -> int:
    """Bytes that a name takes at most."""
    return len(name) if name.isascii() else 4 * len(name)
