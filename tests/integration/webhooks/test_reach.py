"""Which receivers a webhook reaches over real HTTP, and which it must not."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from phoned import errors
from phoned.webhook import WebhookRequest
from tests.support.webhook_sink import Reply, Sink
from tests.support.webhooks import configured, life, lookup_of


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
