"""The main job, whole: daemons against the exchange in a box, real sockets and real media on loopback."""

from __future__ import annotations

import asyncio
import wave
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest

from phoned.errors import DeadlineExceeded, Denied, Gone, InvalidValue, NotFound, NotRegistered, Refused, WrongState
from phoned.model import (
    AccountState,
    CallRequest,
    CallState,
    CollectRequest,
    DtmfMethod,
    DtmfRequest,
    EndCause,
    PlayRequest,
    RecordRequest,
)
from phoned.sandbox.measure import echo_of, melody, read_stereo, write_wav
from phoned.tasks import Tasks
from tests.support.media import frequency
from tests.support.phones import Phones, Watch


@pytest.fixture
async def phones(tmp_path: Path) -> AsyncIterator[Phones]:
    async with Phones(tmp_path) as running:
        yield running


def call_to(to: str, **more: object) -> CallRequest:
    return CallRequest(account="alice", to=to, **more)  # type: ignore[arg-type]  # a test's shorthand


async def flowing(watch: Watch) -> None:
    await watch.until("call.updated", lambda data: data["call"].media.state == "flowing")


async def test_the_echo_line_is_heard_and_recorded(phones: Phones, tmp_path: Path) -> None:
    alice, watch = await phones.online()
    media = tmp_path / "alice" / "state" / "media"
    write_wav(media / "tune.wav", melody(16_000, 3.0), 16_000)
    call = await alice.phone.place_call(call_to("echo"), wait="answered")
    assert call.state is CallState.ACTIVE
    await flowing(watch)
    recording = await alice.phone.record(call.id, RecordRequest())
    playback = await alice.phone.play(call.id, PlayRequest(file="tune.wav"))
    assert alice.phone.playback(playback.id).state == "playing"
    await watch.until("playback.finished")
    stopped = await alice.phone.control_recording(recording.id, "stop")
    assert stopped.state == "finished"
    stats = alice.phone.stats(call.id)
    assert stats.packets_sent > 100
    assert stats.packets_received > 100
    assert stats.codec == "opus"
    ended = await alice.phone.hangup(call.id)
    assert ended.end is not None
    assert (ended.end.cause, ended.end.by) == (EndCause.COMPLETED, "local")
    said, heard, rate = read_stereo(alice.phone.recording_path(recording.id))
    assert echo_of(said, heard, rate).correlation > 0.8
    assert watch.types(call.id)[:4] == ["call.created", "call.dialing", "call.ringing", "call.answered"]


async def test_the_tone_line_has_the_right_pitch(phones: Phones) -> None:
    alice, watch = await phones.online()
    call = await alice.phone.place_call(
        call_to("milliwatt", on_answer=(RecordRequest(), PlayRequest(tone="425", loop=True))), wait="answered"
    )
    started = await watch.until("recording.started")
    await watch.until("playback.started")
    await asyncio.sleep(1.5)  # sound takes its time: this is a measurement, not a wait for an event
    await alice.phone.control_recording(started.data["recording"].id, "stop")
    path = alice.phone.recording_path(started.data["recording"].id)
    said, heard, rate = read_stereo(path)
    for samples, pitch in ((said, 425), (heard, 1004)):
        middle = samples[rate // 2 : rate]
        assert abs(frequency(middle, rate) - pitch) <= 4
        assert np.sqrt(np.mean(middle**2)) > 0.05
    await alice.phone.hangup(call.id)


@pytest.mark.parametrize(
    ("line", "status", "cause"),
    [
        ("busy", 486, EndCause.BUSY),
        ("decline", 603, EndCause.REJECTED),
        ("nobody", 404, EndCause.NOT_FOUND),
        ("bob", 480, EndCause.NO_ANSWER),
    ],
)
async def test_a_refusal_has_its_cause(phones: Phones, line: str, status: int, cause: EndCause) -> None:
    alice, watch = await phones.online()
    with pytest.raises(Refused) as refusal:
        await alice.phone.place_call(call_to(line), wait="answered")
    assert refusal.value.status == status
    event = await watch.until("call.ended")
    end = event.data["call"].end
    assert (end.cause, end.by, end.sip_code) == (cause, "remote", status)


async def test_nobody_answers_and_the_caller_gives_up(phones: Phones) -> None:
    alice, watch = await phones.online()
    with pytest.raises(DeadlineExceeded):
        await alice.phone.place_call(call_to("noanswer", timeout_s=0.5), wait="answered")
    end = (await watch.until("call.ended")).data["call"].end
    assert (end.cause, end.by) == (EndCause.NO_ANSWER, "system")


async def test_a_ringing_call_is_cancelled(phones: Phones) -> None:
    alice, watch = await phones.online()
    call = await alice.phone.place_call(call_to("noanswer"), wait="ringing")
    assert call.state is CallState.RINGING
    await alice.phone.hangup(call.id)
    end = (await watch.until("call.ended")).data["call"].end
    assert (end.cause, end.by) == (EndCause.CANCELED, "local")
    again = await alice.phone.hangup(call.id)
    assert again.state is CallState.ENDED


async def test_keys_answer_a_prompt_by_whichever_way_they_come(phones: Phones) -> None:
    alice, _ = await phones.online("alice")
    bob, his = await phones.online("bob", account="inband_dtmf = true")
    placed = await alice.phone.place_call(call_to("bob"))
    incoming = (await his.until("call.incoming")).data["call"]
    await bob.phone.answer(incoming.id)
    await flowing(his)
    question = CollectRequest(play=PlayRequest(tone="1000"), max_digits=3, between_digits_s=2.0)
    ways: tuple[DtmfMethod, ...] = ("rfc4733", "info", "inband")
    for method in ways:
        asking = Tasks("test", lambda name, error: None).spawn("ask", bob.phone.collect(incoming.id, question))
        prompt = (await his.until("playback.started")).data["playback"]
        await alice.phone.dtmf(placed.id, DtmfRequest(digits="582", method=method))
        view = await asking
        assert (view.digits, view.reason, view.playback) == ("582", "max_digits", prompt.id)
        assert (await his.until("playback.finished")).data["playback"].id == prompt.id
        told = (await his.until("call.digits")).data
        assert (told["digits"], told["reason"], told["terminator"]) == ("582", "max_digits", None)


async def test_two_phones_call_each_other_with_sound_hold_and_digits(phones: Phones) -> None:
    alice, hers = await phones.online("alice")
    bob, his = await phones.online("bob")
    placed = await alice.phone.place_call(call_to("bob", headers={"X-Ticket": "42"}))
    incoming = (await his.until("call.incoming")).data["call"]
    assert (incoming.peer.number, incoming.headers.get("X-Ticket")) == ("alice", "42")
    await hers.until("call.ringing")
    answered = await bob.phone.answer(incoming.id)
    assert answered.state is CallState.ACTIVE
    await hers.until("call.answered")
    await asyncio.gather(flowing(hers), flowing(his))

    held = await alice.phone.hold(placed.id)
    assert held.hold.local
    await his.until("call.held", lambda data: data["call"].hold.remote)
    back = await alice.phone.unhold(placed.id)
    assert not back.hold.local
    await his.until("call.unheld", lambda data: not data["call"].hold.remote)
    await bob.phone.hold(incoming.id)
    await hers.until("call.held", lambda data: data["call"].hold.remote)
    await bob.phone.unhold(incoming.id)

    await alice.phone.dtmf(placed.id, DtmfRequest(digits="1#"))
    digits = [(await his.until("call.dtmf")).data for _ in range(2)]
    assert [(digit["digit"], digit["method"]) for digit in digits] == [("1", "rfc4733"), ("#", "rfc4733")]
    await bob.phone.dtmf(incoming.id, DtmfRequest(digits="7", method="info"))
    assert (await hers.until("call.dtmf")).data["method"] == "info"

    muted = await alice.phone.mute(placed.id, True)
    assert muted.muted
    assert not (await alice.phone.mute(placed.id, False)).muted
    tagged = await alice.phone.tag(placed.id, {"case": "7"})
    assert tagged.tags == {"case": "7"}

    await bob.phone.hangup(incoming.id)
    end = (await hers.until("call.ended")).data["call"].end
    assert (end.cause, end.by) == (EndCause.COMPLETED, "remote")


async def test_a_call_is_rejected_and_a_call_is_given_up_before_the_answer(phones: Phones) -> None:
    alice, hers = await phones.online("alice")
    bob, his = await phones.online("bob")
    first = await alice.phone.place_call(call_to("bob"))
    incoming = (await his.until("call.incoming")).data["call"]
    await bob.phone.reject(incoming.id, 486, "Not Now")
    end = (await hers.until("call.ended")).data["call"].end
    assert (end.cause, end.sip_code) == (EndCause.BUSY, 486)
    end = (await his.until("call.ended")).data["call"].end
    assert (end.cause, end.by) == (EndCause.BUSY, "local")

    second = await alice.phone.place_call(call_to("bob"), wait="ringing")
    incoming = (await his.until("call.incoming")).data["call"]
    await alice.phone.hangup(second.id)
    end = (await his.until("call.ended")).data["call"].end
    assert (end.cause, end.by) == (EndCause.CANCELED, "remote")
    with pytest.raises(Gone):
        await bob.phone.answer(incoming.id)
    assert {view.id for view in alice.phone.calls()} == {first.id, second.id}


async def test_incoming_rules_answer_and_reject_without_anybody(phones: Phones) -> None:
    alice, hers = await phones.online("alice")
    await phones.online("bob", extra='[[incoming]]\nmatch = "sip:alice@*"\naction = "answer"\nafter_s = 0.1\n')
    await phones.online("carol", extra='[[incoming]]\naction = "reject"\ncode = 480\n')
    call = await alice.phone.place_call(call_to("bob"), wait="answered")
    await flowing(hers)
    await alice.phone.hangup(call.id)
    with pytest.raises(Refused):
        await alice.phone.place_call(call_to("carol"), wait="answered")


@pytest.mark.behaviour("R7")
@pytest.mark.behaviour("O4")
@pytest.mark.behaviour("R12")
async def test_a_cut_socket_is_replaced_and_the_call_goes_on(phones: Phones) -> None:
    alice, watch = await phones.online()
    call = await alice.phone.place_call(call_to("echo"), wait="answered")
    await flowing(watch)
    generation = alice.phone.account("alice").registration.flow_generation
    phones.exchange.order({"fault": "close"})
    lost = await watch.until("account.reconnecting")
    assert lost.data["cause"] == "closed"
    back = await watch.all_of("call.dialog_verified", "account.reconnected")
    assert back["account.reconnected"].data["attempts"] == 1
    assert alice.phone.account("alice").registration.flow_generation > generation
    before = alice.phone.stats(call.id).packets_received
    held = await alice.phone.hold(call.id)
    assert held.hold.local
    await alice.phone.unhold(call.id)
    await watch.until("call.unheld")
    assert alice.phone.stats(call.id).packets_received >= before
    await alice.phone.hangup(call.id)


async def test_a_call_placed_while_the_flow_is_repaired_waits_for_it(phones: Phones) -> None:
    alice, watch = await phones.online()
    phones.exchange.order({"fault": "close"})
    await watch.until("account.reconnecting")
    call = await alice.phone.place_call(call_to("echo"), wait="answered")
    assert call.state is CallState.ACTIVE


async def test_a_refusing_exchange_means_back_off_and_no_calls(phones: Phones) -> None:
    phones.exchange.order({"fault": "refuse", "status": 503})
    alice, watch = await phones.phone()
    failed = await watch.until("account.connect_failed")
    assert failed.data["first"]
    await alice.phone.unregister("alice")
    with pytest.raises(NotRegistered):
        await alice.phone.place_call(call_to("echo"))
    phones.exchange.order({"fault": "none"})
    await alice.phone.register("alice")
    await watch.until("account.registered")
    assert alice.phone.account("alice").state is AccountState.ONLINE


async def test_a_wrong_password_is_said_and_not_hammered(phones: Phones) -> None:
    alice, watch = await phones.phone(password="wrong")
    failed = await watch.until("account.registration_failed")
    assert failed.data["sip_code"] in (401, 403)
    await watch.until("account.auth_failed")
    assert alice.phone.account("alice").state is AccountState.AUTH_FAILED
    await alice.phone.retry("alice")
    await watch.until("account.auth_failed")


async def test_what_cannot_be_is_refused_before_anything_is_sent(phones: Phones) -> None:
    alice, watch = await phones.online()
    phone = alice.phone
    with pytest.raises(NotFound):
        await phone.place_call(CallRequest(account="nobody", to="echo"))
    with pytest.raises(InvalidValue) as bad:
        await phone.place_call(call_to("not an address"))
    assert bad.value.pointer == "/to"
    with pytest.raises(InvalidValue):
        await phone.place_call(call_to("echo", headers={"Via": "x"}))
    with pytest.raises(Denied) as emergency:
        await phone.place_call(call_to("112"))
    assert emergency.value.code == "emergency_disabled"
    for look in (phone.call, phone.stats):
        with pytest.raises(NotFound):
            look("call_none")
    with pytest.raises(NotFound):
        phone.recording("rec_none")
    with pytest.raises(NotFound):
        phone.playback("pb_none")
    with pytest.raises(NotFound):
        phone.account("nobody")
    call = await phone.place_call(call_to("noanswer"), wait="ringing")
    with pytest.raises(WrongState):
        await phone.hold(call.id)
    with pytest.raises(WrongState):
        await phone.play(call.id, PlayRequest(tone="440", loop=True))
    with pytest.raises(WrongState):
        await phone.answer(call.id)
    again = await phone.place_call(call_to("echo", id=call.id))
    assert again.peer.number == "noanswer"
    await phone.hangup(call.id)
    await watch.until("call.ended")
    status = phone.status()
    assert (status.draining, status.calls_capacity) == (False, 50)


async def test_media_files_that_lie_are_refused_and_the_call_lives(phones: Phones, tmp_path: Path) -> None:
    alice, watch = await phones.online()
    media = tmp_path / "alice" / "state" / "media"
    with wave.open(str(media / "good.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(bytes(16_000))
    (media / "liar.wav").write_bytes(b"RIFF\xff\xff\xff\xffWAVEfmt \x10\x00\x00\x00" + bytes(16))
    call = await alice.phone.place_call(call_to("silence"), wait="answered")
    await flowing(watch)
    for name in ("liar.wav", "../secret", "/etc/passwd", "absent.wav"):
        with pytest.raises((InvalidValue, NotFound)):
            await alice.phone.play(call.id, PlayRequest(file=name))
    playback = await alice.phone.play(call.id, PlayRequest(file="good.wav", loop=True))
    assert (await alice.phone.control_playback(playback.id, "pause")).state == "paused"
    assert (await alice.phone.control_playback(playback.id, "resume")).state == "playing"
    assert (await alice.phone.control_playback(playback.id, "stop")).state == "finished"
    recording = await alice.phone.record(call.id, RecordRequest(channels="mixed"))
    assert (await alice.phone.control_recording(recording.id, "pause")).state == "paused"
    assert (await alice.phone.control_recording(recording.id, "resume")).state == "recording"
    assert alice.phone.call(call.id).recordings == (recording.id,)
    await alice.phone.hangup(call.id)
    await watch.until("recording.finished")
    path = alice.phone.recording_path(recording.id)
    assert path.exists()
    await alice.phone.delete_recording(recording.id)
    assert not path.exists()
    with pytest.raises(NotFound):
        alice.phone.recording(recording.id)


async def test_a_reinvite_by_hand_restarts_ice_and_sound_goes_on(phones: Phones) -> None:
    alice, watch = await phones.online()
    call = await alice.phone.place_call(call_to("tone"), wait="answered")
    await flowing(watch)
    before = alice.phone.stats(call.id)
    await alice.phone.reinvite(call.id, ice_restart=True)
    await watch.until("call.updated", lambda data: data["call"].media.state == "flowing")
    async with asyncio.timeout(10):
        while alice.phone.stats(call.id).ice_generation == before.ice_generation:  # noqa: ASYNC110 - a counter, no event
            await asyncio.sleep(0.05)
    after = alice.phone.stats(call.id)
    assert after.dtls_generation == before.dtls_generation
    assert after.packets_lost <= before.packets_lost + 2
    await alice.phone.hangup(call.id)
