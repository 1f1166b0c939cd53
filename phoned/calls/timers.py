"""The deadlines of one call: how long it may ring, when it is answered by rule, how long it may last; and a look for
sound soon after the answer. At most one of the first three runs at a time.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Protocol

from phoned.calls.ports import CallMedia
from phoned.errors import PhonedError
from phoned.model import CallView, EndCause, Party

log = logging.getLogger(__name__)

NO_AUDIO_S = 4.0
"""After the answer, without one packet of sound: say so."""


class Owner(Protocol):
    """The call, as far as its deadlines must know it."""

    @property
    def id(self) -> str: ...

    def view(self) -> CallView: ...

    def publish(self, type_: str, **facts: object) -> None: ...

    def hangup(self, reason: str | None = None, *, cause: EndCause | None = None, by: Party = "local") -> CallView: ...


class CallTimers:
    """Driven by its call, which stops them when it is answered or ends."""

    def __init__(self, call: Owner, media: CallMedia) -> None:
        self._call = call
        self._media = media
        self._deadline: asyncio.TimerHandle | None = None
        self._look: asyncio.TimerHandle | None = None
        self.longest_s: float | None = None
        """How long the call may last once it is answered."""

    def ring(self, seconds: float, action: Callable[[], None]) -> None:
        """It shall not ring for longer."""
        self._after(seconds, action)

    def answer(self, seconds: float, action: Callable[[], object]) -> None:
        """It is answered (or refused) by rule, if it still rings then."""

        def act() -> None:
            try:
                action()
            except PhonedError as error:
                log.warning("%s: cannot be dealt with by rule: %s", self._call.id, error.detail)

        self._after(seconds, act)

    def look_for_sound(self) -> None:
        """It was answered just now."""
        self._look = asyncio.get_running_loop().call_later(NO_AUDIO_S, self._on_look)

    def last(self, since_s: float = 0.0) -> None:
        """It is up, since so long ago."""
        if self.longest_s is not None:
            self._after(max(self.longest_s - since_s, 0.0), self._on_spent)

    def stop(self) -> None:
        """None of them any more."""
        for timer in (self._deadline, self._look):
            if timer is not None:
                timer.cancel()
        self._deadline = self._look = None

    def _after(self, seconds: float, action: Callable[[], None]) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        self._deadline = asyncio.get_running_loop().call_later(seconds, action)

    def _on_look(self) -> None:
        hold = self._call.view().hold
        if not (hold.local or hold.remote) and self._media.stats().packets_received == 0:
            self._call.publish("call.no_inbound_audio")

    def _on_spent(self) -> None:
        self._call.hangup("maximum duration", cause=EndCause.COMPLETED, by="system")
