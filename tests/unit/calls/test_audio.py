"""What is said and heard in a call, and the steps that follow an answer."""

from __future__ import annotations

import asyncio

import pytest

from phoned.calls.audio import MAX_PLAYBACKS
from phoned.calls.call import Call
from phoned.errors import InvalidValue, NotFound
from phoned.media import events as media
from phoned.model import DtmfRequest, PlaybackView, PlayRequest, RecordingView, RecordRequest
from phoned.sip.events import InfoReceived
from tests.support.call_media import FakeMedia
from tests.support.calls import CallWorld, settle, virtual


async def up(**more: object) -> tuple[CallWorld, Call, FakeMedia]:
    world = CallWorld()
    call = await world.active(**more)
    return world, call, world.media[call.id]


def flowing() -> media.Flowing:
    return media.Flowing(codec="opus", ssrc=1, ice_generation=0, dtls_generation=0)


@virtual
async def test_the_steps_after_an_answer_begin_once_with_the_sound() -> None:
    steps = (PlayRequest(tone="440"), RecordRequest(), DtmfRequest(digits="1"))
    world, _, fake = await up(on_answer=steps)
    await settle()
    assert fake.log == []
    fake.emit(flowing())
    fake.emit(flowing())
    await settle()
    assert fake.log == ["play", "record", ("dtmf", "1")]
    assert {"playback.started", "recording.started"} <= set(await world.types())


@virtual
async def test_a_step_that_fails_ends_the_steps_and_not_the_call() -> None:
    world, call, fake = await up(on_answer=(PlayRequest(file="no"), DtmfRequest(digits="1")))
    fake.errors["play"] = [InvalidValue("no such file")]
    fake.emit(flowing())
    await settle()
    assert fake.log == ["play"]
    assert not call.ended
    assert (await world.events())[-1].data["on_answer_failed"] == "no such file"


@virtual
async def test_steps_that_run_when_the_call_ends_are_cut_off() -> None:
    world, call, fake = await up(on_answer=(PlayRequest(tone="1"), RecordRequest()))
    fake.emit(flowing())
    world.ended(call)
    await settle()
    assert fake.log == ["close"]


@virtual
async def test_a_playback_is_controlled_and_remembered() -> None:
    world, call, fake = await up()
    view = await call.audio.play(PlayRequest(tone="440"))
    assert call.audio.playback(view.id) == view
    assert call.audio.pause_playback(view.id, True).state == "paused"
    stopped = call.audio.stop_playback(view.id)
    fake.emit(media.PlaybackFinished(playback=stopped))
    assert call.audio.playback(view.id) == stopped
    assert call.audio.stop_playback(view.id) == stopped
    failed = PlaybackView(id="pb_x", call=call.id, state="failed")
    fake.emit(media.PlaybackFinished(playback=failed, detail="torn"))
    assert (await world.types())[-2:] == ["playback.finished", "playback.failed"]
    with pytest.raises(NotFound):
        call.audio.stop_playback("pb_none")
    assert call.audio.playback("pb_none") is None


@virtual
async def test_only_so_many_playbacks_are_remembered() -> None:
    _, call, fake = await up()
    views = [await call.audio.play(PlayRequest(tone="440")) for _ in range(MAX_PLAYBACKS + 1)]
    fake.running.clear()
    assert call.audio.playback(views[0].id) is None
    assert call.audio.playback(views[1].id) is not None


@virtual
async def test_a_recording_is_paused_resumed_and_stopped_once() -> None:
    world, call, fake = await up()
    view = await call.audio.record(RecordRequest())
    assert call.audio.pause_recording(view.id, True).state == "paused"
    assert call.audio.pause_recording(view.id, False).state == "recording"
    assert (await call.audio.stop_recording(view.id)).state == "finished"
    assert (await call.audio.stop_recording(view.id)).state == "finished"
    await settle()
    failed = RecordingView(id="rec_x", call=call.id, state="failed", format="wav", channels="stereo", file="x.wav")
    fake.emit(media.RecordingFailed(recording=failed, detail="disk full"))
    fake.emit(media.RecordingGap(recording=failed, start_s=1.0, end_s=1.5, cause="far_end"))
    types = [type_ for type_ in await world.types() if type_.startswith("recording")]
    assert types == [f"recording.{what}" for what in ("started", "paused", "resumed", "finished", "failed", "gap")]
    gap = (await world.events())[-1].data
    assert (gap["start_s"], gap["end_s"], gap["cause"]) == (1.0, 1.5, "far_end")
    assert call.audio.recording_ids == (view.id, "rec_x")
    call.audio.forget_recording(view.id)
    assert [left.id for left in call.audio.recordings()] == ["rec_x"]
    with pytest.raises(NotFound):
        await call.audio.stop_recording("rec_none")


@virtual
async def test_a_recording_that_cannot_be_finished_does_not_keep_the_call() -> None:
    _, call, fake = await up()
    await call.audio.record(RecordRequest())
    fake.errors["stop_recording"] = [NotFound("gone")]
    call.hangup()
    assert await call.closed(5)


@virtual
async def test_digits_go_both_ways() -> None:
    world, call, fake = await up()
    call.audio.dtmf(DtmfRequest(digits="12"))
    fake.emit(media.InfoWanted(digit="5", duration_ms=100))
    fake.emit(media.DtmfReceived(digit="7", method="rfc4733", duration_ms=80))
    assert fake.log == [("dtmf", "12")]
    assert world.core.of("info") == [("s1", "application/dtmf-relay")]
    event = (await world.events())[-1]
    assert (event.type, event.data["digit"], event.data["duration_ms"], event.data["method"]) == (
        "call.dtmf",
        "7",
        80,
        "rfc4733",
    )
    call.session = None
    fake.emit(media.InfoWanted(digit="5", duration_ms=100))
    assert len(world.core.of("info")) == 1


@virtual
async def test_an_info_is_a_digit_or_nothing() -> None:
    world, call, fake = await up()
    for content_type, body in (
        ("application/dtmf-relay; charset=x", b"Signal=5\r\nDuration=160\r\n"),
        ("application/dtmf", b"nonsense"),
        ("text/plain", b"5"),
    ):
        world.tell(InfoReceived(session=call.session or "", content_type=content_type, body=body))
    await asyncio.sleep(0)
    assert fake.log == [("info_digit", "5", 160)]


@virtual
async def test_a_voice_is_told_once_the_call_is_up() -> None:
    world = CallWorld()
    call = await world.place()
    fake = world.media[call.id]

    async def spoken() -> list[str]:
        return [type_ for type_ in await world.types() if "speech" in type_]

    for speaking in (True, False):
        fake.emit(media.VoiceTurned(direction="inbound", speaking=speaking))
    assert await spoken() == [], "that was early media"
    fake.emit(media.VoiceTurned(direction="inbound", speaking=True))
    world.answer(call)
    fake.emit(media.VoiceTurned(direction="inbound", speaking=False))
    assert await spoken() == [], "nothing ends that was not told"
    for speaking in (True, False, True):
        fake.emit(media.VoiceTurned(direction="inbound", speaking=speaking))
    assert await spoken() == ["call.speech_started", "call.speech_stopped", "call.speech_started"]
    world.ended(call)
    assert (await world.types())[-2:] == ["call.speech_stopped", "call.ended"], "what began has ended"
    other = await world.active()
    world.media[other.id].emit(media.VoiceTurned(direction="inbound", speaking=True))
    await world.manager.hand_over(1.0)
    assert (await spoken())[-2:] == ["call.speech_started", "call.speech_stopped"]


@virtual
async def test_voices_of_both_directions_begin_and_end_by_themselves() -> None:
    world, call, fake = await up()
    fake.emit(media.VoiceTurned(direction="inbound", speaking=True))
    fake.emit(media.VoiceTurned(direction="outbound", speaking=True))
    fake.emit(media.VoiceTurned(direction="inbound", speaking=False))
    world.ended(call)
    told = [(event.type, event.data["direction"]) for event in await world.events() if "speech" in event.type]
    assert told == [
        ("call.speech_started", "inbound"),
        ("call.speech_started", "outbound"),
        ("call.speech_stopped", "inbound"),
        ("call.speech_stopped", "outbound"),
    ]
