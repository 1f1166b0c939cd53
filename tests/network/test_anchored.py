"""The phone roams under a call whose media something in between holds: rtpengine, or a TURN server as the only path."""

from __future__ import annotations

import pytest

from tests.network.harness.proofs import PATIENCE_S, SIGNALLING_S, leaves_by, survived
from tests.network.harness.scene import Scene
from tests.support.netns import CORE_ADDRESS, SEGMENTS

pytestmark = pytest.mark.peer


@pytest.mark.behaviour("W5")
def test_a_handover_keeps_the_association_with_rtpengine(namespaces: None) -> None:
    with Scene(anchored=True) as scene, scene.story() as story:
        before = story.phone.stats(story.call_id)
        mark, at = story.mark(), scene.lab.handover("lte")
        assert story.registered_after(mark, PATIENCE_S) - at < SIGNALLING_S
        survived(story, at)
        assert leaves_by(story, SEGMENTS["lte"].address)
        after = story.phone.stats(story.call_id)
        assert after["ice_generation"] > before["ice_generation"]
        assert after["dtls_generation"] == before["dtls_generation"], "tls-id was sent and is unchanged"


@pytest.mark.behaviour("W5")
def test_a_handover_takes_the_call_to_a_new_allocation_of_the_relay(namespaces: None) -> None:
    with Scene(relayed=True) as scene, scene.story() as story:
        assert leaves_by(story, CORE_ADDRESS)
        before = story.phone.call(story.call_id)["media"]["local"]
        mark, at = story.mark(), scene.lab.handover("lte")
        assert story.registered_after(mark, PATIENCE_S) - at < SIGNALLING_S
        survived(story, at)
        assert leaves_by(story, CORE_ADDRESS)
        assert story.phone.call(story.call_id)["media"]["local"] != before
        assert story.page is not None
        offered = [text for way, text in story.page.descriptions() if way == "received"]
        candidates = [line for text in offered for line in text.splitlines() if line.startswith("a=candidate:")]
        assert candidates
        assert all(" typ relay " in line for line in candidates), "no address of the phone is told"
