"""The world moves at the wrong moment: on hold, while it rings, inside a re-INVITE, twice at once, one way only.

Real namespaces, Kamailio, and Chromium with JsSIP at the far end.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from tests.network.harness.proofs import PATIENCE_S, SIGNALLING_S, leaves_by, survived
from tests.network.harness.scene import ACCOUNT, FAR, USER, Scene
from tests.peers.harness.phone import wait_flowing
from tests.support.child import until
from tests.support.netns import CORE_ADDRESS, SEGMENTS

CONSENT_S = 30.0
"""How long consent lasts (RFC 7675)."""
FLAPS = 100
SOON_S = 0.2

pytestmark = pytest.mark.peer


@pytest.mark.behaviour("W37")
def test_a_held_call_moves_and_stays_held_until_it_is_resumed(scene: Scene) -> None:
    with scene.story() as story:
        assert story.page is not None
        story.phone.verb(story.call_id, "hold")
        story.page.wait_silence()
        mark = story.mark()
        scene.lab.handover("lte")
        story.registered_after(mark, PATIENCE_S)
        until(lambda: leaves_by(story, SEGMENTS["lte"].address), "the held call has moved", PATIENCE_S)
        assert story.phone.call(story.call_id)["hold"] == {"local": True, "remote": False}
        assert story.page.state()["direction"] in {"recvonly", "inactive"}
        at = time.monotonic()
        story.phone.verb(story.call_id, "unhold")
        survived(story, at)


def test_a_hold_asked_for_while_the_network_changes_comes_true(scene: Scene) -> None:
    with scene.story() as story:
        assert story.page is not None
        mark = story.mark()
        scene.lab.handover("lte")
        story.phone.verb(story.call_id, "hold")
        story.registered_after(mark, PATIENCE_S)
        story.page.wait_silence()
        until(lambda: story.phone.call(story.call_id)["recovering"] is None, "nothing is repaired", PATIENCE_S)
        at = time.monotonic()
        story.phone.verb(story.call_id, "unhold")
        survived(story, at)


def test_two_changes_at_once_are_one_recovery(scene: Scene) -> None:
    with scene.story() as story:
        mark, at = story.mark(), scene.lab.handover("lte")
        time.sleep(SOON_S)
        scene.lab.handover("wifi")
        story.registered_after(mark, PATIENCE_S)
        survived(story, at, gap_s=20.0)
        assert leaves_by(story, SEGMENTS["wifi"].address)


def test_a_change_while_the_far_end_owes_an_answer_to_a_reinvite(scene: Scene) -> None:
    with scene.story() as story, ThreadPoolExecutor(1) as aside:
        before = len(scene.server.requests("INVITE", USER))
        scene.server.fail("INVITE", "drop", times=1)
        asked = aside.submit(story.phone.verb, story.call_id, "reinvite")
        until(lambda: len(scene.server.requests("INVITE", USER)) > before, "the re-INVITE is dropped")
        mark, at = story.mark(), scene.lab.handover("lte")
        assert story.registered_after(mark, PATIENCE_S) - at < SIGNALLING_S
        survived(story, at)
        assert leaves_by(story, SEGMENTS["lte"].address)
        assert asked.result()["id"] == story.call_id


@pytest.mark.behaviour("W28")
def test_a_dead_resolver_keeps_nobody_from_coming_back(scene: Scene) -> None:
    scene.lab.names({"pbx.example": CORE_ADDRESS})
    url = f"ws://pbx.example:{scene.server.ws_port}/"
    with scene.story(outbound_proxy=url) as story:
        scene.lab.names({})
        mark, at = story.mark(), scene.lab.handover("lte")
        assert story.registered_after(mark, PATIENCE_S) - at < SIGNALLING_S
        survived(story, at)


def test_an_outgoing_call_that_rings_is_dialled_again_under_its_id(scene: Scene) -> None:
    with scene.story(call=False) as story, scene.ringing_page() as page:
        call = story.phone.place(ACCOUNT, FAR)
        story.phone.wait_call(call, "rings", lambda view: view["state"] == "ringing")
        mark = story.mark()
        scene.lab.handover("lte")
        story.registered_after(mark, PATIENCE_S)
        until(lambda: len(page.log("incoming")) == 2, "the second INVITE has come", PATIENCE_S)
        page.answer()
        wait_flowing(story.phone, call)
        assert story.phone.call(call)["state"] == "active"
        assert not story.phone.events.of("call.ended")


@pytest.mark.behaviour("W35")
def test_an_answer_that_went_down_with_the_network_is_given_again_on_the_next(scene: Scene) -> None:
    with scene.story(call=False) as story:
        page = scene.page()
        page.call(USER)
        call = story.phone.incoming()
        mark, at = story.mark(), scene.lab.handover("lte")
        story.phone.verb(call, "answer")  # the 200 leaves by the way that is gone
        assert story.registered_after(mark, PATIENCE_S) - at < SIGNALLING_S
        page.wait_flowing()
        wait_flowing(story.phone, call)
        assert time.monotonic() - at < SIGNALLING_S, "not by the far end's patience"
        assert leaves_by(story, SEGMENTS["lte"].address, call)


def test_inbound_loss_alone_moves_the_call_to_the_other_uplink(scene: Scene) -> None:
    with scene.story(both_uplinks=True) as story:
        at = scene.lab.drop("wifi", "in", protocol="udp")
        survived(story, at)
        assert leaves_by(story, SEGMENTS["lte"].address)


def test_outbound_loss_alone_is_repaired_long_before_consent_expires(scene: Scene) -> None:
    with scene.story(both_uplinks=True) as story:
        at = scene.lab.drop("wifi", "out", protocol="udp")
        survived(story, at, gap_s=CONSENT_S / 2)
        assert leaves_by(story, SEGMENTS["lte"].address)


@pytest.mark.long
def test_a_link_that_flaps_a_hundred_times_ends_nothing(scene: Scene) -> None:
    with scene.story() as story:
        at = time.monotonic()
        for _ in range(FLAPS):
            scene.lab.carrier("wifi", False)
            time.sleep(0.15)
            scene.lab.carrier("wifi", True)
            scene.lab.default_route("wifi")
            time.sleep(0.15)
        until(lambda: story.phone.account(ACCOUNT)["state"] == "online", "the account is online", PATIENCE_S)
        survived(story, at, gap_s=60.0)
        assert len(scene.server.contacts(USER)) == 1


@pytest.mark.long
def test_a_phone_that_stood_still_for_a_minute_finds_its_call_again(scene: Scene) -> None:
    with scene.story() as story:
        mark = story.mark()
        story.phone.pause()
        time.sleep(60.0)
        story.phone.resume()
        at = time.monotonic()
        assert story.registered_after(mark, PATIENCE_S) - at < SIGNALLING_S
        survived(story, at, gap_s=75.0)


@pytest.fixture(scope="module")
def behind_nat(namespaces: None) -> Iterator[Scene]:
    with Scene(rtt_ms=50, nat=("wifi",)) as built:
        yield built


def test_a_nat_that_forgot_its_bindings_is_survived(behind_nat: Scene) -> None:
    with behind_nat.story() as story:
        at = behind_nat.lab.rebind_nat("wifi")
        survived(story, at, gap_s=20.0)


def test_there_and_back_again(scene: Scene) -> None:
    with scene.story(both_uplinks=True) as story:
        for uplink in ("lte", "wifi"):
            mark, at = story.mark(), scene.lab.default_route(uplink)
            story.registered_after(mark, PATIENCE_S)
            # the way that the call has had stays open: it may be left a moment later
            until(partial(leaves_by, story, SEGMENTS[uplink].address), f"the call leaves by {uplink}")
            survived(story, at)
