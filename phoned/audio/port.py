"""A call's audio in the hands of a program: what the far end says as an iterator of frames, and a queue of what it
shall hear.

The program may run in another thread, with a loop of its own. Both directions are bounded: frames that nobody takes
are dropped, the oldest first, and what does not fit the queue is refused; both are counted. `AudioPort` is what the
program holds (`phoned.stream.AudioPort`), `Plug` what the audio graph does.
"""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections import deque
from collections.abc import Callable, Iterable
from typing import Self, TypeVar

import numpy as np

from phoned.errors import AtCapacity, InvalidValue
from phoned.media.codecs.resample import RATES, Resampler
from phoned.model import Frame
from phoned.stream import MAX_MARKS, MAX_QUEUED

HEARD_FRAMES = 100
"""Frames that wait for a program that is busy: 2 s."""
BEGIN_MS = 40
"""How much is gathered before a beginning is said, against packets that come unevenly."""
PATIENCE = 2
"""So many ticks it waits for that."""

T = TypeVar("T")


class AudioPort:
    """Made by `MediaSession.port`. PCM is mono int16, native endian, at ``rate``; ``both``: frames hold what we say,
    too. ``begin_ms``: after a silence so much is gathered before it is said, against packets that come unevenly."""

    def __init__(
        self,
        graph_rate: int,
        rate: int | None = None,
        *,
        both: bool = False,
        begin_ms: int = BEGIN_MS,
        on_close: Callable[[AudioPort], None] = lambda port: None,
    ) -> None:
        self.rate = rate or graph_rate
        if self.rate not in RATES:
            raise InvalidValue(f"{self.rate} Hz: a port has {', '.join(map(str, RATES))}", pointer="/sample_rate")
        self._ms_bytes = self.rate // 1000 * 2
        self._on_close = on_close
        self._lock = threading.Lock()
        self._heard: deque[Frame] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._queue = bytearray()
        self._marks: deque[tuple[int, asyncio.Future[bool]]] = deque()
        self._written = 0
        """Bytes that were ever queued."""
        self._read = 0
        """Of those, the ones that have left the queue."""
        self._cleared = 0
        """Of those, the ones that nobody heard."""
        self._missed = 0
        self._refused = 0
        self._speaking = False
        """What was handed out last is being said."""
        self._closed = False
        self.plug = Plug(self, graph_rate, begin_ms, both=both)
        """The graph's side."""

    # -- hearing

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Frame:
        """The next 20 ms, silence included; the iteration ends with the call. For one task at a time."""
        while True:
            with self._lock:
                if self._heard:
                    return self._heard.popleft()
                if self._closed:
                    raise StopAsyncIteration
                self._waiter = waiter = asyncio.get_running_loop().create_future()
            await waiter

    def take(self) -> list[Frame]:
        """Every frame that waits."""
        with self._lock:
            heard = list(self._heard)
            self._heard.clear()
        return heard

    def hear(self, frame: Frame) -> None:
        """The plug's: 20 ms were heard."""
        with self._lock:
            if len(self._heard) >= HEARD_FRAMES:
                self._heard.popleft()
                self._missed += 1
            self._heard.append(frame)
            waiter, self._waiter = self._waiter, None
        if waiter is not None:
            _settle(waiter, None)

    # -- speaking

    def write(self, pcm: bytes) -> int:
        """Queue sound for the far end, of any length. Returns how many bytes were taken: fewer when the queue is full,
        none once the port is closed. Raises `InvalidValue` for half a sample."""
        if len(pcm) % 2:
            raise InvalidValue("half a sample: PCM has two bytes a sample")
        with self._lock:
            taken = 0 if self._closed else min(len(pcm), MAX_QUEUED - len(self._queue))
            self._queue += memoryview(pcm)[:taken]
            self._written += taken
            self._refused += len(pcm) - taken
        return taken

    def mark(self) -> asyncio.Future[bool]:
        """A future of the running loop that is done when everything queued before has been played: True; at once when
        nothing is queued. False: it was cleared, or the call ended. Marks are reached in their order. Raises
        `AtCapacity` when too many wait."""
        future: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        with self._lock:
            if self._closed:
                future.set_result(False)
            elif not (self._marks or self._queue or self._speaking):
                future.set_result(True)
            elif len(self._marks) >= MAX_MARKS:
                raise AtCapacity(f"{MAX_MARKS} marks wait already")
            else:
                self._marks.append((self._written, future))
        return future

    def clear(self) -> None:
        """Forget what is queued: at most the 20 ms that are being said go on. Marks that wait are done at once."""
        with self._lock:
            self._cleared += len(self._queue)
            self._read = self._written
            self._queue.clear()
            self._speaking = False
            self.plug.cut()
            marks = self._all_marks()
        _settle_all(marks, False)

    def _all_marks(self) -> list[asyncio.Future[bool]]:
        marks = [future for _, future in self._marks]
        self._marks.clear()
        return marks

    def next(self, size: int, least: int) -> bytes | None:
        """The plug's: up to ``size`` bytes of the queue, None when there are fewer than ``least``. What was handed out
        before has been played: its marks are reached."""
        if not self._written:
            return None
        reached = []
        with self._lock:
            while self._marks and self._marks[0][0] <= self._read:
                reached.append(self._marks.popleft()[1])
            taken = bytes(self._queue[:size]) if len(self._queue) >= least else None
            self._speaking = taken is not None
            if taken is not None:
                del self._queue[:size]
                self._read += len(taken)
        _settle_all(reached, True)
        return taken

    # -- the rest

    @property
    def waiting(self) -> bool:
        """There is something to say."""
        return bool(self._queue)

    @property
    def queued_ms(self) -> int:
        """Sound that waits to be played."""
        return len(self._queue) // self._ms_bytes

    @property
    def played_ms(self) -> int:
        """Sound that was played since the port was made."""
        return (self._read - self._cleared) // self._ms_bytes

    @property
    def refused_ms(self) -> int:
        """Sound that did not fit the queue."""
        return self._refused // self._ms_bytes

    @property
    def missed_ms(self) -> int:
        """Sound that was heard and not taken in time."""
        return self._missed * 20

    @property
    def closed(self) -> bool:
        """It hears and says nothing any more: the call ended, or `close`."""
        return self._closed

    def close(self) -> None:
        """Detach from the call. Idempotent."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            self._cleared += len(self._queue)
            self._read = self._written
            self._queue.clear()
            marks, waiter = self._all_marks(), self._waiter
        _settle_all(marks, False)
        if waiter is not None:
            _settle(waiter, None)
        self._on_close(self)


class Plug:
    """The side of a port that the graph's clock drives: a `Source` and a `Sink`, at the graph's rate."""

    def __init__(self, port: AudioPort, graph_rate: int, begin_ms: int, *, both: bool) -> None:
        self._port = port
        self._size = port.rate // 50 * 2
        self._begin = max(self._size, port.rate // 1000 * 2 * begin_ms)
        self._speak = Resampler(port.rate, graph_rate)
        self._hear = Resampler(graph_rate, port.rate)
        self._hear_us = Resampler(graph_rate, port.rate) if both else None
        self._silence = np.zeros(port.rate // 50, np.int16)
        self._flowing = False
        self._waited = 0
        self._cut = False
        self.said: Callable[[], bytes] | None = None
        """What the graph says in this tick; set by who plugs it in."""

    def cut(self) -> None:
        """What is said next has nothing to do with what was said before."""
        self._cut = True

    def read(self) -> bytes | None:
        """The next frame to say; None when there is nothing."""
        if self._cut:
            self._cut = self._flowing = False
            self._speak.forget()
        pcm = self._port.next(self._size, self._least())
        if pcm is not None:
            self._flowing, self._waited = True, 0
            samples = np.frombuffer(pcm + bytes(self._size - len(pcm)), np.int16)
        elif self._flowing:
            self._flowing = False
            samples = self._silence  # pushes the last 2 ms out of the filter
        else:
            self._waited = self._waited + 1 if self._port.waiting else 0
            return None
        return self._speak.process(samples).tobytes()

    def _least(self) -> int:
        """Bytes that must be there: all for a beginning, any for what follows: the end of a word is no whole frame."""
        return 2 if self._flowing or self._waited >= PATIENCE else self._begin

    def write(self, frame: bytes) -> None:
        """20 ms were heard."""
        heard = self._hear.process(np.frombuffer(frame, np.int16)).tobytes()
        said = None
        if self._hear_us is not None and self.said is not None:
            said = self._hear_us.process(np.frombuffer(self.said(), np.int16)).tobytes()
        self._port.hear(Frame(heard, said))


def _settle(future: asyncio.Future[T], value: T) -> None:
    _settle_all([future], value)


def _settle_all(futures: list[asyncio.Future[T]], value: T) -> None:
    """Give futures their result, in their order, each in its own loop. A full queue has many: no work for each of them
    but the result."""
    try:
        here: asyncio.AbstractEventLoop | None = asyncio.get_running_loop()
    except RuntimeError:
        here = None
    for loop, group in itertools.groupby(futures, asyncio.Future.get_loop):
        if loop is here:
            _set_all(group, value)
            continue
        try:
            loop.call_soon_threadsafe(_set_all, list(group), value)
        except RuntimeError:
            pass  # that loop is closed: nobody waits


def _set_all(futures: Iterable[asyncio.Future[T]], value: T) -> None:
    for future in futures:
        if not future.done():
            future.set_result(value)
