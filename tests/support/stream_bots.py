"""Bots for the streams: a WebSocket server that does what the test wants, and remembers what it was told."""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import threading
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager
from types import TracebackType
from typing import Any, Self

import numpy as np
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from phoned.audio.tones import sine
from phoned.companding import decode_table, encode_table

Json = dict[str, Any]


class Conversation:
    """One connection of the phone, seen by the bot."""

    def __init__(self, socket: ServerConnection) -> None:
        self.socket = socket
        self.path = socket.request.path if socket.request is not None else ""
        self.headers = dict(socket.request.headers) if socket.request is not None else {}
        self.texts: list[Json] = []
        """Every text, in order, but for sound."""
        self.sound = bytearray()
        """What was heard, as int16."""
        self.frames = 0
        self.close_code: int | None = None
        self._news = asyncio.Event()

    @property
    def sid(self) -> str:
        """The stream's."""
        return str(next(text["streamSid"] for text in self.texts if text.get("event") == "start"))

    def of(self, event: str) -> list[Json]:
        """Texts of a kind."""
        return [text for text in self.texts if text.get("event") == event]

    @property
    def counted(self) -> int:
        """Marks that were played."""
        return len(self.of("mark"))

    async def until(self, condition: Callable[[], bool], timeout_s: float = 10.0) -> None:
        """Wait until the bot was told enough."""
        async with asyncio.timeout(timeout_s):
            while not condition():
                self._news.clear()
                await self._news.wait()

    async def started(self) -> None:
        """Until it knows its stream."""
        await self.until(lambda: bool(self.of("start") or self.of("websocket:connected")))

    async def say(self, pcm: bytes) -> None:
        """Sound, 8 kHz int16, as Twilio has it."""
        payload = base64.b64encode(encode_table("pcmu").take(np.frombuffer(pcm, np.uint16), mode="wrap").tobytes())
        await self.send({"event": "media", "streamSid": self.sid, "media": {"payload": payload.decode()}})

    async def mark(self, name: str) -> None:
        """To be told when all before it was played."""
        await self.send({"event": "mark", "streamSid": self.sid, "mark": {"name": name}})

    async def clear(self) -> None:
        """Be quiet."""
        await self.send({"event": "clear", "streamSid": self.sid})

    async def send(self, message: Json | str | bytes) -> None:
        """Anything."""
        await self.socket.send(message if isinstance(message, str | bytes) else json.dumps(message))

    async def listen(self) -> None:
        """Take what comes until the end."""
        try:
            async for message in self.socket:
                self._take(message)
                self._news.set()
        except ConnectionClosed:
            pass
        self.over()

    def over(self) -> None:
        """The connection is gone."""
        self.close_code = self.socket.close_code
        self._news.set()

    def _take(self, message: str | bytes) -> None:
        if isinstance(message, bytes):
            self.sound += message
            self.frames += 1
            return
        text = json.loads(message)
        if text.get("event") == "media":
            self.frames += 1
            if text["media"]["track"] == "inbound":
                code = np.frombuffer(base64.b64decode(text["media"]["payload"]), np.uint8)
                self.sound += decode_table("pcmu").take(code).tobytes()
        self.texts.append(text)


class Bot:
    """A server. ``acts``: what it does with a connection beside listening, one for each, the last for all that follow;
    ``deaf``: it reads nothing. Use as an async context."""

    def __init__(
        self,
        *acts: Callable[[Conversation], Awaitable[None]],
        deaf: bool = False,
        refuse: Sequence[int] = (),
    ) -> None:
        self._acts = acts
        self._deaf = deaf
        self.refuse = list(refuse)
        """With these statuses, one for each connection to come."""
        self._stack = AsyncExitStack()
        self.port = 0
        self.talks: list[Conversation] = []
        self.refused = 0
        self._came = asyncio.Event()

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def open(self) -> None:
        """Listen; a bot that came back has the port that it had."""
        server = await self._stack.enter_async_context(
            serve(self._serve, "127.0.0.1", self.port, process_request=self._admit, ping_interval=None, max_size=None)
        )
        self.port = next(iter(server.sockets)).getsockname()[1]

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Nobody listens any more; connections are cut."""
        for talk in self.talks:
            talk.socket.transport.abort()
        await self._stack.aclose()

    @property
    def url(self) -> str:
        """Where it is."""
        return f"ws://127.0.0.1:{self.port}/ws"

    async def talk(self, number: int = 1, timeout_s: float = 10.0) -> Conversation:
        """The ``number``-th conversation, once it has begun."""
        async with asyncio.timeout(timeout_s):
            while len(self.talks) < number:
                self._came.clear()
                await self._came.wait()
        talk = self.talks[number - 1]
        if not self._deaf:
            await talk.started()
        return talk

    def _admit(self, socket: ServerConnection, request: Request) -> Response | None:
        if not self.refuse:
            return None
        self.refused += 1
        return socket.respond(self.refuse.pop(0), "no\n")

    async def _serve(self, socket: ServerConnection) -> None:
        talk = Conversation(socket)
        self.talks.append(talk)
        self._came.set()
        if self._deaf:
            socket.transport.pause_reading()
            await socket.wait_closed()
            return
        async with asyncio.TaskGroup() as group:
            listening = group.create_task(talk.listen())
            if self._acts:
                act = self._acts[min(len(self.talks), len(self._acts)) - 1]
                await act(talk)
            await listening


COUNTING_HZ = 1000


async def count(talk: Conversation) -> None:
    """What a bot does: it speaks in pieces of 100 ms, some three of them ahead, with a numbered mark behind each."""
    await talk.started()
    piece = sine((COUNTING_HZ,), 8000, 100)
    try:
        for number in itertools.count():
            await talk.say(piece)
            await talk.mark(str(number))
            await talk.until(lambda due=number - 3: talk.close_code is not None or talk.counted > due, 60.0)  # type: ignore[misc]  # bound in the loop
    except ConnectionClosed:
        pass


def undisturbed(bot: Bot) -> Conversation:
    """The bot has had one conversation that nothing has touched: one start, no frame missing, marks in their order."""
    [talk] = bot.talks
    assert len(talk.of("start")) == 1
    assert not talk.of("stop")
    marks = [int(text["mark"]["name"]) for text in talk.of("mark")]
    assert marks == list(range(len(marks)))
    times = [int(text["media"]["timestamp"]) for text in talk.of("media")]
    assert times == list(range(0, 20 * len(times), 20))
    return talk


@contextmanager
def bot_beside(*acts: Callable[[Conversation], Awaitable[None]]) -> Iterator[Bot]:
    """A bot in a thread with a loop of its own, for tests that block."""
    bot, loop = Bot(*acts), asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="bot")
    thread.start()
    asyncio.run_coroutine_threadsafe(bot.open(), loop).result(10)
    try:
        yield bot
    finally:
        asyncio.run_coroutine_threadsafe(bot.close(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()
