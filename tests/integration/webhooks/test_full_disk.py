"""An outbox that cannot be written or read for a while: events wait in the log, nothing is lost, nothing crashes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from phoned.errors import InternalError
from phoned.services.webhooks import endpoint as endpoint_module
from phoned.services.webhooks.control import Webhooks
from phoned.webhook import WebhookChange, WebhookRequest
from tests.support.webhook_sink import Sink
from tests.support.webhooks import Life, configured, life, received


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint_module, "PAUSE_S", 0.01)


class Failing:
    """What stands before the real outbox: one method of it fails so many times."""

    def __init__(self, real: Any, method: str, times: int, error: Exception) -> None:
        self._real = real
        self._method = method
        self._left = times
        self._error = error

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def call(*args: Any, **named: Any) -> Any:
            if name == self._method and self._left > 0:
                self._left -= 1
                raise self._error
            return getattr(self._real, name)(*args, **named)

        return call


def fail(phone: Life, method: str, times: int = 2, error: Exception | None = None) -> None:
    assert isinstance(phone.control, Webhooks)
    endpoint: Any = phone.control.endpoints[0]
    endpoint._outbox = Failing(endpoint._outbox, method, times, error or InternalError("the disk is full"))


@pytest.mark.parametrize("method", ["put", "body"])
@pytest.mark.parametrize("error", [InternalError("the disk is full"), ValueError("a bug")])
async def test_events_wait_until_the_disk_is_back(sink: Sink, tmp_path: Path, method: str, error: Exception) -> None:
    async with life(tmp_path, configured(tmp_path, sink.url)) as phone:
        fail(phone, method, error=error)
        await phone.tell("system.started", "system.draining")
        got = await received(sink, 2)
        assert [one.type for one in got] == ["system.started", "system.draining"]


async def test_what_was_delivered_and_could_not_be_noted_comes_once_more_after_a_crash(
    sink: Sink, tmp_path: Path
) -> None:
    config = configured(tmp_path, sink.url)
    async with life(tmp_path, config) as phone:
        fail(phone, "note", times=100)
        await phone.tell("system.started")
        await received(sink, 1)
        await phone.until(lambda: phone.control.webhooks()[0].pending == 0, "delivered")
    async with life(tmp_path, config):
        got = await received(sink, 2)
    assert got[0].id == got[1].id


async def test_a_change_that_cannot_be_kept_is_not_made(sink: Sink, tmp_path: Path) -> None:
    async with life(tmp_path, configured(tmp_path, sink.url)) as phone:
        fail(phone, "update")
        view = phone.control.webhooks()[0]
        with pytest.raises(InternalError):
            await phone.control.change(view.id, WebhookChange(enabled=False))
        assert phone.control.webhooks()[0].enabled


async def test_a_log_that_cannot_be_read_now_is_no_gap(sink: Sink, tmp_path: Path) -> None:
    async with life(tmp_path, configured(tmp_path, sink.url)) as phone:
        log: Any = phone.bus.log
        after = log.after

        async def unreadable(seq: int, limit: int) -> Sequence[object] | None:
            log.after = after
            raise InternalError("the disk is gone")

        log.after = unreadable
        await phone.tell("system.started")
        (got,) = await received(sink, 1)
        assert log.after == after
        assert got.type == "system.started"


async def test_nothing_missed_is_no_gap(sink: Sink, tmp_path: Path) -> None:
    async with life(tmp_path) as phone:
        log: Any = phone.bus.log
        after = log.after
        asked = asyncio.Event()

        async def nothing(seq: int, limit: int) -> None:
            asked.set()

        log.after = nothing
        made = await phone.control.add(WebhookRequest(url=sink.url))
        sink.secret = made.secret.text()
        await asked.wait()
        log.after = after
        await phone.tell("system.started")
        await received(sink, 1)
    assert sink.types() == ["system.started"]


async def test_a_delivery_that_was_removed_meanwhile_is_left_out(sink: Sink, tmp_path: Path) -> None:
    async with life(tmp_path, configured(tmp_path, sink.url)) as phone:
        endpoint: Any = phone.control.endpoints[0]  # type: ignore[attr-defined]  # not of the protocol
        real = endpoint._outbox

        class Forgetful(Failing):
            async def body(self, place: int) -> str | None:
                endpoint._outbox = real
                return None

        endpoint._outbox = Forgetful(real, "", 0, ValueError())
        await phone.tell("system.started", "system.draining")
        (got,) = await received(sink, 1)
        assert got.type == "system.draining"
