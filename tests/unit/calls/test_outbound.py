"""What we say: an encoder that gives nothing, one that breaks, a socket that takes nothing."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from phoned.media import events as media
from phoned.model import CallState, MediaState
from phoned.sip import events as sip
from tests.support.calls import virtual
from tests.support.repair import Scene

MEDIA = sip.ModifyCause.MEDIA


def sending(scene: Scene, sent: int, **facts: Any) -> None:
    scene.media.beat = replace(scene.media.beat, sends=True, sent=sent, **facts)


@pytest.mark.behaviour("W11")
@pytest.mark.behaviour("F1")
@pytest.mark.behaviour("F2")
@virtual
async def test_an_encoder_that_gives_nothing_for_three_samples_is_replaced_by_another_codec_once() -> None:
    scene = await Scene.set_up()
    scene.media.numbers = replace(scene.media.numbers, codec="opus")
    scene.media.wanted_codecs = ("opus", "PCMU", "PCMA")
    sending(scene, 100)
    await asyncio.sleep(2.2)
    assert [stall["direction"] for stall in await scene.told("call.media_stalled")] == ["outbound"]
    assert ("prefer", "PCMU", "PCMA") in scene.media.log
    assert scene.said == ["media"]
    scene.media.numbers = replace(scene.media.numbers, codec="PCMU")
    scene.world.modified(scene.call, MEDIA)
    scene.media.emit(media.CodecChanged(codec="PCMU"))
    (fallback,) = await scene.told("call.codec_fallback")
    assert (fallback["from"], fallback["to"]) == ("opus", "pcmu")
    sending(scene, 150)
    await asyncio.sleep(2.5)
    assert "renew" in scene.media.log
    sending(scene, 151)
    await asyncio.sleep(2.5)
    assert [event["local"] for event in await scene.told("call.media_failed")] == [True]
    assert scene.call.state is CallState.ACTIVE
    assert scene.said == ["media"]


@pytest.mark.behaviour("F3")
@virtual
async def test_without_another_codec_the_encoder_is_renewed() -> None:
    scene = await Scene.set_up()
    scene.media.numbers = replace(scene.media.numbers, codec="PCMU")
    sending(scene, 10)
    await asyncio.sleep(2.5)
    assert "renew" in scene.media.log
    assert scene.said == []


@pytest.mark.behaviour("F4")
@virtual
async def test_one_packet_among_the_samples_starts_the_count_anew() -> None:
    scene = await Scene.set_up()
    for sent in range(20):
        sending(scene, sent)
        await asyncio.sleep(1.2)
    assert await scene.told("call.media_stalled") == []


@pytest.mark.behaviour("F6")
@virtual
async def test_an_encoder_that_breaks_is_a_fault_of_ours_and_no_reason_to_move_the_path() -> None:
    scene = await Scene.set_up(on_failed="hangup")
    scene.media.numbers = replace(scene.media.numbers, codec="opus")
    failed = media.MediaFailed(cause=media.MediaFailure.CODEC, detail="x")
    scene.media.emit(failed)
    assert scene.state() is MediaState.FLOWING
    assert await scene.offered(MEDIA) == ()
    scene.world.refused(scene.call, 488, MEDIA)
    assert scene.media.log[-2:] == [("prefer", "opus", "PCMU"), "renew"]
    scene.media.emit(failed)
    assert (await scene.told("call.media_failed"))[0]["local"] is True
    assert scene.call.ended


@virtual
async def test_a_socket_that_takes_nothing_is_left_for_another() -> None:
    scene = await Scene.set_up()
    for step in range(6):
        sending(scene, 100, unsent=step * 25)
        await asyncio.sleep(0.5)
    assert scene.said == ["media"]
    assert scene.state() is MediaState.RESTARTING
    assert "renew" not in scene.media.log
