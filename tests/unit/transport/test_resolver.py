"""DNS off the loop, with a memory, on virtual answers."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Sequence

import pytest

from phoned.model import Cause
from phoned.transport import resolver as module
from phoned.transport.flow import FlowError
from phoned.transport.resolver import Endpoint, Resolver, system_lookup

HERE = [Endpoint(socket.AF_INET, ("192.0.2.7", 443))]


class Dns:
    """A resolver that can be told to fail or hang."""

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.go_on = threading.Event()
        self.go_on.set()
        self.asked = 0
        self.threads: set[str] = set()

    def __call__(self, host: str, port: int) -> Sequence[Endpoint]:
        self.asked += 1
        self.threads.add(threading.current_thread().name)
        self.go_on.wait(5)
        if self.error is not None:
            raise self.error
        return HERE


@pytest.mark.parametrize(
    ("host", "endpoint"),
    [
        ("192.0.2.1", Endpoint(socket.AF_INET, ("192.0.2.1", 5))),
        ("2001:db8::1", Endpoint(socket.AF_INET6, ("2001:db8::1", 5, 0, 0))),
    ],
)
async def test_an_address_is_never_looked_up(host: str, endpoint: Endpoint) -> None:
    dns = Dns()
    assert await Resolver(dns).resolve(host, 5, 1) == [endpoint]
    assert dns.asked == 0


async def test_a_lookup_runs_in_a_thread_and_two_callers_share_it() -> None:
    dns = Dns()
    names = Resolver(dns)
    both = await asyncio.gather(names.resolve("a.example", 443, 1), names.resolve("a.example", 443, 1))
    assert list(both) == [HERE, HERE]
    assert dns.asked == 1
    assert dns.threads == {"dns-a.example"}


@pytest.mark.behaviour("W28")
async def test_a_failing_lookup_falls_back_on_the_last_answer(caplog: pytest.LogCaptureFixture) -> None:
    dns = Dns()
    names = Resolver(dns)
    await names.resolve("a.example", 443, 1)
    dns.error = socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
    assert await names.resolve("a.example", 443, 1) == HERE
    assert "Temporary failure" in caplog.text


async def test_a_slow_lookup_falls_back_early_and_its_late_answer_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "IMPATIENT_S", 0.01)
    dns = Dns()
    names = Resolver(dns)
    await names.resolve("a.example", 443, 1)
    dns.go_on.clear()
    assert await names.resolve("a.example", 443, 5) == HERE
    dns.go_on.set()
    assert await names.resolve("a.example", 443, 5) == HERE
    assert dns.asked <= 3


async def test_an_answer_of_more_than_a_day_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    dns = Dns()
    names = Resolver(dns)
    await names.resolve("a.example", 443, 1)
    monkeypatch.setattr(module, "STALE_S", -1.0)
    dns.error = OSError("down")
    with pytest.raises(FlowError) as caught:
        await names.resolve("a.example", 443, 1)
    assert caught.value.cause is Cause.DNS


@pytest.mark.behaviour("W28")
async def test_silence_without_a_memory_is_dns_within_the_deadline() -> None:
    dns = Dns()
    dns.go_on.clear()
    with pytest.raises(FlowError, match="no answer") as caught:
        await Resolver(dns).resolve("a.example", 443, 0.01)
    assert caught.value.cause is Cause.DNS
    dns.go_on.set()


async def test_no_address_and_a_name_that_cannot_be_are_dns() -> None:
    def empty(host: str, port: int) -> Sequence[Endpoint]:
        return []

    with pytest.raises(FlowError, match="no address"):
        await Resolver(empty).resolve("a.example", 443, 1)
    with pytest.raises(FlowError) as caught:
        await Resolver().resolve("a" * 70 + ".example", 443, 1)
    assert caught.value.cause is Cause.DNS


def test_the_systems_lookup_finds_this_machine() -> None:
    assert Endpoint(socket.AF_INET, ("127.0.0.1", 80)) in system_lookup("localhost", 80)
