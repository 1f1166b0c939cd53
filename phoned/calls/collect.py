"""Digits asked of the far end: a prompt, and what is keyed during and after it.

`Collection` is one such question. It must not know how digits came, nor how the prompt is played: it is told both, and
asks for the prompt to be stopped. Its clock is the loop's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from phoned.model import CollectReason, CollectRequest, CollectView


class Collection:
    """Driven by `CallAudio`: `begin`, `digit`, `playback_ended`, `close`. The answer is awaited with `result`."""

    def __init__(self, call: str, request: CollectRequest, stop_playback: Callable[[str], None]) -> None:
        self._call = call
        self._request = request
        self._stop_playback = stop_playback
        self._loop = asyncio.get_running_loop()
        self._digits = ""
        self._timer: asyncio.TimerHandle | None = None
        self._whole: asyncio.TimerHandle | None = self._loop.call_later(request.timeout_s, self._timeout)
        self._answer: asyncio.Future[CollectView] = self._loop.create_future()
        self._asking = True
        self._prompt: str | None = None
        """The playback that asks."""

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
        self._digits += digit
        if len(self._digits) >= self._request.max_digits:
            self._end("max_digits")
        else:
            self._wait(self._request.between_digits_s)

    def close(self, reason: CollectReason) -> None:
        """Nobody waits any more, or the call ended. Harmless when there is an answer."""
        if not self._answer.done():
            self._interrupt()
            self._end(reason)

    def _timeout(self) -> None:
        self.close("timeout" if self._digits else "no_digits")

    def _wait(self, seconds: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(seconds, self._timeout)

    def _end(self, reason: CollectReason, terminator: str | None = None) -> None:
        for timer in (self._timer, self._whole):
            if timer is not None:
                timer.cancel()
        view = CollectView(
            call=self._call, digits=self._digits, reason=reason, terminator=terminator, playback=self._prompt
        )
        self._answer.set_result(view)
