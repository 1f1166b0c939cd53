"""Sound devices of a real sound server: the contract, and calls that are spoken and heard through them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from phoned.audio.portaudio import PROGRAM, PortAudio
from phoned.audio.tones import sine
from tests.peers.conftest import OpenPage, StartPhone, online
from tests.peers.harness.exchange import ExchangeProcess
from tests.peers.harness.kamailio import Kamailio
from tests.peers.harness.phone import ACCOUNT, account, phoned, record
from tests.peers.harness.sound import Sound
from tests.peers.harness.sound_server import PipeWire, PulseAudio, SoundServer
from tests.support import sound_contract
from tests.support.child import until
from tests.support.daemon import PhonedProcess
from tests.support.sound_contract import Notes


@pytest.fixture(scope="module", params=[PulseAudio, PipeWire])
def server(request: pytest.FixtureRequest) -> Iterator[SoundServer]:
    with request.param() as running:
        yield running


def system(server: SoundServer) -> PortAudio:
    """PortAudio over this server."""
    return PortAudio(("/usr/bin/env", *(f"{key}={value}" for key, value in server.environment.items()), *PROGRAM))


async def test_portaudio_keeps_the_contract_over_each_server(server: SoundServer) -> None:
    loudspeaker, notes = system(server), Notes()
    stream = loudspeaker.open("output", "room", notes)
    await notes.until(lambda: notes.rate is not None)
    assert notes.rate is not None
    tone = sine((440,), notes.rate, 100)

    async def speak() -> None:
        while True:
            stream.write(tone)
            await asyncio.sleep(0.0995)

    under_test = system(server)
    try:
        async with asyncio.TaskGroup() as together:
            speaking = together.create_task(speak())
            await sound_contract.all_of_it(under_test, "mic", "speaker", 440.0)
            speaking.cancel()
    finally:
        await under_test.close()
        await loudspeaker.close()


@pytest.fixture(scope="module")
def daemon(server: SoundServer) -> Iterator[PhonedProcess]:
    """One phone for all of it, with a bell of its own: accounts alice and bob at an exchange in a box."""
    audio = {"input": "mic", "output": "speaker", "ring": "bell", "fallback": ["speaker"]}
    with ExchangeProcess() as exchange:
        accounts = [exchange.account("alice"), exchange.account("bob")]
        with PhonedProcess({"accounts": accounts, "audio": audio}, secrets=exchange.users) as process:
            process.environment = server.environment
            process.start()
            until(lambda: all(one["state"] == "online" for one in process.get("/v1/accounts")["data"]), "registered")
            until(lambda: process.get("/v1/devices")["devices"], "devices are known")
            yield process
            assert process.stop() == 0


@pytest.fixture
def phone(daemon: PhonedProcess) -> Iterator[PhonedProcess]:
    """The phone as it is configured, without calls."""
    yield daemon
    for view in daemon.get("/v1/calls?state=active")["data"]:
        daemon.verb(view["id"], "hangup")
    until(lambda: daemon.get("/v1/status")["calls"]["active"] == 0, "no call is up")
    use(daemon, input={"device": None}, output={"device": None, "muted": False})


def use(phone: PhonedProcess, **order: dict[str, Any]) -> None:
    """``PATCH /v1/devices``."""
    answer = phone.http.patch("/v1/devices", json=order)
    assert answer.status_code == 200, answer.text


def is_tone(sound: Sound, frequency_hz: float) -> bool:
    """It is this tone and little else."""
    if not sound.samples.any():
        return False
    tone = sound.tone()
    return abs(tone.frequency_hz - frequency_hz) < 5 and tone.level_dbfs > -35 and tone.purity > 0.9


def uses(phone: PhonedProcess, role: str, device: str | None) -> None:
    until(lambda: phone.get("/v1/devices")[role]["using"] == device, f"{role} is {device}")


def test_what_is_said_in_the_room_is_heard_at_the_far_end_and_the_other_way(
    server: SoundServer, phone: PhonedProcess
) -> None:
    with server.says(440), server.listening("speaker") as heard:
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
        use(phone, output={"muted": True})
        until(lambda: heard(0.5).level_dbfs < -60, "a speaker that is mute is silent")
        phone.verb(again, "hangup")


def test_a_speaker_that_is_pulled_out_in_a_call_is_replaced_and_used_again(
    server: SoundServer, phone: PhonedProcess
) -> None:
    headset = server.load("module-null-sink", "sink_name=headset", "rate=48000")
    until(lambda: "headset" in phone.http.get("/v1/devices").text, "the headset is known")
    use(phone, output={"device": "headset"})
    with server.listening("speaker") as speaker:
        call = phone.place("alice", "milliwatt", wait="answered")
        uses(phone, "output", "headset")
        server.unload(headset)
        removed = phone.events.wait_for("device.removed", lambda data: data["device"]["name"] == "headset")
        assert removed.data["role"] in ("output", None)
        uses(phone, "output", "speaker")
        until(lambda: is_tone(speaker(1.0), 1004), "the speaker has taken over")
        server.load("module-null-sink", "sink_name=headset", "rate=48000")
        phone.events.wait_for("device.added", lambda data: data["device"]["name"] == "headset")
        uses(phone, "output", "headset")
        with server.listening("headset") as ears:
            until(lambda: is_tone(ears(1.0), 1004), "the headset is used again")
    assert phone.call(call)["state"] == "active"
    assert phone.stats(call)["packets_lost"] == 0
    phone.verb(call, "hangup")
    server.unload(server.module_of("headset"))


def test_it_rings_on_the_bell_and_the_caller_hears_it_ring(server: SoundServer, phone: PhonedProcess) -> None:
    with server.listening("bell") as bell, server.listening("speaker") as speaker:
        call = phone.place("bob", "alice")
        incoming = phone.incoming()
        until(lambda: bell(1.0).level_dbfs > -30, "the bell rings")
        until(lambda: is_tone(speaker(0.5), 425), "the ringback tone")
        phone.verb(incoming, "reject")
        phone.wait_call(call, "it is over", lambda view: view["state"] == "ended")
        until(lambda: bell(0.5).level_dbfs < -60, "the bell is silent")


def test_a_test_of_the_devices_hears_its_tone_across_the_room(server: SoundServer, phone: PhonedProcess) -> None:
    use(phone, output={"device": "default"})
    alone = phone.post("/v1/devices/test")
    assert (alone["output"], alone["heard"]) == ("default", False)
    air = server.load("module-loopback", "source=speaker.monitor", "sink=room", "latency_msec=30")
    found = phone.post("/v1/devices/test")
    server.unload(air)
    assert found["heard"]
    assert found["heard_hz"] == pytest.approx(1000, abs=3)
    assert found["level_dbov"] > found["quiet_dbov"] + 10


def test_the_echo_canceller_of_the_sound_server_is_used_like_any_device(
    server: SoundServer, phone: PhonedProcess
) -> None:
    canceller = server.load(
        "module-echo-cancel",
        "source_master=mic",
        "sink_master=speaker",
        "source_name=mic.echo-cancel",
        "sink_name=speaker.echo-cancel",
        "aec_method=webrtc",
        'aec_args="noise_suppression=0 analog_gain_control=0 digital_gain_control=0"',
    )
    until(lambda: "speaker.echo-cancel" in phone.http.get("/v1/devices").text, "its devices are known")
    use(phone, input={"device": "mic.echo-cancel"}, output={"device": "speaker.echo-cancel"})
    with server.listening("speaker") as speaker:
        call = phone.place("alice", "milliwatt", wait="answered")
        until(lambda: is_tone(speaker(1.0), 1004), "the far end is heard")
        phone.verb(call, "hangup")
        silent = phone.place("alice", "silence", wait="answered")
        with server.says(440):
            until(lambda: is_tone(record(phone, silent, 1.0)["local"], 440), "the room is heard", 20.0)
        phone.verb(silent, "hangup")
    server.unload(canceller)


def test_a_browser_hears_the_room_and_is_heard_in_it(
    server: SoundServer, kamailio: Kamailio, start_phone: StartPhone, open_page: OpenPage
) -> None:
    process = phoned(account(kamailio), audio={"input": "mic", "output": "speaker"})
    process.environment = server.environment
    own = online(start_phone(process))
    page = open_page("bob", tone_hz=440.0)
    with server.says(600), server.listening("speaker") as speaker:
        call = own.place(ACCOUNT, "bob", wait="answered")
        page.wait_flowing()
        page.wait_until(lambda: is_tone(page.heard(1.0), 600), "hears the room")
        until(lambda: is_tone(speaker(1.0), 440), "the room hears the page")
        own.verb(call, "hangup")
