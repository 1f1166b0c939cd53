"""/v1/webhooks and `phonectl webhooks` around the real service."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest

from api import hooks
from api.asyncapi import model_of
from api.ctl import client as ctl
from tests.integration.api.conftest import Running
from tests.integration.api.test_phonectl import phonectl
from tests.support.webhook_sink import Reply, Sink
from tests.support.webhooks import received


@pytest.fixture
def sink() -> Iterator[Sink]:
    with Sink() as made:
        yield made


async def made(running: Running, url: str, **body: Any) -> dict[str, Any]:
    answer = await running.unix().post("/v1/webhooks", json={"url": url, **body})
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


async def test_without_the_service_the_answer_is_honest(running: Running) -> None:
    running.context.offer_webhooks(None)
    answer = await running.unix().get("/v1/webhooks")
    assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")


async def test_a_webhook_from_its_making_to_its_end(running: Running, sink: Sink) -> None:
    client = running.unix()
    answer = await client.post("/v1/webhooks", json={"url": sink.url, "events": ["call.*"]})
    assert answer.status_code == 201
    shown = hooks.WebhookWithSecret.model_validate(answer.json())
    sink.secret = shown.secret
    path = f"/v1/webhooks/{shown.id}"
    assert answer.headers["location"] == path
    assert shown.id.startswith("wh_")

    call = await running.phone.remote_calls()
    (got,) = await received(sink, 1)
    assert got.genuine
    assert got.body["data"]["call"]["id"] == call.id
    model_of("call.incoming").model_validate(got.body)

    listed = (await client.get("/v1/webhooks")).json()["data"]
    assert [hooks.Webhook.model_validate(one).id for one in listed] == [shown.id]
    assert shown.secret not in (await client.get(path)).text

    page = (await client.get(f"{path}/deliveries")).json()
    assert [hooks.Delivery.model_validate(one).id for one in page["data"]] == [got.id]
    assert page["next_cursor"] is None

    again = await client.post(f"{path}/deliveries/{got.id}/retry")
    assert again.status_code == 202
    assert hooks.Delivery.model_validate(again.json()).state == "pending"
    assert (await received(sink, 2))[1].id == got.id

    tested = await client.post(f"{path}/test")
    assert tested.status_code == 200
    assert (tested.json()["type"], tested.json()["state"]) == ("webhook.test", "delivered")
    test = (await received(sink, 3))[2]
    assert test.genuine
    hooks.Webhook.model_validate(test.body["data"]["webhook"])

    first = (await client.get(f"{path}/deliveries", params={"limit": 1})).json()
    assert first["data"][0]["type"] == "webhook.test"
    rest = await client.get(f"{path}/deliveries", params={"cursor": first["next_cursor"], "state": "delivered"})
    assert [one["id"] for one in rest.json()["data"]] == [got.id]

    off = await client.patch(path, json={"enabled": False, "events": ["*"]})
    assert (off.json()["enabled"], off.json()["events"], off.json()["disabled_reason"]) == (False, ["*"], "asked")
    assert (await client.post(f"{path}/deliveries/{got.id}/retry")).status_code == 409

    assert (await client.delete(path)).status_code == 204
    for method, where in (("GET", path), ("DELETE", path), ("POST", f"{path}/test"), ("GET", f"{path}/deliveries")):
        assert (await client.request(method, where)).status_code == 404


async def test_a_receiver_that_is_gone_is_told_of_as_described(running: Running, sink: Sink) -> None:
    sink.answer = lambda _: Reply(status=410)
    shown = await made(running, sink.url)
    events = running.bus.subscribe()
    await running.phone.remote_calls()
    async for event in events:
        if event.type == "webhook.disabled":
            break
    page = await running.unix().get("/v1/events", params={"after": 0}, headers={"Accept": "application/json"})
    (told,) = [one for one in page.json()["data"] if one["type"] == "webhook.disabled"]
    model_of("webhook.disabled").model_validate(told)
    assert (told["data"]["webhook"]["id"], told["data"]["reason"]) == (shown["id"], "gone")


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({}, 422, "invalid_value"),
        ({"url": ""}, 422, "invalid_value"),
        ({"url": "gopher://x/"}, 422, "invalid_value"),
        ({"url": "https://u:p@example.org/"}, 422, "invalid_value"),
        ({"url": "https://example.org/", "events": []}, 422, "invalid_value"),
        ({"url": "https://example.org/", "events": ["NO"]}, 422, "invalid_value"),
        ({"url": "https://example.org/", "events": ["call.ended", "nope.*"]}, 422, "invalid_value"),
        ({"url": "https://example.org/", "secret": "x"}, 422, "invalid_value"),
        ({"url": "https://10.0.0.1/"}, 403, "address_not_allowed"),
        ({"url": "http://example.org/"}, 403, "address_not_allowed"),
        ({"url": "https://169.254.169.254/"}, 403, "address_not_allowed"),
        ({"url": "https://[::ffff:127.0.0.1]/"}, 403, "address_not_allowed"),
    ],
)
async def test_what_cannot_be_a_webhook_is_refused(
    running: Running, body: dict[str, Any], status: int, code: str
) -> None:
    answer = await running.unix().post("/v1/webhooks", json=body)
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    assert (await running.unix().get("/v1/webhooks")).json()["data"] == []


async def test_a_name_that_cannot_be_resolved_now_may_come_back(running: Running) -> None:
    shown = await made(running, "https://not-yet.test/")
    tested = await running.unix().post(f"/v1/webhooks/{shown['id']}/test")
    assert tested.json()["state"] == "failed"
    assert "not-yet.test" in tested.json()["last_error"]


async def test_only_an_admin_makes_webhooks(running: Running, sink: Sink) -> None:
    for scope in ("read", "call"):
        client = running.tcp(running.token(scope))
        assert (await client.post("/v1/webhooks", json={"url": sink.url})).status_code == 403
        assert (await client.get("/v1/webhooks")).status_code == 200
    admin = running.tcp(running.token("admin"))
    assert (await admin.post("/v1/webhooks", json={"url": sink.url})).status_code == 201


async def test_attempts_are_counted(running: Running, sink: Sink) -> None:
    sink.answer = lambda one: Reply(status=500 if one.type == "system.draining" else 204)
    await made(running, sink.url)
    running.bus.publish("network.changed")
    running.bus.publish("system.draining", draining=True)
    await received(sink, 2)
    counted = ""
    async with asyncio.timeout(10):
        while "phoned_webhook_pending 1.0" not in counted:
            counted = (await running.unix().get("/metrics")).text
    assert 'phoned_webhook_attempts_total{result="delivered"} 1.0' in counted
    assert 'phoned_webhook_attempts_total{result="failed"} 0.0' in counted
    running.context.offer_webhooks(None)
    assert "phoned_webhook" not in (await running.unix().get("/metrics")).text


async def test_a_cursor_that_is_none_of_ours_is_refused(running: Running, sink: Sink) -> None:
    shown = await made(running, sink.url)
    answer = await running.unix().get(f"/v1/webhooks/{shown['id']}/deliveries", params={"cursor": "x"})
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "/query/cursor")


async def test_phonectl_does_the_same(running: Running, sink: Sink) -> None:
    for args in (("webhooks",), ("webhooks", "list")):
        assert "no webhooks" in (await phonectl(running, *args)).out
    added = await phonectl(running, "webhooks", "add", sink.url, "-e", "call.*", "--json")
    shown = json.loads(added.out)
    assert shown["events"] == ["call.*"]
    name = shown["id"]
    assert "secret" in (await phonectl(running, "webhooks", "add", sink.url)).out
    assert "no deliveries" in (await phonectl(running, "webhooks", "deliveries", name)).out

    tested = await phonectl(running, "webhooks", "test", name)
    assert tested.code == ctl.OK
    assert "delivered" in tested.out
    event = json.loads((await phonectl(running, "webhooks", "deliveries", name, "--json")).out)[0]["id"]
    assert (await phonectl(running, "webhooks", "retry", name, event)).code == ctl.OK
    assert event in (await phonectl(running, "webhooks", "deliveries", name, "--limit", "5")).out

    assert "disabled (asked)" in (await phonectl(running, "webhooks", "disable", name)).out
    assert (await phonectl(running, "webhooks", "retry", name, event)).code == ctl.WRONG_STATE
    assert "enabled" in (await phonectl(running, "webhooks", "enable", name)).out
    sink.answer = lambda _: Reply(status=500)
    failed = await phonectl(running, "webhooks", "test", name)
    assert (failed.code, "HTTP 500" in failed.err) == (ctl.ERROR, True)
    assert name not in (await phonectl(running, "webhooks", "rm", name)).out
    assert (await phonectl(running, "webhooks", "rm", name)).code == ctl.NOT_FOUND
    assert (await phonectl(running, "webhooks", "add", "https://10.0.0.1/")).code != ctl.OK
