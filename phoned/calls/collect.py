"""Digits asked of the far end: a prompt, and what is keyed during and after it, or before.

`Collection` is one such question, `Keypad` what is keyed in a call and who asks for it. They must not know how digits
came, nor how the prompt is played: they are told both, and ask for the prompt to be played and stopped. Their clock is
the loop's.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

from phoned.errors import WrongState
from phoned.model import CollectReason, CollectRequest, CollectView, PlaybackView, PlayRequest

KEPT = 64
"""Keys that nobody has asked for."""


class Keypad:
    """Of one call. Driven by `CallAudio`: `ask`, `digit`, `playback_ended`, `close`."""

    def __init__(
        self,
        call: str,
        play: Callable[[PlayRequest], Awaitable[PlaybackView]],
        stop_playback: Callable[[str], None],
    ) -> None:
        self._call = call
        self._play = play
        self._stop_playback = stop_playback
        self._question: Collection | None = None
        self._keyed: deque[str] = deque(maxlen=KEPT)
        """Before anybody asked."""

    async def ask(self, request: CollectRequest) -> CollectView:
        """One question at a time. Raises `WrongState`, and what playing the prompt raises. What was keyed for somebody
        who does not wait any more is there for the next."""
        if self._open is not None:
            raise WrongState("the far end is being asked for digits already", state="collecting")
        question = self._question = Collection(self._call, request, self._stop_playback)
        try:
            while request.type_ahead and request.barge_in and self._keyed and not question.answered:
                question.digit(self._keyed.popleft())
            prompt = None
            if request.play is not None and not question.keyed:
                prompt = (await self._play(request.play)).id
            question.begin(prompt)
            return await question.result()
        except BaseException:
            self._keyed.extend(question.digits)
            raise
        finally:
            question.close("canceled")

    @property
    def _open(self) -> Collection | None:
        """The question that waits for its answer."""
        return None if self._question is None or self._question.answered else self._question

    def digit(self, digit: str) -> None:
        """The far end keyed something."""
        if self._open is not None:
            self._open.digit(digit)
        else:
            self._keyed.append(digit)

    def playback_ended(self, playback: str) -> None:
        """It may have been the prompt."""
        if self._open is not None:
            self._open.playback_ended(playback)

    def close(self) -> None:
        """The call has ended."""
        if self._open is not None:
            self._open.close("call_ended")


class Collection:
    """Driven by `Keypad`: `begin`, `digit`, `playback_ended`, `close`. The answer is awaited with `result`."""

    def __init__(self, call: str, request: CollectRequest, stop_playback: Callable[[str], None]) -> None:
        self._call = call
        self._request = request
        self._stop_playback = stop_playback
        self._loop = asyncio.get_running_loop()
        self.digits = ""
        """So far."""
        self._timer: asyncio.TimerHandle | None = None
        self._whole: asyncio.TimerHandle | None = self._loop.call_later(request.timeout_s, self._timeout)
        self._answer: asyncio.Future[CollectView] = self._loop.create_future()
        self._asking = True
        self._prompt: str | None = None
        """The playback that asks."""

    @property
    def answered(self) -> bool:
        """There is an answer."""
        return self._answer.done()

    @property
    def keyed(self) -> bool:
        """Something was, by which the prompt need not be heard any more."""
        return not self._asking

    async def result(self) -> CollectView:
        """What was keyed, once that is known."""
        return await asyncio.shield(self._answer)

    def begin(self, prompt: str | None) -> None:
        """The prompt plays; without one the far end's time begins."""
        self._prompt = prompt
        if prompt is None:
            self._asked()
        elif not self._asking:  # a key was quicker than the file
            self._stop_playback(prompt)

    def playback_ended(self, playback: str) -> None:
        """If it was the prompt, the far end's time begins."""
        if playback == self._prompt:
            self._asked()

    def _asked(self) -> None:
        if self._asking and not self._answer.done():
            self._asking = False
            self._wait(self._request.first_digit_s)

    def _interrupt(self) -> None:
        asking, self._asking = self._asking, False
        if asking and self._prompt is not None:
            self._stop_playback(self._prompt)

    def digit(self, digit: str) -> None:
        """The far end keyed something. What comes into a prompt that may not be interrupted does not count."""
        if self._answer.done() or (self._asking and not self._request.barge_in):
            return
        self._interrupt()
        if digit in self._request.terminators:
            self._end("terminator", digit)
            return
        self.digits += digit
        if len(self.digits) >= self._request.max_digits:
            self._end("max_digits")
        else:
            self._wait(self._request.between_digits_s)

    def close(self, reason: CollectReason) -> None:
        """Nobody waits any more, or the call ended. Harmless when there is an answer."""
        if not self._answer.done():
            self._interrupt()
            self._end(reason)

    def _timeout(self) -> None:
        self.close("timeout" if self.digits else "no_digits")

    def _wait(self, seconds: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(seconds, self._timeout)

    def _end(self, reason: CollectReason, terminator: str | None = None) -> None:
        for timer in (self._timer, self._whole):
            if timer is not None:
                timer.cancel()
        view = CollectView(
            call=self._call, digits=self.digits, reason=reason, terminator=terminator, playback=self._prompt
        )
        self._answer.set_result(view)
