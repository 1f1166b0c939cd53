"""What is left after calls, and after the phone: nothing, and nobody is left waiting."""

from __future__ import annotations

import asyncio
import os
import threading
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from phoned.model import AccountState, CallRequest, CallState, EndCause, RecordRequest
from tests.support.media import until
from tests.support.phones import Phones

CALLS = 20


@pytest.fixture
async def phones(tmp_path: Path) -> AsyncIterator[Phones]:
    async with Phones(tmp_path) as running:
        yield running


def left() -> tuple[Counter[str], int, int]:
    """Tasks by kind, threads, open descriptors."""
    kinds = Counter(task.get_name().rpartition("/")[2] for task in asyncio.all_tasks())
    return kinds, threading.active_count(), len(os.listdir("/proc/self/fd"))


async def test_twenty_calls_leave_nothing(phones: Phones) -> None:
    alice, watch = await phones.online()

    async def call_once(number: int) -> None:
        line = ("echo", "tone", "busy", "noanswer", "silence")[number % 5]
        request = CallRequest(account="alice", to=line)
        call = await alice.phone.place_call(request)
        if line in ("echo", "tone", "silence"):
            await watch.until("call.answered", lambda data: data["call"].id == call.id)
            if line == "tone":
                await watch.until("call.updated", lambda data: data["call"].media.state == "flowing")
                await alice.phone.record(call.id, RecordRequest())
            await alice.phone.hangup(call.id)
        elif line == "noanswer":
            await watch.until("call.ringing")
            await alice.phone.hangup(call.id)
        await watch.until("call.ended", lambda data: data["call"].id == call.id)

    async def settled() -> None:
        await until(lambda: alice.engine.sessions == 0)
        await until(lambda: alice.calls.find(alice.phone.calls()[0].id) is None)

    for number in range(5):  # threads of pools and the like come with the first use
        await call_once(number)
    await settled()
    await asyncio.sleep(1.0)  # sockets linger on purpose
    before = left()
    for number in range(CALLS):
        await call_once(number)
    await settled()
    await until(lambda: left()[0] <= before[0] and left()[2] <= before[2], 10)
    assert left()[1] <= before[1]
    assert alice.signaling.handler_errors == 0
    assert len(alice.phone.calls()) == CALLS + 5
    ends = watch.types().count("call.ended")
    assert ends == CALLS + 5


async def test_a_stop_with_a_call_up_says_bye_unregisters_and_is_quick(phones: Phones) -> None:
    alice, hers = await phones.online("alice")
    bob, his = await phones.online("bob")
    placed = await alice.phone.place_call(CallRequest(account="alice", to="bob"))
    incoming = (await his.until("call.incoming")).data["call"]
    await bob.phone.answer(incoming.id)
    await hers.until("call.answered")
    ringing = await alice.phone.place_call(CallRequest(account="alice", to="noanswer"), wait="ringing")
    loop = asyncio.get_running_loop()
    began = loop.time()
    await alice.stop()
    assert loop.time() - began < 2.5
    end = (await his.until("call.ended")).data["call"].end
    assert (end.cause, end.by) == (EndCause.COMPLETED, "remote")
    for call in (placed, ringing):
        view = alice.phone.call(call.id)
        assert view.end is not None
        assert (view.state, view.end.cause, view.end.by) == (CallState.ENDED, EndCause.SHUTDOWN, "system")
    types = [(await hers.until("call.ended")).type for _ in range(2)]
    assert types == ["call.ended"] * 2
    assert alice.phone.account("alice").state is AccountState.OFF
    assert [account.state for account in bob.phone.accounts()] == [AccountState.ONLINE]
    refused = await bob.phone.place_call(CallRequest(account="bob", to="alice"))
    ended = await his.until("call.ended", lambda data: data["call"].id == refused.id)
    assert ended.data["call"].end.sip_code == 480


async def test_a_stop_while_the_exchange_is_mute_ends_within_its_budgets(phones: Phones) -> None:
    alice, watch = await phones.online()
    await alice.phone.place_call(CallRequest(account="alice", to="echo"), wait="answered")
    phones.exchange.order({"fault": "mute", "on": True})
    loop = asyncio.get_running_loop()
    began = loop.time()
    await alice.stop()
    assert loop.time() - began < 6
    assert (await watch.until("call.ended")).data["call"].end.cause is EndCause.SHUTDOWN


async def test_an_idle_phone_that_is_registered_stops_at_once(phones: Phones) -> None:
    alice, _ = await phones.online()
    loop = asyncio.get_running_loop()
    began = loop.time()
    await alice.stop()
    assert loop.time() - began < 0.5
