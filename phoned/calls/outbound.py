"""Whether what we say leaves: three samples of 500 ms without a packet are a stall, and what is done about one.

A socket that takes nothing is the path's trouble. An encoder that gives nothing is replaced: once by another codec that
the far end takes (Opus by G.711, a re-INVITE), once by a fresh one of the same kind; then sending is given up.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Protocol

from phoned.calls.ports import CallMedia
from phoned.errors import PhonedError
from phoned.media.pulse import Pulse
from phoned.media.stall import OutboundStall
from phoned.sip.events import Modified, ModifyCause, ModifyRefused

log = logging.getLogger(__name__)

SIMPLE = frozenset({"pcmu", "pcma"})
"""Codecs without an encoder that could break."""


class Owner(Protocol):
    """The call."""

    @property
    def id(self) -> str: ...

    def publish(self, type_: str, **facts: object) -> None: ...

    def say_again(self, cause: ModifyCause) -> None: ...


class OutboundWatch:
    """Driven by `MediaRepair`: samples, failures of the encoder, outcomes of re-INVITEs."""

    def __init__(self, call: Owner, media: CallMedia, *, on_given_up: Callable[[], None]) -> None:
        self._call = call
        self._media = media
        self._on_given_up = on_given_up
        self._stall = OutboundStall()
        self._sent = self._unsent = 0
        self._falling_from: str | None = None
        self._wanted_before: tuple[str, ...] = ()
        self._fell_back = self._renewed = self._given_up = False

    def stalled(self, pulse: Pulse, now: float, *, expected: bool) -> bool:
        """Take a sample. True when the socket is what keeps our packets; an encoder is replaced here."""
        if pulse.sent != self._sent:
            self._sent, self._unsent = pulse.sent, pulse.unsent
        if not self._stall.sample(pulse.sent, now, expected=expected and pulse.sends and not self._given_up):
            return False
        self._call.publish("call.media_stalled", direction="outbound")
        if pulse.unsent > self._unsent:
            return True
        self._replace_encoder()
        return False

    def encoder_failed(self) -> None:
        """The encoder raised; the clock has dropped the stream."""
        if not self._given_up:
            self._replace_encoder()

    def _replace_encoder(self) -> None:
        current = (self._media.stats().codec or "").lower()
        simple = tuple(name for name in self._media.wanted_codecs if name.lower() in SIMPLE)
        if not self._fell_back and current not in SIMPLE and simple:
            self._fell_back, self._falling_from = True, current
            self._wanted_before = self._media.wanted_codecs
            self._media.prefer(simple)
            try:
                self._call.say_again(ModifyCause.MEDIA)
            except PhonedError as error:
                log.warning("%s: no other codec can be offered: %s", self._call.id, error.detail)
                self._stay()
        elif not self._renewed:
            self._renewed = True
            self._media.renew_sender()
        else:
            self._given_up = True
            self._on_given_up()

    def on_codec(self, codec: str) -> None:
        """The codec in use is another one."""
        if self._falling_from is not None:
            before, self._falling_from = self._falling_from, None
            self._call.publish("call.codec_fallback", **{"from": before, "to": codec.lower()})

    def on_outcome(self, event: Modified | ModifyRefused) -> None:
        """The far end may insist on the codec that it has."""
        if self._falling_from is not None and isinstance(event, ModifyRefused) and event.status:
            self._stay()

    def _stay(self) -> None:
        self._falling_from = None
        self._media.prefer(self._wanted_before)
        self._renewed = True
        self._media.renew_sender()
