"""An account's signalling on virtual time: every wait ends, every cause is named, user intent wins."""

from __future__ import annotations

import asyncio

import pytest

from phoned.accounts.registry import Accounts
from phoned.assembly import policy_of
from phoned.config.accounts import AccountConfig
from phoned.errors import NotRegistered
from phoned.model import AccountState, Cause
from phoned.sip.events import FlowSuspect, Registered, RegistrationIdentityChanged, Unregistered
from phoned.transport.flow import FlowError
from tests.support.accounts import World
from tests.support.calls import virtual
from tests.support.flows import FakeFlow

S = AccountState


@virtual
async def test_registering_dials_attaches_and_registers() -> None:
    world = World()
    await world.online()
    assert (world.signaling.attached, len(world.signaling.registers)) == ([1], 1)
    assert await world.types() == ["account.registered"]
    view = world.account.view()
    assert (view.desired, view.registration.contact, view.registration.flow_generation) == (
        "registered",
        "sip:a@x.invalid",
        1,
    )
    assert view.registration.expires_at is not None
    assert world.account.online


@virtual
async def test_a_register_goes_out_every_half_expiry_but_at_least_each_minute() -> None:
    world = World()
    await world.online()
    for granted_s, interval_s in ((3600, 60), (120, 60), (40, 20), (1, 1)):
        world.registered(expires_s=granted_s)
        before = len(world.signaling.registers)
        await asyncio.sleep(interval_s - 0.1)
        assert len(world.signaling.registers) == before
        await asyncio.sleep(0.2)
        assert len(world.signaling.registers) == before + 1
    assert world.account.state is S.ONLINE


@pytest.mark.behaviour("R2")
@virtual
async def test_a_refresh_can_come_a_fixed_time_before_the_expiry() -> None:
    world = World(refresh_before_expiry_s=3)
    await world.online()
    world.registered(expires_s=60)
    before = len(world.signaling.registers)
    await asyncio.sleep(57.2)
    assert len(world.signaling.registers) == before + 1


@pytest.mark.behaviour("W4")
@pytest.mark.behaviour("R/a")
@pytest.mark.behaviour("P3")
@virtual
async def test_a_server_that_takes_the_socket_and_stays_mute_never_wedges() -> None:
    world = World()
    world.account.want_registered()
    await asyncio.sleep(300)
    assert len(world.dialer.flows) > 5
    assert all(flow.ended_by is Cause.MUTE for flow in world.dialer.flows[:-1])
    causes = {event.data["cause"] for event in await world.events() if event.type == "account.reconnecting"}
    assert causes == {"mute"}


@pytest.mark.behaviour("R3")
@pytest.mark.behaviour("R/c")
@pytest.mark.behaviour("P9")
@pytest.mark.behaviour("P8")
@virtual
async def test_an_unanswered_keep_alive_abandons_the_socket_after_five_seconds() -> None:
    world = World()
    await world.online()
    first = world.flow
    await asyncio.sleep(60 + 4.9)
    assert first.is_open
    await asyncio.sleep(0.3)
    assert first.ended_by is Cause.REGISTER_TIMEOUT
    await asyncio.sleep(0.1)
    assert len(world.dialer.flows) == 2
    world.registered()
    events = await world.events()
    assert [event.type for event in events] == [
        "account.registered",
        "account.reconnecting",
        "account.registered",
        "account.reconnected",
    ]
    assert events[1].data["cause"] == "register_timeout"
    assert (events[1].data["n"], events[3].data["attempts"]) == (1, 1)
    assert 0 < events[3].data["outage_ms"] < 1000


@pytest.mark.behaviour("R5")
@pytest.mark.behaviour("L5")
@pytest.mark.behaviour("P6")
@virtual
async def test_a_closed_socket_is_dialled_again_at_once_then_ever_slower_up_to_a_minute() -> None:
    world = World()
    await world.online()
    world.dialer.always = FlowError(Cause.REFUSED, "nobody there")
    lost_at = asyncio.get_running_loop().time()
    world.flow.die(Cause.CLOSED)
    await asyncio.sleep(400)
    gaps = [round(b - a) for a, b in zip(world.dialer.dialled_at[1:], world.dialer.dialled_at[2:], strict=False)]
    assert world.dialer.dialled_at[1] - lost_at < 0.05
    assert gaps[:8] == [1, 2, 4, 8, 16, 32, 60, 60]


@pytest.mark.behaviour("F7")
@virtual
async def test_the_back_off_starts_over_only_after_ten_good_seconds() -> None:
    world = World()
    await world.online()
    for _ in range(3):
        world.flow.die(Cause.CLOSED)
        await asyncio.sleep(3)
        world.registered()
        await asyncio.sleep(1)
    delays = [event.data["next_in_s"] for event in await world.events() if event.type == "account.reconnecting"]
    assert delays == [0, 1, 2]
    await asyncio.sleep(11)
    world.flow.die(Cause.CLOSED)
    await asyncio.sleep(0.1)
    delays = [event.data["next_in_s"] for event in await world.events() if event.type == "account.reconnecting"]
    assert delays[-1] == 0


@virtual
async def test_with_a_call_up_retries_hurry_and_dialogs_move_to_the_new_flow() -> None:
    world = World()
    await world.online()
    world.listener.calls = 1
    world.flow.die(Cause.CLOSED)
    await asyncio.sleep(0.1)
    assert world.signaling.moved == [2]
    assert world.listener.heard[-1] == "flow_ready"
    assert world.account.state is S.REGISTERING


@pytest.mark.behaviour("F9")
@pytest.mark.behaviour("R4")
@virtual
async def test_two_missed_pings_end_the_flow_but_a_byte_is_proof_of_life() -> None:
    world = World()
    await world.online()
    flow = world.flow
    flow.answers_pings = False
    flow.last_received = float("inf")
    await asyncio.sleep(35)
    assert flow.is_open
    flow.last_received = 0
    await asyncio.sleep(20)
    assert flow.ended_by is Cause.PING


@pytest.mark.behaviour("F9")
@virtual
async def test_flashphoner_gives_a_silent_server_fifty_seconds() -> None:
    profile = {"id": "a", "aor": "sip:a@x", "outbound_proxy": "wss://x/", "profile": "flashphoner"}
    policy = policy_of(AccountConfig.model_validate(profile))
    pings = {name: getattr(policy, name) for name in ("ping_idle_s", "ping_call_s", "ping_timeout_s", "ping_misses")}
    world = World(**pings)
    await world.online()
    flow = world.flow
    flow.answers_pings = False
    world.dialer.always = FlowError(Cause.TIMEOUT, "slow")
    await asyncio.sleep(54)
    assert (flow.is_open, flow.pings) == (True, 10)
    await asyncio.sleep(1)
    assert flow.ended_by is Cause.PING


@virtual
async def test_pings_are_quick_with_a_call_and_stay_below_the_servers_flow_timer() -> None:
    world = World()
    await world.online()
    world.registered(flow_timer_s=5.0)
    world.flow.die(Cause.CLOSED)
    await asyncio.sleep(0.1)
    world.registered(flow_timer_s=5.0)
    before = world.flow.pings
    await asyncio.sleep(20.5)
    assert world.flow.pings - before == 4 + 1
    world.listener.calls = 1
    await asyncio.sleep(5)
    before = world.flow.pings
    await asyncio.sleep(20)
    assert 8 <= world.flow.pings - before <= 10


@virtual
async def test_unregistering_says_so_and_closes_the_flow() -> None:
    world = World()
    await world.online()
    world.account.want_unregistered()
    assert world.state() is S.UNREGISTERING
    world.account.on_event(Unregistered(account="a", flow=1))
    assert world.state() is S.OFF
    await asyncio.sleep(0.1)
    assert not world.flow.is_open
    await asyncio.sleep(100)
    assert len(world.dialer.flows) == 1
    assert (await world.types())[-1] == "account.unregistered"


@virtual
async def test_a_server_that_ignores_the_unregister_costs_two_seconds() -> None:
    world = World()
    await world.online()
    world.account.want_unregistered()
    await asyncio.sleep(2.1)
    assert world.account.state is S.OFF


@pytest.mark.behaviour("F8")
@pytest.mark.behaviour("L11")
@virtual
async def test_unregistering_during_back_off_stops_everything() -> None:
    world = World()
    world.dialer.always = FlowError(Cause.DNS, "no such host")
    world.account.want_registered()
    await asyncio.sleep(10)
    dialled = len(world.dialer.dialled_at)
    world.account.want_unregistered()
    await asyncio.sleep(1000)
    assert (world.account.state, len(world.dialer.dialled_at)) == (S.OFF, dialled)


@virtual
async def test_unregistering_with_a_call_up_keeps_the_flow_until_the_call_ends() -> None:
    world = World()
    await world.online()
    world.listener.calls = 1
    world.account.want_unregistered()
    world.account.on_event(Unregistered(account="a", flow=1))
    await asyncio.sleep(1)
    assert world.flow.is_open
    world.listener.calls = 0
    world.account.on_calls_changed()
    await asyncio.sleep(0.1)
    assert not world.flow.is_open


@virtual
async def test_a_wish_to_register_during_the_unregister_wins() -> None:
    world = World()
    await world.online()
    world.account.want_unregistered()
    world.account.want_registered()
    world.account.on_event(Unregistered(account="a", flow=1))
    await asyncio.sleep(0.1)
    world.registered()
    assert world.account.state is S.ONLINE


@virtual
async def test_a_doubted_flow_is_replaced_before_it_is_abandoned() -> None:
    world = World()
    await world.online()
    world.account.on_event(FlowSuspect(session="s", account="a", flow=99))
    assert world.flow.is_open
    world.account.on_event(FlowSuspect(session="s", account="a", flow=1))
    await asyncio.sleep(0.1)
    assert world.dialer.flows[0].is_open
    assert world.state() is S.SUSPECT
    world.registered()
    assert world.dialer.flows[0].ended_by is Cause.TIMEOUT
    assert world.state() is S.ONLINE
    assert (await world.types())[-2:] == ["account.reconnecting", "account.reconnected"]


@pytest.mark.behaviour("R/k")
@virtual
async def test_the_deadline_of_a_refresh_that_was_lost_with_its_socket_spares_the_next_socket() -> None:
    world = World()
    await world.online()
    await asyncio.sleep(60.5)  # the refresh is under way
    world.flow.die(Cause.CLOSED)
    await asyncio.sleep(0.1)
    world.registered()
    healthy = world.flow
    await asyncio.sleep(20)  # past every deadline of the flow before
    assert healthy.is_open
    assert world.state() is S.ONLINE
    assert len(world.dialer.flows) == 2


@pytest.mark.behaviour("P1")
@virtual
async def test_an_account_on_demand_is_woken_by_a_call_and_any_other_is_not() -> None:
    always, on_demand = World(), World(on_demand=True)
    assert not always.account.wake()
    assert always.state() is S.OFF
    assert on_demand.account.wake()
    await asyncio.sleep(0.1)
    on_demand.registered()
    assert on_demand.state() is S.ONLINE
    assert on_demand.account.wake()
    assert len(on_demand.dialer.flows) == 1


@virtual
async def test_news_of_an_old_flow_is_ignored() -> None:
    world = World()
    await world.online()
    old = world.flow
    old.die(Cause.CLOSED)
    await asyncio.sleep(0.1)
    world.account.on_event(Registered(account="a", flow=old.generation, expires_s=60, contact="sip:x"))
    assert world.account.state is S.REGISTERING
    world.account.on_flow_closed(old, Cause.CLOSED, "again")
    assert world.account.state is S.REGISTERING


@virtual
async def test_identity_changes_reach_the_listener() -> None:
    world = World()
    world.account.on_event(RegistrationIdentityChanged(account="a", call_id="c", cseq=7))
    assert world.listener.heard == ["identity 7"]


@pytest.mark.behaviour("R13")
@virtual
async def test_closing_unregisters_and_leaves_nothing_behind() -> None:
    world = World()
    await world.online()
    closing = asyncio.get_running_loop().call_later(
        0.5, lambda: world.account.on_event(Unregistered(account="a", flow=1))
    )
    await world.account.close(5)
    assert (world.account.state, closing.cancelled()) == (S.OFF, False)
    await asyncio.sleep(0)
    assert [task for task in asyncio.all_tasks() if task is not asyncio.current_task()] == []


@virtual
async def test_a_crash_while_dialling_is_contained_and_tried_again() -> None:
    world = World()

    async def explode(*_: object, **__: object) -> FakeFlow:
        raise RuntimeError("bug")

    dial, world.dialer.dial = world.dialer.dial, explode  # type: ignore[method-assign]  # a fake that misbehaves
    world.account.want_registered()
    await asyncio.sleep(0.5)
    world.dialer.dial = dial  # type: ignore[method-assign]  # and comes to its senses
    await asyncio.sleep(10)
    world.registered()
    assert world.account.state is S.ONLINE


@virtual
async def test_the_registry_passes_events_on_and_ignores_strangers() -> None:
    world = World()
    accounts = Accounts()
    accounts.add(world.account)
    await world.online()
    accounts.on_account_event(RegistrationIdentityChanged(account="zz", call_id="c", cseq=1))
    accounts.on_account_event(RegistrationIdentityChanged(account="a", call_id="c", cseq=2))
    accounts.on_flow_closed("zz", world.flow, Cause.CLOSED, "")
    accounts.on_flow_closed("a", world.flow, Cause.CLOSED, "")
    assert world.listener.heard[-1] == "identity 2"
    assert world.account.state is S.CONNECTING
    assert list(accounts) == [world.account]
    assert accounts.get("zz") is None


@virtual
async def test_giving_up_a_registration_that_never_was_ends_at_once() -> None:
    world = World()
    world.account.want_registered()
    await asyncio.sleep(0.1)
    assert world.state() is S.REGISTERING
    world.signaling.unregister_error = NotRegistered("nothing was bound")
    before = asyncio.get_running_loop().time()
    await world.account.close(3)
    assert asyncio.get_running_loop().time() - before < 0.5
    assert world.state() is S.OFF
    assert not world.flow.is_open


@virtual
async def test_with_a_call_up_the_kernel_gives_up_sooner() -> None:
    world = World()
    await world.online()
    world.listener.calls = 1
    world.account.on_calls_changed()
    assert world.flow.user_timeout_s == 5
    world.listener.calls = 0
    world.account.on_calls_changed()
    assert world.flow.user_timeout_s == 0
