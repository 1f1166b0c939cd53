"""Corners of a flow that a real socket cannot be brought to: a transport that we hold in the hand."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from websockets.uri import parse_uri

from phoned.model import Cause
from phoned.transport import websocket
from phoned.transport.flow import Flow, FlowError, FlowTarget
from phoned.transport.websocket import FlowState, WebSocketFlow


class FakeTransport(asyncio.Transport):
    """Takes bytes and says what it is told."""

    def __init__(self) -> None:
        super().__init__({"sockname": ("127.0.0.1", 1), "peername": ("127.0.0.1", 2)})
        self.aborted = 0
        self.closed = 0
        self.queued = 0

    def write(self, data: Any) -> None:
        self.queued += len(data)

    def get_write_buffer_size(self) -> int:
        return self.queued

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def abort(self) -> None:
        self.aborted += 1

    def close(self) -> None:
        self.closed += 1


class Ear:
    def __init__(self) -> None:
        self.ends: list[tuple[Cause, str]] = []

    def on_message(self, flow: Flow, data: bytes) -> None:
        raise AssertionError("no message was sent")

    def on_closed(self, flow: Flow, cause: Cause, detail: str) -> None:
        self.ends.append((cause, detail))


def made() -> tuple[WebSocketFlow, FakeTransport, Ear]:
    ear = Ear()
    target = FlowTarget(url="ws://example.org/")
    return WebSocketFlow(generation=1, uri=parse_uri(target.url), target=target, listener=ear), FakeTransport(), ear


async def test_a_transport_that_comes_after_the_dial_was_given_up_is_aborted() -> None:
    flow, transport, ear = made()
    flow.abort(Cause.API, "given up")
    flow.connection_made(transport)
    flow.data_received(b"late")
    flow.eof_received()
    flow.pause_writing()
    flow.connection_lost(None)
    await asyncio.sleep(0)
    assert transport.aborted == 1
    assert ear.ends == []
    with pytest.raises(FlowError, match="api: given up"):
        flow.hand_over()


async def test_a_connection_lost_during_the_upgrade_has_its_cause() -> None:
    flow, transport, ear = made()
    flow.connection_made(transport)
    upgrade = asyncio.gather(flow.upgrade(), return_exceptions=True)
    await asyncio.sleep(0)
    flow.connection_lost(TimeoutError(110, "timed out"))
    (error,) = await upgrade
    assert isinstance(error, FlowError)
    assert error.cause is Cause.TIMEOUT
    assert ear.ends == []


async def test_a_paused_transport_that_resumes_in_time_ends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(websocket, "STALL_S", 0.0)
    flow, transport, _ = made()
    flow.connection_made(transport)
    flow.pause_writing()
    flow.resume_writing()
    flow.resume_writing()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert transport.aborted == 0


async def test_close_means_nothing_before_the_flow_is_open() -> None:
    flow, transport, _ = made()
    flow.connection_made(transport)
    flow.close()
    assert not flow.send(b"x")
    assert (transport.closed, transport.aborted) == (0, 0)


async def test_an_illegal_change_of_state_is_a_bug() -> None:
    flow, _, _ = made()
    with pytest.raises(AssertionError, match="CONNECTING"):
        flow._enter(FlowState.CLOSING)
