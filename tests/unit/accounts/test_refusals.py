"""What an account does about a server that says no, and what it tells of it, on virtual time."""

from __future__ import annotations

import asyncio

import pytest

from phoned.model import AccountState, Cause
from phoned.recovery.backoff import Schedule
from phoned.sip.events import FlowSuspect, Unregistered
from phoned.transport.flow import FlowError
from tests.support.accounts import World
from tests.support.calls import virtual

S = AccountState


@pytest.mark.behaviour("W13")
@pytest.mark.behaviour("L9")
@virtual
async def test_wrong_credentials_are_probed_slowly_and_the_socket_stays() -> None:
    world = World()
    world.account.want_registered()
    await asyncio.sleep(0.1)
    world.refused("auth", 403)
    assert world.account.state is S.AUTH_FAILED
    assert world.flow.is_open
    await asyncio.sleep(299)
    assert len(world.signaling.registers) == 1
    await asyncio.sleep(2)
    assert len(world.signaling.registers) == 2
    world.refused("auth", 401)
    await asyncio.sleep(599)
    assert len(world.signaling.registers) == 2
    await asyncio.sleep(2)
    assert len(world.signaling.registers) == 3
    assert await world.types() == ["account.registration_failed", "account.auth_failed"] * 2
    error = world.account.view().registration.last_error
    assert error is not None
    assert error.sip_code == 401


@pytest.mark.behaviour("W15")
@pytest.mark.behaviour("W16")
@virtual
async def test_retry_after_is_honoured_within_reason() -> None:
    world = World()
    world.account.want_registered()
    await asyncio.sleep(0.1)
    world.refused(status=503, retry_after_s=30)
    assert world.account.state is S.THROTTLED
    await asyncio.sleep(29)
    assert len(world.signaling.registers) == 1
    await asyncio.sleep(8)
    assert len(world.signaling.registers) == 2
    world.refused(status=503, retry_after_s=10**9)
    events = await world.events()
    assert events[-1].data["retry_after_s"] == pytest.approx(3600 * 1.2)


@pytest.mark.behaviour("W18")
@pytest.mark.behaviour("R11")
@virtual
async def test_too_many_contacts_is_a_slow_retry_with_the_same_socket() -> None:
    world = World()
    world.account.want_registered()
    await asyncio.sleep(0.1)
    world.refused(status=603)
    assert world.account.state is S.THROTTLED
    await asyncio.sleep(121)
    assert (len(world.signaling.registers), len(world.dialer.flows)) == (2, 1)


@pytest.mark.behaviour("W15")
@virtual
async def test_a_server_error_is_retried_on_the_living_socket() -> None:
    world = World()
    world.account.want_registered()
    await asyncio.sleep(0.1)
    world.refused(status=500)
    await asyncio.sleep(0.1)
    assert (len(world.signaling.registers), len(world.dialer.flows)) == (2, 1)
    world.registered()
    assert world.account.state is S.ONLINE


@pytest.mark.behaviour("W15")
@virtual
async def test_a_refresh_that_was_refused_and_then_granted_is_news_and_the_account_is_well_again() -> None:
    world = World()
    await world.online()
    for _ in range(3):
        await asyncio.sleep(60)
        world.refused(status=500)
        await asyncio.sleep(0.1)
        world.registered()
        assert world.state() is S.ONLINE
        assert world.account.view().registration.last_error is None
    assert (await world.types())[1:] == [
        "account.registration_failed",
        "account.reconnecting",
        "account.registered",
        "account.reconnected",
    ] * 3
    assert world.listener.heard == ["registered"] * 4
    told = [event.data for event in await world.events() if event.type == "account.reconnecting"]
    assert [(each["n"], each["next_in_s"]) for each in told] == [(1, 0)] * 3
    assert (len(world.dialer.flows), world.flow.is_open) == (1, True)


@pytest.mark.behaviour("F7")
@virtual
async def test_a_refusal_within_ten_seconds_keeps_the_back_off_from_starting_over() -> None:
    world = World()
    await world.online()
    for _ in range(3):
        await asyncio.sleep(8)
        world.refused(status=500)
        await asyncio.sleep(3)
        world.registered()
    told = [event.data for event in await world.events() if event.type == "account.reconnecting"]
    assert [each["next_in_s"] for each in told] == [0, 1, 2]


@pytest.mark.behaviour("P2")
@pytest.mark.behaviour("P4")
@pytest.mark.behaviour("P10")
@pytest.mark.behaviour("F5")
@virtual
async def test_a_limit_of_attempts_ends_with_gave_up_and_retry_begins_again() -> None:
    world = World(schedule=Schedule(kind="uniform", base_s=0.5, cap_s=5, max_attempts=30))
    world.dialer.always = FlowError(Cause.TIMEOUT, "slow")
    start = asyncio.get_running_loop().time()
    world.account.want_registered()
    await asyncio.sleep(600)
    assert world.state() is S.OFF
    assert (await world.types())[-1] == "account.gave_up"
    assert len(world.dialer.dialled_at) == 31
    assert world.dialer.dialled_at[-1] - start <= 450
    world.dialer.always = None
    world.account.retry()
    await asyncio.sleep(0.1)
    world.registered()
    assert world.state() is S.ONLINE


@pytest.mark.parametrize("accepts", [False, True])
@virtual
async def test_beyond_the_limit_the_calls_of_an_account_that_is_off_are_served_slowly_and_it_is_told_once(
    accepts: bool,
) -> None:
    world = World(schedule=Schedule(kind="uniform", base_s=0.5, cap_s=5, max_attempts=30))
    await world.online()
    world.listener.calls = 1
    world.account.want_unregistered()
    world.account.on_event(Unregistered(account="a", flow=1))
    world.dialer.always = None if accepts else FlowError(Cause.REFUSED, "nobody there")
    for _ in range(4000):  # whoever is let in is thrown out at once
        world.flow.die(Cause.CLOSED)
        await asyncio.sleep(0.05)
    gaps = [b - a for a, b in zip(world.dialer.dialled_at[1:], world.dialer.dialled_at[2:], strict=False)]
    assert 40 < len(gaps) < 70
    assert all(gap >= 5 for gap in gaps[30:])
    assert (await world.types()).count("account.gave_up") == 1
    assert world.state() is S.OFF


@pytest.mark.behaviour("W29")
@pytest.mark.behaviour("P5")
@pytest.mark.behaviour("P7")
@virtual
async def test_the_first_failure_ever_is_marked_and_tls_trouble_is_told_apart() -> None:
    world = World()
    world.dialer.always = FlowError(Cause.TLS, "certificate expired")
    world.account.want_registered()
    await asyncio.sleep(3)
    events = await world.events()
    firsts = [event.data["first"] for event in events if event.type == "account.connect_failed"]
    assert firsts[0] is True
    assert not any(firsts[1:])
    assert "account.tls_error" in [event.type for event in events]


@virtual
async def test_an_event_carries_the_state_that_it_led_to() -> None:
    async def told(world: World) -> list[tuple[str, AccountState]]:
        return [(event.type.removeprefix("account."), event.data["account"].state) for event in await world.events()]

    for status, retry_after_s, type_, state in (
        (503, 30, "throttled", S.THROTTLED),
        (403, None, "auth_failed", S.AUTH_FAILED),
    ):
        world = World()
        await world.online()
        world.refused(status=status, retry_after_s=retry_after_s)
        assert await told(world) == [("registered", S.ONLINE), ("registration_failed", state), (type_, state)]

    world = World(schedule=Schedule(kind="fixed", base_s=1, cap_s=1, max_attempts=1, first_s=1))
    world.dialer.always = FlowError(Cause.TIMEOUT, "slow")
    world.account.want_registered()
    await asyncio.sleep(20)
    assert await told(world) == [
        ("connect_failed", S.BACKOFF),
        ("reconnecting", S.BACKOFF),
        ("connect_failed", S.OFF),
        ("gave_up", S.OFF),
    ]

    world = World()
    await world.online()
    world.account.on_event(FlowSuspect(session="s", account="a", flow=1))
    world.account.want_unregistered()
    world.account.on_event(Unregistered(account="a", flow=1))
    assert (await told(world))[1:] == [("reconnecting", S.SUSPECT), ("unregistered", S.OFF)]


@pytest.mark.behaviour("W13")
@pytest.mark.parametrize("status", [403, 404])
@virtual
async def test_a_refusal_that_names_a_time_is_asked_again_then(status: int) -> None:
    world = World()
    await world.online()
    world.refused(status=status, retry_after_s=10)
    assert world.state() is S.THROTTLED
    await asyncio.sleep(9)
    assert len(world.signaling.registers) == 1
    await asyncio.sleep(4)
    assert len(world.signaling.registers) == 2


@pytest.mark.behaviour("W13")
@virtual
async def test_wrong_credentials_are_not_probed_sooner_because_a_time_was_named_but_later() -> None:
    for retry_after_s, probed_after_s in ((10, 300), (1000, 1200)):
        world = World()
        await world.online()
        world.refused("auth", status=401, retry_after_s=retry_after_s)
        assert world.state() is S.AUTH_FAILED
        await asyncio.sleep(probed_after_s - 1)
        assert len(world.signaling.registers) == 1
        await asyncio.sleep(2)
        assert len(world.signaling.registers) == 2


@pytest.mark.behaviour("W31")
@pytest.mark.parametrize(("status", "asked_s", "waits_s"), [(429, 40, 48), (503, 40, 48), (503, 1e9, 72)])
@virtual
async def test_an_upgrade_that_is_refused_with_a_time_is_tried_again_then_or_after_a_minute(
    status: int, asked_s: float, waits_s: float
) -> None:
    world = World()
    world.dialer.failures.append(FlowError(Cause.UPGRADE, "not now", status=status, retry_after_s=asked_s))
    world.account.want_registered()
    await asyncio.sleep(waits_s - 1)
    assert world.state() is S.THROTTLED
    assert [event.data["retry_after_s"] for event in await world.events() if event.type == "account.throttled"] == [
        waits_s
    ]
    assert len(world.dialer.dialled_at) == 1
    await asyncio.sleep(2)
    assert len(world.dialer.dialled_at) == 2
