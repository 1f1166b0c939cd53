"""The only door: it finds the one concerned, passes the verb on, and says what is not there."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from phoned.accounts.account import Account
from phoned.accounts.policy import AccountPolicy
from phoned.accounts.registry import Accounts
from phoned.errors import Draining, Gone, NotFound, WrongState
from phoned.ids import new_id
from phoned.model import AccountState, CallRequest, CallState, DtmfRequest, NetworkView, PlayRequest, RecordRequest
from phoned.phone import Phone
from phoned.recording.catalogue import Catalogue
from phoned.service import PhoneControl
from phoned.sip.events import ModifyCause
from phoned.tasks import Tasks
from phoned.transport.flow import FlowTarget
from tests.support.accounts import Listener
from tests.support.calls import CallWorld, raised, settle, virtual
from tests.support.doctor import FakeDoctor
from tests.support.flows import FakeDialer, FakeSignaling


class FakeNetwork:
    """`phoned.phone.NetworkWatch`."""

    def __init__(self) -> None:
        self.generation = 0

    def view(self) -> NetworkView:
        return NetworkView(generation=self.generation, source="fake")

    def trigger(self, reason: str) -> None:
        self.generation += 1


class Desk(CallWorld):
    """A phone over a fake core."""

    def __init__(self, recordings: Path = Path("/nowhere")) -> None:
        super().__init__()
        accounts = Accounts()
        accounts.add(
            Account(
                "a",
                "sip:alice@example.org",
                AccountPolicy(target=FlowTarget(url="ws://server/")),
                signaling=FakeSignaling(),
                dialer=FakeDialer(),
                bus=self.bus,
                listener=Listener(),
                uniform=lambda low, high: high,
            )
        )
        self.catalogue = Catalogue(recordings)
        self.phone: PhoneControl = Phone(
            accounts=accounts,
            calls=self.manager,
            bus=self.bus,
            network=FakeNetwork(),
            doctor=FakeDoctor(),
            catalogue=self.catalogue,
            version="1",
            node="n",
            started_at=asyncio.get_running_loop().time() - 5,
        )


@virtual
async def test_the_phone_at_a_glance() -> None:
    desk = Desk()
    await desk.active()
    await desk.bus.flush()
    status = desk.phone.status()
    assert (status.version, status.node, status.uptime_s, status.draining) == ("1", "n", 5.0, False)
    assert (status.calls_active, status.calls_capacity, status.event_seq) == (1, 50, 3)
    assert [account.id for account in status.accounts] == ["a"]


@virtual
async def test_accounts_are_wished_registered_and_not() -> None:
    phone = Desk().phone
    assert (await phone.register("a")).state is AccountState.CONNECTING
    assert (await phone.retry("a")).state is AccountState.CONNECTING
    assert (await phone.unregister("a")).desired == "unregistered"
    assert phone.account("a").state is AccountState.OFF
    for verb in (phone.register, phone.retry, phone.unregister):
        assert isinstance(await raised(verb("b")), NotFound)


@virtual
async def test_verbs_reach_their_call() -> None:
    desk = Desk()
    phone = desk.phone
    view = await phone.place_call(CallRequest(account="a", to="bob"))
    call = desk.manager.find(view.id)
    assert call is not None
    desk.answer(call)
    assert (await phone.mute(view.id, True)).muted
    assert (await phone.tag(view.id, {"k": "v"})).tags == {"k": "v"}
    assert (await phone.dtmf(view.id, DtmfRequest(digits="1"))).id == view.id
    tasks = Tasks("t", lambda name, error: None)
    for verb, cause, held in (
        (phone.hold(view.id), ModifyCause.HOLD, True),
        (phone.unhold(view.id), ModifyCause.HOLD, False),
        (phone.reinvite(view.id, ice_restart=True), ModifyCause.RECOVERY, False),
    ):
        waiting = tasks.spawn("v", verb)
        await settle()
        desk.wants_offer(call, f"t{cause}{held}", cause)
        await settle()
        desk.modified(call, cause)
        assert (await waiting).hold.local is held
    assert phone.audio_port(view.id, 8000).rate == 8000
    assert phone.stats(view.id).packets_sent == 0
    assert phone.call(view.id).state is CallState.ACTIVE
    ended = await phone.hangup(view.id)
    assert ended.state is CallState.ENDED
    await settle()
    with pytest.raises(Gone):
        phone.audio_port(view.id)
    assert (await phone.hangup(view.id)).end == ended.end
    assert [known.id for known in phone.calls()] == [view.id]


@virtual
async def test_incoming_calls_are_answered_or_rejected() -> None:
    desk = Desk()
    first, second = desk.incoming("in1"), desk.incoming("in2")
    assert first is not None
    assert second is not None
    answering = Tasks("t", lambda name, error: None).spawn("a", desk.phone.answer(first.id))
    await settle()
    desk.answer(first)
    assert (await answering).state is CallState.ACTIVE
    assert (await desk.phone.reject(second.id, 603, "No")).state is CallState.ENDED
    assert desk.core.of("reject") == [("in2", "603")]


VERBS: tuple[Callable[[PhoneControl, str], Awaitable[Any]], ...] = (
    lambda phone, call: phone.answer(call),
    lambda phone, call: phone.reject(call),
    lambda phone, call: phone.hold(call),
    lambda phone, call: phone.unhold(call),
    lambda phone, call: phone.mute(call, True),
    lambda phone, call: phone.dtmf(call, DtmfRequest(digits="1")),
    lambda phone, call: phone.tag(call, {}),
    lambda phone, call: phone.reinvite(call, ice_restart=False),
    lambda phone, call: phone.play(call, PlayRequest(tone="1")),
    lambda phone, call: phone.record(call, RecordRequest()),
)


@virtual
async def test_a_verb_on_an_ended_call_is_gone_and_on_none_not_found() -> None:
    desk = Desk()
    call = await desk.active()
    desk.ended(call)
    for verb in VERBS:  # also in the moment in which its parts still close
        assert isinstance(await raised(verb(desk.phone, call.id)), Gone)
    await settle()
    for verb in VERBS:
        assert isinstance(await raised(verb(desk.phone, call.id)), Gone)
        assert isinstance(await raised(verb(desk.phone, "call_none")), NotFound)
    assert isinstance(await raised(desk.phone.hangup("call_none")), NotFound)


@virtual
async def test_playbacks_are_found_by_their_own_id() -> None:
    desk = Desk()
    call = await desk.active()
    view = await desk.phone.play(call.id, PlayRequest(tone="440"))
    assert desk.phone.playback(view.id).state == "playing"
    for verb, state in (("pause", "paused"), ("resume", "playing"), ("stop", "finished")):
        assert (await desk.phone.control_playback(view.id, verb)).state == state  # type: ignore[arg-type]  # a loop
    with pytest.raises(NotFound):
        desk.phone.playback("pb_none")


def test_recordings_are_found_controlled_and_deleted(tmp_path: Path) -> None:
    @virtual
    async def run() -> None:
        desk = Desk(tmp_path)
        phone = desk.phone
        call = await desk.active()
        first = await phone.record(call.id, RecordRequest())
        second = await phone.record(call.id, RecordRequest())
        assert [view.id for view in phone.recordings()] == [second.id, first.id]
        assert (await phone.control_recording(first.id, "pause")).state == "paused"
        assert (await phone.control_recording(first.id, "resume")).state == "recording"
        with pytest.raises(WrongState):
            phone.recording_path(first.id)
        assert (await phone.control_recording(first.id, "stop")).state == "finished"
        assert (await phone.control_recording(first.id, "stop")).state == "finished"
        assert isinstance(await raised(phone.control_recording(first.id, "pause")), WrongState)
        assert phone.recording_path(first.id) == tmp_path / "r.wav"
        desk.ended(call)
        await settle()
        assert phone.recording(second.id).state == "finished"
        for view in (first, second):
            desk.manager.forget_recording(view.id)
            with pytest.raises(NotFound):
                phone.recording(view.id)

    run()


async def test_recordings_outlast_the_memory_of_their_calls(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    call, recording = new_id("call"), new_id("rec")
    file = tmp_path / f"{call}-{recording}.wav"
    file.write_bytes(b"x")
    await desk.catalogue.take(await desk.catalogue.look())
    (view,) = desk.phone.recordings()
    assert (view.id, view.call, view.state) == (recording, call, "finished")
    assert desk.phone.recording(recording) == await desk.phone.control_recording(recording, "stop") == view
    assert desk.phone.recording_path(recording) == file
    await desk.phone.delete_recording(recording)
    assert not file.exists()
    assert desk.phone.recordings() == ()
    with pytest.raises(NotFound):
        desk.phone.recording(recording)


async def test_a_deleted_recording_is_stopped_first_and_its_file_goes(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    call = await desk.active()
    view = await desk.phone.record(call.id, RecordRequest())
    (tmp_path / "r.wav").write_bytes(b"x")
    await desk.phone.delete_recording(view.id)
    assert not os.listdir(tmp_path)
    await desk.bus.flush()
    told = [event for event in await desk.bus.log.after(0, 100) or () if event.type == "recording.deleted"]
    assert [(event.data["recording"].state, event.data["reason"]) for event in told] == [("finished", "asked")]
    with pytest.raises(NotFound):
        desk.phone.recording(view.id)
    assert isinstance(await raised(desk.phone.delete_recording(view.id)), NotFound)
    call.hangup()
    assert await call.closed(5)


@virtual
async def test_the_network_and_the_proxy_are_asked_of_those_who_know() -> None:
    desk = Desk()
    assert desk.phone.network().source == "fake"
    assert (await desk.phone.network_changed()).generation == 1
    status = desk.phone.status()
    assert status.network is not None
    assert status.network.generation == 1
    assert (await desk.phone.use_proxy("a", "primary")).outbound_proxy.mode == "primary"
    with pytest.raises(WrongState):
        await desk.phone.use_proxy("a", "backup")
    with pytest.raises(NotFound):
        await desk.phone.use_proxy("nobody", "auto")


@virtual
async def test_draining_refuses_new_calls_until_it_ends_and_for_good_when_the_daemon_leaves() -> None:
    desk = Desk()
    assert (await desk.phone.drain(True)).draining
    await desk.phone.drain(True)
    assert isinstance(await raised(desk.phone.place_call(CallRequest(account="a", to="200"))), Draining)
    assert not (await desk.phone.drain(False)).draining
    events = await desk.events()
    assert [event.data["draining"] for event in events if event.type == "system.draining"] == [True, False]
    await desk.phone.drain(True)
    assert isinstance(desk.phone, Phone)
    desk.phone.leaving = True
    assert isinstance(await raised(desk.phone.drain(False)), Draining)
    assert desk.phone.status().draining
