"""Clients that keep a copy of the phone: a snapshot, then changes in order, and a cursor to come back with."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import unix_connect

from phoned.model import AccountState, CallState
from tests.integration.api.conftest import Running


class Mirror:
    """What a client knows: replaced by a snapshot, moved on by each event."""

    def __init__(self) -> None:
        self.accounts: dict[str, Any] = {}
        self.calls: dict[str, Any] = {}
        self.bridges: dict[str, Any] = {}
        """Those that are up."""
        self.seq = 0

    def take(self, event: dict[str, Any]) -> None:
        data = event["data"]
        if "seq" not in event:
            self.accounts = {view["id"]: view for view in data["accounts"]}
            self.calls = {view["id"]: view for view in data["calls"]}
            self.bridges = {view["id"]: view for view in data["bridges"]}
            self.seq = data["last_seq"]
            return
        assert event["seq"] == self.seq + 1, "in order, without a gap"
        self.seq = event["seq"]
        if event["type"] == "account.removed":
            del self.accounts[data["account"]["id"]]
        elif "account" in data:
            self.accounts[data["account"]["id"]] = data["account"]
        elif "call" in data:
            self.calls[data["call"]["id"]] = data["call"]
        elif "bridge" in data:
            self.bridges[data["bridge"]["id"]] = data["bridge"]
            if event["type"] == "bridge.ended":
                del self.bridges[data["bridge"]["id"]]

    async def follow_websocket(self, running: Running, until: int) -> None:
        """From where it is, or from a snapshot when it knows nothing."""
        query = f"?after={self.seq}" if self.seq else ""
        async with unix_connect(str(running.socket), f"ws://localhost/v1/events/ws{query}") as connection:
            while self.seq < until:
                self.take(json.loads(await connection.recv()))

    async def follow_sse(self, running: Running, until: int) -> None:
        async with stream(running.unix(), self.seq) as lines:
            async for line in lines:
                if line.startswith("data: "):
                    self.take(json.loads(line[6:]))
                    if self.seq >= until:
                        return


@asynccontextmanager
async def stream(client: httpx.AsyncClient, after: int) -> AsyncIterator[AsyncIterator[str]]:
    async with client.stream("GET", "/v1/events", params={"after": after} if after else {}) as response:
        yield response.aiter_lines()


async def live(running: Running, chance: random.Random) -> None:
    """Something happens."""
    phone = running.phone
    names = [view.id for view in phone.accounts()]
    ringing = [view.id for view in phone.calls() if view.state is CallState.RINGING]
    up = [view.id for view in phone.calls() if view.state is CallState.ACTIVE]
    joined = {call for view in phone.bridges() if view.state == "active" for call in view.calls}
    alone = [call for call in up if call not in joined]
    match chance.randrange(7):
        case 0:
            await phone.remote_calls(account="front")
        case 1 if ringing:
            await phone.answer(chance.choice(ringing))
        case 2 if up:
            await phone.remote_hangs_up(chance.choice(up))
        case 3:
            await phone.put_account(f"a{chance.randrange(3)}", {})
        case 4 if len(names) > 1:
            await phone.delete_account(chance.choice(names[1:]))
        case 5 if len(alone) > 1:
            await phone.create_bridge(alone)
        case _:
            phone.bus.publish("account.registered", account=phone.set_account("front", state=AccountState.ONLINE))
    await running.bus.flush()


@pytest.mark.behaviour("L4")
async def test_every_client_has_the_same_picture_whenever_and_however_it_came(running: Running) -> None:
    chance = random.Random(4)
    late, broken, by_sse = Mirror(), Mirror(), Mirror()
    for _ in range(40):
        await live(running, chance)
    await broken.follow_websocket(running, running.bus.delivered_seq)
    await by_sse.follow_sse(running, running.bus.delivered_seq)
    for _ in range(40):
        await live(running, chance)
    pair = [(await running.phone.remote_calls()).id for _ in range(2)]
    for call in pair:
        await running.phone.answer(call)
    await running.phone.create_bridge(pair)
    await running.bus.flush()
    last = running.bus.delivered_seq
    async with asyncio.timeout(20):
        await broken.follow_websocket(running, last)  # it was away meanwhile
        await by_sse.follow_sse(running, last)
        await late.follow_websocket(running, last)
    accounts = (await running.unix().get("/v1/accounts")).json()["data"]
    calls = (await running.unix().get("/v1/calls", params={"limit": 1000})).json()["data"]
    bridges = (await running.unix().get("/v1/bridges")).json()["data"]
    assert {view["state"] for view in bridges} == {"active", "ended"}
    for mirror in (late, broken, by_sse):
        assert mirror.bridges == {view["id"]: view for view in bridges if view["state"] == "active"}
        assert mirror.accounts == {view["id"]: view for view in accounts}
        assert mirror.calls == {view["id"]: view for view in calls}
