"""One use of a device: microphone, speaker or bell. Which device, since when, and what if it goes.

A `Role` has a wish (a name, what to fall back to, whether it is to be open) and works towards it: the first of the
devices wanted that is there and can be opened; another when that one goes; back as soon as it returns. A device that
fails is left alone for a while. A better one is opened beside the old one and takes over when it is ready, so that
there is no gap. Driven by its owner's wishes, by the list of devices and by the device itself.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Protocol

from phoned.audio import choice
from phoned.audio.sound import SoundStream, SoundSystem
from phoned.model import DeviceKind, DeviceRole, DeviceState, DeviceView

log = logging.getLogger(__name__)

AVOID_S = 2.0
"""How long a device that failed is not tried again."""
READY_S = 5.0
"""How long opening may take, and then the first sound."""
SILENT_S = 1.5
"""A card that says nothing for so long stands still."""


class Sound(Protocol):
    """What is done with an open device: the samples' side of a role."""

    def begin(self, rate: int, write: Callable[[bytes], None]) -> None:
        """A device is open from now on, instead of the one before."""
        ...

    def heard(self, block: bytes) -> None: ...

    def played(self, samples: int, missing: int) -> None: ...

    def end(self) -> None:
        """No device is open."""
        ...


class _Open:
    """A device that is open or about to be; a `SoundListener`."""

    def __init__(self, role: Role, device: str, now: float) -> None:
        self.role = role
        self.device = device
        self.ready_at: float | None = None
        self.latency_s = 0.0
        self.rate = 0
        self.last = now
        self.moved = False
        """It has said something."""
        self.stream: SoundStream | None = None

    def ready(self, rate: int, latency_s: float) -> None:
        self.rate, self.latency_s = rate, latency_s
        self.last = self.ready_at = asyncio.get_running_loop().time()
        self.role.on_ready(self)

    def heard(self, block: bytes) -> None:
        self._alive()
        if self.role.current is self:
            self.role.sound.heard(block)

    def played(self, samples: int, missing: int) -> None:
        self._alive()
        if self.role.current is self:
            self.role.sound.played(samples, missing)

    def _alive(self) -> None:
        self.last = asyncio.get_running_loop().time()
        self.moved = True

    def silent(self, now: float) -> bool:
        """For longer than a card that is well."""
        return now - self.last > (SILENT_S if self.moved else READY_S)

    def ended(self, reason: str) -> None:
        self.role.on_ended(self, reason)

    def write(self, samples: bytes) -> None:
        if self.stream is not None:
            self.stream.write(samples)

    def close(self) -> None:
        if self.stream is not None:
            self.stream.close()


class Role:
    """See the module."""

    def __init__(
        self,
        name: DeviceRole,
        sound: Sound,
        system: SoundSystem,
        on_changed: Callable[[Role], None],
    ) -> None:
        self.name: DeviceRole = name
        self.kind: DeviceKind = "input" if name == "input" else "output"
        self.sound = sound
        self.wanted = choice.NONE
        self.current: _Open | None = None
        self.detail: str | None = None
        """Why there is no sound although there should be."""
        self._system = system
        self._on_changed = on_changed
        self._fallback: Sequence[str] = ()
        self._devices: tuple[DeviceView, ...] = ()
        self._on = False
        self._next: _Open | None = None
        self._avoid: dict[str, float] = {}
        """Devices that failed, and until when they are left alone."""
        self._timer: asyncio.TimerHandle | None = None

    # -- views

    @property
    def state(self) -> DeviceState:
        """See `RoleView`."""
        if self.wanted == choice.NONE:
            return "off"
        if self.current is not None:
            return "open"
        if self._next is not None:
            return "opening"
        if choice.pick(self._names(), self._devices, self.kind) is None:
            return "missing"
        return "failed" if self.detail is not None else "idle"

    @property
    def wish(self) -> tuple[str, tuple[str, ...]]:
        """What `want` was told last."""
        return self.wanted, tuple(self._fallback)

    @property
    def target(self) -> str | None:
        """The device that it is or would be."""
        return self.using or choice.pick(self._names(), self._devices, self.kind)

    @property
    def using(self) -> str | None:
        """The device that is open."""
        return self.current.device if self.current is not None else None

    @property
    def latency_s(self) -> float | None:
        """Of the open card."""
        return self.current.latency_s if self.current is not None else None

    def _names(self) -> tuple[str, ...]:
        return choice.candidates(self.wanted, self._fallback)

    # -- wishes

    def want(self, device: str, fallback: Sequence[str]) -> None:
        """From now on this one, or the first of the others that is there."""
        self.wanted, self._fallback = device, fallback
        self._avoid.clear()
        self.detail = None
        self._settle()

    def switch(self, on: bool) -> None:
        """Have it open, or closed."""
        if on != self._on:
            self._on = on
            self._settle()

    def devices(self, devices: tuple[DeviceView, ...]) -> None:
        """What there is now."""
        came = {device.name for device in devices} - {device.name for device in self._devices}
        self._devices = devices
        for name in came:  # plugged in again: it may be well now
            self._avoid.pop(name, None)
        self._settle()

    def close(self) -> None:
        """For good."""
        self._on = False
        self._settle()

    # -- towards them

    def _settle(self) -> None:
        now = asyncio.get_running_loop().time()
        avoid = frozenset(name for name, until in self._avoid.items() if until > now)
        best = choice.pick(self._names(), self._devices, self.kind, but=avoid) if self._on else None
        if self._next is not None and self._next.device != best:
            self._next.close()
            self._next = None
        if self.current is not None and (best is None or not self._is_there(self.current.device)):
            self._drop(self.current)
        if best is not None and best not in (self.using, self._next.device if self._next else None):
            self._open(best, now)
        self._watch(now)

    def _is_there(self, device: str) -> bool:
        return choice.find(device, self._devices, self.kind) is not None

    def _open(self, device: str, now: float) -> None:
        opening = self._next = _Open(self, device, now)
        opening.stream = self._system.open(self.kind, device, opening)

    def _drop(self, which: _Open) -> None:
        which.close()
        if which is self.current:
            self.current = None
            self.sound.end()
            self._on_changed(self)
        elif which is self._next:
            self._next = None

    def on_ready(self, opened: _Open) -> None:
        """The device is open."""
        if opened is not self._next:
            return
        before, self.current, self._next = self.current, opened, None
        self.detail = None
        if before is not None:
            before.close()
        log.info("sound: %s is %s", self.name, opened.device)
        self.sound.begin(opened.rate, opened.write)
        self._on_changed(self)
        self._settle()

    def on_ended(self, which: _Open, reason: str) -> None:
        """The device could not be opened, or has gone."""
        if which not in (self.current, self._next):
            return
        log.warning("sound: %s %s: %s", self.name, which.device, reason)
        self.detail = f"{which.device}: {reason}"
        self._avoid[which.device] = asyncio.get_running_loop().time() + AVOID_S
        was_open = which is self.current
        self._drop(which)
        self._settle()
        if not was_open:
            self._on_changed(self)

    def _watch(self, now: float) -> None:
        """Look again when a device that is avoided may be tried, or one that should speak is silent."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._on and self.wanted != choice.NONE:
            self._timer = asyncio.get_running_loop().call_at(now + SILENT_S / 3, self._look)

    def _look(self) -> None:
        now = asyncio.get_running_loop().time()
        self._timer = None
        if self.current is not None and self.current.silent(now):
            self.on_ended(self.current, "it stands still")
        elif self._next is not None and self._next.silent(now):
            self.on_ended(self._next, "it does not open")
        else:
            self._settle()
