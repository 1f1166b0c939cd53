"""DTMF of one call, by whichever way: RFC 4733 packets, SIP INFO (asked of the call layer), or tones in the audio.

Owns the choice of the way, the queues of the two that are not RTP's, and what counts as a repetition: gateways send one
key press by several ways at once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Literal

from phoned.errors import AtCapacity, InvalidValue, WrongState
from phoned.media.dtmf import PAUSE, PAUSE_MS, Digit, check_digits
from phoned.media.events import DtmfReceived, DtmfSent, InfoWanted, MediaEvent
from phoned.media.graph import AudioGraph
from phoned.media.inband import MAX_QUEUE, InbandDigits
from phoned.media.sender import RtpSender
from phoned.model import DtmfMethod, DtmfRequest

REPEAT_S = 0.5
"""The same digit by another way within so long is the same key press."""

Method = Literal["rfc4733", "info", "inband"]


class Digits:
    """Driven by `MediaSession`."""

    def __init__(
        self, method: DtmfMethod, sender: RtpSender, graph: AudioGraph, emit: Callable[[MediaEvent], None]
    ) -> None:
        self._method = method
        self._sender = sender
        self._graph = graph
        self._emit = emit
        self._inband = InbandDigits(
            graph.rate,
            sent=lambda digit: emit(DtmfSent(digit=digit)),
            silent=lambda: graph.overlays.remove(self._inband),
        )
        self._info: deque[tuple[str, int, int]] = deque()
        self._info_wait = 0
        self._last: tuple[str, Method, float] | None = None

    def send(self, request: DtmfRequest) -> None:
        """Queue digits. Raises `InvalidValue`, `AtCapacity`, `WrongState`."""
        digits = check_digits(request.digits)
        if not 40 <= request.duration_ms <= 4000 or not 40 <= request.gap_ms <= 4000:
            raise InvalidValue("a digit and a gap last 40 to 4000 ms", pointer="/duration_ms")
        method = request.method if request.method != "auto" else self._method
        if method == "auto":
            method = "rfc4733" if self._sender.can_send_events or self._sender.codec_name is None else "info"
        if method == "rfc4733":
            if not self._sender.can_send_events:
                raise WrongState("the peer did not agree to telephone-event", state="no_telephone_event")
            self._sender.send_digits(digits, request.duration_ms, request.gap_ms)
        elif method == "info":
            if len(self._info) + len(digits) > MAX_QUEUE:
                raise AtCapacity("too many digits wait to be sent")
            self._info.extend((digit, request.duration_ms, request.gap_ms) for digit in digits)
        else:
            self._inband.send(digits, request.duration_ms, request.gap_ms)
            if self._inband not in self._graph.overlays:
                self._graph.overlays.append(self._inband)

    def tick(self) -> None:
        """20 ms: the next digit by INFO, when it is its time."""
        if self._info_wait > 0:
            self._info_wait -= 1
        elif self._info:
            digit, duration_ms, gap_ms = self._info.popleft()
            if digit == PAUSE:
                self._info_wait = PAUSE_MS // 20
            else:
                self._info_wait = (duration_ms + gap_ms) // 20
                self._emit(InfoWanted(digit=digit, duration_ms=duration_ms))

    def heard(self, digit: Digit, method: Method, now: float) -> None:
        """A digit came in: report it, unless it is the same key press by another way."""
        last = self._last
        if last is not None and last[0] == digit.digit and last[1] != method and now - last[2] < REPEAT_S:
            return
        self._last = (digit.digit, method, now)
        self._emit(DtmfReceived(digit=digit.digit, method=method, duration_ms=digit.duration_ms))
