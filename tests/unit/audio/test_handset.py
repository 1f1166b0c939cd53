"""The handset over the lives of calls: who is heard, what rings, what is told when devices come and go."""

from __future__ import annotations

import asyncio
import wave
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from phoned.audio.handset import LINGER_S, Handset, Surroundings
from phoned.audio.tones import sine
from phoned.audio.trial import pitch
from phoned.config.schema import AudioConfig
from phoned.errors import InvalidValue, NotFound, SoundUnavailable, UnknownDevice, WrongState
from phoned.events import Event, EventBus, MemoryEventLog
from phoned.media.clock import MediaClock
from phoned.media.graph import AudioGraph
from phoned.model import CallState, CallView, DevicesChange, DeviceView, HoldView, RoleChange
from tests.support.calls import virtual
from tests.support.sound import BELL, HEADSET, MICROPHONE, SPEAKER, FakeSound
from tests.unit.audio.test_attention import call

C = CallState


class Keys:
    """`KeyValue` in memory."""

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}

    async def get(self, key: str) -> bytes | None:
        return self.kept.get(key)

    async def set(self, key: str, value: bytes) -> None:
        self.kept[key] = value

    async def delete(self, key: str) -> None:
        self.kept.pop(key, None)

    async def items(self, prefix: str) -> dict[str, bytes]:
        return {key: value for key, value in self.kept.items() if key.startswith(prefix)}


async def inline(work: Callable[[], bytes]) -> bytes:
    """A thread has no place on virtual time."""
    return work()


class Leg:
    """A call's media: its graph ticks, the far end says a tone, and what it hears is kept."""

    def __init__(self, clock: MediaClock, hertz: int) -> None:
        self.graph = AudioGraph(16_000)
        self.heard: list[bytes] = []
        self._tone = sine((hertz,), 16_000, 1000)
        self._at = 0
        self.stop = clock.add(self)

    def tick(self, now: float, due: float) -> None:
        self.heard.append(self.graph.outgoing() or bytes(640))
        self.graph.incoming(self._tone[self._at : self._at + 640])
        self._at = (self._at + 640) % len(self._tone)

    def skip(self, ticks: int) -> None:
        pass

    def crashed(self, error: Exception) -> None:
        raise error

    @property
    def hears(self) -> float | None:
        """The pitch of the last half second, None when it was silent."""
        return tone_of(b"".join(self.heard[-25:]), 16_000)


def tone_of(pcm: bytes, rate: int) -> float | None:
    found = pitch(np.frombuffer(pcm, np.int16), rate)
    return None if found is None else round(found / 10) * 10


class Desk:
    """A handset and everything around it."""

    def __init__(
        self,
        *devices: DeviceView,
        keys: Keys | None = None,
        **config: Any,
    ) -> None:
        self.sound = FakeSound(*devices)
        self.log = MemoryEventLog()
        self.bus = EventBus(self.log, node="n")
        self.clock = MediaClock()
        self.keys = keys or Keys()
        self.legs: dict[str, Leg] = {}
        self.calls: dict[str, CallView] = {}
        around = Surroundings(
            bus=self.bus,
            calls=lambda: tuple(self.calls.values()),
            graphs=lambda one: self.legs[one].graph if one in self.legs else None,
            clock=self.clock,
            keys=self.keys,
            off_loop=inline,
        )
        self.handset = Handset(AudioConfig(**config), self.sound, around)

    async def __aenter__(self) -> Desk:
        await self.handset.start()
        await asyncio.sleep(0.01)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.handset.close()
        self.clock.stop()
        assert self.sound.closed

    async def tell(self, view: CallView, hertz: int = 600) -> None:
        """The call is so from now on."""
        self.calls[view.id] = view
        if view.state in (C.ACTIVE, C.EARLY_MEDIA) and view.id not in self.legs:
            self.legs[view.id] = Leg(self.clock, hertz)
        if view.state is C.ENDED:
            self.legs.pop(view.id).stop()
        self.bus.publish("call.updated", call=view)
        await self.bus.flush()
        await asyncio.sleep(0.001)

    def plays(self, device: str) -> float | None:
        """What a speaker has just said, by its pitch."""
        stream = self.sound.opened(device)
        return None if stream is None else tone_of(stream.played[-48_000:], 48_000)

    async def events(self, prefix: str = "device.") -> Sequence[Event]:
        await self.bus.flush()
        return [event for event in await self.log.after(0, 1000) or [] if event.type.startswith(prefix)]


OURS = {780, 790, 980, 990}
"""What the built-in ringtone says."""
PAIR: dict[str, Any] = {"input": "mic", "output": "speaker"}


@virtual
async def test_a_headless_phone_asks_for_no_sound_at_all() -> None:
    async with Desk(MICROPHONE, SPEAKER) as desk:
        await desk.tell(call("a", C.ACTIVE))
        await asyncio.sleep(1)
        assert not desk.sound.watched
        assert desk.sound.streams == []
        view = desk.handset.view()
        assert (view.devices, view.input.state, view.output.state, view.call) == ((), "off", "off", None)
        with pytest.raises(SoundUnavailable):
            await desk.handset.test()


@virtual
async def test_microphone_and_speaker_are_those_of_the_newest_answered_call() -> None:
    async with Desk(MICROPHONE, SPEAKER, **PAIR) as desk:
        assert desk.sound.streams == []  # nobody listens to an idle room
        await desk.tell(call("a", C.ACTIVE, at=1), 600)
        await asyncio.sleep(1.5)
        assert desk.legs["a"].hears == 440
        assert desk.plays("speaker") == 600
        await desk.tell(call("b", C.ACTIVE, at=2), 800)
        await asyncio.sleep(1.5)
        assert desk.legs["a"].hears is None
        assert desk.legs["b"].hears == 440
        assert desk.plays("speaker") == 800
        await desk.tell(call("b", C.ACTIVE, at=2, hold=HoldView(local=True)))
        await asyncio.sleep(1.5)
        assert desk.legs["a"].hears == 440
        assert desk.legs["b"].hears is None
        await desk.tell(call("a", C.ENDED))
        await asyncio.sleep(1)
        assert desk.handset.view().call is None


@virtual
async def test_what_waits_on_the_way_is_little_and_the_levels_are_told() -> None:
    async with Desk(MICROPHONE, SPEAKER, **PAIR) as desk:
        desk.sound.drift = 200e-6
        await desk.tell(call("a", C.ACTIVE))
        await asyncio.sleep(20)
        view = desk.handset.view()
        assert view.input.state == view.output.state == "open"
        assert view.input.latency_ms is not None
        assert view.output.latency_ms is not None
        assert view.input.latency_ms - 20 <= 40  # less what the card says of itself
        assert view.output.latency_ms - 20 <= 40
        assert view.input.level_dbov == pytest.approx(-15.3, abs=0.5)
        assert view.output.level_dbov == pytest.approx(-15, abs=0.5)
        assert desk.handset.microphone.wants == desk.handset.speaker.wants == 0


@virtual
async def test_somebody_may_choose_another_call_until_it_ends() -> None:
    async with Desk(MICROPHONE, SPEAKER, **PAIR) as desk:
        await desk.tell(call("a", C.ACTIVE, at=1))
        await desk.tell(call("b", C.ACTIVE, at=2))
        view = await desk.handset.change(DevicesChange(call="a"))
        assert (view.call, view.chosen) == ("a", "a")
        await desk.tell(call("c", C.ACTIVE, at=3))
        assert desk.handset.view().call == "a"
        assert (await desk.handset.change(DevicesChange(call=""))).call == "c"
        await desk.handset.change(DevicesChange(call="a"))
        await desk.tell(call("a", C.ENDED))
        await asyncio.sleep(0)
        assert (desk.handset.view().call, desk.handset.view().chosen) == ("c", None)
        with pytest.raises(NotFound):
            await desk.handset.change(DevicesChange(call="a"))


@virtual
async def test_it_rings_on_the_bell_and_beeps_in_the_ear_of_who_talks() -> None:
    async with Desk(MICROPHONE, SPEAKER, BELL, ring="bell", **PAIR) as desk:
        incoming = call("in", C.RINGING, "in")
        await desk.tell(incoming)
        await asyncio.sleep(0.8)
        assert desk.plays("bell") in OURS
        assert desk.plays("speaker") is None
        await desk.tell(replace(incoming, state=C.ACTIVE, answered_at=incoming.created_at))
        await asyncio.sleep(0.1)
        assert desk.sound.opened("bell") is None
        await desk.tell(call("in2", C.RINGING, "in"))
        desk.legs["in"].graph.incoming(None)
        await asyncio.sleep(0.5)
        assert desk.sound.opened("bell") is None
        stream = desk.sound.opened("speaker")
        assert stream is not None
        spectrum = np.abs(np.fft.rfft(np.frombuffer(stream.played[-28_800:], np.int16)))
        assert spectrum[round(425 * 14_400 / 48_000)] > 20 * np.median(spectrum)


@virtual
async def test_the_ringtone_is_the_configured_file_or_ours_when_that_is_no_good(tmp_path: Path) -> None:
    path = tmp_path / "ring.wav"
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", ""))
        file.writeframes(sine((600,), 16_000, 3000))
    for ringtone, expected in ((path, {600}), (tmp_path / "none.wav", OURS)):
        async with Desk(BELL, ring="bell", ringtone=ringtone) as desk:
            await desk.tell(call("in", C.RINGING, "in"))
            await asyncio.sleep(0.8)
            assert desk.plays("bell") in expected
            await desk.handset.change(DevicesChange(ring=RoleChange(muted=True)))
            await asyncio.sleep(0.6)
            assert desk.plays("bell") is None


@virtual
async def test_ringback_sounds_on_180_and_ends_with_early_media() -> None:
    async with Desk(MICROPHONE, SPEAKER, **PAIR) as desk:
        await desk.tell(call("out", C.RINGING))
        await asyncio.sleep(0.9)
        assert desk.plays("speaker") in (420, 430)
        await desk.tell(call("out", C.EARLY_MEDIA), 700)
        await asyncio.sleep(1.2)
        assert desk.plays("speaker") == 700
        assert desk.legs["out"].hears is None  # not answered: the room is not heard
    async with Desk(MICROPHONE, SPEAKER, ringback=False, **PAIR) as desk:
        await desk.tell(call("out", C.RINGING))
        await asyncio.sleep(0.9)
        assert desk.plays("speaker") is None


@virtual
async def test_devices_close_a_moment_after_the_last_call() -> None:
    async with Desk(MICROPHONE, SPEAKER, **PAIR) as desk:
        await desk.tell(call("a", C.ACTIVE))
        await asyncio.sleep(0.5)
        await desk.tell(call("a", C.ENDED))
        await asyncio.sleep(LINGER_S / 2)
        await desk.tell(call("b", C.ACTIVE))
        await asyncio.sleep(LINGER_S)
        assert desk.sound.opened("mic") is desk.sound.streams[0]
        await desk.tell(call("b", C.ENDED))
        await asyncio.sleep(LINGER_S + 0.1)
        assert desk.sound.opened("mic") is None
        assert desk.sound.opened("speaker") is None


@virtual
async def test_a_device_that_goes_in_a_call_is_told_and_replaced_and_the_call_lives() -> None:
    async with Desk(HEADSET, MICROPHONE, SPEAKER, input="headset", output="headset", fallback=("default",)) as desk:
        await desk.tell(call("a", C.ACTIVE))
        await asyncio.sleep(1)
        desk.sound.unplug("headset")
        await asyncio.sleep(1)
        assert desk.legs["a"].hears == 440
        view = desk.handset.view()
        assert (view.input.using, view.output.using) == ("default", "default")
        desk.sound.plug(HEADSET)
        await asyncio.sleep(1)
        assert desk.handset.view().output.using == "headset"
        assert desk.legs["a"].hears == 440
        told = [(event.type, event.data.get("role"), event.data["device"]) for event in await desk.events()]
        assert ("device.removed", None, HEADSET) in told
        assert ("device.added", None, HEADSET) in told
        assert ("device.changed", "input", HEADSET) in told


@virtual
async def test_without_fallback_there_is_silence_and_the_call_goes_on() -> None:
    async with Desk(MICROPHONE, SPEAKER, **PAIR) as desk:
        await desk.tell(call("a", C.ACTIVE))
        await asyncio.sleep(1)
        desk.sound.unplug("mic", silently=True)
        await asyncio.sleep(1)
        assert desk.legs["a"].hears is None
        assert desk.plays("speaker") == 600
        assert desk.handset.view().input.state == "missing"
        events = [(event.type, event.data.get("role")) for event in await desk.events()]
        assert ("device.removed", "input") in events
        desk.sound.plug(MICROPHONE)
        await asyncio.sleep(1)
        assert desk.legs["a"].hears == 440


@virtual
async def test_volume_gain_and_mute_act_at_once_and_last() -> None:
    keys = Keys()
    async with Desk(MICROPHONE, SPEAKER, keys=keys, **PAIR) as desk:
        await desk.tell(call("a", C.ACTIVE))
        await asyncio.sleep(1)
        change = DevicesChange(input=RoleChange(gain_db=-20.0), output=RoleChange(volume_pct=50))
        view = await desk.handset.change(change)
        assert (view.input.gain_db, view.output.volume_pct) == (-20.0, 50)
        await asyncio.sleep(0.5)
        view = desk.handset.view()
        assert view.input.level_dbov == pytest.approx(-35.3, abs=0.5)
        assert view.output.level_dbov == pytest.approx(-33.1, abs=0.5)
        await desk.handset.change(DevicesChange(input=RoleChange(muted=True)))
        await asyncio.sleep(0.6)
        assert desk.legs["a"].hears is None
        assert [event.data["role"] for event in await desk.events("device.changed")] == ["input", "output", "input"]
        await desk.handset.change(DevicesChange())
        assert len(await desk.events("device.changed")) == 3
    async with Desk(MICROPHONE, SPEAKER, BELL, keys=keys, **PAIR) as desk:
        view = desk.handset.view()
        assert (view.input.muted, view.input.gain_db, view.output.volume_pct) == (True, -20.0, 50)
        await desk.handset.change(DevicesChange(output=RoleChange(device="bell")))
        assert desk.handset.view().output.device == "bell"
        await desk.handset.change(DevicesChange(output=RoleChange(device="")))
        assert desk.handset.view().output.device == "speaker"
    keys.kept["roles"] = b"nonsense"
    async with Desk(MICROPHONE, SPEAKER, keys=keys, gain_db=3.0, **PAIR) as desk:
        assert desk.handset.view().input.gain_db == 3.0


@virtual
async def test_a_headless_phone_looks_before_it_takes_the_name_of_a_device() -> None:
    async with Desk(MICROPHONE, SPEAKER) as desk:
        await desk.handset.change(DevicesChange(output=RoleChange(device="none", volume_pct=50)))
        assert not desk.sound.watched
        with pytest.raises(UnknownDevice, match="there is: speaker"):
            await desk.handset.change(DevicesChange(output=RoleChange(device="nix")))
        assert desk.handset.view().output.device == "none"
        view = await desk.handset.change(DevicesChange(output=RoleChange(device="speaker")))
        assert (view.output.device, view.devices) == ("speaker", (MICROPHONE, SPEAKER))


@virtual
async def test_a_headless_phone_says_why_it_cannot_look_for_devices() -> None:
    order = DevicesChange(output=RoleChange(device="speaker"))
    async with Desk(SPEAKER) as desk:
        desk.sound.failure = "PortAudio is missing: apt install libportaudio2"
        with pytest.raises(SoundUnavailable, match="libportaudio2"):
            await desk.handset.change(order)
    async with Desk(SPEAKER) as desk:
        desk.sound.tell = lambda: None  # type: ignore[method-assign]  # libraries that hang
        with pytest.raises(SoundUnavailable, match="phoned doctor"):
            await desk.handset.change(order)
        assert desk.handset.view().output.device == "none"


@virtual
async def test_orders_that_cannot_be_are_refused_with_the_names_that_there_are() -> None:
    async with Desk(MICROPHONE, SPEAKER, **PAIR) as desk:
        with pytest.raises(UnknownDevice, match="there is: speaker") as refused:
            await desk.handset.change(DevicesChange(output=RoleChange(device="speker")))
        assert refused.value.pointer == "/output/device"
        with pytest.raises(InvalidValue):
            await desk.handset.change(DevicesChange(output=RoleChange(gain_db=1.0)))
        with pytest.raises(InvalidValue):
            await desk.handset.change(DevicesChange(input=RoleChange(volume_pct=1)))
    async with Desk() as desk:  # headless until now: nobody knows the names yet
        desk.sound.devices = (SPEAKER,)
        await desk.handset.change(DevicesChange(output=RoleChange(device="speaker")))
        await asyncio.sleep(0.1)
        assert desk.handset.view().output.state == "idle"


@virtual
async def test_a_test_hears_its_own_tone_across_the_room() -> None:
    async with Desk(MICROPHONE, SPEAKER, **PAIR) as desk:
        desk.sound.room = True
        found = await desk.handset.test()
        assert found.heard
        assert found.heard_hz == pytest.approx(1000, abs=2)
        assert (found.output, found.input) == ("speaker", "mic")
        assert desk.handset.view().input.state == "open"
        await asyncio.sleep(LINGER_S + 0.1)
        assert desk.sound.opened("mic") is None
    async with Desk(MICROPHONE, SPEAKER, **PAIR) as desk:
        assert not (await desk.handset.test()).heard


@virtual
async def test_a_test_disturbs_no_call_and_says_why_it_cannot_be() -> None:
    async with Desk(MICROPHONE, SPEAKER, **PAIR) as desk:
        async with asyncio.TaskGroup() as together:
            together.create_task(desk.handset.test())
            await asyncio.sleep(0.01)
            with pytest.raises(WrongState):
                await desk.handset.test()
        await desk.tell(call("a", C.ACTIVE))
        await asyncio.sleep(0)
        with pytest.raises(WrongState):
            await desk.handset.test()
    async with Desk(MICROPHONE, **PAIR) as desk:
        with pytest.raises(SoundUnavailable, match=r"no output device 'speaker'\. Fix: .*\[audio\] output"):
            await desk.handset.test()
    async with Desk(MICROPHONE, BELL, **PAIR) as desk:
        with pytest.raises(SoundUnavailable, match=r"'speaker'; there is: bell\. Fix: .*'phonectl devices'"):
            await desk.handset.test()
    async with Desk(MICROPHONE, input="mic", output="default") as desk:
        with pytest.raises(SoundUnavailable, match=r"no output device\. Fix: "):
            await desk.handset.test()
    async with Desk(MICROPHONE, SPEAKER, **PAIR) as desk:
        desk.sound.refusals["mic"] = "hangs"
        with pytest.raises(SoundUnavailable, match="open"):
            await desk.handset.test()


@virtual
async def test_no_sound_at_all_is_said_with_its_cure() -> None:
    async with Desk(MICROPHONE, SPEAKER, **PAIR) as desk:
        desk.sound.failure = "PortAudio is missing: apt install libportaudio2"
        desk.sound.tell()
        desk.sound.tell()
        view = desk.handset.view()
        assert (view.input.state, view.input.detail) == ("failed", desk.sound.failure)
        assert view.ring.state == "off"
        with pytest.raises(SoundUnavailable, match="libportaudio2"):
            await desk.handset.test()
        await desk.tell(call("a", C.ACTIVE))
        await asyncio.sleep(1)
        assert desk.legs["a"].hears is None
        desk.sound.failure = None
        desk.sound.tell()
        await asyncio.sleep(1)
        assert desk.legs["a"].hears == 440


@virtual
async def test_calls_of_the_process_before_have_the_handset_too() -> None:
    desk = Desk(MICROPHONE, SPEAKER, **PAIR)
    desk.calls["a"] = call("a", C.ACTIVE)
    desk.legs["a"] = Leg(desk.clock, 600)
    async with desk:
        await asyncio.sleep(1)
        assert desk.legs["a"].hears == 440


@virtual
async def test_a_flood_of_events_loses_no_call() -> None:
    async with Desk(MICROPHONE, SPEAKER, **PAIR) as desk:
        for _ in range(3000):
            desk.bus.publish("call.updated", call=call("a", C.RINGING))
        desk.calls["b"] = call("b", C.ACTIVE)
        desk.legs["b"] = Leg(desk.clock, 600)
        await desk.bus.flush()
        await asyncio.sleep(1)
        assert desk.handset.view().call == "b"
