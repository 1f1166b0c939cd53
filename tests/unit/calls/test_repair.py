"""The repair of a call's media on virtual time: facts in, re-INVITEs and events out."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from phoned.errors import NotRegistered
from phoned.media import events as media
from phoned.model import AccountState, CallState, Cause, EndCause, MediaState
from phoned.sip import events as sip
from tests.support.calls import settle, virtual
from tests.support.repair import Scene

MEDIA, RECOVERY = sip.ModifyCause.MEDIA, sip.ModifyCause.RECOVERY


@virtual
async def test_media_that_flows_is_left_alone() -> None:
    scene = await Scene.set_up()
    await asyncio.sleep(600)
    assert (scene.said, scene.media.probes) == ([], 0)
    assert scene.state() is MediaState.FLOWING
    assert scene.call.view().recovering is None


@pytest.mark.behaviour("O14")
@pytest.mark.behaviour("L1")
@virtual
async def test_silence_is_probed_beside_the_stall_timer_and_a_dead_path_restarts_ice_in_silence() -> None:
    scene = await Scene.set_up()
    scene.silence()
    await asyncio.sleep(0.2)
    assert scene.media.probes == 1
    assert scene.said == []
    await asyncio.sleep(0.45)
    assert scene.said == ["media"]
    assert await scene.offered(MEDIA) == ("ice", "pause")
    assert scene.state() is MediaState.RESTARTING
    recovering = scene.call.view().recovering
    assert recovering is not None
    assert recovering.plane == "media"
    scene.world.modified(scene.call, MEDIA)
    scene.land(gap_ms=870)
    assert scene.state() is MediaState.FLOWING
    (lost,) = await scene.told("call.reconnecting")
    (back,) = await scene.told("call.reconnected")
    assert (lost["plane"], lost["cause"]) == ("media", "timeout")
    assert (back["plane"], back["tier"], back["gap_ms"]) == ("media", 1, 870)
    (record,) = scene.call.stats().recoveries
    assert (record.plane, record.tier, record.attempts) == ("media", 1, 1)
    assert [stall["direction"] for stall in await scene.told("call.media_stalled")] == ["inbound"]


@pytest.mark.behaviour("O9")
@virtual
async def test_a_packet_in_time_ends_the_doubt() -> None:
    scene = await Scene.set_up()
    scene.silence()
    await asyncio.sleep(0.3)
    scene.media.talking = True
    await asyncio.sleep(5)
    assert scene.said == []
    assert await scene.told("call.media_stalled") == []


@pytest.mark.behaviour("W7")
@virtual
async def test_one_tier_follows_the_other_and_what_worked_is_remembered_for_the_proxy() -> None:
    scene = await Scene.set_up()
    scene.silence()
    await asyncio.sleep(1)
    scene.world.modified(scene.call, MEDIA)
    await asyncio.sleep(4.1)
    assert scene.said == ["media", "media"]
    assert await scene.offered(MEDIA) == ("ice", "rebuild", "pause") or scene.state() is MediaState.REBUILDING
    scene.world.modified(scene.call, MEDIA)
    scene.land(dtls=2)
    (back,) = await scene.told("call.reconnected")
    assert back["tier"] == 2
    assert scene.call.stats().recoveries[0].attempts == 2
    other = Scene(scene.world, await scene.world.active())
    other.silence()
    await asyncio.sleep(1)
    assert other.state() is MediaState.REBUILDING
    other.world.modified(other.call, MEDIA)
    other.land(dtls=2)
    scene.world.account.proxy = "wss://two.example.org/"
    other.silence()
    await asyncio.sleep(1)
    assert other.state() is MediaState.RESTARTING


@virtual
async def test_packets_on_the_old_pair_do_not_pass_for_a_repair() -> None:
    scene = await Scene.set_up()
    scene.world.manager.on_network_moved(frozenset(), forced=True)
    assert await scene.offered(MEDIA) == ("ice",)
    scene.world.modified(scene.call, MEDIA)
    await asyncio.sleep(1)
    assert scene.state() is MediaState.RESTARTING
    scene.land()
    assert scene.state() is MediaState.FLOWING


@pytest.mark.behaviour("F7")
@virtual
async def test_a_new_pair_on_which_nothing_comes_is_offered_again_with_sending_paused() -> None:
    scene = await Scene.set_up()
    scene.world.manager.on_network_moved(frozenset(), forced=True)
    assert await scene.offered(MEDIA) == ("ice",)
    scene.world.modified(scene.call, MEDIA)
    scene.silence()
    scene.media.beat = replace(scene.media.beat, ice_generation=2, heard_here=False)
    scene.media.emit(media.PathChanged(local="l", remote="r", ice_generation=2))
    await asyncio.sleep(0.29)
    assert scene.said == ["media"]
    await asyncio.sleep(0.1)
    assert scene.said == ["media", "media"]
    assert await scene.offered(MEDIA) == ("ice", "pause")
    assert await scene.told("call.reconnected") == []


@pytest.mark.behaviour("F11")
@virtual
async def test_an_address_that_is_gone_restarts_at_once_and_in_silence() -> None:
    scene = await Scene.set_up()
    scene.media.state = replace(scene.media.state, local="10.0.0.1:4000")
    scene.world.manager.on_network_moved(frozenset({"10.0.0.1"}), forced=False)
    assert scene.said == ["media"]
    assert await scene.offered(MEDIA) == ("ice", "pause")
    (lost,) = await scene.told("call.reconnecting")
    assert lost["cause"] == "network"


@virtual
async def test_a_route_that_moved_restarts_only_calls_that_it_carried() -> None:
    scene = await Scene.set_up()
    other = Scene(scene.world, await scene.world.active())
    other.media.elsewhere = True
    scene.world.manager.on_network_moved(frozenset(), forced=False)
    assert scene.world.core.of("reinvite") == [(other.call.session, "media")]


@virtual
async def test_three_repairs_a_minute_then_one_in_ten_seconds() -> None:
    scene = await Scene.set_up()
    for _ in range(3):
        scene.world.manager.on_network_moved(frozenset(), forced=True)
        scene.world.modified(scene.call, MEDIA)
        scene.land()
        await asyncio.sleep(1)
    scene.world.manager.on_network_moved(frozenset(), forced=True)
    await asyncio.sleep(8)
    assert len(scene.said) == 3
    await asyncio.sleep(2)
    assert len(scene.said) == 4


@pytest.mark.behaviour("O10")
@virtual
async def test_nothing_starts_without_signalling_and_the_new_flow_takes_the_repair_along() -> None:
    scene = await Scene.set_up()
    scene.world.account.settled = scene.world.account.online = False
    scene.world.account.state = AccountState.CONNECTING
    scene.world.account.cause = Cause.CLOSED
    scene.silence()
    await asyncio.sleep(30)
    assert scene.said == []
    assert scene.state() is MediaState.WAIT_SIGNALLING
    scene.world.account.online, scene.world.account.state = True, AccountState.REGISTERING
    scene.world.manager.on_flow_ready("a")
    assert scene.said == ["recovery"]
    assert await scene.offered(RECOVERY) == ("ice", "pause")
    scene.world.modified(scene.call, RECOVERY)
    assert await scene.told("call.reconnected") == []
    scene.land(gap_ms=30_000)
    (back,) = await scene.told("call.reconnected")
    assert (back["plane"], back["tier"], back["gap_ms"]) == ("both", 1, 30_000)
    lost = await scene.told("call.reconnecting")
    assert [event["plane"] for event in lost] == ["signalling", "both"]
    assert lost[0]["cause"] == "closed"
    assert scene.said == ["recovery"]


@pytest.mark.behaviour("W2")
@pytest.mark.behaviour("R7")
@pytest.mark.behaviour("R12")
@pytest.mark.behaviour("O7")
@virtual
async def test_a_new_flow_under_media_that_flows_preserves_the_state() -> None:
    scene = await Scene.set_up()
    scene.world.manager.on_flow_ready("a")
    assert scene.said == ["recovery"]
    assert await scene.offered(RECOVERY) == ()
    scene.world.modified(scene.call, RECOVERY)
    (back,) = await scene.told("call.reconnected")
    assert (back["plane"], back["tier"], back["gap_ms"]) == ("signalling", 0, 0)
    assert await scene.told("call.media_stalled") == []


@pytest.mark.behaviour("O11")
@pytest.mark.parametrize(
    ("force", "elsewhere", "asked"),
    [("auto", False, ()), ("auto", True, ("ice",)), ("always", False, ("ice",)), ("never", True, ())],
)
def test_whether_a_new_flow_restarts_ice_is_policy(force: str, elsewhere: bool, asked: tuple[str, ...]) -> None:
    @virtual
    async def play() -> None:
        scene = await Scene.set_up(force=force)
        scene.media.elsewhere = elsewhere
        scene.world.manager.on_flow_ready("a")
        assert await scene.offered(RECOVERY) == asked

    play()


@pytest.mark.behaviour("W23")
@pytest.mark.behaviour("W25")
@virtual
async def test_a_refused_verification_is_an_answer_and_flowing_media_goes_on() -> None:
    scene = await Scene.set_up()
    scene.world.manager.on_flow_ready("a")
    scene.world.refused(scene.call, 488, RECOVERY)
    await settle()
    (back,) = await scene.told("call.reconnected")
    assert back["plane"] == "signalling"
    assert scene.call.state is CallState.ACTIVE


@virtual
async def test_a_refused_restart_is_abandoned_while_the_old_path_talks() -> None:
    scene = await Scene.set_up()
    scene.world.manager.on_network_moved(frozenset(), forced=True)
    scene.world.refused(scene.call, 500, MEDIA)
    await settle()
    assert scene.said == ["media"]
    assert scene.state() is MediaState.FLOWING
    assert scene.call.view().recovering is None


@virtual
async def test_a_refused_restart_of_a_dead_path_climbs_at_once() -> None:
    scene = await Scene.set_up()
    scene.silence()
    await asyncio.sleep(1)
    scene.world.refused(scene.call, 488, MEDIA)
    assert scene.said == ["media", "media"]
    assert scene.state() is MediaState.REBUILDING
    scene.world.modified(scene.call, MEDIA)
    scene.media.emit(media.RestartFailed(cause=media.MediaFailure.DTLS))
    assert scene.state() is MediaState.FAILED
    (failed,) = await scene.told("call.media_failed")
    assert failed["local"] is False


@pytest.mark.parametrize(("policy", "calls"), [("hangup", 1), ("redial", 2)])
def test_the_last_tier_is_policy(policy: str, calls: int) -> None:
    @virtual
    async def play() -> None:
        scene = await Scene.set_up(on_failed=policy)
        scene.silence()
        await asyncio.sleep(1)
        scene.world.modified(scene.call, MEDIA)
        await asyncio.sleep(4.1)
        scene.world.modified(scene.call, MEDIA)
        await asyncio.sleep(8.1)
        end = scene.call.view().end
        assert end is not None
        assert (end.cause, end.by) == (EndCause.LOST, "system")
        types = await scene.world.types()
        assert types.count("call.lost") == types.count("call.ended") == 1
        assert types.index("call.lost") < types.index("call.ended")
        assert [event["reason"] for event in await scene.told("call.lost")] == ["media_timeout"]
        views = scene.world.manager.views()
        assert len(views) == calls
        if calls == 2:
            assert views[0].tags == {"redial_of": scene.call.id}
            assert views[0].peer == scene.call.view().peer

    play()


@virtual
async def test_a_kept_call_comes_back_when_it_is_heard_again() -> None:
    scene = await Scene.set_up()
    scene.silence()
    await asyncio.sleep(1)
    scene.world.modified(scene.call, MEDIA)
    await asyncio.sleep(4.1)
    scene.world.modified(scene.call, MEDIA)
    await asyncio.sleep(8.1)
    assert scene.state() is MediaState.FAILED
    scene.media.talking = True
    await settle()
    assert scene.state() is MediaState.FLOWING
    (back,) = await scene.told("call.reconnected")
    assert back["plane"] == "media"


@pytest.mark.behaviour("W10")
@pytest.mark.behaviour("O12")
@virtual
async def test_a_path_that_answers_without_sound_is_refreshed_once_told_once_and_ended_after_a_minute() -> None:
    scene = await Scene.set_up()
    scene.media.answers = [0.02]
    scene.silence()
    await asyncio.sleep(3.5)
    assert (scene.said, scene.state()) == ([], MediaState.INBOUND_ONLY)
    await asyncio.sleep(0.3)
    assert scene.said == ["media"]
    assert await scene.offered(MEDIA) == ()
    scene.world.modified(scene.call, MEDIA)
    await asyncio.sleep(1)
    assert len(await scene.told("call.no_inbound_audio")) == 1
    await asyncio.sleep(50)
    assert scene.call.state is CallState.ACTIVE
    await asyncio.sleep(6)
    assert [event["reason"] for event in await scene.told("call.lost")] == ["media_timeout"]
    assert (scene.said, scene.media.probes) == (["media"], 1)


@pytest.mark.behaviour("W1")
@virtual
async def test_a_silent_call_is_not_ended_while_signalling_is_down_until_its_retention() -> None:
    scene = await Scene.set_up(retention_s=200)
    scene.media.answers = [0.02]
    scene.silence()
    scene.world.account.settled = scene.world.account.online = False
    scene.world.account.state = AccountState.BACKOFF
    await asyncio.sleep(190)
    assert scene.call.state is CallState.ACTIVE
    await asyncio.sleep(11)
    assert [event["reason"] for event in await scene.told("call.lost")] == ["signalling_timeout"]


@virtual
async def test_a_held_call_with_a_living_path_waits_for_ever() -> None:
    scene = await Scene.set_up()
    scene.silence()
    scene.media.beat = replace(scene.media.beat, expects=False, consented=True)
    await asyncio.sleep(3600)
    assert scene.call.state is CallState.ACTIVE
    assert (scene.said, scene.state()) == ([], MediaState.QUIET)
    scene.media.beat = replace(scene.media.beat, consented=False)
    await asyncio.sleep(301)
    assert scene.call.ended


@pytest.mark.behaviour("W8")
@pytest.mark.behaviour("L6")
@virtual
async def test_trouble_of_a_held_path_has_a_grace_and_ends_when_it_answers() -> None:
    scene = await Scene.set_up()
    scene.silence()
    scene.media.beat = replace(scene.media.beat, expects=False)
    scene.media.answers = [0.02]
    scene.media.emit(media.PathTrouble(kind="consent", detail="", misses=1))
    await asyncio.sleep(5)
    assert scene.said == []
    scene.media.emit(media.PathTrouble(kind="consent", detail="", misses=1))
    await asyncio.sleep(0.1)
    scene.media.emit(media.PathTrouble(kind="consent", detail="", misses=0))
    await asyncio.sleep(5)
    assert scene.said == []
    scene.media.emit(media.PathTrouble(kind="socket", detail="Network is unreachable"))
    await asyncio.sleep(1.9)
    assert scene.said == []
    await asyncio.sleep(0.2)
    assert scene.said == ["media"]
    scene.world.modified(scene.call, MEDIA)
    scene.media.beat = replace(scene.media.beat, ice_generation=2)
    scene.media.emit(media.PathChanged(local="l", remote="r", ice_generation=2))
    assert scene.state() is MediaState.QUIET
    assert len(await scene.told("call.reconnected")) == 1


@virtual
async def test_a_far_end_that_does_not_hear_us_is_offered_another_path() -> None:
    scene = await Scene.set_up()
    for misses in (1, 2):
        scene.media.emit(media.PathTrouble(kind="consent", detail="", misses=misses))
        await asyncio.sleep(1.4)
    scene.media.emit(media.PathTrouble(kind="consent", detail="", misses=0))
    await asyncio.sleep(5)
    assert (scene.media.probes, scene.said) == (0, []), "some packets were lost, no more"
    scene.media.answers = [0.02]
    scene.media.emit(media.PathTrouble(kind="consent", detail="", misses=1))
    await asyncio.sleep(5)
    assert (scene.media.probes, scene.said) == (1, []), "a probe got there"
    scene.media.emit(media.PathTrouble(kind="consent", detail="", misses=1))
    await asyncio.sleep(2.9)
    assert scene.media.probes == 1
    await asyncio.sleep(0.6)
    assert (scene.media.probes, scene.said, scene.state()) == (2, ["media"], MediaState.RESTARTING)
    scene.world.modified(scene.call, MEDIA)
    scene.land()
    await asyncio.sleep(10)
    assert (scene.said, scene.state()) == (["media"], MediaState.FLOWING)
    assert len(await scene.told("call.reconnected")) == 1


@pytest.mark.behaviour("W9")
@pytest.mark.behaviour("O8")
@pytest.mark.behaviour("L7")
@virtual
async def test_a_path_whose_consent_expired_is_rebuilt_at_once() -> None:
    scene = await Scene.set_up()
    scene.silence()
    scene.media.emit(media.MediaFailed(cause=media.MediaFailure.CONSENT))
    assert scene.said == ["media"]
    assert scene.state() is MediaState.REBUILDING
    scene.media.emit(media.MediaFailed(cause=media.MediaFailure.CONSENT))
    assert scene.said == ["media"]


@pytest.mark.behaviour("F8")
@pytest.mark.behaviour("L11")
@virtual
async def test_a_call_that_is_hung_up_is_never_looked_at_again() -> None:
    scene = await Scene.set_up()
    scene.silence()
    await asyncio.sleep(0.3)
    scene.call.hangup()
    await asyncio.sleep(100)
    assert scene.said == []
    assert (await scene.world.types()).count("call.ended") == 1


@virtual
async def test_a_reinvite_that_cannot_be_said_is_no_end() -> None:
    scene = await Scene.set_up()
    scene.world.core.errors["reinvite"] = NotRegistered("no flow")
    scene.silence()
    await asyncio.sleep(20)
    assert scene.call.state is CallState.ACTIVE
    del scene.world.core.errors["reinvite"]
    scene.world.manager.on_flow_ready("a")
    assert scene.said[-1] == "recovery"


@pytest.mark.behaviour("F5")
@virtual
async def test_a_kept_call_is_repaired_again_when_the_world_moves() -> None:
    scene = await Scene.set_up()
    scene.silence()
    await asyncio.sleep(1)
    scene.world.modified(scene.call, MEDIA)
    await asyncio.sleep(4.1)
    scene.world.modified(scene.call, MEDIA)
    await asyncio.sleep(8.1)
    assert (len(scene.said), scene.state()) == (2, MediaState.FAILED)
    scene.world.manager.on_network_moved(frozenset(), forced=True)
    assert (len(scene.said), scene.state()) == (3, MediaState.RESTARTING)


@pytest.mark.behaviour("F12")
@pytest.mark.behaviour("F13")
@virtual
async def test_one_repair_is_under_way_whatever_else_is_heard() -> None:
    scene = await Scene.set_up()
    for _ in range(5):
        scene.world.manager.on_network_moved(frozenset(), forced=True)
        await asyncio.sleep(0.05)
    scene.silence()
    await asyncio.sleep(3)
    assert scene.said == ["media"]
    scene.world.modified(scene.call, MEDIA)
    assert scene.said == ["media", "media"]  # what moved meanwhile is planned anew, once
    scene.world.modified(scene.call, MEDIA)
    scene.land()
    await asyncio.sleep(10)
    assert len(scene.said) == 2
    assert len(await scene.told("call.reconnecting")) == len(await scene.told("call.reconnected")) == 1


@pytest.mark.behaviour("L2")
@virtual
async def test_a_far_end_that_said_it_would_be_silent_is_no_fault() -> None:
    scene = await Scene.set_up()
    scene.silence()
    scene.media.beat = replace(scene.media.beat, expects=False, consented=True)
    await asyncio.sleep(200)
    assert await scene.told("call.media_stalled", "call.no_inbound_audio", "call.reconnecting") == []
    assert scene.media.probes == 0
