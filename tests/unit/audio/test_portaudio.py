"""The processes behind sound devices: what they say is told, what they do wrong is theirs alone. No sound here: the
program is a few lines of Python; `tests/peers/test_sound_devices.py` has the real one."""

from __future__ import annotations

import asyncio
import struct
import sys
from typing import Any

import pytest

from phoned.audio.portaudio import PortAudio
from phoned.model import DeviceView
from tests.support.sound_contract import Notes

HELLO = "import sys, time; o = sys.stdout.buffer; w = lambda data: (o.write(data), o.flush()); "
READY = HELLO + """w(b'{"rate": 48000, "latency_s": 0.02}\\n'); """


def system(code: str) -> PortAudio:
    return PortAudio((sys.executable, "-c", code), again_s=(0.01,))


async def test_what_a_microphone_says_comes_in_whole_samples_however_it_is_cut() -> None:
    sound, notes = (
        system(
            HELLO + "w(b'{\"rate\": 480'); time.sleep(0.05); w(b'00, \"latency_s\": 0.02}\\nabc'); "
            "time.sleep(0.05); w(b'd'); sys.stdin.read()"
        ),
        Notes(),
    )
    sound.open("input", "mic", notes)
    await notes.until(lambda: notes.sound == b"abcd")
    assert notes.rate == 48_000
    await sound.close()
    assert notes.end is None


async def test_a_speaker_gets_what_is_written_and_tells_what_it_played() -> None:
    code = READY + "import struct; n = len(sys.stdin.buffer.read(8)); d = struct.pack('=II', n, 3); "
    sound, notes = system(code + "w(d[:5]); time.sleep(0.05); w(d[5:]); sys.stdin.read()"), Notes()
    stream = sound.open("output", "speaker", notes)
    stream.write(b"lost, for nobody is there yet")
    await notes.until(lambda: notes.rate is not None)
    stream.write(bytes(8))
    await notes.until(lambda: notes.taken > 0)
    assert (notes.taken, notes.missing) == (8, 3)
    stream.write(bytes(10_000_000))
    stream.write(bytes(10_000_000))  # nobody reads: it is not kept
    await sound.close()
    assert struct.calcsize("=II") == 8


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (HELLO + 'w(b\'{"error": "Device or resource busy"}\\n\')', "Device or resource busy"),
        (READY + "print('ALSA lib: noise', file=sys.stderr); sys.exit(3)", "its process ended with 3"),
        ("import os; os.abort()", "its process ended with -6"),
    ],
)
async def test_a_process_that_crashes_or_refuses_ends_one_device_with_a_reason(code: str, reason: str) -> None:
    sound, notes = system(code), Notes()
    sound.open("input", "mic", notes)
    await notes.until(lambda: notes.end is not None)
    assert notes.end == reason
    await sound.close()


async def test_a_program_that_is_not_there_is_a_reason_too() -> None:
    sound, notes = PortAudio(("/nonexistent/program",)), Notes()
    sound.open("input", "mic", notes)
    await notes.until(lambda: notes.end is not None)
    assert notes.end == "cannot be started: No such file or directory"
    await sound.close()


class Told:
    """What came, in order."""

    def __init__(self) -> None:
        self.told: list[Any] = []
        self._twice = asyncio.Event()

    def __call__(self, what: object) -> None:
        self.told.append(what)
        if len(self.told) == 2:
            self._twice.set()

    async def twice(self) -> None:
        async with asyncio.timeout(10):
            await self._twice.wait()


async def test_the_watcher_tells_of_devices_and_is_started_again_when_it_ends() -> None:
    line = '{"devices": [{"name": "a", "description": "A", "backend": "alsa", "kinds": ["input"], "default": false}]}'
    devices, failures = Told(), Told()
    sound = system(HELLO + f"w(b'{line}\\n'); time.sleep(0.05)")
    sound.watch(devices, failures)
    await devices.twice()
    assert devices.told[0] == (DeviceView(name="a", description="A", backend="alsa", kinds=("input",)),)
    assert failures.told[0] == "its process ended with 0"
    await sound.close()
    seen = len(devices.told)
    await asyncio.sleep(0.1)
    assert len(devices.told) == seen


async def test_the_watchers_reason_is_told() -> None:
    failures = Told()
    sound = system(HELLO + 'w(b\'{"error": "PortAudio is missing"}\\n\'); sys.exit(1)')
    sound.watch(lambda devices: None, failures)
    await failures.twice()
    assert set(failures.told) == {"PortAudio is missing"}
    await sound.close()


async def test_a_device_that_is_closed_before_it_began_leaves_no_process() -> None:
    sound, notes = system(READY + "sys.stdin.read()"), Notes()
    stream = sound.open("input", "mic", notes)
    stream.close()
    async with asyncio.timeout(10):
        await stream.gone
    assert notes.rate is None
    stream.close()
    await sound.close()
