"""One call in the hands of a bot.

Everything here happens in the bot's thread. Verbs that are not here are a `do` away.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import TypeVar

from phoned.bots.door import Door
from phoned.bots.mailbox import Mailbox
from phoned.errors import Gone, PhonedError
from phoned.events import Event
from phoned.model import BOT_TAG, CallState, CallView, CollectRequest, PlayRequest
from phoned.service import PhoneControl
from phoned.stream import AudioPort

T = TypeVar("T")

KEPT = 64
"""Playbacks that have ended, and, as the phone has it, keys that nobody has asked for."""


class BotCall:
    """What a bot is given. Every wait ends with the call: `Gone`."""

    def __init__(self, bot: str, view: CallView, door: Door, mailbox: Mailbox) -> None:
        self._bot = bot
        self.view = view
        """The call, as it was when something of it was last told."""
        self.taken = view.direction == "out" or view.state is CallState.ACTIVE
        """It is the bot's: an incoming call is when the bot has answered it, and may be somebody else's before."""
        self.kept = False
        self._door = door
        self._mailbox = mailbox
        mailbox.wake = self._wake
        self._changed = asyncio.Event()
        self._unasked = 0
        """Keys that were pressed, less those that were asked for. Both are told on ways of their own: it may be less
        than nothing for a moment."""
        self._over: deque[str] = deque(maxlen=KEPT)
        """Playbacks that have ended."""
        self._ports: list[AudioPort] = []
        self.on_ended: Callable[[], object] = lambda: None

    @property
    def id(self) -> str:
        """``call_...``."""
        return self.view.id

    @property
    def ended(self) -> bool:
        """True once, and for ever after."""
        return self.view.state is CallState.ENDED

    # --- verbs

    async def answer(self) -> None:
        """Answer it, or wait until an outgoing one is answered. Returns at once for a call that is up."""
        if self.view.direction == "in" and self.view.state is CallState.RINGING:
            await self.do(self._take)
        else:
            await self._until(lambda: self.view.state is CallState.ACTIVE)
        self.taken = True

    async def _take(self, phone: PhoneControl) -> None:
        await phone.answer(self.id)
        await phone.tag(self.id, {BOT_TAG: self._bot})

    async def audio(self, rate: int = 16_000, *, both: bool = False) -> AudioPort:
        """Its sound, at 8, 16, 24 or 48 kHz: iterate it to hear, `write` to it to speak. Closed with the bot's call."""

        async def open_(phone: PhoneControl) -> AudioPort:
            return phone.audio_port(self.id, rate, both=both)

        port = await self.do(open_)
        self._ports.append(port)
        return port

    async def play(self, file: str | None = None, *, tone: str | None = None, stop_at_digit: bool = False) -> None:
        """Play a file of the media directory, or a tone, and return when it has ended; with ``stop_at_digit`` also
        when the caller presses a key. Cancelled, it falls silent."""
        playback = await self.do(lambda phone: phone.play(self.id, PlayRequest(file=file, tone=tone)))
        over = False
        try:
            await self._until(lambda: playback.id in self._over or (stop_at_digit and self._unasked > 0))
            over = playback.id in self._over
        finally:
            if not (over or self.ended):
                await self._stop(playback.id)

    async def _stop(self, playback: str) -> None:
        try:
            await self.do(lambda phone: phone.control_playback(playback, "stop"))
        except PhonedError:
            pass  # it ended, or the call did, meanwhile

    async def digits(self, count: int = 1, *, timeout_s: float = 10.0, end: str = "#") -> str:
        """Up to ``count`` digits, also those pressed before it was asked for them; fewer after ``timeout_s`` without
        another one, or when ``end`` is pressed, which is not among them. Raises `WrongState` while somebody else asks
        for them (`PhoneControl.collect`)."""
        if self.ended:
            raise Gone(f"call {self.id} has ended")
        request = CollectRequest(
            max_digits=count,
            terminators=end,
            first_digit_s=timeout_s,
            between_digits_s=timeout_s,
            timeout_s=timeout_s * (count + 1),
            type_ahead=True,
        )
        view = await self._door.ask(lambda phone: phone.collect(self.id, request), waits=True)
        self._unasked -= len(view.digits) + (view.terminator is not None)
        if view.reason == "call_ended":
            raise Gone(f"call {self.id} has ended")
        return view.digits

    async def transfer(self, to: str) -> None:
        """Hand the far end over to somebody; returns when it has taken that on. The call ends when it is done."""
        await self.do(lambda phone: phone.transfer(self.id, to=to))

    async def hangup(self, reason: str | None = None) -> None:
        """End it."""
        await self.do(lambda phone: phone.hangup(self.id, reason))

    async def do(self, verb: Callable[[PhoneControl], Awaitable[T]]) -> T:
        """Any other verb: ``await call.do(lambda phone: phone.hold(call.id))``. It runs on the phone's own loop, so
        let it do nothing but that."""
        return await self._door.ask(verb)

    def keep(self) -> None:
        """Leave it up when the bot is done, whatever ``on_close`` says."""
        self.kept = True

    async def over(self) -> None:
        """Return when it has ended."""
        while not self.ended:
            self._changed.clear()
            await self._changed.wait()

    # --- inside

    def close(self) -> None:
        """The bot is done: its ports are closed."""
        for port in self._ports:
            port.close()

    async def _until(self, ready: Callable[[], bool]) -> None:
        """Wait for that. Raises `Gone` when the call ends."""
        while not ready():
            if self.ended:
                raise Gone(f"call {self.id} has ended")
            self._changed.clear()
            await self._changed.wait()

    def _wake(self) -> None:
        was_up = not self.ended
        for event in self._mailbox.take():
            self._hear(event)
        self._changed.set()
        if was_up and self.ended:
            self.on_ended()

    def _hear(self, event: Event) -> None:
        view = event.data.get("call")
        if isinstance(view, CallView):
            self.view = view
        match event.type:
            case "call.dtmf":
                self._unasked = min(self._unasked + 1, KEPT)
            case "playback.finished" | "playback.failed":
                self._over.append(event.data["playback"].id)
            case _:
                pass
