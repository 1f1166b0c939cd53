"""What webhooks know from one life of the phone to the next, and what becomes of it when it changes."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest

from phoned import errors
from phoned.services.webhooks import endpoint as endpoint_module
from phoned.services.webhooks.config import WebhooksConfig
from phoned.services.webhooks.control import Webhooks
from phoned.webhook import WebhookChange, WebhookRequest
from tests.support.webhook_sink import Reply, Sink
from tests.support.webhooks import configured, life, received


async def test_what_was_told_before_a_crash_is_delivered_after_it(sink: Sink, tmp_path: Path) -> None:
    config = configured(tmp_path, sink.url)
    sink.answer = lambda _: Reply(status=500)
    async with life(tmp_path, config) as phone:
        await phone.tell("system.started")
        await received(sink, 1)
        ids = [view.id for view in phone.control.webhooks()]
    async with life(tmp_path) as phone:  # one that names no webhooks forgets
        assert phone.control.webhooks() == ()
    sink.answer = lambda _: Reply(status=500)
    async with life(tmp_path, config) as phone:
        assert [view.id for view in phone.control.webhooks()] != ids
        await phone.tell("system.draining")
        before = await received(sink, 2)
        await phone.control.change(phone.control.webhooks()[0].id, WebhookChange(enabled=True))
    sink.answer = lambda _: Reply()
    async with life(tmp_path, config) as phone:
        got = await asyncio.to_thread(sink.until, lambda got: got[-1].status == 204, "delivered")
        assert got[-1].id == before[-1].id


async def test_a_receiver_that_hangs_does_not_hold_up_the_end(sink: Sink, tmp_path: Path) -> None:
    config = configured(tmp_path, sink.url)
    gate = threading.Event()
    sink.answer = lambda _: Reply(wait=gate)
    async with life(tmp_path, config) as phone:
        await phone.tell("system.stopping")
        await received(sink, 1)
    gate.set()
    async with life(tmp_path, config):
        got = await received(sink, 2)
    assert got[0].id == got[1].id


async def test_events_that_were_committed_and_not_taken_over_are_found_at_the_next_start(
    sink: Sink, tmp_path: Path
) -> None:
    config = configured(tmp_path, sink.url)
    async with life(tmp_path, config) as phone:
        await phone.service.stop(1.0)
        await phone.tell("system.started", "system.stopping")
    assert sink.got == []
    async with life(tmp_path, config):
        await received(sink, 2)
    assert sink.types() == ["system.started", "system.stopping"]


async def test_a_full_outbox_lets_the_log_wait_and_what_the_log_lost_is_announced(
    sink: Sink, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sink.answer = lambda _: Reply(status=500)
    async with life(tmp_path) as phone:
        made = await phone.control.add(WebhookRequest(url=sink.url))
        sink.secret = made.secret.text()
        assert isinstance(phone.control, Webhooks)
        phone.control.endpoints[0].pending_max = 3
        await phone.tell(*["system.started"] * 5)
        await phone.until(lambda: phone.control.webhooks()[0].pending == 3, "full")
        await phone.database.write(lambda connection: connection.execute("DELETE FROM event WHERE seq < 5").rowcount)
        sink.answer = lambda _: Reply()
        for delivery in (await phone.deliveries())[::-1]:
            await phone.control.retry(made.view.id, delivery.id)
        await asyncio.to_thread(
            sink.until, lambda got: len({one.id for one in got if one.status == 204}) == 4, "what was kept, and the gap"
        )
        await phone.tell("system.stopping")
        await asyncio.to_thread(sink.until, lambda got: got[-1].type == "system.stopping", "the newest")
    good = [one for one in sink.got if one.status == 204]
    assert list(dict.fromkeys(one.body["seq"] for one in good if one.type != "events.gap")) == [1, 2, 3, 6]
    assert [one.body["data"]["last_seq"] for one in good if one.type == "events.gap"] == [5]


async def test_a_long_outage_ends_for_all_that_waits_with_the_first_delivery(
    sink: Sink, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(endpoint_module, "OUTAGE_S", 0.0)
    sink.answer = lambda _: Reply(status=500)
    async with life(tmp_path, configured(tmp_path, sink.url, retry_s=(0, 3600, 3600))) as phone:
        first, second = await phone.phone.remote_calls(), await phone.phone.remote_calls()
        await received(sink, 2)
        await phone.until(lambda: phone.control.webhooks()[0].failing_since is not None, "an outage")
        sink.answer = lambda _: Reply()
        await phone.tell("system.started")
        await phone.until(lambda: phone.control.webhooks()[0].pending == 0, "all delivered")
        assert {first.id, second.id} <= {one.body["data"].get("call", {}).get("id") for one in sink.got[2:]}


async def test_webhooks_made_by_the_api_survive_and_are_bounded(sink: Sink, tmp_path: Path) -> None:
    async with life(tmp_path) as phone:
        made = await phone.control.add(WebhookRequest(url=sink.url, events=("system.*",), enabled=True))
        assert made.secret.text().startswith("whsec_")
        assert "whsec_" not in repr(made)
    sink.secret = made.secret.text()
    async with life(tmp_path) as phone:
        assert [view.id for view in phone.control.webhooks()] == [made.view.id]
        await phone.tell("system.started", "network.changed")
        (got,) = await received(sink, 1)
        assert got.genuine
        for _ in range(31):
            await phone.control.add(WebhookRequest(url=sink.url, enabled=False))
        with pytest.raises(errors.AtCapacity):
            await phone.control.add(WebhookRequest(url=sink.url))
        await phone.control.remove(made.view.id)
        with pytest.raises(errors.NotFound):
            phone.control.webhook(made.view.id)


async def test_what_the_file_says_is_changed_in_the_file(sink: Sink, tmp_path: Path) -> None:
    async with life(tmp_path, configured(tmp_path, sink.url)) as phone:
        view = phone.control.webhooks()[0]
        for change in (WebhookChange(url="https://example.org/"), WebhookChange(events=("call.*",))):
            with pytest.raises(errors.Denied, match="configuration"):
                await phone.control.change(view.id, change)
        with pytest.raises(errors.Denied):
            await phone.control.remove(view.id)
    async with life(tmp_path, configured(tmp_path, sink.url, events=("call.*",))) as phone:
        assert [(one.id, one.events) for one in phone.control.webhooks()] == [(view.id, ("call.*",))]


async def test_a_change_takes_effect_for_what_comes_next(sink: Sink, tmp_path: Path) -> None:
    async with life(tmp_path) as phone:
        made = await phone.control.add(WebhookRequest(url=sink.url, events=("call.*",)))
        sink.secret = made.secret.text()
        changed = await phone.control.change(made.view.id, WebhookChange(url=sink.url + "/new", events=("system.*",)))
        assert changed.events == ("system.*",)
        await phone.tell("system.started")
        (got,) = await received(sink, 1)
        assert (got.path, got.type) == ("/hook/new", "system.started")


async def test_the_file_is_read_again(sink: Sink, tmp_path: Path) -> None:
    with Sink() as new:
        one = configured(tmp_path, sink.url, events=("call.*",))
        gone = configured(tmp_path, sink.url + "/gone")
        async with life(tmp_path, one, gone) as phone:
            made = await phone.control.add(WebhookRequest(url=sink.url + "/api", events=("account.*",)))
            before = {view.url: view.id for view in phone.control.webhooks()}
            config = WebhooksConfig(
                (configured(tmp_path, sink.url, events=("system.*",), timeout_s=7), configured(tmp_path, new.url))
            )
            assert list(phone.service.reconfigure(config)) == []
            await phone.until(lambda: [view.url for view in phone.control.webhooks()][-1] == new.url, "read again")
            after = {view.url: view for view in phone.control.webhooks()}
            assert set(after) == {sink.url, made.view.url, new.url}
            assert (after[sink.url].id, after[sink.url].events) == (before[sink.url], ("system.*",))
            await phone.tell("system.reloaded")
            assert [one.type for one in await received(sink, 1)] == ["system.reloaded"]
            assert [one.type for one in await received(new, 1)] == ["system.reloaded"]
            assert sink.got[0].path == "/hook"
            again = WebhooksConfig((config.root[0], configured(tmp_path, new.url, events=("system.*",))))
            assert list(phone.service.reconfigure(again)) == []
            await phone.until(lambda: phone.control.webhooks()[-1].events == ("system.*",), "read once more")
            await phone.tell("system.draining")
            await received(sink, 2)
            await received(new, 2)
        assert sink.types() == new.types() == ["system.reloaded", "system.draining"]


async def test_a_secret_that_is_gone_when_the_file_is_read_again_changes_nothing(
    sink: Sink, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with life(tmp_path, configured(tmp_path, sink.url)) as phone:
        config = configured(tmp_path, sink.url + "/new")
        config.secret_file.unlink()
        phone.service.reconfigure(WebhooksConfig((config,)))
        await phone.until(lambda: "webhooks stay as they were" in caplog.text, "said so")
        assert [view.url for view in phone.control.webhooks()] == [sink.url]
