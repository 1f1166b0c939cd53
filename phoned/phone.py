"""Phone: the only door to the telephone, for HTTP, bots, webhooks and metrics alike.

It is what stands behind `phoned.service.PhoneControl`. It has no telephony rules of its own: it finds the account or
the call and passes the verb on. It speaks frozen values of `phoned.model` and raises errors of `phoned.errors` only.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol

from phoned.accounts.account import Account
from phoned.accounts.registry import Accounts
from phoned.calls.call import Call
from phoned.calls.manager import CallManager
from phoned.errors import Draining, Gone, NotFound, WrongState
from phoned.events import EventBus
from phoned.model import (
    AccountView,
    BridgeView,
    CallRequest,
    CallView,
    CollectRequest,
    CollectView,
    DevicesChange,
    DevicesView,
    DeviceTestView,
    DoctorView,
    DtmfRequest,
    MessageRequest,
    MessageView,
    NetworkView,
    PhoneStatus,
    PlaybackView,
    PlayRequest,
    QualitySample,
    RecordingView,
    RecordRequest,
    ReloadView,
    StatsView,
    Step,
    StreamRequest,
    StreamView,
    TraceView,
    Wait,
)
from phoned.recording.catalogue import Catalogue
from phoned.recovery.proxies import Mode
from phoned.service import KeyValue
from phoned.stream import AudioPort, StreamRuntime

DO_NOT_DISTURB = "do_not_disturb"
"""Its key among the wishes."""


class NetworkWatch(Protocol):
    """What the phone asks of the network monitor."""

    def view(self) -> NetworkView: ...

    def trigger(self, reason: str) -> None: ...


class ConfigurationDesk(Protocol):
    """Who keeps what the phone is to be."""

    async def reload(self) -> ReloadView: ...

    async def put_account(self, account: str, document: Mapping[str, Any]) -> tuple[AccountView, bool]: ...

    async def delete_account(self, account: str, *, drain: bool = False) -> AccountView | None: ...


class Doctor(Protocol):
    """What the phone asks of its doctor."""

    async def examine(self) -> DoctorView: ...


class SoundDesk(Protocol):
    """Who has the microphone and the speaker."""

    def view(self) -> DevicesView: ...

    async def change(self, change: DevicesChange) -> DevicesView: ...

    async def test(self) -> DeviceTestView: ...


class Phone:
    """The object behind `PhoneControl`. Built by the daemon; finds the one concerned and passes the verb on."""

    def __init__(
        self,
        *,
        accounts: Accounts,
        calls: CallManager,
        bus: EventBus,
        network: NetworkWatch,
        doctor: Doctor,
        catalogue: Catalogue,
        version: str,
        node: str,
        started_at: float,
    ) -> None:
        self._accounts = accounts
        self._calls = calls
        self._bus = bus
        self._network = network
        self._doctor = doctor
        self._catalogue = catalogue
        self._version = version
        self._node = node
        self._started_at = started_at
        self.configuration: ConfigurationDesk | None = None
        """Set by the daemon once there is one."""
        self.wishes: KeyValue | None = None
        """Where what people wish outlasts the process; set by the daemon."""
        self.sound: SoundDesk | None = None
        """Set by the daemon once there is one."""
        self.leaving = False
        """The daemon stops: draining has no way back."""

    def status(self) -> PhoneStatus:
        """See `PhoneControl`."""
        return PhoneStatus(
            version=self._version,
            node=self._node,
            uptime_s=round(asyncio.get_running_loop().time() - self._started_at, 3),
            draining=self._calls.draining,
            accounts=self.accounts(),
            calls_active=self._calls.active(),
            calls_capacity=self._calls.capacity,
            network=self._network.view(),
            event_seq=self._bus.delivered_seq,
        )

    async def drain(self, on: bool) -> PhoneStatus:
        """See `PhoneControl`."""
        if self.leaving and not on:
            raise Draining("the daemon is stopping")
        if on != self._calls.draining:
            self._calls.draining = on
            self._bus.publish("system.draining", draining=on)
        return self.status()

    def do_not_disturb(self) -> bool:
        """See `PhoneControl`."""
        return self._calls.incoming.do_not_disturb

    async def set_do_not_disturb(self, on: bool) -> bool:
        """See `PhoneControl`."""
        if self.wishes is not None:
            await (self.wishes.set(DO_NOT_DISTURB, b"1") if on else self.wishes.delete(DO_NOT_DISTURB))
        if on != self._calls.incoming.do_not_disturb:
            self._calls.incoming.do_not_disturb = on
            self._bus.publish("system.do_not_disturb", do_not_disturb=on)
        return on

    # --- what the phone is to be

    async def reload(self) -> ReloadView:
        """See `PhoneControl`."""
        return await self._desk().reload()

    async def put_account(self, account: str, document: Mapping[str, Any]) -> tuple[AccountView, bool]:
        """See `PhoneControl`."""
        return await self._desk().put_account(account, document)

    async def delete_account(self, account: str, *, drain: bool = False) -> AccountView | None:
        """See `PhoneControl`."""
        return await self._desk().delete_account(account, drain=drain)

    def _desk(self) -> ConfigurationDesk:
        if self.configuration is None or self.leaving:
            raise Draining("the daemon is starting or stopping")
        return self.configuration

    async def doctor(self) -> DoctorView:
        """See `PhoneControl`."""
        return await self._doctor.examine()

    # --- sound devices

    def devices(self) -> DevicesView:
        """See `PhoneControl`."""
        return self._handset().view()

    async def change_devices(self, change: DevicesChange) -> DevicesView:
        """See `PhoneControl`."""
        return await self._handset().change(change)

    async def test_devices(self) -> DeviceTestView:
        """See `PhoneControl`."""
        return await self._handset().test()

    def _handset(self) -> SoundDesk:
        if self.sound is None or self.leaving:
            raise Draining("the daemon is starting or stopping")
        return self.sound

    # --- accounts

    def accounts(self) -> tuple[AccountView, ...]:
        """See `PhoneControl`."""
        return tuple(account.view() for account in self._accounts)

    def account(self, account: str) -> AccountView:
        """See `PhoneControl`."""
        return self._account(account).view()

    async def register(self, account: str) -> AccountView:
        """See `PhoneControl`."""
        found = self._account(account)
        if found.leaving:
            raise WrongState(f"account {account} is being removed", state="leaving")
        found.want_registered()
        return self.account(account)

    async def unregister(self, account: str) -> AccountView:
        """See `PhoneControl`."""
        self._account(account).want_unregistered()
        return self.account(account)

    async def retry(self, account: str) -> AccountView:
        """See `PhoneControl`."""
        self._account(account).retry()
        return self.account(account)

    def _account(self, account: str) -> Account:
        found = self._accounts.get(account)
        if found is None:
            raise NotFound(f"no account {account}")
        return found

    async def use_proxy(self, account: str, use: Mode) -> AccountView:
        """See `PhoneControl`."""
        self._account(account).use_proxy(use)
        return self.account(account)

    # --- the network

    def network(self) -> NetworkView:
        """See `PhoneControl`."""
        return self._network.view()

    async def network_changed(self) -> NetworkView:
        """See `PhoneControl`."""
        self._network.trigger("asked for")
        return self._network.view()

    # --- calls

    async def place_call(self, request: CallRequest, wait: Wait = "none") -> CallView:
        """See `PhoneControl`."""
        return await self._calls.place(request, wait)

    def trace(self, call: str) -> TraceView:
        """See `PhoneControl`."""
        return self._calls.trace.of(self._calls.view(call).id)

    async def send_message(self, request: MessageRequest) -> MessageView:
        """See `PhoneControl`."""
        return await self._calls.messages.send(request)

    def calls(self) -> tuple[CallView, ...]:
        """See `PhoneControl`."""
        return self._calls.views()

    def call(self, call: str) -> CallView:
        """See `PhoneControl`."""
        return self._calls.view(call)

    async def answer(self, call: str, then: tuple[Step, ...] = ()) -> CallView:
        """See `PhoneControl`."""
        live = self._live(call)
        live.audio.then(then)
        return await live.answer()

    async def reject(self, call: str, code: int = 486, reason: str | None = None) -> CallView:
        """See `PhoneControl`."""
        return self._live(call).reject(code, reason)

    async def hangup(self, call: str, reason: str | None = None) -> CallView:
        """See `PhoneControl`."""
        live = self._calls.find(call)
        view = self._calls.view(call) if live is None else live.hangup(reason)
        await self._calls.journal.settled()  # whatever happens to this process now, the call does not come back
        return view

    async def hold(self, call: str) -> CallView:
        """See `PhoneControl`."""
        return await self._live(call).hold(True)

    async def unhold(self, call: str) -> CallView:
        """See `PhoneControl`."""
        return await self._live(call).hold(False)

    async def mute(self, call: str, muted: bool) -> CallView:
        """See `PhoneControl`."""
        return self._live(call).mute(muted)

    async def dtmf(self, call: str, request: DtmfRequest) -> CallView:
        """See `PhoneControl`."""
        live = self._live(call)
        live.audio.dtmf(request)
        return live.view()

    async def collect(self, call: str, request: CollectRequest) -> CollectView:
        """See `PhoneControl`."""
        return await self._live(call).audio.collect(request)

    async def tag(self, call: str, tags: dict[str, str]) -> CallView:
        """See `PhoneControl`."""
        return self._live(call).tag(tags)

    async def reinvite(self, call: str, *, ice_restart: bool) -> CallView:
        """See `PhoneControl`."""
        return await self._live(call).reinvite(ice_restart=ice_restart)

    async def transfer(self, call: str, *, to: str | None = None, replaces: str | None = None) -> CallView:
        """See `PhoneControl`."""
        live = self._live(call)
        await self._calls.transfers.transfer(live, to=to, other=self._live(replaces) if replaces else None)
        return live.view()

    def stats(self, call: str) -> StatsView:
        """See `PhoneControl`."""
        return self._calls.stats(call)

    def series(self, call: str) -> tuple[QualitySample, ...]:
        """See `PhoneControl`."""
        return self._calls.quality.series(self._calls.view(call).id)

    def _live(self, call: str) -> Call:
        """The call with its parts; `Gone` once it has ended."""
        found = self._calls.find(call)
        if found is None:
            self._calls.view(call)  # raises NotFound for one that never was
            raise Gone(f"call {call} has ended")
        return found

    # --- bridges

    async def create_bridge(self, calls: Sequence[str]) -> BridgeView:
        """See `PhoneControl`."""
        return self._calls.bridges.create([self._live(call) for call in calls])

    def bridges(self) -> tuple[BridgeView, ...]:
        """See `PhoneControl`."""
        return self._calls.bridges.views()

    def bridge(self, bridge: str) -> BridgeView:
        """See `PhoneControl`."""
        return self._calls.bridges.view(bridge)

    async def change_bridge(self, bridge: str, calls: Sequence[str]) -> BridgeView:
        """See `PhoneControl`."""
        self._calls.bridges.view(bridge)
        return self._calls.bridges.change(bridge, [self._live(call) for call in calls])

    async def end_bridge(self, bridge: str) -> BridgeView:
        """See `PhoneControl`."""
        return self._calls.bridges.end(bridge)

    # --- sound

    def audio_port(self, call: str, rate: int = 16000, *, both: bool = False) -> AudioPort:
        """See `PhoneControl`."""
        return self._live(call).audio.port(rate, both=both)

    def dials_bots(self, runtime: StreamRuntime | None) -> None:
        """A service that does it has come, or gone."""
        self._calls.streams.offer(runtime)

    async def stream(self, call: str, request: StreamRequest) -> StreamView:
        """See `PhoneControl`."""
        return await self._live(call).audio.streams.start(request)

    def streams(self) -> tuple[StreamView, ...]:
        """See `PhoneControl`."""
        return self._calls.streams.views()

    def stream_view(self, stream: str) -> StreamView:
        """See `PhoneControl`."""
        return self._calls.streams.link(stream).view()

    async def stop_stream(self, stream: str) -> None:
        """See `PhoneControl`."""
        self._calls.streams.link(stream).stop()

    async def play(self, call: str, request: PlayRequest) -> PlaybackView:
        """See `PhoneControl`."""
        return await self._live(call).audio.play(request)

    def playback(self, playback: str) -> PlaybackView:
        """See `PhoneControl`."""
        return self._calls.playback(playback)[0]

    async def control_playback(self, playback: str, verb: Literal["pause", "resume", "stop"]) -> PlaybackView:
        """See `PhoneControl`."""
        _, call = self._calls.playback(playback)
        if verb == "stop":
            return call.audio.stop_playback(playback)
        return call.audio.pause_playback(playback, verb == "pause")

    async def record(self, call: str, request: RecordRequest) -> RecordingView:
        """See `PhoneControl`."""
        return await self._live(call).audio.record(request)

    def recordings(self) -> tuple[RecordingView, ...]:
        """See `PhoneControl`."""
        views = {view.id: view for view in self._catalogue} | {view.id: view for view, _ in self._calls.recordings()}
        return tuple(sorted(views.values(), key=lambda view: view.id, reverse=True))

    def recording(self, recording: str) -> RecordingView:
        """See `PhoneControl`."""
        return self._recording(recording)[0]

    async def control_recording(self, recording: str, verb: Literal["pause", "resume", "stop"]) -> RecordingView:
        """See `PhoneControl`."""
        view, call = self._recording(recording)
        if call is None or view.state in ("finished", "failed"):
            if verb == "stop":
                return view
            raise WrongState("the recording is finished", state=view.state, allowed_in=("recording", "paused"))
        if verb == "stop":
            return await call.audio.stop_recording(recording)
        return call.audio.pause_recording(recording, verb == "pause")

    async def delete_recording(self, recording: str) -> None:
        """See `PhoneControl`."""
        view, call = self._recording(recording)
        if call is not None and view.state not in ("finished", "failed"):
            await call.audio.stop_recording(recording)
        path = self._catalogue.directory / view.file
        await asyncio.to_thread(path.unlink, missing_ok=True)
        self.recording_deleted(self._recording(recording)[0], "asked")

    def recording_deleted(self, view: RecordingView, reason: Literal["asked", "age", "size"]) -> None:
        """Its file is gone: it is forgotten, and told to everybody."""
        self._calls.forget_recording(view.id)
        self._catalogue.forget(view.id)
        self._bus.publish("recording.deleted", recording=view, reason=reason)

    def recording_path(self, recording: str) -> Path:
        """See `PhoneControl`."""
        view, _ = self._recording(recording)
        if view.state not in ("finished", "failed"):
            raise WrongState("the recording is not finished", state=view.state, allowed_in=("finished",))
        return self._catalogue.directory / view.file

    def _recording(self, recording: str) -> tuple[RecordingView, Call | None]:
        for view, call in self._calls.recordings():
            if view.id == recording:
                return view, call
        kept = self._catalogue.find(recording)
        if kept is not None:
            return kept, None
        raise NotFound(f"no recording {recording}")
