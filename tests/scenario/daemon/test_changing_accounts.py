"""Accounts come, change and go while calls are up: what need not register again does not, and nobody loses a call."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from phoned.errors import Draining
from phoned.model import AccountState, CallRequest, CallState, CallView
from tests.support.calls import virtual
from tests.support.simulated_wire import Health
from tests.support.world import BACKUP, PRIMARY, World, settings

ELSEWHERE = f"wss://{BACKUP}/ann"


async def made(*, seed: int = 3, call: bool = True) -> tuple[World, CallView | None]:
    """A phone that is online with ann, and with a call."""
    world = World(seed, names={"ann": False, "cat": False})
    world.settings = {"ann": settings("ann")}
    await world.start()
    await asyncio.sleep(20.0)
    return world, await world.phone.place_call(CallRequest(account="ann", to="echo"), wait="answered") if call else None


def counts(world: World) -> tuple[int, int]:
    """REGISTERs that the exchange has seen, and dials."""
    return len(world.exchange.seen["ann"]), len(world.wire.dials["ann"])


async def types(world: World, prefix: str = "account.") -> list[str]:
    return [event.type for event in await world.events() if event.type.startswith(prefix)]


async def settled(world: World, call: CallView | None) -> None:
    """A minute later all is well, and the call is as good as new."""
    await asyncio.sleep(60.0)
    assert world.unsettled() == []
    if call is not None:
        view = world.phone.call(call.id)
        assert (view.state, view.recovering) == (CallState.ACTIVE, None)
        await world.phone.hangup(call.id)
    await over(world)


async def over(world: World) -> None:
    await asyncio.sleep(5.0)
    await world.stop()
    assert await world.left_behind() == []
    assert await world.told_wrong() == []
    assert world.broken() == []


@virtual
async def test_other_figures_cost_neither_a_register_nor_a_dial() -> None:
    world, call = await made()
    before = counts(world)
    recovery = {"keepalive_s": 50, "ping_call_s": 1, "failback_s": 5, "max_attempts": 7, "register_expires_s": 300}
    await world.daemon.roster.put(settings("ann", recovery=recovery, in_dialog_auth="never"))
    await asyncio.sleep(5.0)
    assert counts(world) == before
    assert (await types(world))[-1] == "account.changed"
    await world.daemon.roster.put(settings("ann", recovery=recovery, in_dialog_auth="never"))
    assert (await types(world)).count("account.changed") == 1, "nothing has changed the second time"
    await asyncio.sleep(45.0)
    assert counts(world) == (before[0] + 1, before[1]), "the next refresh is due after 50 s"
    await settled(world, call)


@virtual
async def test_another_password_is_told_to_the_registrar_at_once_on_the_same_flow() -> None:
    world, call = await made()
    before = counts(world)
    world.passwords["ann"] = "of today"
    await world.daemon.roster.put(settings("ann", password="of today"))
    await asyncio.sleep(2.0)
    registers, dials = counts(world)
    assert dials == before[1]
    assert registers > before[0]
    assert "account.registration_failed" not in await types(world)
    await settled(world, call)


@virtual
async def test_the_right_password_ends_the_waiting_of_an_account_that_was_refused() -> None:
    world, _ = await made(call=False)
    world.passwords["ann"] = "of today"
    world.exchange.restart()
    world.wire.server_gone()
    await asyncio.sleep(10.0)
    assert world.phone.account("ann").state is AccountState.AUTH_FAILED
    await world.daemon.roster.put(settings("ann", password="of today"))
    await asyncio.sleep(2.0)
    assert world.phone.account("ann").state is AccountState.ONLINE
    await settled(world, None)


@virtual
async def test_another_proxy_is_gone_to_make_before_break() -> None:
    world, call = await made()
    before = len(await types(world))
    await world.daemon.roster.put(settings("ann", outbound_proxy=ELSEWHERE))
    states = set()
    for _ in range(30):
        states.add(world.phone.account("ann").state)
        await asyncio.sleep(0.1)
    assert states == {AccountState.ONLINE}
    assert world.phone.account("ann").outbound_proxy.active == ELSEWHERE
    assert (await types(world))[before:] == ["account.changed"]
    await settled(world, call)


@virtual
async def test_a_proxy_that_is_not_there_leaves_the_account_and_its_call_where_they_are() -> None:
    world, call = await made()
    world.wire.edges = {BACKUP: Health.REFUSES}
    await world.daemon.roster.put(settings("ann", outbound_proxy=ELSEWHERE))
    await asyncio.sleep(180.0)
    assert world.phone.account("ann").state is AccountState.ONLINE
    assert call is not None
    assert world.phone.call(call.id).recovering is None
    await world.daemon.roster.put(settings("ann"))
    await settled(world, call)


@virtual
async def test_a_proxy_that_is_changed_while_it_is_dialled_is_not_waited_for() -> None:
    world, _ = await made(call=False)
    world.wire.edges = {BACKUP: Health.SILENT}
    await world.daemon.roster.put(settings("ann", outbound_proxy=ELSEWHERE))
    await asyncio.sleep(1.0)
    world.wire.edges = {PRIMARY: Health.WELL, BACKUP: Health.WELL}
    await world.daemon.roster.put(settings("ann", has_backup=True))
    await asyncio.sleep(2.0)
    assert world.phone.account("ann").outbound_proxy.backup == ELSEWHERE
    await world.phone.use_proxy("ann", "backup")
    await asyncio.sleep(5.0)
    await world.daemon.roster.put(settings("ann"))  # without the backup that it is at
    await asyncio.sleep(5.0)
    proxy = world.phone.account("ann").outbound_proxy
    assert (proxy.active, proxy.backup, proxy.mode) == (f"wss://{PRIMARY}/ann", None, "auto")
    await settled(world, None)


@virtual
async def test_another_address_waits_for_the_end_of_the_calls_of_the_old_one() -> None:
    world, call = await made()
    assert call is not None
    cat = "sip:cat@example.org"
    await world.daemon.roster.put(settings("ann", aor=cat, password="secret of cat", auth_username="cat"))
    await asyncio.sleep(120.0)
    assert world.phone.call(call.id).state is CallState.ACTIVE
    assert world.phone.account("ann").aor != cat
    await world.phone.hangup(call.id)
    await asyncio.sleep(5.0)
    view = world.phone.account("ann")
    assert (view.aor, view.state) == (cat, AccountState.ONLINE)
    assert [type_ for type_ in await types(world) if type_ in ("account.removed", "account.added")] == [
        "account.removed",
        "account.added",
    ]
    await world.stop()
    assert world.broken() == []


@virtual
async def test_an_account_that_is_removed_keeps_its_call_through_a_lost_socket_and_goes_with_its_end() -> None:
    world, call = await made()
    assert call is not None
    assert not await world.daemon.roster.remove("ann")
    assert world.daemon.roster.wanted == {}
    await asyncio.sleep(3.0)
    world.move("10.0.2.2")
    await asyncio.sleep(60.0)
    view = world.phone.call(call.id)
    assert (view.state, view.recovering) == (CallState.ACTIVE, None)
    assert world.phone.account("ann").state is AccountState.OFF
    for verb in (world.phone.register("ann"), world.phone.place_call(CallRequest(account="ann", to="echo"))):
        world.ask(verb)
    await asyncio.sleep(10.0)
    assert world.phone.account("ann").state is AccountState.OFF
    assert world.daemon.calls.active() == 1
    await world.phone.hangup(call.id)
    await asyncio.sleep(5.0)
    assert world.phone.accounts() == ()
    assert (await types(world))[-1] == "account.removed"
    assert world.exchange.registrar.binding("ann", world.loop.time()) is None
    assert await world.daemon.roster.remove("ann")
    await over(world)


@virtual
async def test_an_account_that_is_wanted_again_before_its_call_has_ended_stays() -> None:
    world, call = await made()
    assert not await world.daemon.roster.remove("ann")
    await asyncio.sleep(3.0)
    await world.daemon.roster.put(settings("ann"))
    await asyncio.sleep(3.0)
    assert world.phone.account("ann").state is AccountState.ONLINE
    assert "account.removed" not in await types(world)
    await settled(world, call)


@virtual
async def test_an_account_that_comes_at_run_time_registers_and_rings() -> None:
    world, call = await made()
    await world.daemon.roster.put(settings("cat"))
    await asyncio.sleep(3.0)
    assert world.phone.account("cat").state is AccountState.ONLINE
    world.exchange.call("cat")
    await asyncio.sleep(2.0)
    (incoming,) = [view for view in world.phone.calls() if view.direction == "in"]
    assert incoming.account == "cat"
    await world.phone.reject(incoming.id)
    assert await world.daemon.roster.remove("cat")
    assert [account.id for account in world.phone.accounts()] == ["ann"]
    await settled(world, call)


@virtual
async def test_an_account_on_demand_registers_when_it_is_to_be_always_there() -> None:
    world, _ = await made(call=False)
    await world.daemon.roster.put(settings("cat", recovery={"connect": "on_demand"}))
    await asyncio.sleep(3.0)
    assert world.phone.account("cat").state is AccountState.OFF
    await world.daemon.roster.put(settings("cat"))
    await asyncio.sleep(3.0)
    assert world.phone.account("cat").state is AccountState.ONLINE
    await world.daemon.roster.put(settings("cat", recovery={"connect": "on_demand"}))
    await asyncio.sleep(3.0)
    assert world.phone.account("cat").state is AccountState.ONLINE, "nobody asked it to leave"
    await settled(world, None)


@virtual
async def test_whether_transfers_are_taken_changes_for_all_without_a_word() -> None:
    world, call = await made()
    before = counts(world)
    world.daemon.roster.allow_refer(True)
    world.daemon.roster.allow_refer(True)
    await asyncio.sleep(1.0)
    assert counts(world) == before
    await settled(world, call)


@virtual
async def test_a_phone_that_stops_while_an_account_leaves_leaves_nothing() -> None:
    world, _ = await made()
    await world.daemon.roster.remove("ann")
    await world.stop()
    with pytest.raises(Draining):
        await world.daemon.roster.put(settings("cat"))
    assert await world.left_behind() == []
    assert world.broken() == []


@pytest.mark.parametrize("seed", range(12))
def test_any_order_of_changes_moves_and_outages_ends_well(seed: int) -> None:
    @virtual
    async def play() -> None:
        world, call = await made(seed=seed)
        chance = random.Random(seed)
        choices: list[Callable[[], Coroutine[Any, Any, object]]] = [
            lambda: world.daemon.roster.put(settings("ann", outbound_proxy=ELSEWHERE)),
            lambda: world.daemon.roster.put(settings("ann", has_backup=chance.random() < 0.5)),
            lambda: world.daemon.roster.put(settings("ann", recovery={"keepalive_s": chance.choice((5, 60))})),
            lambda: world.daemon.roster.remove("ann"),
            lambda: world.daemon.roster.put(settings("cat")),
            lambda: world.daemon.roster.remove("cat"),
        ]
        for _ in range(12):
            world.ask(chance.choice(choices)())
            if chance.random() < 0.4:
                world.move(chance.choice(("10.0.1.2", "10.0.2.2")))
            if chance.random() < 0.3:
                world.wire.server_gone()
            await asyncio.sleep(chance.choice((0.0, 0.05, 0.3, 2.0, 8.0)))
        world.heal()
        await world.daemon.roster.put(settings("ann"))
        await settled(world, call)

    play()
