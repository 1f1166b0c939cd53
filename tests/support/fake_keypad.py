"""What is keyed in calls of a `FakePhone`: the real rules, driven by the test."""

from __future__ import annotations

from phoned.calls.collect import Keypad
from phoned.events import EventBus
from phoned.model import CallState, CallView, CollectRequest, CollectView, PlaybackView, PlayRequest


class FakeKeypad:
    """To be inherited. Who asks is told ``42#``; with ``type_ahead``, what is really keyed."""

    bus: EventBus

    def __init__(self) -> None:
        self._keypads: dict[str, Keypad] = {}

    def _in_state(self, call: str, state: CallState) -> CallView:
        raise AssertionError("the phone knows")

    async def play(self, call: str, request: PlayRequest) -> PlaybackView:
        raise AssertionError("the phone does")

    def keypad(self, call: str) -> Keypad:
        return self._keypads.setdefault(
            call, Keypad(call, lambda request: self.play(call, request), lambda playback: None)
        )

    def remote_keys(self, call: str, digits: str) -> None:
        """The far end presses keys."""
        for digit in digits:
            self.bus.publish(
                "call.dtmf",
                call=self._in_state(call, CallState.ACTIVE),
                digit=digit,
                duration_ms=100,
                method="rfc4733",
            )
            self.keypad(call).digit(digit)

    async def collect(self, call: str, request: CollectRequest) -> CollectView:
        self._in_state(call, CallState.ACTIVE)
        if not request.type_ahead:
            prompt = None if request.play is None else (await self.play(call, request.play)).id
            return CollectView(call=call, digits="42", reason="terminator", terminator="#", playback=prompt)
        return await self.keypad(call).ask(request)
