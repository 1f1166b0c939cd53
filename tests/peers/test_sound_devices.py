"""Sound devices of a real sound server: the contract, and calls that are spoken and heard through them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from phoned.audio.portaudio import PROGRAM, PortAudio
from phoned.audio.tones import sine
from tests.peers.conftest import StartPhone
from tests.peers.harness.exchange import ExchangeProcess
from tests.peers.harness.phone import record
from tests.peers.harness.pulse import PulseAudio
from tests.peers.harness.sound import Sound
from tests.support import sound_contract
from tests.support.child import until
from tests.support.daemon import PhonedProcess
from tests.support.sound_contract import Notes


@pytest.fixture(scope="module")
def pulse() -> Iterator[PulseAudio]:
    with PulseAudio() as server:
        yield server


def system(pulse: PulseAudio) -> PortAudio:
    """PortAudio over this server."""
    return PortAudio(("/usr/bin/env", *(f"{key}={value}" for key, value in pulse.environment.items()), *PROGRAM))


async def test_portaudio_keeps_the_contract_over_pulseaudio(pulse: PulseAudio) -> None:
    loudspeaker, notes = system(pulse), Notes()
    stream = loudspeaker.open("output", "room", notes)
    await notes.until(lambda: notes.rate is not None)
    assert notes.rate is not None
    tone = sine((440,), notes.rate, 100)

    async def speak() -> None:
        while True:
            stream.write(tone)
            await asyncio.sleep(0.0995)

    under_test = system(pulse)
    try:
        async with asyncio.TaskGroup() as together:
            speaking = together.create_task(speak())
            await sound_contract.all_of_it(under_test, "mic", "speaker", 440.0)
            speaking.cancel()
    finally:
        await under_test.close()
        await loudspeaker.close()


StartWith = Callable[..., PhonedProcess]


@pytest.fixture
def start_with(pulse: PulseAudio, exchange: ExchangeProcess, start_phone: StartPhone) -> StartWith:
    """A phone at the exchange with these sound devices."""

    def start(*users: str, **audio: Any) -> PhonedProcess:
        accounts = [exchange.account(user) for user in users or ("alice",)]
        process = PhonedProcess({"accounts": accounts, "audio": audio}, secrets=exchange.users)
        process.environment = pulse.environment
        phone = start_phone(process)
        until(lambda: all(one["state"] == "online" for one in phone.get("/v1/accounts")["data"]), "registered")
        until(lambda: phone.get("/v1/devices")["devices"], "devices are known")
        return phone

    return start


def is_tone(sound: Sound, frequency_hz: float) -> bool:
    """It is this tone and little else."""
    if not sound.samples.any():
        return False
    tone = sound.tone()
    return abs(tone.frequency_hz - frequency_hz) < 5 and tone.level_dbfs > -35 and tone.purity > 0.9


def uses(phone: PhonedProcess, role: str, device: str | None) -> None:
    until(lambda: phone.get("/v1/devices")[role]["using"] == device, f"{role} is {device}")


def test_what_is_said_in_the_room_is_heard_at_the_far_end_and_the_other_way(
    pulse: PulseAudio, start_with: StartWith
) -> None:
    phone = start_with(input="mic", output="speaker")
    with pulse.says(440), pulse.listening("speaker") as heard:
        call = phone.place("alice", "echo", wait="answered")
        until(lambda: is_tone(heard(1.0), 440), "the far end gives back what the room says")
        said = record(phone, call, 1.0)
        assert is_tone(said["local"], 440)
        assert is_tone(said["remote"], 440)
        seen = phone.get("/v1/devices")
        assert (seen["call"], seen["input"]["state"], seen["output"]["state"]) == (call, "open", "open")
        assert seen["input"]["level_dbov"] > -30
        phone.verb(call, "hangup")
        again = phone.place("alice", "milliwatt", wait="answered")
        until(lambda: is_tone(heard(1.0), 1004), "the far end is heard")
        phone.http.patch("/v1/devices", json={"output": {"muted": True}})
        until(lambda: heard(0.5).level_dbfs < -60, "a speaker that is mute is silent")
        phone.verb(again, "hangup")


def test_a_speaker_that_is_pulled_out_in_a_call_is_replaced_and_used_again(
    pulse: PulseAudio, start_with: StartWith
) -> None:
    headset = pulse.load("module-null-sink", "sink_name=headset", "rate=48000")
    phone = start_with(output="headset", fallback=["speaker"])
    with pulse.listening("speaker") as speaker:
        call = phone.place("alice", "milliwatt", wait="answered")
        uses(phone, "output", "headset")
        pulse.unload(headset)
        removed = phone.events.wait_for("device.removed", lambda data: data["device"]["name"] == "headset")
        assert removed.data["role"] in ("output", None)
        uses(phone, "output", "speaker")
        until(lambda: is_tone(speaker(1.0), 1004), "the speaker has taken over")
        pulse.load("module-null-sink", "sink_name=headset", "rate=48000")
        phone.events.wait_for("device.added", lambda data: data["device"]["name"] == "headset")
        uses(phone, "output", "headset")
        with pulse.listening("headset") as ears:
            until(lambda: is_tone(ears(1.0), 1004), "the headset is used again")
    assert phone.call(call)["state"] == "active"
    assert phone.stats(call)["packets_lost"] == 0
    phone.verb(call, "hangup")
    pulse.unload(pulse.module_of("headset"))


def test_it_rings_on_the_bell_and_the_caller_hears_it_ring(pulse: PulseAudio, start_with: StartWith) -> None:
    phone = start_with("alice", "bob", output="speaker", ring="bell")
    with pulse.listening("bell") as bell, pulse.listening("speaker") as speaker:
        call = phone.place("bob", "alice")
        incoming = phone.incoming()
        until(lambda: bell(1.0).level_dbfs > -30, "the bell rings")
        until(lambda: is_tone(speaker(0.5), 425), "the ringback tone")
        phone.verb(incoming, "reject")
        phone.wait_call(call, "it is over", lambda view: view["state"] == "ended")
        until(lambda: bell(0.5).level_dbfs < -60, "the bell is silent")


def test_a_test_of_the_devices_hears_its_tone_across_the_room(pulse: PulseAudio, start_with: StartWith) -> None:
    phone = start_with(input="mic", output="default")
    alone = phone.post("/v1/devices/test")
    assert (alone["output"], alone["heard"]) == ("default", False)
    air = pulse.load("module-loopback", "source=speaker.monitor", "sink=room", "latency_msec=30")
    found = phone.post("/v1/devices/test")
    pulse.unload(air)
    assert found["heard"]
    assert found["heard_hz"] == pytest.approx(1000, abs=3)
    assert found["level_dbov"] > found["quiet_dbov"] + 10


def test_the_echo_canceller_of_the_sound_server_is_used_like_any_device(
    pulse: PulseAudio, start_with: StartWith
) -> None:
    canceller = pulse.load(
        "module-echo-cancel",
        "source_master=mic",
        "sink_master=speaker",
        "source_name=mic.echo-cancel",
        "sink_name=speaker.echo-cancel",
        "aec_method=webrtc",
        'aec_args="noise_suppression=0 analog_gain_control=0 digital_gain_control=0"',
    )
    phone = start_with(input="mic.echo-cancel", output="speaker.echo-cancel")
    with pulse.listening("speaker") as speaker:
        call = phone.place("alice", "milliwatt", wait="answered")
        until(lambda: is_tone(speaker(1.0), 1004), "the far end is heard")
        phone.verb(call, "hangup")
        silent = phone.place("alice", "silence", wait="answered")
        with pulse.says(440):
            until(lambda: is_tone(record(phone, silent, 1.0)["local"], 440), "the room is heard", 20.0)
        phone.verb(silent, "hangup")
    pulse.unload(canceller)
