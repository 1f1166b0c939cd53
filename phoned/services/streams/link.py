"""One bot on one call: dialled, told what is heard, let speak, dialled again when it is lost, and what its end means.

A link ends with its `AudioPort`: when the call ends, when somebody stops it, or when it gives up and closes the port
itself. Two tasks drive it. The pump takes a frame of the call each 20 ms and sends it, with what else there is to be
told; while there is no bot the frames are dropped. The other dials, and reads what the bot sends. Neither ever waits
without a deadline, and nothing that a bot does can fill more than the port's queue and a few messages.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Iterator
from itertools import chain

from phoned.errors import AtCapacity, PhonedError
from phoned.events import EventBus
from phoned.model import CallState, CallView, Frame, StreamRequest, StreamState, StreamView
from phoned.service import PhoneControl
from phoned.services.streams.bot import MAX_NEWS, Bot
from phoned.services.streams.config import Timing
from phoned.services.streams.pace import Bucket
from phoned.services.streams.protocol import (
    FRAME_MS,
    LARGE,
    Action,
    Clear,
    Mark,
    Message,
    Play,
    StreamInfo,
    StreamProtocol,
)
from phoned.services.streams.socket import Lost, Socket
from phoned.stream import AudioPort
from phoned.tasks import Tasks

log = logging.getLogger(__name__)

NEWS_A_FRAME = 512
"""Of the marks that were reached: a clear of the longest queue is told within a second or two."""
STRIDE = 32
"""Messages after which others have their turn: a socket with room for more does not wait by itself."""
READ_RATE, READ_BURST = 1024 * 1024, 8 * 1024 * 1024
"""Bytes that are read of a bot: twenty times what it can say. One that sends more has to wait."""
MESSAGE_COST = 512
"""Bytes that a message counts for beside its own, for the work that it makes."""
MARK_RATE, MARK_BURST = 20, 2048
"""Marks that become events; the bot is told of all."""
NORMAL, SERVICE_RESTART = 1000, 1012
"""Close codes (RFC 6455 7.4.1, and its registry)."""
OVERFLOW_S = 5.0
"""Between two events about the same overflow."""


Dial = Callable[[StreamRequest, float], Awaitable[Socket]]
"""Raises `Lost`."""


class Link:
    """`StreamLink`. Driven by `start`, `dtmf` and `stop`, and by its port."""

    def __init__(
        self,
        request: StreamRequest,
        call: CallView,
        port: AudioPort,
        *,
        info: StreamInfo,
        protocol: Callable[[], StreamProtocol],
        dial: Dial,
        phone: PhoneControl,
        bus: EventBus,
        on_change: Callable[[], None],
        timing: Timing,
    ) -> None:
        self.request = request
        self._id = info.id
        self._call = call.id
        self._port = port
        self._info = info
        self._protocol = protocol
        self._dial = dial
        self._phone = phone
        self._bus = bus
        self._on_change = on_change
        self._timing = timing
        self._tasks = Tasks(info.id, self._on_crash)
        self._pumping: asyncio.Task[None] | None = None
        self._living: asyncio.Task[None] | None = None
        self._bot: Bot | None = None
        self._began_at: float | None = None
        self._state: StreamState = "connecting"
        self._detail: str | None = None
        self._sent_ms = 0
        self._missed_ms = 0
        self._decided = False
        self._outcome: tuple[StreamState, str] = ("stopped", "the call ended")
        self._mark_events = Bucket(MARK_RATE, MARK_BURST)
        self._overflow_at: dict[str, float] = {}
        self._dropped_marks = 0

    # -- the link as others see it

    @property
    def present(self) -> bool:
        """The bot is there."""
        return self._state == "started"

    @property
    def over(self) -> bool:
        """Stopped or failed."""
        return self._state in ("stopped", "failed")

    def view(self) -> StreamView:
        """As it is now; once its end is decided, as that will be called."""
        state, detail = self._outcome if self._decided else (self._state, self._detail)
        return StreamView(
            id=self._id,
            call=self._call,
            url=self.request.shown_url,
            protocol=self.request.protocol,
            sample_rate=self._port.rate,
            state=state,
            detail=detail,
            sent_ms=self._sent_ms,
            played_ms=self._port.played_ms,
            queued_ms=self._port.queued_ms,
        )

    def start(self) -> None:
        """Begin to dial."""
        self._publish("stream.connecting")
        self._pumping = self._tasks.spawn("pump", self._pump())
        self._living = self._tasks.spawn("dial", self._live())

    def dtmf(self, digit: str, duration_ms: int) -> None:
        """The far end pressed a key."""
        bot = self._bot
        if bot is not None:
            bot.tell(lambda: bot.protocol.dtmf(digit, duration_ms))

    def stop(self) -> None:
        """End it; the call goes on."""
        if self._decide("stopped", "it was asked for"):
            self._port.close()

    def _decide(self, state: StreamState, why: str) -> bool:
        """What its end will be called; False when it has ended already."""
        if self._port.closed or self._decided:
            return False
        self._outcome, self._decided = (state, why), True
        return True

    async def closed(self) -> None:
        """Return when it is over."""
        if self._pumping is not None:
            await asyncio.wait([self._pumping])

    async def abandon(self) -> None:
        """Nothing of it goes on."""
        await self._tasks.close(1.0)

    def _publish(self, type_: str, **facts: object) -> None:
        self._bus.publish(type_, stream=self.view(), **facts)

    # -- to the bot

    async def _pump(self) -> None:
        async for frame in self._port:
            bot = self._bot
            if bot is not None:
                try:
                    await self._tell(bot, frame)
                except (Lost, TimeoutError):
                    bot.socket.abort()  # its reader finds out
                    self._bot = None
        bot, self._bot = self._bot, None
        ended = self._decided or self._call_ended()
        if bot is not None:
            await self._farewell(bot, ended)
        self._finish(tell=ended)

    async def _tell(self, bot: Bot, frame: Frame) -> None:
        missed_ms = self._port.missed_ms - self._missed_ms
        self._missed_ms += missed_ms
        if missed_ms:
            self._overflow("to_bot", dropped_ms=missed_ms)
        async with asyncio.timeout(self._timing.send_s):
            await _send(bot, chain(self._news(bot, NEWS_A_FRAME), _sound(bot, frame, missed_ms)))
        self._sent_ms += FRAME_MS

    def _news(self, bot: Bot, most: int) -> Iterator[Message]:
        for told in bot.news(most):
            if told.name is not None and self._mark_events.try_take(1, asyncio.get_running_loop().time()):
                self._publish("stream.mark", name=told.name, played=told.played)
            yield from told.messages

    def _call_ended(self) -> bool:
        """Otherwise another process takes it up, and dials again."""
        try:
            return self._phone.call(self._call).state is CallState.ENDED
        except PhonedError:
            return True

    async def _farewell(self, bot: Bot, ended: bool) -> None:
        try:
            if ended:
                async with asyncio.timeout(self._timing.send_s):
                    for _ in range(0, MAX_NEWS, NEWS_A_FRAME):  # a bot that reads gets all of it
                        async with asyncio.timeout(self._timing.farewell_s):
                            await _send(bot, self._news(bot, NEWS_A_FRAME))
            async with asyncio.timeout(self._timing.farewell_s):
                if ended:
                    await _send(bot, bot.protocol.stop())
                await bot.socket.close(NORMAL if ended else SERVICE_RESTART)
        except (Lost, TimeoutError):
            bot.socket.abort()

    def _finish(self, *, tell: bool = True) -> None:
        if self.over:
            return
        self._state, why = self._outcome
        self._detail = why
        if self._living is not None:
            self._living.cancel()
        if not tell:
            return
        if self._state == "failed":
            log.warning("%s: stream %s failed: %s", self._call, self._id, why)
            self._publish("stream.failed", detail=why)
        else:
            self._publish("stream.stopped", detail=why)
        self._on_change()

    # -- the life of the connection

    async def _live(self) -> None:
        timing, loop = self._timing, asyncio.get_running_loop()
        lost, away_since = 0, loop.time()
        while True:
            began = loop.time()
            left_s = max(timing.budget_s - (began - away_since), 1.0)
            end = await self._connection(min(timing.dial_s, left_s))
            if self._port.closed:
                return
            now = loop.time()
            self._port.clear()  # what it had queued is nobody's now
            if end.final:
                await self._give_up("failed", end.why)
                return
            if end.clean and self.request.on_close != "reconnect":
                await self._give_up("stopped", end.why)
                return
            if self._began_at is not None:
                if now - self._began_at >= timing.steady_s:
                    lost = 0
                if not lost:
                    away_since = now
            delay_s = timing.backoff_s[min(lost, len(timing.backoff_s) - 1)]
            lost += 1
            if now + delay_s - away_since > timing.budget_s:
                await self._give_up("failed", f"{end.why}; no bot for {now - away_since:.0f} s")
                return
            self._state, self._detail = "reconnecting", end.why
            self._publish("stream.reconnecting", n=lost, next_in_s=delay_s, detail=end.why)
            self._on_change()
            await asyncio.sleep(delay_s)

    async def _connection(self, deadline_s: float) -> Lost:
        """One dial and what comes of it, until it is lost."""
        self._began_at = None
        try:
            socket = await self._dial(self.request, deadline_s)
        except Lost as lost:
            return lost
        bot = Bot(socket, self._protocol())
        try:
            async with asyncio.timeout(self._timing.send_s):
                for message in bot.protocol.start(self._info):
                    await socket.send(message)
            self._began_at = asyncio.get_running_loop().time()
            self._missed_ms = self._port.missed_ms
            self._port.take()  # old by now
            self._bot, self._state, self._detail = bot, "started", None
            self._publish("stream.started")
            self._on_change()
            await self._read(bot)
        except Lost as lost:
            return lost
        except TimeoutError:
            return Lost("the bot does not read")
        finally:
            if self._bot is bot or self._began_at is None:  # else somebody says good-bye to it
                self._bot = None
                socket.abort()
            if bot.protocol.ignored:
                log.info("%s: passed over what the bot sent: %s", self._id, dict(bot.protocol.ignored))
        raise AssertionError("reading ends with Lost")

    async def _give_up(self, state: StreamState, why: str) -> None:
        if not self._decide(state, why):
            return
        if self.request.on_close != "keep":
            log.info("%s: hung up: %s", self._call, why)
            try:
                await self._phone.hangup(self._call)
            except PhonedError as error:
                log.warning("%s: cannot be hung up: %s", self._call, error.detail)
        self._port.close()

    # -- from the bot

    async def _read(self, bot: Bot) -> None:
        pace, loop = Bucket(READ_RATE, READ_BURST), asyncio.get_running_loop()
        while True:
            message = await bot.socket.receive()
            await asyncio.sleep(pace.take(len(message) + MESSAGE_COST, loop.time()))
            if len(message) > LARGE:
                actions = await asyncio.to_thread(bot.protocol.receive, message)
            else:
                actions = bot.protocol.receive(message)
            for action in actions:
                self._do(bot, action)

    def _do(self, bot: Bot, action: Action) -> None:
        match action:
            case Play(pcm=pcm):
                taken = self._port.write(pcm)
                if taken < len(pcm):
                    self._overflow("from_bot", dropped_ms=(len(pcm) - taken) // (self._port.rate // 500))
            case Mark(name=name):
                try:
                    bot.mark(name, self._port.mark)
                except AtCapacity:
                    self._dropped_marks += 1
                    if self._overflow("from_bot", dropped_marks=self._dropped_marks):
                        self._dropped_marks = 0
            case Clear():
                self._port.clear()
                bot.cleared()

    def _overflow(self, direction: str, *, dropped_ms: int = 0, dropped_marks: int = 0) -> bool:
        """Tell it, now and then."""
        what = "marks" if dropped_marks else direction
        now = asyncio.get_running_loop().time()
        if now - self._overflow_at.get(what, -OVERFLOW_S) < OVERFLOW_S:
            return False
        self._overflow_at[what] = now
        self._publish("stream.overflow", direction=direction, dropped_ms=dropped_ms, dropped_marks=dropped_marks)
        return True

    def _on_crash(self, name: str, error: BaseException) -> None:
        """A bug of ours: the bot goes, and the call does what it does without one."""
        log.error("%s crashed", name, exc_info=error)
        if not self.over:
            self._tasks.spawn("crash", self._crashed())

    async def _crashed(self) -> None:
        await self._give_up("failed", "a fault of ours")
        if self._pumping is None or self._pumping.done():
            self._finish()


def _sound(bot: Bot, frame: Frame, missed_ms: int) -> Iterator[Message]:
    for sound, track in ((frame.heard, "inbound"), (frame.said, "outbound")):
        if sound is not None:
            if missed_ms:
                yield from bot.protocol.skipped(missed_ms, track)  # type: ignore[arg-type]
            yield from bot.protocol.audio(sound, track)  # type: ignore[arg-type]


async def _send(bot: Bot, messages: Iterable[Message]) -> None:
    for number, message in enumerate(messages, 1):
        await bot.socket.send(message)
        if not number % STRIDE:
            await asyncio.sleep(0)
