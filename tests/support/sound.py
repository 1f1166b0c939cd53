"""A machine's sound without a machine: devices that come and go, microphones that hear a tone, speakers that remember.

Passes the contract of `tests/support/sound_contract.py`, as PortAudio does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import numpy as np

from phoned.audio.sound import SoundListener
from phoned.model import DeviceKind, DeviceView

RATE = 48_000
BLOCK_S = 0.01
OPENS_S = 0.05


def device(name: str, *kinds: DeviceKind, description: str = "", default: bool = False) -> DeviceView:
    """One of a sound server."""
    return DeviceView(name=name, description=description or name.title(), backend="pulse", kinds=kinds, default=default)


MICROPHONE = device("mic", "input", default=True)
SPEAKER = device("speaker", "output", default=True)
BELL = device("bell", "output")
HEADSET = device("headset", "input", "output", description="USB Headset")


class FakeStream:
    """An open device, on timers of its own."""

    def __init__(self, sound: FakeSound, kind: DeviceKind, name: str, listener: SoundListener) -> None:
        self.sound = sound
        self.kind = kind
        self.device = name
        self._listener = listener
        self._loop = asyncio.get_running_loop()
        self._made = 0
        self._waiting = b""
        self.played = b""
        self.closed = False
        self.frozen = False
        """It stands still."""
        self._timer = self._loop.call_later(OPENS_S, self._open)

    def _open(self) -> None:
        name = self.device
        reason = self.sound.refusals.get(name) or (None if self.sound.has(name, self.kind) else "No such device")
        if reason == "hangs":
            return
        if reason is not None:
            self.closed = True
            self._listener.ended(reason)
            return
        self._listener.ready(RATE, 0.02)
        self._due = self._loop.time()
        self._beat()

    def _beat(self) -> None:
        self._due += BLOCK_S * (1 + self.sound.drift)
        self._timer = self._loop.call_at(self._due, self._beat)
        if self.frozen:
            return
        size = int(RATE * BLOCK_S)
        if self.kind == "input":
            at = np.arange(self._made, self._made + size) / RATE
            tone = self.sound.level * np.sin(2 * np.pi * self.sound.hertz * at)
            self._listener.heard(self.sound.echo(tone.astype(np.int16).tobytes()))
        else:
            end = min(size * 2, len(self._waiting) & ~1)
            block, self._waiting = self._waiting[:end], self._waiting[end:]
            self.played += block
            self._listener.played(len(block) // 2, size - len(block) // 2)
        self._made += size

    def write(self, samples: bytes) -> None:
        self._waiting += samples
        self.sound.air += samples

    def close(self) -> None:
        self.closed = True
        self._timer.cancel()

    def end(self, reason: str) -> None:
        """The device goes."""
        if not self.closed:
            self.close()
            self._listener.ended(reason)


class FakeSound:
    """See the module. ``refusals``: why a device does not open; ``hangs`` says nothing at all."""

    def __init__(self, *devices: DeviceView) -> None:
        self.devices = devices
        self.refusals: dict[str, str] = {}
        self.streams: list[FakeStream] = []
        self.hertz, self.level = 440.0, 8000.0
        self.drift = 0.0
        self.room = False
        """The microphone hears the speaker."""
        self.air = b""
        self.failure: str | None = None
        self.watched = self.closed = False
        self._on_devices: Callable[[tuple[DeviceView, ...]], None] = lambda devices: None
        self._on_failure: Callable[[str], None] = lambda reason: None

    def watch(self, on_devices: Callable[[tuple[DeviceView, ...]], None], on_failure: Callable[[str], None]) -> None:
        self.watched = True
        self._on_devices, self._on_failure = on_devices, on_failure
        asyncio.get_running_loop().call_soon(self.tell)

    def tell(self) -> None:
        """The list as it is."""
        if self.failure is not None:
            self._on_failure(self.failure)
        else:
            self._on_devices(self.devices)

    def has(self, name: str, kind: DeviceKind) -> bool:
        return any(kind in one.kinds and name in ("default", one.name) for one in self.devices)

    def open(self, kind: DeviceKind, device: str, listener: SoundListener) -> FakeStream:
        stream = FakeStream(self, kind, device, listener)
        self.streams.append(stream)
        return stream

    def echo(self, tone: bytes) -> bytes:
        """What the microphone hears: its tone, or the room."""
        if not self.room:
            return tone
        heard, self.air = self.air[: len(tone)], self.air[len(tone) :]
        return heard + bytes(len(tone) - len(heard))

    def unplug(self, name: str, *, silently: bool = False) -> None:
        """The device is gone. ``silently``: its stream does not notice."""
        self.devices = tuple(one for one in self.devices if one.name != name)
        for stream in self.streams:
            if stream.device == name and not stream.closed and not silently:
                stream.end("it is gone")
        self.tell()

    def plug(self, *devices: DeviceView) -> None:
        self.devices = (*self.devices, *devices)
        self.tell()

    def opened(self, name: str) -> FakeStream | None:
        """The open stream of a device."""
        return next((one for one in reversed(self.streams) if one.device == name and not one.closed), None)

    async def close(self) -> None:
        self.closed = True
        for stream in self.streams:
            stream.close()
