"""The plug-in face of phoned: what a package that registers under the entry points ``phoned.services`` must have.

A service is an object ``{name, config_model, create(ctx)}``. Its configuration table is ``[name]``, validated by its
own model. `Context` gives it protocols only, never an adapter; there is nothing else of phoned that a service may hold.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import entry_points
from inspect import ismethod
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

from pydantic import BaseModel

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
from phoned.stream import AudioPort, StreamRuntime
from phoned.twilio import TwilioAccount
from phoned.urls import UrlGuard
from phoned.webhook import Outbox, WebhookControl


class PhoneControl(Protocol):
    """Commands and views. Every coroutine has a deadline inside; none waits for ever."""

    def status(self) -> PhoneStatus: ...

    async def drain(self, on: bool) -> PhoneStatus:
        """Take no new calls, in or out, and keep those that are up; or take them again. Raises `Draining` when the
        daemon is stopping."""
        ...

    def do_not_disturb(self) -> bool:
        """Whether every incoming call is refused."""
        ...

    async def set_do_not_disturb(self, on: bool) -> bool:
        """Refuse every incoming call with 480, or take them again. It lasts over restarts."""
        ...

    async def reload(self) -> ReloadView:
        """Read the configuration again and take what can be taken; calls go on. Raises `ConfigError` with all that is
        wrong; then nothing has changed."""
        ...

    async def put_account(self, account: str, document: Mapping[str, Any]) -> tuple[AccountView, bool]:
        """An account that is no file's: made (True) or changed to what ``document`` says, with the keys of
        ``[[accounts]]``, and kept in the state directory. ``password`` may stand in it; without any password the one
        that was given before stays. Raises `InvalidValues`, `AtCapacity`, and `WrongState` for an account of the
        configuration."""
        ...

    async def delete_account(self, account: str, *, drain: bool = False) -> AccountView | None:
        """Unregister such an account and forget it. With calls up raises `WrongState`, or (``drain``) lets it go when
        they have ended, and returns it as it is. Raises `NotFound`."""
        ...

    async def doctor(self) -> DoctorView:
        """Look at everything that a call needs, within about a minute. Raises `WrongState` while another examination
        runs."""
        ...

    def devices(self) -> DevicesView:
        """The machine's sound devices, what the phone uses of them, and which call has them."""
        ...

    async def change_devices(self, change: DevicesChange) -> DevicesView:
        """Other devices, volume, gain, mute, or another call in front. It lasts over restarts; a call goes on. Raises
        `UnknownDevice`, `InvalidValue` and, for the call, `NotFound`."""
        ...

    async def test_devices(self) -> DeviceTestView:
        """Play a tone and listen for it, within some 2 s. Raises `WrongState` while a call has the devices, and
        `SoundUnavailable`, which says what is missing."""
        ...

    def accounts(self) -> tuple[AccountView, ...]: ...

    def account(self, account: str) -> AccountView:
        """Raises `NotFound`."""
        ...

    async def register(self, account: str) -> AccountView:
        """Wish the account registered; returns at once."""
        ...

    async def unregister(self, account: str) -> AccountView: ...

    async def retry(self, account: str) -> AccountView:
        """Jump the back-off queue."""
        ...

    async def use_proxy(self, account: str, use: Literal["primary", "backup", "auto"]) -> AccountView:
        """Begin to move to an outbound proxy, make before break; returns at once. Raises `NotFound`, and `WrongState`
        for a backup that is not configured."""
        ...

    def network(self) -> NetworkView:
        """The machine's network as the phone sees it."""
        ...

    async def network_changed(self) -> NetworkView:
        """Look at the network now, and repair what a change asks for."""
        ...

    async def place_call(self, request: CallRequest, wait: Wait = "none") -> CallView:
        """A new outgoing call. With ``wait`` returns once it rings or is answered, and raises `Refused` when it was
        refused and `DeadlineExceeded` when ``timeout_s`` ran out. Raises `NotFound`, `NotRegistered`, `Denied`,
        `AtCapacity`, `Draining`, `InvalidValue` before anything is sent."""
        ...

    def trace(self, call: str) -> TraceView:
        """The SIP of a call, as far as it is kept. Raises `NotFound`."""
        ...

    async def send_message(self, request: MessageRequest) -> MessageView:
        """Returns once it was taken. Raises `Refused`, `DeadlineExceeded`, `NotFound`, `NotRegistered`, `Denied`,
        `InvalidValue`."""
        ...

    def calls(self) -> tuple[CallView, ...]:
        """Live and ended calls that are still kept, newest first."""
        ...

    def call(self, call: str) -> CallView:
        """Raises `NotFound`."""
        ...

    async def answer(self, call: str, then: tuple[Step, ...] = ()) -> CallView:
        """Say 200 to an incoming call, and do ``then`` once media flows."""
        ...

    async def reject(self, call: str, code: int = 486, reason: str | None = None) -> CallView: ...

    async def hangup(self, call: str, reason: str | None = None) -> CallView:
        """Returns at once, also when repeated; an ended call stays as it is."""
        ...

    async def hold(self, call: str) -> CallView:
        """Returns after the far end's 2xx; `Refused` leaves the state unchanged."""
        ...

    async def unhold(self, call: str) -> CallView: ...

    async def mute(self, call: str, muted: bool) -> CallView: ...

    async def dtmf(self, call: str, request: DtmfRequest) -> CallView:
        """Returns once the digits are queued."""
        ...

    async def collect(self, call: str, request: CollectRequest) -> CollectView:
        """Play a prompt, if any, and return what the far end keys: within ``request.timeout_s``, or when the call ends.
        Raises `WrongState` while it is being asked already, and what `play` raises."""
        ...

    async def tag(self, call: str, tags: dict[str, str]) -> CallView:
        """Merge ``tags`` into the call's."""
        ...

    async def reinvite(self, call: str, *, ice_restart: bool) -> CallView: ...

    async def transfer(self, call: str, *, to: str | None = None, replaces: str | None = None) -> CallView:
        """Ask the far end to call ``to``, or to talk to the far end of the call ``replaces`` instead; returns once it
        has taken that on, its outcome is told by events. `Refused` leaves both calls as they were. Raises
        `WrongState`, `Denied`, `InvalidValue`, `NotRegistered`, `DeadlineExceeded`."""
        ...

    def stats(self, call: str) -> StatsView: ...

    def series(self, call: str) -> tuple[QualitySample, ...]:
        """How the call sounded, each 5 s, oldest first, for the last hour. Raises `NotFound`."""
        ...

    def audio_port(self, call: str, rate: int = 16000, *, both: bool = False) -> AudioPort:
        """Hear and speak in a call that has audio, at 8, 16, 24 or 48 kHz; ``both``: frames hold what we say, too.
        Raises `NotFound`, `Gone`, `WrongState`, `InvalidValue`, `AtCapacity`."""
        ...

    async def create_bridge(self, calls: Sequence[str]) -> BridgeView:
        """Let 2 to 16 calls hear each other, each all others. Raises `NotFound`, `Gone`, `InvalidValue`, and
        `WrongState` for a call without audio, or in another bridge."""
        ...

    def bridges(self) -> tuple[BridgeView, ...]:
        """Those that are up, the newest first, then those that ended, the last first."""
        ...

    def bridge(self, bridge: str) -> BridgeView:
        """Raises `NotFound`."""
        ...

    async def change_bridge(self, bridge: str, calls: Sequence[str]) -> BridgeView:
        """Exactly these calls are in it from now on. Raises what `create_bridge` does, and `Gone` after its end."""
        ...

    async def end_bridge(self, bridge: str) -> BridgeView:
        """Each of its calls goes on alone. Repeating it changes nothing. Raises `NotFound`."""
        ...

    async def stream(self, call: str, request: StreamRequest) -> StreamView:
        """Dial a bot that hears the call and speaks in it; returns before it has answered. Raises `NotFound`, `Gone`,
        `WrongState`, `InvalidValue`, `Denied`, `AtCapacity`, `UnavailableError`."""
        ...

    def streams(self) -> tuple[StreamView, ...]:
        """Those that run and the newest 1000 of those that are over, the newest first."""
        ...

    def stream_view(self, stream: str) -> StreamView:
        """Raises `NotFound`."""
        ...

    async def stop_stream(self, stream: str) -> None:
        """Take the bot off the call, which goes on; one that is over stays as it is. Raises `NotFound`."""
        ...

    async def play(self, call: str, request: PlayRequest) -> PlaybackView: ...

    def playback(self, playback: str) -> PlaybackView: ...

    async def control_playback(self, playback: str, verb: Literal["pause", "resume", "stop"]) -> PlaybackView: ...

    async def record(self, call: str, request: RecordRequest) -> RecordingView: ...

    def recordings(self) -> tuple[RecordingView, ...]:
        """All that are kept, newest first."""
        ...

    def recording(self, recording: str) -> RecordingView: ...

    async def control_recording(self, recording: str, verb: Literal["pause", "resume", "stop"]) -> RecordingView: ...

    async def delete_recording(self, recording: str) -> None: ...

    def recording_path(self, recording: str) -> Path:
        """Where the file of a finished recording lies."""
        ...


class KeyValue(Protocol):
    """Small durable values of one service, kept in the state directory."""

    async def get(self, key: str) -> bytes | None: ...

    async def set(self, key: str, value: bytes) -> None: ...

    async def delete(self, key: str) -> None: ...

    async def items(self, prefix: str) -> dict[str, bytes]:
        """All values whose keys begin with ``prefix``."""
        ...


class Secrets(Protocol):
    """Secret material by file or systemd credential; never printed, never kept by the caller longer than needed."""

    def read(self, name: str) -> bytes:
        """The secret called ``name``; `phoned.errors.NotFound` when there is none."""
        ...


class Audit(Protocol):
    """The record of who did what."""

    def note(self, *, who: str, what: str, outcome: str, **facts: str | int | None) -> None:
        """An order, who gave it and what came of it: names, ids and outcomes, never a body or a secret. Returns at
        once."""
        ...


class Context(Protocol):
    """What a service is given."""

    @property
    def phone(self) -> PhoneControl: ...

    @property
    def bus(self) -> EventBus: ...

    @property
    def keys(self) -> KeyValue: ...

    @property
    def secrets(self) -> Secrets: ...

    @property
    def audit(self) -> Audit: ...

    @property
    def outbox(self) -> Outbox:
        """What is to be sent, durably."""
        ...

    @property
    def urls(self) -> UrlGuard:
        """Which addresses may be dialled."""
        ...

    @property
    def webhooks(self) -> WebhookControl:
        """What the webhooks service offers. Raises `UnavailableError` while nobody does."""
        ...

    def offer_webhooks(self, control: WebhookControl | None) -> None:
        """For the service that has them: from now on (None: no longer)."""
        ...

    def offer_streams(self, runtime: StreamRuntime | None) -> None:
        """For the service that dials bots: from now on (None: no longer)."""
        ...

    @property
    def twilio(self) -> TwilioAccount | None:
        """The account of ``[twilio]``, while there is one."""
        ...

    def offer_twilio(self, account: TwilioAccount | None) -> None:
        """For the service that reads it: from now on."""
        ...

    @property
    def config(self) -> Any:
        """An instance of the service's own ``config_model``."""
        ...

    @property
    def state_dir(self) -> Path: ...

    @property
    def runtime_dir(self) -> Path: ...


@runtime_checkable
class Service(Protocol):
    """A running service. `stop` returns within its budget, whatever its clients do."""

    async def start(self) -> None: ...

    async def stop(self, budget_s: float) -> None: ...


@runtime_checkable
class Reconfigurable(Protocol):
    """A service that can take another configuration while it runs. One that cannot is restarted with the daemon."""

    def reconfigure(self, config: Any) -> Iterable[str]:
        """Take what can be taken now. Returns the keys that changed and stay as they were until a restart."""
        ...


@runtime_checkable
class ServicePlugin(Protocol):
    """What an entry point names: an object like this, a class with a class method ``create``, or one that makes one."""

    name: str
    config_model: type[BaseModel]
    default: bool
    """True: created even when its configuration table is absent."""

    def create(self, context: Context) -> Service: ...


ENTRY_POINTS = "phoned.services"


def installed_services() -> dict[str, ServicePlugin]:
    """The plug-ins of this environment by name. One that cannot be imported raises: a half phone helps nobody."""
    found = (entry.load() for entry in entry_points(group=ENTRY_POINTS))
    return {plugin.name: plugin for plugin in map(_as_plugin, found)}


def _as_plugin(named: Any) -> ServicePlugin:
    """A class whose ``create`` is a class method is a plug-in as it is; any other class makes one."""
    plugin: ServicePlugin = (
        named() if isinstance(named, type) and not ismethod(getattr(named, "create", None)) else named
    )
    return plugin
