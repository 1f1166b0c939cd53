"""Make before break: doubted flows, moved networks, other outbound proxies, on virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from phoned.calls.line import AccountLine
from phoned.errors import WrongState
from phoned.model import AccountState, Cause
from phoned.recovery.backoff import Schedule
from phoned.sip.events import FlowSuspect
from phoned.transport.flow import FlowError, FlowTarget
from tests.support.accounts import Listener, World
from tests.support.calls import virtual

S = AccountState
BACKUP = FlowTarget(url="ws://backup/")


@pytest.mark.behaviour("W2")
@pytest.mark.behaviour("O1")
@pytest.mark.behaviour("R1")
@pytest.mark.behaviour("R/j")
@virtual
async def test_the_first_missed_ping_is_a_doubt_and_the_candidate_takes_over() -> None:
    world = World()
    await world.online()
    old = world.flow
    old.answers_pings = False
    await asyncio.sleep(16.1)
    assert world.state() is S.SUSPECT
    assert old.is_open
    assert world.account.online
    await asyncio.sleep(0.1)
    world.registered()
    assert world.state() is S.ONLINE
    assert (world.flow is old, old.is_open) == (False, False)
    assert old.ended_by is Cause.PING
    assert await world.types() == ["account.registered", "account.reconnecting", "account.reconnected"]


@pytest.mark.behaviour("R4")
@virtual
async def test_a_call_that_begins_in_an_idle_rest_is_watched_from_its_first_seconds() -> None:
    world = World()
    await world.online()
    await asyncio.sleep(1)
    world.listener.calls = 1
    world.account.on_calls_changed()
    before = world.flow.pings
    await asyncio.sleep(1.1)
    assert world.flow.pings == before + 1
    world.flow.answers_pings = False
    await asyncio.sleep(3.1)
    assert world.state() is S.SUSPECT


@virtual
async def test_a_byte_on_the_old_flow_ends_the_doubt_before_the_candidate_speaks() -> None:
    world = World()
    await world.online()
    old, world.dialer.delay_s = world.flow, 0.5
    old.answers_pings = False
    await asyncio.sleep(16.1)
    assert world.state() is S.SUSPECT
    old.answers_pings, old.last_received = True, float("inf")
    await asyncio.sleep(3)
    assert world.state() is S.ONLINE
    assert old.is_open
    assert len(world.signaling.registers) == 1
    assert await world.types() == ["account.registered", "account.reconnecting"]


@pytest.mark.behaviour("O3")
@virtual
async def test_when_the_old_flow_dies_its_candidate_steps_in_without_a_new_dial() -> None:
    world = World()
    await world.online()
    old = world.flow
    world.account.on_network(up=True, affected=True)
    await asyncio.sleep(0.1)
    assert len(world.dialer.flows) == 2
    old.die(Cause.CLOSED)
    await asyncio.sleep(0.1)
    world.registered()
    assert world.state() is S.ONLINE
    assert len(world.dialer.flows) == 2


@pytest.mark.behaviour("F11")
@pytest.mark.behaviour("O5")
@virtual
async def test_a_moved_network_is_followed_at_once_with_the_calls_right_behind() -> None:
    world = World()
    await world.online()
    old, world.listener.calls = world.flow, 1
    old.last_received = float("inf")
    world.account.on_network(up=True, affected=True)
    await asyncio.sleep(0.02)
    assert (world.signaling.attached, world.signaling.moved) == ([1, 2], [2])
    assert world.listener.heard[-1] == "flow_ready"
    world.registered()
    await asyncio.sleep(0.02)
    assert old.ended_by is Cause.NETWORK


@pytest.mark.behaviour("W6")
@virtual
async def test_a_change_that_does_not_concern_the_proxy_changes_nothing() -> None:
    world = World()
    await world.online()
    world.account.on_network(up=True, affected=False)
    await asyncio.sleep(1)
    assert (world.state(), len(world.dialer.flows)) == (S.ONLINE, 1)


@pytest.mark.behaviour("W1")
@virtual
async def test_without_a_network_nothing_is_tried_and_with_one_it_begins_at_once() -> None:
    world = World()
    world.account.on_network(up=False, affected=False)
    world.account.want_registered()
    await asyncio.sleep(600)
    assert (world.state(), world.dialer.dialled_at) == (S.NET_DOWN, [])
    came_back = asyncio.get_running_loop().time()
    world.account.on_network(up=True, affected=True)
    await asyncio.sleep(0.1)
    world.registered()
    assert world.dialer.dialled_at == [came_back]
    assert world.state() is S.ONLINE


@pytest.mark.behaviour("R6")
@virtual
async def test_a_network_that_returns_jumps_the_back_off_queue() -> None:
    world = World()
    world.dialer.always = FlowError(Cause.TIMEOUT, "slow")
    world.account.want_registered()
    await asyncio.sleep(100)
    dialled = len(world.dialer.dialled_at)
    world.dialer.always = None
    world.account.on_network(up=True, affected=True, cause=Cause.RESUME)
    await asyncio.sleep(0.1)
    assert len(world.dialer.dialled_at) == dialled + 1


@pytest.mark.behaviour("W26")
@pytest.mark.behaviour("R10")
@virtual
async def test_a_refusing_primary_means_the_backup_at_once_and_later_the_way_back() -> None:
    world = World(target_backup=BACKUP)
    world.dialer.failures.append(FlowError(Cause.REFUSED, "nobody there"))
    await world.online()
    assert world.account.view().outbound_proxy.active == "ws://backup/"
    changed = [event for event in await world.events() if event.type == "account.proxy_changed"]
    assert [(event.data["from"], event.data["to"], event.data["why"]) for event in changed] == [
        ("primary", "backup", "refused")
    ]
    backup = world.flow
    for _ in range(4):
        await asyncio.sleep(60.05)
        world.registered()
    await asyncio.sleep(59.9)
    assert world.flow is not backup
    assert backup.is_open
    world.registered()
    assert not backup.is_open
    assert world.account.view().outbound_proxy.active == "ws://server/"
    assert (await world.events())[-1].data["why"] == "failback"


@pytest.mark.behaviour("W26")
@virtual
async def test_a_primary_that_refuses_the_upgrade_with_503_means_the_backup_at_once() -> None:
    world = World(target_backup=BACKUP)
    world.dialer.failures.append(FlowError(Cause.UPGRADE, "not now", status=503, retry_after_s=100))
    await world.online()
    assert world.account.view().outbound_proxy.active == "ws://backup/"


@pytest.mark.behaviour("L10")
@virtual
async def test_a_person_moves_the_account_to_the_backup_make_before_break() -> None:
    world = World(target_backup=BACKUP)
    await world.online()
    old = world.flow
    world.account.use_proxy("backup")
    assert world.state() is S.ONLINE
    await asyncio.sleep(0.1)
    assert old.is_open
    world.registered()
    assert not old.is_open
    view = world.account.view().outbound_proxy
    assert (view.active, view.mode) == ("ws://backup/", "backup")
    assert await world.types() == ["account.registered", "account.proxy_changed"]


@virtual
async def test_without_a_backup_there_is_nothing_to_move_to() -> None:
    world = World()
    with pytest.raises(WrongState):
        world.account.use_proxy("backup")


@virtual
async def test_a_candidate_that_is_refused_leaves_the_doubted_flow_in_use() -> None:
    world = World()
    await world.online()
    old = world.flow
    world.account.on_network(up=True, affected=True)
    await asyncio.sleep(0.1)
    world.refused(status=500)
    assert world.state() is S.SUSPECT
    assert world.account.flow is old
    await asyncio.sleep(2)
    assert len(world.dialer.flows) == 3


@virtual
async def test_leaving_in_the_middle_of_a_repair_leaves_nothing() -> None:
    for moment in (0.0, 0.005, 0.05):
        world = World()
        await world.online()
        world.account.on_network(up=True, affected=True)
        await asyncio.sleep(moment)
        await world.account.close(3)
        assert world.state() is S.OFF
        await asyncio.sleep(0.1)
        assert not [flow for flow in world.dialer.flows if flow.is_open]
        assert [task for task in asyncio.all_tasks() if task is not asyncio.current_task()] == []


@pytest.mark.behaviour("W31")
@pytest.mark.parametrize("status", [401, 403, 407])
@virtual
async def test_a_server_that_does_not_let_us_in_is_probed_slowly(status: int) -> None:
    world = World()
    world.dialer.always = FlowError(Cause.UPGRADE, f"the server said {status}", status=status)
    world.account.want_registered()
    await asyncio.sleep(3600)
    assert world.state() is S.AUTH_FAILED
    assert 2 <= len(world.dialer.dialled_at) <= 5
    assert "account.auth_failed" in await world.types()
    world.dialer.always = None
    world.account.retry()
    await asyncio.sleep(0.1)
    world.registered()
    assert world.state() is S.ONLINE


@pytest.mark.behaviour("W29")
@virtual
async def test_an_expired_certificate_is_looked_at_twice_a_minute_at_most_unless_a_call_is_up() -> None:
    world = World()
    await world.online()
    world.dialer.always = FlowError(Cause.TLS, "certificate has expired")
    world.flow.die(Cause.CLOSED)
    await asyncio.sleep(600)
    attempts = len(world.dialer.dialled_at) - 1
    assert 8 <= attempts <= 21
    world.listener.calls = 1
    world.account.retry()
    await asyncio.sleep(30)
    assert len(world.dialer.dialled_at) - 1 - attempts > 5


async def answering(world: World, seconds: float, **refusal: Any) -> list[tuple[str, int]]:
    """Refuse each REGISTER for so long; the proxies that were asked, and when."""
    loop = asyncio.get_running_loop()
    began, asked, seen = loop.time(), [], len(world.signaling.registers)
    while loop.time() < began + seconds:
        await asyncio.sleep(0.05)
        for generation, at in world.signaling.registers[seen:]:
            asked.append((world.dialer.targets[generation - 1].url, round(at - began)))
            world.refused(**refusal)
        seen = len(world.signaling.registers)
    return asked


@pytest.mark.behaviour("W16")
@pytest.mark.behaviour("W26")
@virtual
async def test_two_proxies_that_name_a_time_are_each_left_alone_until_then() -> None:
    world = World(target_backup=BACKUP)
    world.account.want_registered()
    asked = await answering(world, 400, status=503, retry_after_s=100)
    assert asked == [(url, at) for at in (0, 120, 240, 360) for url in ("ws://server/", "ws://backup/")]
    assert world.state() is S.THROTTLED
    assert (await world.types()).count("account.throttled") == 7


@pytest.mark.behaviour("W16")
@virtual
async def test_with_a_call_up_a_proxy_that_is_unavailable_for_long_is_left_for_the_backup_after_ten_seconds() -> None:
    world = World(target_backup=BACKUP)
    await world.online()
    world.listener.calls = 1
    await asyncio.sleep(30)
    world.refused(status=503, retry_after_s=600)
    await asyncio.sleep(9.9)
    assert len(world.dialer.dialled_at) == 1
    await asyncio.sleep(0.2)
    world.registered()
    assert world.account.view().outbound_proxy.active == "ws://backup/"
    assert world.signaling.moved == [2]


@pytest.mark.behaviour("W16")
@virtual
async def test_with_a_call_up_a_server_that_wants_to_be_left_alone_is_asked_again_after_five_minutes() -> None:
    world = World()
    await world.online()
    world.listener.calls = 1
    world.refused(status=503, retry_after_s=3600)
    await asyncio.sleep(299)
    assert len(world.signaling.registers) == 1
    await asyncio.sleep(2)
    assert len(world.signaling.registers) == 2


@virtual
async def test_a_doubt_that_was_unfounded_moves_nobody_to_the_backup_later() -> None:
    world = World(target_backup=BACKUP)
    await world.online()
    world.listener.calls = 1
    world.dialer.always = FlowError(Cause.REFUSED, "nobody there")
    world.account.on_event(FlowSuspect(session="s", account="a", flow=1))
    await asyncio.sleep(0.1)
    assert world.state() is S.SUSPECT
    world.flow.last_received = float("inf")
    await asyncio.sleep(30)
    assert world.state() is S.ONLINE
    assert world.account.view().outbound_proxy.active == "ws://server/"


@pytest.mark.behaviour("W15")
@pytest.mark.parametrize("status", [408, 480, 500, 504])
@virtual
async def test_one_refusal_by_a_server_is_answered_on_the_living_socket_two_move_to_the_backup(status: int) -> None:
    world = World(target_backup=BACKUP)
    await world.online()
    primary = world.flow
    world.refused(status=status)
    await asyncio.sleep(0.1)
    assert (primary.is_open, len(world.dialer.flows), len(world.signaling.registers)) == (True, 1, 2)
    world.refused(status=status)
    await asyncio.sleep(0.1)
    world.registered()
    assert world.account.view().outbound_proxy.active == "ws://backup/"
    assert (await world.events())[-1].data["why"] == ("register_timeout" if status == 408 else "refused")


@pytest.mark.behaviour("W13")
@pytest.mark.behaviour("W18")
@pytest.mark.parametrize("status", [401, 403, 404, 407, 603])
@virtual
async def test_what_is_said_of_us_is_not_asked_again_through_the_backup(status: int) -> None:
    world = World(target_backup=BACKUP)
    await world.online()
    world.refused("auth" if status in {401, 407} else "refused", status=status)
    asked = await answering(world, 1300, status=status)
    assert len(asked) >= 2
    assert {url for url, _ in asked} == {"ws://server/"}
    assert world.account.view().outbound_proxy.active == "ws://server/"
    assert (world.flow.is_open, len(world.dialer.flows)) == (True, 1)


@pytest.mark.behaviour("L10")
@virtual
async def test_calls_come_back_from_a_candidate_that_is_refused() -> None:
    world = World(target_backup=BACKUP)
    await world.online()
    world.listener.calls = 1
    world.account.use_proxy("backup")
    await asyncio.sleep(0.1)
    world.refused("auth", status=403)
    assert world.state() is S.ONLINE
    assert world.signaling.moved == [2, 1]
    assert world.listener.heard[-2:] == ["flow_ready", "flow_ready"]
    await asyncio.sleep(50)
    assert world.signaling.moved == [2, 1]


@pytest.mark.behaviour("L10")
@virtual
async def test_calls_come_back_from_a_candidate_that_stays_mute_or_is_closed_even_if_they_end_meanwhile() -> None:
    for closed in (False, True):
        world = World(target_backup=BACKUP)
        await world.online()
        world.listener.calls = 1
        world.account.use_proxy("backup")
        await asyncio.sleep(0.1)
        world.listener.calls = 0
        world.account.on_calls_changed()
        if closed:
            world.flow.die(Cause.CLOSED)
        else:
            await asyncio.sleep(4.95)
        world.dialer.always = FlowError(Cause.REFUSED, "nobody there")
        await asyncio.sleep(0.05)
        assert world.signaling.moved == [2, 1]
        assert world.state() is S.ONLINE


@virtual
async def test_calls_are_not_moved_back_to_a_flow_that_is_doubted_but_are_once_the_doubt_is_gone() -> None:
    world = World()
    await world.online()
    world.listener.calls, old = 1, world.flow
    world.account.on_event(FlowSuspect(session="s", account="a", flow=1))
    await asyncio.sleep(0.1)
    world.dialer.always = FlowError(Cause.REFUSED, "nobody there")
    world.refused(status=500)
    await asyncio.sleep(0.3)
    assert world.signaling.moved == [2]
    old.last_received = float("inf")
    await asyncio.sleep(1)
    assert world.signaling.moved == [2, 1]
    assert world.state() is S.ONLINE


@pytest.mark.behaviour("R6")
@pytest.mark.parametrize("cause", [Cause.NETWORK, Cause.RESUME])
@virtual
async def test_a_network_that_moves_again_under_a_register_is_followed_at_once(cause: Cause) -> None:
    slow = Schedule(first_s=2, base_s=2, jitter=0.0, hurry_with_call=False)
    for online in (True, False):
        world = World(schedule=slow)
        if online:
            await world.online()
            world.listener.calls = 1
            world.account.on_network(up=True, affected=True, cause=cause)
        else:
            world.account.want_registered()
        await asyncio.sleep(0.1)
        waiting = world.flow
        world.account.on_network(up=True, affected=True, cause=cause)
        await asyncio.sleep(0.02)
        assert world.flow is not waiting
        assert world.flow.is_open
        assert waiting.ended_by is cause
        world.registered()
        assert world.state() is S.ONLINE
        assert "account.connect_failed" not in await world.types()


@virtual
async def test_calls_are_told_why_they_move_to_another_flow() -> None:
    told: list[str] = []

    class Listening(Listener):
        def on_flow_ready(self, account: str) -> None:
            told.append(AccountLine(lambda: world.account).cause)

    def doubt(world: World) -> None:
        world.account.on_event(FlowSuspect(session="s", account="a", flow=1))

    happenings: list[tuple[str, Callable[[World], object]]] = [
        ("timeout", doubt),
        ("resume", lambda world: world.account.on_network(up=True, affected=True, cause=Cause.RESUME)),
        ("network", lambda world: world.account.on_network(up=True, affected=True)),
        ("api", lambda world: world.account.use_proxy("backup")),
        ("closed", lambda world: world.flow.die(Cause.CLOSED)),
    ]
    for cause, happens in happenings:
        world = World(target_backup=BACKUP)
        await world.online()
        world.account._listener = world.listener = Listening()  # the test plays another manager
        world.listener.calls = 1
        assert world.account.trouble is None
        happens(world)
        await asyncio.sleep(0.1)
        world.registered()
        assert told.pop() == cause
        assert world.account.trouble is None
    assert told == []
    assert AccountLine(lambda: None).cause == "network"
