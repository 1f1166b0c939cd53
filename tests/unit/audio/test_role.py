"""One use of a device, over everything that devices do: they are not there, go, come back, hang, stand still."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from phoned.audio.role import AVOID_S, READY_S, SILENT_S, Role
from phoned.model import DeviceView
from tests.support.calls import virtual
from tests.support.sound import BELL, HEADSET, MICROPHONE, SPEAKER, FakeSound


class Ear:
    """A `Sound` that counts."""

    def __init__(self) -> None:
        self.begun: list[int] = []
        self.blocks = self.ends = 0
        self.write: Callable[[bytes], None] = lambda samples: None

    def begin(self, rate: int, write: Callable[[bytes], None]) -> None:
        self.begun.append(rate)
        self.write = write

    def heard(self, block: bytes) -> None:
        self.blocks += 1

    def played(self, samples: int, missing: int) -> None:
        self.blocks += 1

    def end(self) -> None:
        self.ends += 1


class World:
    def __init__(self, *devices: DeviceView, wanted: str = "headset", fallback: tuple[str, ...] = ("speaker",)) -> None:
        self.sound, self.ear, self.changes = FakeSound(*devices), Ear(), 0
        self.role = Role("output", self.ear, self.sound, self.changed)
        self.role.want(wanted, fallback)
        self.sound.watch(self.role.devices, lambda reason: None)

    def changed(self, role: Role) -> None:
        self.changes += 1


@virtual
async def test_nothing_is_opened_before_it_is_wished() -> None:
    world = World(HEADSET)
    await asyncio.sleep(1)
    assert (world.role.state, world.role.target, world.sound.streams) == ("idle", "headset", [])
    world.role.switch(True)
    assert world.role.state == "opening"
    await asyncio.sleep(0.2)
    assert (world.role.state, world.role.using, world.ear.begun) == ("open", "headset", [48_000])
    assert world.ear.blocks > 5
    assert world.role.latency_s == 0.02
    world.role.switch(False)
    assert (world.role.state, world.ear.ends) == ("idle", 1)
    assert world.sound.opened("headset") is None
    assert world.role.latency_s is None


@virtual
async def test_a_device_that_goes_is_replaced_and_used_again_when_it_comes_back() -> None:
    world = World(HEADSET, SPEAKER)
    world.role.switch(True)
    await asyncio.sleep(0.2)
    world.sound.unplug("headset")
    await asyncio.sleep(0.2)
    assert world.role.using == "speaker"
    world.sound.plug(HEADSET)
    await asyncio.sleep(0.04)
    assert world.role.using == "speaker"  # until the better one is open: no gap
    await asyncio.sleep(0.1)
    assert world.role.using == "headset"
    assert world.sound.opened("speaker") is None
    world.role.close()


@virtual
async def test_a_stream_that_does_not_notice_that_its_device_is_gone_is_closed() -> None:
    world = World(HEADSET, SPEAKER)
    world.role.switch(True)
    await asyncio.sleep(0.2)
    world.sound.unplug("headset", silently=True)
    await asyncio.sleep(0.2)
    assert world.role.using == "speaker"
    assert world.sound.opened("headset") is None
    world.role.close()


@virtual
async def test_without_any_device_there_is_silence_until_one_comes() -> None:
    world = World()
    world.role.switch(True)
    await asyncio.sleep(30)
    assert (world.role.state, world.role.target) == ("missing", None)
    world.sound.plug(SPEAKER)
    await asyncio.sleep(0.2)
    assert world.role.using == "speaker"
    world.sound.unplug("speaker")
    assert world.role.state == "missing"
    world.role.close()


@virtual
async def test_a_device_that_cannot_be_opened_is_left_alone_for_a_while() -> None:
    world = World(HEADSET, fallback=())
    world.sound.refusals["headset"] = "Device or resource busy"
    world.role.switch(True)
    await asyncio.sleep(1)
    assert world.role.state == "failed"
    assert world.role.detail == "headset: Device or resource busy"
    assert len(world.sound.streams) == 1
    del world.sound.refusals["headset"]
    await asyncio.sleep(AVOID_S)
    assert world.role.using == "headset"
    assert not world.role.detail
    world.role.close()


@virtual
async def test_one_that_hangs_while_it_opens_is_given_up() -> None:
    world = World(HEADSET, SPEAKER)
    world.sound.refusals["headset"] = "hangs"
    world.role.switch(True)
    await asyncio.sleep(READY_S + 1)
    assert world.role.using == "speaker"
    world.role.close()


@virtual
async def test_one_that_stands_still_is_opened_anew() -> None:
    world = World(HEADSET, fallback=())
    world.role.switch(True)
    await asyncio.sleep(0.2)
    stream = world.sound.opened("headset")
    assert stream is not None
    stream.frozen = True
    await asyncio.sleep(SILENT_S + 1)
    assert world.role.using is None
    assert stream.closed
    await asyncio.sleep(AVOID_S)
    assert world.role.using == "headset"
    world.role.close()


@virtual
async def test_another_wish_under_way_is_followed() -> None:
    world = World(HEADSET, SPEAKER, BELL)
    world.role.switch(True)
    await asyncio.sleep(0.02)
    world.role.want("bell", ())
    await asyncio.sleep(0.2)
    assert world.role.using == "bell"
    assert world.sound.opened("headset") is None
    assert world.role.wish == ("bell", ())
    world.role.want("none", ("speaker",))
    assert world.role.state == "off"
    assert {world.role.using, world.role.target} == {None}
    first = world.sound.streams[0]
    first.closed = False
    first.end("late")  # nobody listens to it any more
    world.role.close()


@virtual
async def test_a_replug_forgives() -> None:
    world = World(HEADSET, fallback=())
    world.sound.refusals["headset"] = "it is broken"
    world.role.switch(True)
    await asyncio.sleep(0.5)
    world.sound.unplug("headset")
    world.sound.refusals.clear()
    world.sound.plug(HEADSET)
    await asyncio.sleep(0.2)
    assert world.role.using == "headset"
    world.role.close()


@virtual
async def test_a_microphone_is_heard_and_a_late_ready_is_not() -> None:
    sound, ear = FakeSound(MICROPHONE), Ear()
    role = Role("input", ear, sound, lambda role: None)
    sound.watch(role.devices, lambda reason: None)
    role.want("default", ())
    role.switch(True)
    await asyncio.sleep(0.2)
    assert role.using == "default"
    assert ear.blocks > 5
    role.close()
    for stream in sound.streams:
        stream.closed = False
        stream.end("afterwards")
    assert role.detail is None
