"""Webhooks over real HTTP on loopback: signed, retried, in order, decided by, disabled, replayed, over restarts."""

from __future__ import annotations

import asyncio
import json
import logging
import random
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from phoned import errors
from phoned.model import CallState
from phoned.services.webhooks import endpoint as endpoint_module
from phoned.services.webhooks.control import Webhooks
from phoned.webhook import WebhookChange, WebhookRequest
from tests.support.webhook_sink import Received, Reply, Sink, check_order
from tests.support.webhooks import configured, life, lookup_of, received


@pytest.fixture
def sink() -> Iterator[Sink]:
    with Sink() as running:
        yield running


def failing(times: int, reply: Reply | None = None) -> Any:
    """The first ``times`` requests are answered with ``reply`` (500)."""
    left = iter(range(times))

    def answer(_: Received) -> Reply:
        return Reply() if next(left, None) is None else reply or Reply(status=500)

    return answer


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


@pytest.mark.parametrize(
    ("reply", "outcome"),
    [
        ({"action": "answer"}, "active"),
        ({"action": "reject", "code": 603}, "ended"),
        ({"action": "answer", "stream": {"url": "wss://bot"}}, "ringing"),
        ({"action": "sing"}, "ringing"),
        ({"ok": True}, "ringing"),
    ],
)
async def test_the_answer_to_an_incoming_call_decides_about_it(
    sink: Sink, tmp_path: Path, reply: dict[str, Any], outcome: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    sink.answer = lambda one: Reply(status=200, body=json.dumps(reply).encode())
    async with life(tmp_path, configured(tmp_path, sink.url)) as phone:
        call = await phone.phone.remote_calls()
        await phone.until(lambda: phone.control.webhooks()[0].last_status == 200, "delivered")
        await phone.until(lambda: phone.phone.call(call.id).state.value == outcome, outcome)
        await phone.service.stop(1.0)
    if outcome == "ringing" and "action" in reply:
        assert "counts for nothing" in caplog.text
    if outcome == "ended":
        assert phone.phone.call(call.id).end.sip_code == 603  # type: ignore[union-attr]


async def test_a_decision_that_comes_late_or_with_a_retry_counts_for_nothing(
    sink: Sink, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    answer = Reply(status=200, body=b'{"action":"answer"}')
    sink.answer = failing(1)
    async with life(tmp_path, configured(tmp_path, sink.url, events=("call.incoming",), decide_s=0.05)) as phone:
        retried = await phone.phone.remote_calls()
        await received(sink, 1)
        sink.answer = lambda _: answer
        await phone.until(lambda: phone.control.webhooks()[0].pending == 0, "delivered")
        gate = threading.Event()
        sink.answer = lambda _: Reply(status=200, body=answer.body, wait=gate)
        late = await phone.phone.remote_calls()
        await received(sink, 3)
        await asyncio.sleep(0.1)
        gate.set()
        await phone.until(lambda: "came too late" in caplog.text, "said so")
        assert phone.phone.call(retried.id).state is CallState.RINGING
        assert phone.phone.call(late.id).state is CallState.RINGING


async def test_a_decision_about_a_call_that_is_over_is_only_logged(
    sink: Sink, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    gate = threading.Event()
    sink.answer = lambda _: Reply(status=200, body=b'{"action":"answer"}', wait=gate)
    async with life(tmp_path, configured(tmp_path, sink.url, events=("call.incoming",))) as phone:
        call = await phone.phone.remote_calls()
        await received(sink, 1)
        await phone.phone.remote_hangs_up(call.id)
        gate.set()
        await phone.until(lambda: f"cannot answer {call.id}" in caplog.text, "said so")


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


async def test_what_rang_in_another_life_is_not_answered_in_this(sink: Sink, tmp_path: Path) -> None:
    config = configured(tmp_path, sink.url)
    sink.answer = lambda _: Reply(status=200, body=b'{"action":"answer"}')
    async with life(tmp_path, config) as phone:
        await phone.service.stop(1.0)
        call = await phone.phone.remote_calls()
        await phone.bus.flush()
    async with life(tmp_path, config) as phone:
        answered: list[str] = []

        async def answer(call: str) -> None:
            answered.append(call)

        phone.phone.answer = answer  # type: ignore[method-assign,assignment]  # it does not know the call
        (got,) = await received(sink, 1)
        await phone.until(lambda: phone.control.webhooks()[0].pending == 0, "delivered")
    assert got.body["data"]["call"]["id"] == call.id
    assert answered == []


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
            sink.until,
            lambda got: sorted(one.type for one in got if one.status == 204) == ["events.gap"] + ["system.started"] * 3,
            "what was kept, and the gap",
        )
        await phone.tell("system.stopping")
        await asyncio.to_thread(sink.until, lambda got: got[-1].type == "system.stopping", "the newest")
    good = [one for one in sink.got if one.status == 204]
    assert [one.body["seq"] for one in good if one.type != "events.gap"] == [1, 2, 3, 6]
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


async def test_a_receiver_that_is_not_there_or_slow_is_a_failed_attempt(sink: Sink, tmp_path: Path) -> None:
    gate = threading.Event()
    sink.answer = lambda _: Reply(wait=gate)
    async with life(tmp_path, configured(tmp_path, sink.url, timeout_s=0.2)) as phone:
        slow = await phone.control.test(phone.control.webhooks()[0].id)
        assert (slow.state, slow.last_error) == ("failed", "no answer within 0.2 s")
        gate.set()
        for url, why in (("http://127.0.0.1:9/", "no connection"), ("https://127.0.0.1:9/", "no connection")):
            made = await phone.control.add(WebhookRequest(url=url))
            tested = await phone.control.test(made.view.id)
            assert tested.state == "failed"
            assert why in str(tested.last_error)


async def test_a_huge_answer_is_not_read_to_its_end(sink: Sink, tmp_path: Path) -> None:
    sink.answer = lambda _: Reply(status=200, body=b"x" * 10_000_000)
    async with life(tmp_path, configured(tmp_path, sink.url)) as phone:
        assert (await phone.control.test(phone.control.webhooks()[0].id)).state == "delivered"


async def test_an_address_that_changed_since_it_was_checked_is_not_dialled(sink: Sink, tmp_path: Path) -> None:
    """DNS rebinding: the name is good when it is given, and leads to this machine when it is dialled."""
    port = sink.url.rsplit(":", 1)[1].split("/")[0]
    answers = iter(["93.184.215.14"])

    def rebinding(host: str, port: int) -> Any:
        return lookup_of(evil_test=next(answers, "127.0.0.1"))(host, port)

    async with life(tmp_path, allow_private=(), lookup=rebinding) as phone:
        made = await phone.control.add(WebhookRequest(url=f"https://evil.test:{port}/"))
        tested = await phone.control.test(made.view.id)
        assert tested.state == "failed"
        assert "loopback" in str(tested.last_error)
    assert sink.got == []


async def test_the_name_is_kept_for_host_while_the_address_is_dialled(sink: Sink, tmp_path: Path) -> None:
    port = int(sink.url.rsplit(":", 1)[1].split("/")[0])
    async with life(tmp_path, lookup=lookup_of(hooks_test="127.0.0.1")) as phone:
        made = await phone.control.add(WebhookRequest(url=f"http://hooks.test:{port}/x"))
        assert (await phone.control.test(made.view.id)).state == "delivered"
    assert sink.got[0].headers["host"] == f"hooks.test:{port}"


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/",
        "https://10.0.0.1/",
        "https://169.254.169.254/latest/meta-data",
        "https://[::1]/",
        "https://[::ffff:127.0.0.1]/",
        "https://localhost/",
        "https://2130706433/",
        "https://0x7f.1/",
    ],
)
async def test_private_addresses_are_refused_when_a_webhook_is_made(tmp_path: Path, url: str) -> None:
    async with life(tmp_path, allow_private=()) as phone:
        with pytest.raises(errors.Denied, match="allow_private"):
            await phone.control.add(WebhookRequest(url=url))


async def test_proxies_of_the_environment_are_not_used(
    sink: Sink, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    async with life(tmp_path, configured(tmp_path, sink.url)) as phone:
        assert (await phone.control.test(phone.control.webhooks()[0].id)).state == "delivered"


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
