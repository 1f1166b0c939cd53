"""The phone's handset and bell: follows the calls, and gives the one that is in front the microphone and the speaker.

`attention` says which call that is and what else sounds, `Role` keeps a device open, `Front` puts `Microphone` and
`Speaker` into the call's graph. Devices are open while there are calls, and closed a moment after the last: a headless
phone has none, and starts nothing. Owns the settings and the events ``device.*``. It must not know SIP nor how calls
are made: it hears of them by the bus, as everybody does.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from phoned.audio import bells, choice, trial
from phoned.audio.attention import Wish, wish_of
from phoned.audio.front import Clock, Front
from phoned.audio.handles import Microphone, Speaker
from phoned.audio.role import Role
from phoned.audio.settings import ROLES, RoleSetting, Settings
from phoned.audio.sound import SoundSystem
from phoned.config.schema import AudioConfig
from phoned.errors import InvalidValue, NotFound, PhonedError, SoundUnavailable, UnknownDevice, WrongState
from phoned.events import EventBus, Subscription
from phoned.media.graph import AudioGraph
from phoned.model import (
    CallState,
    CallView,
    DeviceKind,
    DeviceRole,
    DevicesChange,
    DevicesView,
    DeviceTestView,
    DeviceView,
    RoleChange,
    RoleView,
)
from phoned.service import KeyValue
from phoned.tasks import Tasks

log = logging.getLogger(__name__)

LINGER_S = 3.0
"""Devices stay open so long after the last call: the next may follow at once."""
OPEN_S = 6.0
TRIAL_S = 8.0
BACKLOG = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What the handset is put into."""

    bus: EventBus
    calls: Callable[[], tuple[CallView, ...]]
    graphs: Callable[[str], AudioGraph | None]
    """The audio graph of a call, while it has media."""
    clock: Clock
    keys: KeyValue
    off_loop: Callable[[Callable[[], bytes]], Awaitable[bytes]] = asyncio.to_thread
    """Where files are read."""


class Handset:
    """See the module. Made, started and closed by the daemon; asked through `Phone`."""

    def __init__(self, config: AudioConfig, system: SoundSystem, around: Surroundings) -> None:
        self._config = config
        self._system = system
        self._around = around
        self._settings = Settings(around.keys)
        self.microphone = Microphone()
        self.speaker = Speaker()
        self.bell = Speaker()
        self._sounds: dict[DeviceRole, Microphone | Speaker] = {
            "input": self.microphone,
            "output": self.speaker,
            "ring": self.bell,
        }
        self._roles = {name: Role(name, sound, system, self._role_changed) for name, sound in self._sounds.items()}
        self._devices: tuple[DeviceView, ...] | None = None
        self._no_sound: str | None = None
        self._watching = False
        self._told: dict[DeviceRole, object] = {}
        self._calls: dict[str, CallView] = {}
        self._chosen: str | None = None
        self._wish = Wish()
        self._front = Front(self.microphone, self.speaker, self.bell, around.clock)
        self._open_until: asyncio.TimerHandle | None = None
        self._trying = False
        self._opened = asyncio.Event()
        self._tasks = Tasks("sound", self._crashed)
        self._subscription: Subscription | None = None

    async def start(self) -> None:
        """Follow the calls from now on. What is wrong with the machine's sound keeps no phone from starting."""
        await self._settings.load()
        try:
            self._front.ringtone = await self._around.off_loop(
                lambda: bells.ringtone(self._config.ringtone, self.bell.rate)
            )
        except (OSError, PhonedError) as error:
            log.error(
                "[audio] ringtone: %s cannot be played (%s); the built-in one rings", self._config.ringtone, error
            )
            self._front.ringtone = bells.ringing(self.bell.rate)
        self._take_settings()
        self._subscription = self._follow()
        self._tasks.spawn("calls", self._listen())

    async def close(self) -> None:
        """Give everything back."""
        if self._subscription is not None:
            self._subscription.close()
        if self._open_until is not None:
            self._open_until.cancel()
        self._apply(Wish())
        for role in self._roles.values():
            role.close()
        await self._tasks.close()
        await self._system.close()

    def _crashed(self, name: str, error: BaseException) -> None:
        log.critical("%s crashed; calls go on without sound devices", name, exc_info=error)

    # -- the calls

    def _follow(self) -> Subscription:
        subscription = self._around.bus.subscribe(BACKLOG)
        self._calls = {call.id: call for call in self._around.calls() if call.state is not CallState.ENDED}
        self._attend()
        return subscription

    async def _listen(self) -> None:
        assert self._subscription is not None
        while True:
            async for event in self._subscription:
                call: Any = event.data.get("call")
                if event.type.startswith("call.") and isinstance(call, CallView):
                    if call.state is CallState.ENDED:
                        self._calls.pop(call.id, None)
                    else:
                        self._calls[call.id] = call
                    self._attend()
            if not self._subscription.overflowed:
                return
            self._subscription = self._follow()

    def _attend(self) -> None:
        if self._chosen not in self._calls:
            self._chosen = None
        self._apply(wish_of(self._calls.values(), self._chosen))

    def _apply(self, wish: Wish) -> None:
        """Make it so. Repeating it changes nothing."""
        self._wish = wish
        self._open(soon=wish.soon)
        self._roles["ring"].switch(wish.ring or self._trying)
        wanted = wish.call or wish.listen
        graph = self._around.graphs(wanted) if wanted is not None else None
        self._front.attach(graph, speaks=wish.call is not None)
        self._front.sound(ring=wish.ring, waiting=wish.waiting, ringback=wish.ringback and self._config.ringback)

    def _open(self, *, soon: bool) -> None:
        if self._open_until is not None:
            self._open_until.cancel()
            self._open_until = None
        if soon or self._trying:
            self._switch(True)
        elif self._roles["input"].using or self._roles["output"].using:
            self._open_until = asyncio.get_running_loop().call_later(LINGER_S, self._switch, False)
        else:
            self._switch(False)

    def _switch(self, on: bool) -> None:
        self._roles["input"].switch(on)
        self._roles["output"].switch(on)

    # -- the devices

    def _take_settings(self) -> None:
        for name in ROLES:
            setting, role = self._settings.roles[name], self._roles[name]
            wanted = self._wanted(name, setting)
            if (wanted, tuple(self._config.fallback)) != role.wish:
                role.want(wanted, self._config.fallback)
        own = self._settings.roles
        self.microphone.muted = own["input"].muted
        gain_db = own["input"].gain_db
        self.microphone.gain_db = self._config.gain_db if gain_db is None else gain_db
        for speaker, setting in ((self.speaker, own["output"]), (self.bell, own["ring"])):
            speaker.muted, speaker.volume_pct = setting.muted, setting.volume_pct
        if any(role.wanted != choice.NONE for role in self._roles.values()):
            self._watch()

    def _watch(self) -> None:
        if not self._watching:
            self._watching = True
            self._system.watch(self._on_devices, self._on_no_sound)

    async def _look(self) -> None:
        """See which devices there are, where nobody has wanted any so far. Raises `SoundUnavailable`."""
        self._watch()
        try:
            async with asyncio.timeout(OPEN_S):
                while self._devices is None and self._no_sound is None:
                    self._opened.clear()
                    await self._opened.wait()
        except TimeoutError:
            raise SoundUnavailable("the sound libraries do not answer: see 'phoned doctor'") from None
        if self._devices is None:
            raise SoundUnavailable(self._no_sound or "")

    def _wanted(self, name: DeviceRole, setting: RoleSetting) -> str:
        return setting.device if setting.device is not None else str(getattr(self._config, name))

    def _on_devices(self, devices: tuple[DeviceView, ...]) -> None:
        before, self._devices = self._devices, devices
        self._no_sound = None
        lost = {role.using: name for name, role in self._roles.items() if role.using is not None}
        for role in self._roles.values():
            role.devices(devices)
        if before is None:
            self._tell(quietly=True)
        else:
            old, new = {one.name: one for one in before}, {one.name: one for one in devices}
            for name in old.keys() - new.keys():
                self._around.bus.publish("device.removed", device=old[name], role=lost.get(name))
            for name in new.keys() - old.keys():
                self._around.bus.publish("device.added", device=new[name])
            self._tell()
        self._opened.set()

    def _on_no_sound(self, reason: str) -> None:
        if reason != self._no_sound:
            log.error("sound: there is none: %s", reason)
        self._no_sound = reason
        if self._devices:
            self._on_devices(())
            self._no_sound = reason
        self._opened.set()

    def _role_changed(self, role: Role) -> None:
        self._opened.set()
        self._tell()

    def _tell(self, *, quietly: bool = False) -> None:
        """``device.changed`` for each role that is not what it was; that it was opened or closed is no change."""
        for name, role in self._roles.items():
            facts = (role.wanted, role.target, role.state in ("missing", "failed"), self._settings.roles[name])
            if self._told.get(name) != facts:
                self._told[name] = facts
                if not quietly and self._devices is not None:
                    device = next((one for one in self._devices if one.name == role.target), None)
                    self._around.bus.publish("device.changed", device=device, role=name, use=self._role_view(name))

    # -- orders

    def view(self) -> DevicesView:
        """See `PhoneControl.devices`."""
        return DevicesView(
            devices=self._devices or (),
            input=self._role_view("input"),
            output=self._role_view("output"),
            ring=self._role_view("ring"),
            call=self._wish.call if self._watching else None,
            chosen=self._chosen,
        )

    def _role_view(self, name: DeviceRole) -> RoleView:
        role, sound = self._roles[name], self._sounds[name]
        buffered_s = role.latency_s
        failed = role.state != "off" and self._no_sound is not None
        return RoleView(
            device=role.wanted,
            using=role.using,
            state="failed" if failed else role.state,
            muted=sound.muted,
            gain_db=sound.gain_db if isinstance(sound, Microphone) else None,
            volume_pct=sound.volume_pct if isinstance(sound, Speaker) else None,
            level_dbov=round(sound.level.dbov, 1),
            latency_ms=None if buffered_s is None else round((buffered_s + sound.latency_s) * 1000, 1),
            detail=self._no_sound if failed else role.detail,
        )

    async def change(self, change: DevicesChange) -> DevicesView:
        """See `PhoneControl.change_devices`."""
        if change.call and change.call not in self._calls:
            raise NotFound(f"no call {change.call[:80]}")
        orders: dict[DeviceRole, RoleChange] = {"input": change.input, "output": change.output, "ring": change.ring}
        for name, order in orders.items():
            await self._check(name, order)
        changed = {name: self._settings.roles[name].changed(order) for name, order in orders.items()}
        if changed != self._settings.roles:
            self._settings.roles = changed
            await self._settings.save()
            self._take_settings()
            self._tell()
        if change.call is not None:
            self._chosen = change.call or None
            self._attend()
        return self.view()

    async def _check(self, name: DeviceRole, order: RoleChange) -> None:
        wrong = "volume_pct" if name == "input" else "gain_db"
        if getattr(order, wrong) is not None:
            raise InvalidValue(f"{name} has no {wrong}", pointer=f"/{name}/{wrong}")
        device, kind = order.device, self._roles[name].kind
        if device in (None, "", choice.NONE, choice.DEFAULT):
            return
        if self._devices is None:
            await self._look()
        if choice.find(str(device), self._devices or (), kind) is None:
            raise UnknownDevice(self._missing(str(device), kind), pointer=f"/{name}/device")

    def _missing(self, device: str, kind: DeviceKind) -> str:
        """That there is no such device, and which there are."""
        near = ", ".join(choice.nearest(device, self._devices or (), kind))
        named = "" if device == choice.DEFAULT else f" {device[:80]!r}"
        return f"there is no {kind} device{named}" + (f"; there is: {near}" if near else "")

    def _trouble(self, role: Role) -> str:
        """Why a device does not open, and what to do."""
        if role.detail is not None:
            return role.detail
        remedy = f"plug one in, or name another: [audio] {role.name}, or 'phonectl devices'"
        return f"{self._missing(role.wanted, role.kind)}. Fix: {remedy}"

    async def test(self) -> DeviceTestView:
        """See `PhoneControl.test_devices`."""
        pair = [self._roles["input"], self._roles["output"]]
        if all(role.wanted == choice.NONE for role in pair):
            raise SoundUnavailable(
                "no sound device is wanted: set input and output in [audio], or by PATCH /v1/devices"
            )
        if self._wish.call is not None or self._wish.listen is not None or self._trying:
            state = "testing" if self._trying else "in_call"
            raise WrongState("the devices are in use", state=state, allowed_in=("idle",))
        self._trying = True
        try:
            self._switch(True)
            await self._until_open(pair)
            return await self._try()
        finally:
            self._trying = False
            self._attend()

    async def _until_open(self, roles: list[Role]) -> None:
        def trouble() -> str | None:
            stuck = [role for role in roles if role.state in ("missing", "failed") and self._devices is not None]
            found = self._no_sound or next(map(self._trouble, stuck), None)
            return found

        try:
            async with asyncio.timeout(OPEN_S):
                while any(role.wanted != choice.NONE and role.using is None for role in roles):
                    if (why := trouble()) is not None:
                        raise SoundUnavailable(why)
                    self._opened.clear()
                    await self._opened.wait()
        except TimeoutError:
            raise SoundUnavailable("the devices do not open") from None

    async def _try(self) -> DeviceTestView:
        over = asyncio.Event()
        rate = self.speaker.rate
        self.microphone.at(rate)
        test = trial.Trial(rate, self.microphone.read, self.speaker.write, over.set)
        stop = self._around.clock.add(test)
        try:
            async with asyncio.timeout(TRIAL_S):
                await over.wait()
        except TimeoutError:
            raise SoundUnavailable("the media clock stands still") from None
        finally:
            stop()
        hertz = test.heard_hz
        return DeviceTestView(
            output=self._roles["output"].using,
            input=self._roles["input"].using,
            played_hz=trial.TONE_HZ,
            heard=test.heard,
            heard_hz=None if hertz is None else round(hertz, 1),
            level_dbov=round(test.level_dbov, 1),
            quiet_dbov=round(test.quiet_dbov, 1),
        )
