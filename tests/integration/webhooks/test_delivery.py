"""Webhooks over real HTTP on loopback: signed, tried again, in order, disabled, sent again."""

from __future__ import annotations

import asyncio
import random
import threading
from pathlib import Path

import pytest

from phoned import errors
from phoned.webhook import WebhookChange
from tests.support.webhook_sink import Reply, Sink, check_order, failing
from tests.support.webhooks import configured, life, received


async def test_an_event_arrives_as_every_surface_shows_it_with_a_genuine_signature(sink: Sink, tmp_path: Path) -> None:
    async with life(tmp_path, configured(tmp_path, sink.url, events=("call.*",))) as phone:
        call = await phone.phone.remote_calls()
        await phone.tell("account.gave_up")
        (got,) = await received(sink, 1)
        assert got.genuine
        assert got.type == "call.incoming"
        assert got.id == got.body["id"]
        assert got.body["data"]["call"]["id"] == call.id
        assert got.headers["content-type"] == "application/json"
        assert got.headers["user-agent"].startswith("phoned/")
        await phone.until(lambda: phone.control.webhooks()[0].pending == 0, "delivered")
        (kept,) = await phone.deliveries()
        assert (kept.id, kept.state, kept.attempts, kept.seq) == (got.id, "delivered", 1, got.body["seq"])
    assert sink.types() == ["call.incoming"]


async def test_each_secret_of_the_file_signs_while_one_replaces_the_other(sink: Sink, tmp_path: Path) -> None:
    config = configured(tmp_path, sink.url)
    config.secret_file.write_text(sink.secret + "\nwhsec_" + "A" * 32 + "\n")
    async with life(tmp_path, config) as phone:
        await phone.tell("system.started")
        (first,) = await received(sink, 1)
        sink.secret = "whsec_" + "A" * 32
        await phone.tell("system.draining")
        second = (await received(sink, 2))[1]
    assert first.genuine
    assert second.genuine


async def test_what_fails_is_tried_again_under_the_same_id_and_its_call_waits(sink: Sink, tmp_path: Path) -> None:
    sink.answer = failing(3)
    async with life(tmp_path, configured(tmp_path, sink.url, events=("call.*",))) as phone:
        call = await phone.phone.remote_calls()
        await phone.phone.answer(call.id)
        await phone.phone.hangup(call.id)
        got = await received(sink, 6)
        await phone.until(lambda: phone.control.webhooks()[0].pending == 0, "all delivered")
    assert [one.type for one in got] == ["call.incoming"] * 4 + ["call.answered", "call.ended"]
    assert len({one.id for one in got[:4]}) == 1
    assert all(one.genuine for one in got)


async def test_a_call_that_is_stuck_does_not_hold_up_another(sink: Sink, tmp_path: Path) -> None:
    async with life(tmp_path, configured(tmp_path, sink.url, events=("call.*",), retry_s=(0, 3600))) as phone:
        stuck = await phone.phone.remote_calls()
        sink.answer = lambda one: Reply(status=500 if one.body["data"]["call"]["id"] == stuck.id else 204)
        other = await phone.phone.remote_calls()
        await phone.phone.hangup(stuck.id)
        await phone.phone.hangup(other.id)
        await asyncio.to_thread(
            sink.until,
            lambda got: any(one.type == "call.ended" and one.status == 204 for one in got),
            "the other call's end",
        )
        ended = [one for one in sink.got if one.type == "call.ended"]
        assert [one.body["data"]["call"]["id"] for one in ended] == [other.id]
        assert phone.control.webhooks()[0].failing_since is None or phone.control.webhooks()[0].pending


@pytest.mark.parametrize("status", [301, 302, 307, 308, 400, 401, 404, 500, 503])
async def test_only_2xx_counts_and_no_redirect_is_followed(sink: Sink, tmp_path: Path, status: int) -> None:
    sink.answer = failing(1, Reply(status=status, headers={"Location": sink.url + "/elsewhere"}))
    async with life(tmp_path, configured(tmp_path, sink.url)) as phone:
        await phone.tell("system.started")
        got = await received(sink, 2)
        await phone.until(lambda: phone.control.webhooks()[0].pending == 0, "delivered")
        assert [one.path for one in got] == ["/hook", "/hook"]
        assert (await phone.deliveries())[0].attempts == 2


async def test_what_is_given_up_stays_readable_and_can_be_sent_again(sink: Sink, tmp_path: Path) -> None:
    sink.answer = failing(2)
    async with life(tmp_path, configured(tmp_path, sink.url, retry_s=(0, 0))) as phone:
        await phone.tell("system.started")
        await received(sink, 2)
        await phone.until(lambda: phone.control.webhooks()[0].pending == 0, "given up")
        (kept,) = await phone.deliveries()
        assert (kept.state, kept.attempts, kept.last_status, kept.last_error) == ("failed", 2, 500, "HTTP 500")
        again = await phone.control.retry(kept.webhook, kept.id)
        assert again.state == "pending"
        got = await received(sink, 3)
        await phone.until(lambda: phone.control.webhooks()[0].pending == 0, "delivered")
        assert {one.id for one in got} == {kept.id}
        assert (await phone.deliveries())[0].state == "delivered"
        with pytest.raises(errors.NotFound):
            await phone.control.retry(kept.webhook, "evt_none")


async def test_a_retry_jumps_the_queue_of_what_waits(sink: Sink, tmp_path: Path) -> None:
    sink.answer = failing(1)
    async with life(tmp_path, configured(tmp_path, sink.url, retry_s=(0, 3600))) as phone:
        await phone.tell("system.started")
        await received(sink, 1)
        while not (kept := (await phone.deliveries())[0]).attempts:  # noqa: ASYNC110 - nobody tells when it is noted
            await asyncio.sleep(0.01)
        assert kept.next_attempt_at is not None
        await phone.control.retry(kept.webhook, kept.id)
        await phone.until(lambda: phone.control.webhooks()[0].pending == 0, "delivered")


async def test_410_disables_and_tells_everybody_else(sink: Sink, tmp_path: Path) -> None:
    with Sink() as witness:
        sink.answer = lambda _: Reply(status=410)
        one, other = configured(tmp_path, sink.url), configured(tmp_path, witness.url, events=("webhook.disabled",))
        async with life(tmp_path, one, other) as phone:
            await phone.tell("system.started")
            (told,) = await received(witness, 1)
            assert told.body["data"]["reason"] == "gone"
            shown = told.body["data"]["webhook"]
            assert (shown["url"], shown["enabled"], shown["last_status"]) == (sink.url, False, 410)
            await phone.tell("system.draining")
            gone = next(view for view in phone.control.webhooks() if view.url == sink.url)
            assert (gone.enabled, gone.disabled_reason) == (False, "gone")
            with pytest.raises(errors.WrongState):
                await phone.control.retry(gone.id, (await phone.deliveries(gone.id))[0].id)
        assert len(sink.got) == 1
        async with life(tmp_path, one, other) as phone:
            again = next(view for view in phone.control.webhooks() if view.url == sink.url)
            assert (again.id, again.enabled) == (gone.id, False)


async def test_it_is_disabled_once_however_many_say_so(sink: Sink, tmp_path: Path) -> None:
    gate = threading.Event()
    sink.answer = lambda _: Reply(status=410, wait=gate)
    async with life(tmp_path, configured(tmp_path, sink.url)) as phone:
        for _ in range(3):
            await phone.phone.remote_calls()
        await received(sink, 3)
        gate.set()
        await phone.until(lambda: phone.context.bus.delivered_seq >= 4, "disabled")
        async with asyncio.timeout(10):
            while any(not one.attempts for one in await phone.deliveries()):  # noqa: ASYNC110 - as above
                await asyncio.sleep(0.01)
        await phone.bus.flush()
        told = [event.type for event in await phone.bus.log.after(0, 100) or []]
    assert told == ["call.incoming"] * 3 + ["webhook.disabled"]


async def test_one_that_fails_for_too_long_is_disabled_and_comes_back_with_a_gap(sink: Sink, tmp_path: Path) -> None:
    sink.answer = lambda _: Reply(status=500)
    async with life(tmp_path, configured(tmp_path, sink.url, disable_after_s=0.05)) as phone:
        await phone.tell("system.started")
        await phone.until(lambda: not phone.control.webhooks()[0].enabled, "disabled")
        view = phone.control.webhooks()[0]
        assert (view.disabled_reason, view.pending) == ("failing", 1)
        await phone.tell("system.draining", draining=True)
        sink.answer = lambda _: Reply()
        count = len(sink.got)
        enabled = await phone.control.change(view.id, WebhookChange(enabled=True))
        assert (enabled.enabled, enabled.failing_since, enabled.disabled_reason) == (True, None, None)
        await phone.tell("system.draining", draining=False)
        got = (await received(sink, count + 3))[count:]
        assert sorted(one.type for one in got) == ["events.gap", "system.draining", "system.started"]
        gap = next(one for one in got if one.type == "events.gap")
        assert "seq" not in gap.body
        assert gap.body["data"]["last_seq"] >= 2
        assert next(one for one in got if one.type == "system.draining").body["data"] == {"draining": False}


async def test_by_hand_off_means_nothing_is_sent(sink: Sink, tmp_path: Path) -> None:
    async with life(tmp_path, configured(tmp_path, sink.url)) as phone:
        view = phone.control.webhooks()[0]
        off = await phone.control.change(view.id, WebhookChange(enabled=False))
        assert (off.enabled, off.disabled_reason) == (False, "asked")
        await phone.tell("system.started")
        tested = await phone.control.test(view.id)
        assert tested.state == "delivered"
    assert sink.types() == ["webhook.test"]


async def test_thirty_percent_of_failures_lose_nothing_and_keep_the_order_of_each_call(
    sink: Sink, tmp_path: Path
) -> None:
    chance = random.Random(30)
    sink.answer = lambda _: Reply(status=204 if chance.random() > 0.3 else 500)
    config = configured(tmp_path, sink.url, retry_s=(0, *(0.01,) * 31))
    async with life(tmp_path, config) as phone:
        for _ in range(30):
            call = await phone.phone.remote_calls()
            await phone.phone.answer(call.id)
            await phone.phone.mute(call.id, True)
            await phone.phone.hangup(call.id)
        await phone.bus.flush()
        told = await phone.bus.log.after(0, 1000) or []
        ids = {event.id for event in told}
        await asyncio.to_thread(
            sink.until, lambda got: ids <= {one.id for one in got if one.status == 204}, "all delivered"
        )
    assert len(told) == 120
    check_order(sink.got, [(event.id, event.data["call"]["id"]) for event in told])
