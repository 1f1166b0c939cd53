"""The phone roams under a call: real namespaces, Kamailio, and Chromium with JsSIP at the far end.

Few repetitions and generous bounds: whether the call survives and the registrar knows one phone. How fast it is, is
measured by `make bench-recovery`.
"""

from __future__ import annotations

import time
from contextlib import ExitStack

import pytest

from tests.network.harness.proofs import AUDIO_S, PATIENCE_S, SIGNALLING_S, leaves_by, survived
from tests.network.harness.scene import ACCOUNT, USER, Scene
from tests.support.child import until
from tests.support.netns import SEGMENTS
from tests.support.stream_bots import bot_beside, count, undisturbed

MUTE_S, ASLEEP_S = 12.0, 20.0

pytestmark = pytest.mark.peer


@pytest.mark.behaviour("O2")
@pytest.mark.behaviour("R5")
@pytest.mark.behaviour("R12")
def test_a_killed_websocket_is_replaced_and_nobody_hears_it(scene: Scene) -> None:
    with scene.story() as story:
        mark, at = story.mark(), time.monotonic()
        assert scene.server.close_connections(USER) == 1
        assert story.registered_after(mark, PATIENCE_S) - at < SIGNALLING_S
        story.phone.events.wait_for("call.reconnected", after=mark)
        survived(story, at, gap_s=1.0)
        assert story.recoveries()[-1]["plane"] == "signalling"


@pytest.mark.behaviour("R7")
@pytest.mark.behaviour("O4")
def test_each_dialog_gets_one_invitation_over_the_new_flow(scene: Scene) -> None:
    with scene.story() as story:
        before = len(scene.server.requests("INVITE", USER))
        mark, at = story.mark(), time.monotonic()
        scene.server.close_connections(USER)
        story.phone.events.wait_for("call.dialog_verified", after=mark, timeout_s=PATIENCE_S)
        survived(story, at, gap_s=1.0)
        assert len(scene.server.requests("INVITE", USER)) - before == 1


@pytest.mark.behaviour("W5")
@pytest.mark.behaviour("F11")
def test_a_handover_takes_call_and_registration_to_the_other_uplink_and_no_bot_notices(scene: Scene) -> None:
    with ExitStack() as stack:
        with scene.lab.entered("phone"):
            bot = stack.enter_context(bot_beside(count))
        story = stack.enter_context(scene.story())
        stream = story.phone.verb(story.call_id, "streams", status=201, url=bot.url)["id"]
        until(lambda: bot.talks and bot.talks[0].counted, "the bot counts")
        mark, at = story.mark(), scene.lab.handover("lte")
        assert story.registered_after(mark, PATIENCE_S) - at < SIGNALLING_S
        survived(story, at)
        counted = undisturbed(bot).counted
        until(lambda: bot.talks[0].counted > counted + 3, "it goes on")
        assert story.phone.get(f"/v1/streams/{stream}")["state"] == "started"
        assert leaves_by(story, SEGMENTS["lte"].address)
        assert scene.server.requests("REGISTER", USER)[-1].source.startswith(f"ws:{SEGMENTS['lte'].address}:")


@pytest.mark.behaviour("W6")
def test_a_moved_default_route_is_followed_make_before_break(scene: Scene) -> None:
    with scene.story(both_uplinks=True) as story:
        mark, at = story.mark(), scene.lab.default_route("lte")
        assert story.registered_after(mark, PATIENCE_S) - at < SIGNALLING_S
        survived(story, at, gap_s=2.0)
        assert scene.server.requests("REGISTER", USER)[-1].source.startswith(f"ws:{SEGMENTS['lte'].address}:")


def test_another_address_on_the_same_uplink_is_used(scene: Scene) -> None:
    with scene.story() as story:
        mark, at = story.mark(), scene.lab.readdress("wifi", "10.77.1.77")
        try:
            assert story.registered_after(mark, PATIENCE_S) - at < SIGNALLING_S
            survived(story, at)
            assert leaves_by(story, "10.77.1.77")
        finally:
            scene.lab.ip("phone", "addr flush dev wifi scope global")


@pytest.mark.behaviour("W7")
@pytest.mark.behaviour("O8")
def test_dead_udp_alone_moves_the_media_and_leaves_the_registration(scene: Scene) -> None:
    # a busy machine answers pings late: that is no reason to doubt the flow here
    with scene.story(both_uplinks=True, recovery={"ping_timeout_s": 10.0}) as story:
        generation, at = story.generation, scene.lab.drop("wifi", protocol="udp")
        survived(story, at)
        assert leaves_by(story, SEGMENTS["lte"].address)
        assert story.generation == generation
        assert {recovery["plane"] for recovery in story.recoveries()} == {"media"}


def test_a_flapping_link_ends_nothing(scene: Scene) -> None:
    with scene.story() as story:
        at = time.monotonic()
        for _ in range(10):
            scene.lab.carrier("wifi", False)
            time.sleep(0.15)
            scene.lab.carrier("wifi", True)
            scene.lab.default_route("wifi")
            time.sleep(0.15)
        until(lambda: story.phone.account(ACCOUNT)["state"] == "online", "the account is online", PATIENCE_S)
        survived(story, at, gap_s=20.0)


@pytest.mark.behaviour("W26")
@pytest.mark.behaviour("R10")
def test_a_refusing_primary_sends_the_phone_to_the_backup(scene: Scene) -> None:
    with scene.story(call=False, outbound_proxy_backup=scene.backup.ws_url) as story:
        mark, at = story.mark(), time.monotonic()
        scene.server.kill()
        assert story.registered_after(mark, PATIENCE_S) - at < SIGNALLING_S
        assert len(scene.backup.contacts(USER)) == 1
        proxy = story.phone.account(ACCOUNT)["outbound_proxy"]
        assert (proxy["active"], proxy["mode"]) == (scene.backup.ws_url, "auto")
        moved = story.phone.events.wait_for("account.proxy_changed", after=mark)
        assert (moved.data["from"], moved.data["to"]) == ("primary", "backup")


@pytest.mark.behaviour("W4")
@pytest.mark.behaviour("R3")
@pytest.mark.behaviour("R/a")
def test_a_server_that_accepts_and_stays_mute_never_wedges_the_phone(scene: Scene) -> None:
    with scene.story() as story:
        mark, at = story.mark(), time.monotonic()
        scene.server.fail("REGISTER", "drop")
        scene.server.close_connections(USER)
        story.phone.events.wait_for("account.reconnecting", lambda data: data["cause"] == "mute", 20.0, mark)
        scene.server.fresh()
        story.registered_after(mark, PATIENCE_S)
        survived(story, at, gap_s=1.0)


@pytest.mark.long
def test_a_server_away_for_twelve_seconds_finds_the_call_again(scene: Scene) -> None:
    with scene.story() as story:
        mark, at = story.mark(), time.monotonic()
        scene.server.kill()
        time.sleep(MUTE_S)
        scene.server.start()
        story.registered_after(mark, PATIENCE_S)
        survived(story, at, gap_s=1.0)


@pytest.mark.long
def test_a_server_stopped_for_twelve_seconds_finds_the_call_again(scene: Scene) -> None:
    with scene.story() as story:
        mark, at = story.mark(), time.monotonic()
        scene.server.pause()
        time.sleep(MUTE_S)
        scene.server.resume()
        story.online_after(mark, PATIENCE_S)
        survived(story, at, gap_s=1.0)


@pytest.mark.long
def test_a_phone_that_slept_for_twenty_seconds_finds_its_call_again(scene: Scene) -> None:
    with scene.story() as story:
        mark = story.mark()
        story.phone.pause()
        time.sleep(ASLEEP_S)
        story.phone.resume()
        at = time.monotonic()
        assert story.registered_after(mark, PATIENCE_S) - at < SIGNALLING_S
        survived(story, at, gap_s=ASLEEP_S + AUDIO_S, patience_s=AUDIO_S)
        changed = story.phone.events.wait_for("network.changed", after=mark)
        assert "resumed" in changed.data["reasons"][0]


@pytest.mark.long
def test_a_killed_daemon_takes_its_call_up_again(scene: Scene) -> None:
    with scene.story() as story:
        at = time.monotonic()
        story.restart()
        survived(story, at, gap_s=20.0)
