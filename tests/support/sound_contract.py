"""What every `SoundSystem` does, held against the fake and against PortAudio."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import numpy as np
import pytest

from phoned.audio.sound import SoundSystem
from phoned.audio.trial import pitch
from phoned.model import DeviceView

WAIT_S = 8.0


class Notes:
    """A listener that writes down."""

    def __init__(self) -> None:
        self.rate: int | None = None
        self.sound = b""
        self.taken = self.missing = 0
        self.end: str | None = None
        self.changed = asyncio.Event()

    def ready(self, rate: int, latency_s: float) -> None:
        assert self.rate is None
        assert 0 < latency_s < 1
        self.rate = rate
        self.changed.set()

    def heard(self, block: bytes) -> None:
        assert self.rate is not None
        self.sound += block
        self.changed.set()

    def played(self, samples: int, missing: int) -> None:
        assert self.rate is not None
        self.taken += samples
        self.missing += missing
        self.changed.set()

    def ended(self, reason: str) -> None:
        assert self.end is None
        self.end = reason
        self.changed.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(WAIT_S):
            while not condition():
                self.changed.clear()
                await self.changed.wait()


async def devices_are_told(system: SoundSystem) -> tuple[DeviceView, ...]:
    """`watch` tells of devices by itself."""
    told: asyncio.Future[tuple[DeviceView, ...]] = asyncio.get_running_loop().create_future()

    def on_devices(devices: tuple[DeviceView, ...]) -> None:
        if not told.done():
            told.set_result(devices)

    system.watch(on_devices, lambda reason: pytest.fail(reason))
    async with asyncio.timeout(WAIT_S):
        return await told


async def a_microphone_is_heard(system: SoundSystem, device: str, hertz: float) -> None:
    """Opened, then blocks at the rate that was told, until it is closed."""
    notes = Notes()
    stream = system.open("input", device, notes)
    assert notes.rate is None  # never from within the verb
    await notes.until(lambda: notes.rate is not None and len(notes.sound) > notes.rate * 2)
    stream.close()
    so_far = len(notes.sound)
    await asyncio.sleep(0.1)
    assert len(notes.sound) == so_far  # not a word after that
    assert notes.end is None
    assert notes.rate is not None
    samples = np.frombuffer(notes.sound, np.int16)
    assert pitch(samples[len(samples) // 2 :], notes.rate) == pytest.approx(hertz, abs=5)
    stream.close()


async def a_speaker_plays_all_of_it(system: SoundSystem, device: str) -> None:
    """What is written is taken, all and once; a speaker without more says what it missed."""
    notes = Notes()
    stream = system.open("output", device, notes)
    await notes.until(lambda: notes.rate is not None)
    assert notes.rate is not None
    size = notes.rate // 10
    stream.write(bytes(size * 2))
    await notes.until(lambda: notes.taken == size and notes.missing > 0)
    stream.write(b"\0")  # half a sample is kept for the next
    stream.write(b"\0" * 3)
    await notes.until(lambda: notes.taken == size + 2)
    stream.close()
    assert notes.end is None


async def a_device_that_is_not_there_ends_with_a_reason(system: SoundSystem) -> None:
    """Never ready, one end."""
    notes = Notes()
    stream = system.open("output", "no-such-device", notes)
    await notes.until(lambda: notes.end is not None)
    assert notes.rate is None
    stream.write(b"\0\0")
    stream.close()


async def all_of_it(system: SoundSystem, microphone: str, speaker: str, hertz: float) -> None:
    """The whole contract."""
    names = {one.name: one.kinds for one in await devices_are_told(system)}
    assert "input" in names[microphone]
    assert "output" in names[speaker]
    async with asyncio.TaskGroup() as together:
        together.create_task(a_microphone_is_heard(system, microphone, hertz))
        together.create_task(a_speaker_plays_all_of_it(system, speaker))
        together.create_task(a_device_that_is_not_there_ends_with_a_reason(system))
    late = Notes()
    system.open("input", microphone, late)
    await system.close()
    await asyncio.sleep(0.05)
    assert late.rate is None
