"""The test lines: what answers when one calls ``echo``, ``tone``, ``milliwatt``, ``silence``, ``busy``, ...

A line is a short script over a SIP session and, where it speaks, a media session.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Literal

from phoned.audio.port import AudioPort
from phoned.calls.negotiation import Negotiation
from phoned.errors import PhonedError
from phoned.media.events import Flowing, MediaEvent
from phoned.media.session import MediaSession
from phoned.model import PlayRequest
from phoned.signaling import Signaling
from phoned.sip import events as sip
from phoned.tasks import Tasks

LineName = Literal["echo", "tone", "milliwatt", "silence", "busy", "noanswer", "decline"]
LINES: dict[str, str] = {
    "echo": "says back what it hears",
    "tone": "440 Hz",
    "milliwatt": "1004 Hz",
    "silence": "answers and says nothing",
    "busy": "486",
    "decline": "603",
    "noanswer": "rings for ever",
}
"""Every line and what it does."""
TONES = {"tone": "440", "milliwatt": "1004"}
REFUSALS = {"busy": (486, "Busy Here"), "decline": (603, "Decline")}

MediaFactory = Callable[[str, Callable[[MediaEvent], None]], MediaSession]


class Line:
    """One call to a test line. Driven by its session's events."""

    def __init__(self, name: str, session: str, *, signaling: Signaling, media: MediaFactory, tasks: Tasks) -> None:
        self.name = name
        self.session = session
        self._signaling = signaling
        self._tasks = tasks
        self._media: MediaSession | None = None
        self._negotiation: Negotiation | None = None
        self._echo: asyncio.Task[None] | None = None
        self._make_media = media

    def start(self) -> None:
        """Take the call as this line does."""
        if self.name in REFUSALS:
            self._signaling.reject(self.session, *REFUSALS[self.name])
            return
        self._signaling.ring(self.session)
        if self.name == "noanswer":
            return
        self._media = self._make_media(self.session, self._on_media_event)
        self._negotiation = Negotiation(
            self._media,
            self._signaling,
            self._tasks,
            on_unusable=lambda detail: self._signaling.hangup(self.session, None),
        )
        self._signaling.answer(self.session)

    def on_event(self, event: sip.Event) -> None:
        """An event of the session."""
        match event:
            case sip.DescriptionWanted() if self._negotiation is not None:
                self._negotiation.wanted(event)
            case sip.DescriptionWanted():
                self._signaling.refuse(event.token, 488)
            case sip.AnswerReceived() if self._negotiation is not None:
                self._negotiation.answered(event)
            case sip.DescriptionExpired() if self._negotiation is not None:
                self._negotiation.expired(event)
            case sip.ModifyRefused() if self._negotiation is not None:
                self._negotiation.refused()
            case sip.Referred():
                self._signaling.refuse_refer(self.session)  # there is nobody to be moved
            case sip.Ended():
                self._end()
            case _:
                pass

    def _on_media_event(self, event: MediaEvent) -> None:
        media = self._media
        if not isinstance(event, Flowing) or media is None or self._echo is not None:
            return
        if self.name == "echo":
            self._echo = self._tasks.spawn("echo", echo(media.port(begin_ms=0)))
        elif self.name in TONES:
            self._echo = self._tasks.spawn("tone", play_tone(media, TONES[self.name]))

    def _end(self) -> None:
        if self._echo is not None:
            self._echo.cancel()
        if self._media is not None:
            self._tasks.spawn("close", self._media.close())


async def echo(port: AudioPort) -> None:
    """Feed back what is heard, until cancelled."""
    try:
        async for frame in port:
            port.write(frame.heard)
    finally:
        port.close()


async def play_tone(media: MediaSession, tone: str) -> None:
    """One tone for ever."""
    try:
        await media.play(PlayRequest(tone=tone, loop=True))
    except PhonedError:
        pass  # the call ended before the tone began
