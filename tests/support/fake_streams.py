"""Bots of a `FakePhone`: they are asked for, and nobody dials them."""

from __future__ import annotations

import dataclasses

from phoned import errors
from phoned.events import EventBus
from phoned.ids import new_id
from phoned.model import CallState, CallView, StreamRequest, StreamView


class FakeStreams:
    """To be inherited."""

    bus: EventBus

    def __init__(self) -> None:
        self._streams: dict[str, StreamView] = {}
        self.dialled: list[StreamRequest] = []
        """Bots that were asked for."""
        self.undiallable: errors.PhonedError | None = None
        """Why no bot can be."""

    def _in_state(self, call: str, state: CallState) -> CallView:
        raise AssertionError("the phone knows")

    async def _change(self, event: str, call: str, **facts: object) -> CallView:
        raise AssertionError("the phone does")

    async def stream(self, call: str, request: StreamRequest) -> StreamView:
        active = self._in_state(call, CallState.ACTIVE)
        if self.undiallable is not None:
            raise self.undiallable
        view = StreamView(
            id=new_id("str"),
            call=call,
            url=request.url,
            protocol=request.protocol,
            sample_rate=request.sample_rate,
            state="connecting",
        )
        self._streams[view.id] = view
        self.dialled.append(request)
        await self._change("call.updated", call, streams=(*active.streams, view.id))
        self.bus.publish("stream.connecting", stream=view)
        return view

    def streams(self) -> tuple[StreamView, ...]:
        return tuple(reversed(self._streams.values()))

    def stream_view(self, stream: str) -> StreamView:
        if stream not in self._streams:
            raise errors.NotFound(f"no stream {stream!r}")
        return self._streams[stream]

    async def stop_stream(self, stream: str) -> None:
        self._streams[stream] = dataclasses.replace(self.stream_view(stream), state="stopped")
