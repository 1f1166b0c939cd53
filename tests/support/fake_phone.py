"""A phone without telephony: `PhoneControl` with the real rules about states, driven from the far end by the test.

Verbs of the far end begin with ``remote_``. Every change publishes the event that the real phone publishes.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Literal

from phoned import errors
from phoned.audio.port import AudioPort
from phoned.events import EventBus
from phoned.ids import new_id
from phoned.model import (
    AccountState,
    AccountView,
    CallRequest,
    CallState,
    CallView,
    DoctorView,
    DtmfRequest,
    EndCause,
    EndView,
    HoldView,
    MediaState,
    MediaView,
    MessageRequest,
    MessageView,
    NetworkView,
    Peer,
    PhoneStatus,
    PlaybackView,
    PlayRequest,
    QualitySample,
    RecordingView,
    RecordRequest,
    ReloadView,
    StatsView,
    Step,
    TraceView,
    Wait,
)
from tests.support.account_views import EPOCH as EPOCH
from tests.support.account_views import account_view as account_view
from tests.support.call_media import playing
from tests.support.doctor import WELL
from tests.support.fake_bridges import FakeBridges
from tests.support.fake_devices import FakeDevices
from tests.support.fake_keypad import FakeKeypad
from tests.support.fake_streams import FakeStreams

_CAUSES = {486: EndCause.BUSY, 600: EndCause.BUSY, 603: EndCause.REJECTED, 404: EndCause.NOT_FOUND}


class FakePhone(FakeBridges, FakeDevices, FakeKeypad, FakeStreams):
    """See the module. ``refusal`` (any `PhonedError`) is raised by the next verb that asks the far end."""

    def __init__(self, bus: EventBus, *, recordings_dir: Path = Path("/nonexistent"), capacity: int = 50) -> None:
        FakeBridges.__init__(self, bus)
        FakeDevices.__init__(self, bus)
        FakeKeypad.__init__(self)
        FakeStreams.__init__(self)
        self.recordings_dir = recordings_dir
        self.capacity = capacity
        self.draining = self.disturbed_by_nobody = False
        self.configured = {"front"}
        self.documents: dict[str, Mapping[str, Any]] = {}
        """What accounts were put with."""
        self.reloaded = ReloadView()
        """What the next reload comes to."""
        self.diagnosis = WELL
        self.network_generation = 1
        self.refusal: errors.PhonedError | None = None
        self.traces: dict[str, TraceView] = {}
        self.silent: set[str] = set()
        """Who answers no message."""
        self.denied: Mapping[str, str] = {"112": "emergency_disabled", "0900": "destination_denied"}
        self.placed: list[CallRequest] = []
        self.dtmf_sent: list[tuple[str, DtmfRequest]] = []
        self._accounts = {"front": account_view("front")}
        self._calls: dict[str, CallView] = {}
        self._playbacks: dict[str, PlaybackView] = {}
        self._recordings: dict[str, RecordingView] = {}
        self.then: tuple[Step, ...] = ()
        """What was to be done after the last answer."""
        self.ports: list[AudioPort] = []
        """Every port that was asked for."""
        self._refused: dict[str, errors.Refused] = {}
        self._changed = asyncio.Condition()
        self._now = EPOCH

    # -- what the test does

    def add_account(self, account: str, state: AccountState = AccountState.ONLINE) -> None:
        self._accounts[account] = account_view(account, state)

    def set_account(self, account: str, **changes: Any) -> AccountView:
        view = self._accounts[account] = dataclasses.replace(self.account(account), **changes)
        return view

    async def remote_calls(self, caller: str = "sip:200@example.org", account: str = "front") -> CallView:
        """An INVITE comes in."""
        view = CallView(
            id=new_id("call"),
            account=account,
            direction="in",
            state=CallState.RINGING,
            peer=Peer(uri=caller, number=caller.partition(":")[2].partition("@")[0]),
            created_at=self._tick(),
            ringing_at=self._now,
            sip_call_id=f"in-{len(self._calls)}@example.org",
        )
        return await self._put("call.incoming", view)

    async def remote_is(self, call: str, **changes: Any) -> CallView:
        """The far end tells more of itself."""
        return await self._change("call.updated", call, **changes)

    async def first_call(self) -> str:
        """The id of the oldest call, once there is one."""
        async with self._changed:
            await self._changed.wait_for(lambda: bool(self._calls))
        return next(iter(self._calls))

    async def remote_rings(self, call: str) -> CallView:
        return await self._change("call.ringing", call, state=CallState.RINGING, ringing_at=self._tick())

    async def remote_answers(self, call: str) -> CallView:
        return await self._answered(call)

    async def remote_refuses(self, call: str, status: int, reason: str) -> CallView:
        self._refused[call] = errors.Refused(status, reason)
        cause = _CAUSES.get(status, EndCause.FAILED)
        return await self._end(call, EndView(cause=cause, by="remote", sip_code=status, sip_reason=reason))

    async def remote_hangs_up(self, call: str) -> CallView:
        return await self._end(call, EndView(cause=EndCause.COMPLETED, by="remote"))

    # -- PhoneControl

    def status(self) -> PhoneStatus:
        asyncio.get_running_loop()  # as the phone's own: it is not for threads
        return PhoneStatus(
            version="0.1.0",
            node="test",
            uptime_s=1.0,
            draining=self.draining,
            accounts=self.accounts(),
            calls_active=self._active(),
            calls_capacity=self.capacity,
            event_seq=self.bus.delivered_seq,
        )

    def accounts(self) -> tuple[AccountView, ...]:
        return tuple(self._accounts.values())

    def account(self, account: str) -> AccountView:
        if account not in self._accounts:
            raise errors.NotFound(f"no account {account!r}")
        return self._accounts[account]

    async def register(self, account: str) -> AccountView:
        self.account(account)
        view = self.set_account(account, desired="registered", state=AccountState.ONLINE)
        self.bus.publish("account.registered", account=view)
        return view

    async def unregister(self, account: str) -> AccountView:
        self.account(account)
        view = self.set_account(account, desired="unregistered", state=AccountState.OFF)
        self.bus.publish("account.unregistered", account=view)
        return view

    async def retry(self, account: str) -> AccountView:
        return self.account(account)

    async def use_proxy(self, account: str, use: Literal["primary", "backup", "auto"]) -> AccountView:
        view = self.account(account)
        proxy = view.outbound_proxy
        if use == "backup" and proxy.backup is None:
            raise errors.WrongState(f"account {account} has no outbound_proxy_backup: give it one", state="no_backup")
        active = proxy.backup if use == "backup" and proxy.backup else proxy.primary
        view = replace(view, outbound_proxy=replace(proxy, mode=use, active=proxy.active if use == "auto" else active))
        self._accounts[account] = view
        return view

    def network(self) -> NetworkView:
        return NetworkView(generation=self.network_generation, source="fake")

    async def network_changed(self) -> NetworkView:
        self.network_generation += 1
        return self.network()

    async def doctor(self) -> DoctorView:
        self._ask_far_end()
        return self.diagnosis

    async def drain(self, on: bool) -> PhoneStatus:
        if on != self.draining:
            self.draining = on
            self.bus.publish("system.draining", draining=on)
        return self.status()

    def do_not_disturb(self) -> bool:
        return self.disturbed_by_nobody

    async def set_do_not_disturb(self, on: bool) -> bool:
        if on != self.disturbed_by_nobody:
            self.disturbed_by_nobody = on
            self.bus.publish("system.do_not_disturb", do_not_disturb=on)
        return on

    async def reload(self) -> ReloadView:
        self._ask_far_end()
        self.bus.publish("system.reloaded", reload=self.reloaded)
        return self.reloaded

    async def put_account(self, account: str, document: Mapping[str, Any]) -> tuple[AccountView, bool]:
        self._require_ours(account)
        self._ask_far_end()
        created = account not in self._accounts
        self.documents[account] = document
        view = self._accounts.setdefault(account, account_view(account))
        self.bus.publish("account.added" if created else "account.changed", account=view)
        return view, created

    async def delete_account(self, account: str, *, drain: bool = False) -> AccountView | None:
        self._require_ours(account)
        view = self.account(account)
        if any(call.account == account and call.state is not CallState.ENDED for call in self._calls.values()):
            if not drain:
                raise errors.WrongState("a call is up", state="in_call", allowed_in=("no_calls",))
            return view
        self.bus.publish("account.removed", account=self._accounts.pop(account))
        return None

    def _require_ours(self, account: str) -> None:
        if account in self.configured:
            raise errors.WrongState(f"account {account} is in the configuration", state="configured")

    def series(self, call: str) -> tuple[QualitySample, ...]:
        self.call(call)
        return (
            QualitySample(
                time=EPOCH, mos=4.4, jitter_ms=1.0, loss_pct=0.0, rtt_ms=None, packets_sent=250, packets_received=249
            ),
        )

    def trace(self, call: str) -> TraceView:
        self.call(call)
        return self.traces.get(call, TraceView(call=call, sip_call_ids=(), complete=False, messages=()))

    async def send_message(self, request: MessageRequest) -> MessageView:
        account = self.account(request.account)
        if account.state is not AccountState.ONLINE:
            raise errors.NotRegistered(f"account {account.id} is not registered", retry_after_s=2.5)
        if request.to in self.silent:
            raise errors.DeadlineExceeded("the message was not answered")
        if request.to in self.denied:
            raise errors.Refused(403, "Forbidden")
        view = MessageView(
            id=new_id("msg"),
            account=account.id,
            direction="out",
            peer=Peer(uri=request.to, number=request.to),
            content_type=request.content_type,
            body=request.body,
            created_at=EPOCH,
            state="sent",
            sip_code=200,
        )
        self.bus.publish("message.sent", message=view)
        return view

    async def place_call(self, request: CallRequest, wait: Wait = "none") -> CallView:
        account = self.account(request.account)
        if self.draining:
            raise errors.Draining("the phone is draining")
        if account.state is not AccountState.ONLINE:
            raise errors.NotRegistered(f"account {account.id} is not registered", retry_after_s=2.5)
        if request.to in self.denied:
            raise errors.Denied(f"{request.to} may not be dialled", code=self.denied[request.to])
        if self._active() >= self.capacity:
            raise errors.AtCapacity("all lines are in use")
        if " " in request.to:
            raise errors.InvalidValue("no such number", pointer="/to")
        view = self._calls.get(request.id or "")
        if view is None:
            self.placed.append(request)
            view = CallView(
                id=request.id or new_id("call"),
                account=request.account,
                direction="out",
                state=CallState.DIALING,
                peer=Peer(uri=request.to if ":" in request.to else f"sip:{request.to}@example.org"),
                created_at=self._tick(),
                tags=dict(request.tags),
                headers=dict(request.headers),
            )
            await self._put("call.created", view)
        if wait == "none":
            return view
        try:
            async with asyncio.timeout(request.timeout_s), self._changed:
                await self._changed.wait_for(lambda: self._reached(view.id, wait))
        except TimeoutError:
            await self._end(view.id, EndView(cause=EndCause.NO_ANSWER, by="system"))
            raise errors.DeadlineExceeded(f"not answered in {request.timeout_s:g} s") from None
        if view.id in self._refused:
            raise self._refused[view.id]
        return self.call(view.id)

    def calls(self) -> tuple[CallView, ...]:
        return tuple(reversed(self._calls.values()))

    def call(self, call: str) -> CallView:
        if call not in self._calls:
            raise errors.NotFound(f"no call {call!r}")
        return self._calls[call]

    async def answer(self, call: str, then: tuple[Step, ...] = ()) -> CallView:
        self.then = then
        self._in_state(call, CallState.RINGING, direction="in")
        return await self._answered(call)

    async def reject(self, call: str, code: int = 486, reason: str | None = None) -> CallView:
        self._in_state(call, CallState.RINGING, direction="in")
        cause = _CAUSES.get(code, EndCause.REJECTED)
        return await self._end(call, EndView(cause=cause, by="local", sip_code=code, sip_reason=reason))

    async def hangup(self, call: str, reason: str | None = None) -> CallView:
        view = self.call(call)
        if view.state is CallState.ENDED:
            return view
        cause = EndCause.COMPLETED if view.answered_at else EndCause.CANCELED
        return await self._end(call, EndView(cause=cause, by="local", sip_reason=reason))

    async def hold(self, call: str) -> CallView:
        return await self._hold(call, True, "call.held")

    async def unhold(self, call: str) -> CallView:
        return await self._hold(call, False, "call.unheld")

    async def mute(self, call: str, muted: bool) -> CallView:
        self._in_state(call, CallState.ACTIVE)
        return await self._change("call.muted" if muted else "call.unmuted", call, muted=muted)

    async def dtmf(self, call: str, request: DtmfRequest) -> CallView:
        view = self._in_state(call, CallState.ACTIVE)
        self.dtmf_sent.append((call, request))
        return view

    async def tag(self, call: str, tags: dict[str, str]) -> CallView:
        view = self.call(call)
        if view.state is CallState.ENDED:
            raise errors.Gone("the call has ended")
        return await self._change("call.updated", call, tags={**view.tags, **tags})

    async def reinvite(self, call: str, *, ice_restart: bool) -> CallView:
        view = self._in_state(call, CallState.ACTIVE)
        self._ask_far_end()
        media = dataclasses.replace(view.media, generation=view.media.generation + int(ice_restart))
        return await self._change("call.updated", call, media=media)

    async def transfer(self, call: str, *, to: str | None = None, replaces: str | None = None) -> CallView:
        view = self._in_state(call, CallState.ACTIVE)
        if replaces is not None:
            self._in_state(replaces, CallState.ACTIVE)
        self._ask_far_end()
        self.bus.publish("call.transfer_started", call=view, to=to, replaces=replaces)
        self.bus.publish("call.transfer_accepted", call=view)
        return view

    def stats(self, call: str) -> StatsView:
        self.call(call)
        return StatsView(codec="opus", packets_sent=50, packets_received=49, packets_lost=1, loss_pct=2.0)

    def audio_port(self, call: str, rate: int = 16000, *, both: bool = False) -> AudioPort:
        self._in_state(call, CallState.ACTIVE)
        self.ports.append(AudioPort(16000, rate, both=both))
        return self.ports[-1]

    async def play(self, call: str, request: PlayRequest) -> PlaybackView:
        self._in_state(call, CallState.ACTIVE)
        if request.file == "missing.wav":
            raise errors.InvalidValue("no such file in the media directory", pointer="/file")
        view = playing(request, call)
        self._playbacks[view.id] = view
        self.bus.publish("playback.started", playback=view)
        return view

    def playback(self, playback: str) -> PlaybackView:
        if playback not in self._playbacks:
            raise errors.NotFound(f"no playback {playback!r}")
        return self._playbacks[playback]

    async def control_playback(self, playback: str, verb: Literal["pause", "resume", "stop"]) -> PlaybackView:
        states: dict[str, Literal["playing", "paused", "finished"]]
        states = {"pause": "paused", "resume": "playing", "stop": "finished"}
        view = self._playbacks[playback] = dataclasses.replace(self.playback(playback), state=states[verb])
        return view

    async def record(self, call: str, request: RecordRequest) -> RecordingView:
        active = self._in_state(call, CallState.ACTIVE)
        id_, format_ = new_id("rec"), request.format
        view = RecordingView(
            id=id_, call=call, state="recording", format=format_, channels=request.channels, file=f"{id_}.{format_}"
        )
        self._recordings[view.id] = view
        await self._change("call.updated", call, recordings=(*active.recordings, view.id))
        self.bus.publish("recording.started", recording=view)
        return view

    def recordings(self) -> tuple[RecordingView, ...]:
        return tuple(reversed(self._recordings.values()))

    def recording(self, recording: str) -> RecordingView:
        if recording not in self._recordings:
            raise errors.NotFound(f"no recording {recording!r}")
        return self._recordings[recording]

    async def control_recording(self, recording: str, verb: Literal["pause", "resume", "stop"]) -> RecordingView:
        states: dict[str, Literal["recording", "paused", "finished"]]
        states = {"pause": "paused", "resume": "recording", "stop": "finished"}
        view = self._recordings[recording] = dataclasses.replace(self.recording(recording), state=states[verb])
        return view

    async def delete_recording(self, recording: str) -> None:
        view = self.recording(recording)
        if view.state == "recording":
            raise errors.WrongState("it is still being written", state="recording", allowed_in=("finished", "failed"))
        del self._recordings[recording]
        self.bus.publish("recording.deleted", recording=view, reason="asked")

    def recording_path(self, recording: str) -> Path:
        view = self.recording(recording)
        if view.state != "finished":
            raise errors.WrongState("it is still being written", state=view.state, allowed_in=("finished",))
        return self.recordings_dir / view.file

    # -- inside

    def _tick(self) -> datetime:
        self._now += timedelta(milliseconds=1)
        return self._now

    def _active(self) -> int:
        return sum(view.state is not CallState.ENDED for view in self._calls.values())

    def _reached(self, call: str, wait: Wait) -> bool:
        view = self.call(call)
        if view.state is CallState.ENDED or view.answered_at is not None:
            return True
        return wait == "ringing" and view.ringing_at is not None

    def _in_state(self, call: str, state: CallState, direction: str | None = None) -> CallView:
        view = self.call(call)
        if view.state is CallState.ENDED:
            raise errors.Gone("the call has ended")
        if view.state is not state or (direction is not None and view.direction != direction):
            raise errors.WrongState(f"the call is {view.state}", state=view.state, allowed_in=(state,))
        return view

    def _ask_far_end(self) -> None:
        refusal, self.refusal = self.refusal, None
        if refusal is not None:
            raise refusal

    async def _hold(self, call: str, held: bool, event: str) -> CallView:
        view = self._in_state(call, CallState.ACTIVE)
        self._ask_far_end()
        return await self._change(event, call, hold=HoldView(local=held, remote=view.hold.remote))

    async def _answered(self, call: str) -> CallView:
        media = MediaView(state=MediaState.FLOWING, codec="opus", generation=1)
        return await self._change("call.answered", call, state=CallState.ACTIVE, answered_at=self._tick(), media=media)

    async def _end(self, call: str, end: EndView) -> CallView:
        self.left_bridge(call)
        self.keypad(call).close()
        return await self._change("call.ended", call, state=CallState.ENDED, ended_at=self._tick(), end=end)

    async def _change(self, event: str, call: str, **changes: Any) -> CallView:
        return await self._put(event, dataclasses.replace(self.call(call), **changes))

    async def _put(self, event: str, view: CallView) -> CallView:
        self._calls[view.id] = view
        self.bus.publish(event, call=view)
        async with self._changed:
            self._changed.notify_all()
        return view
