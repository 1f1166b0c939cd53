"""The check of the sound devices that the configuration names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from phoned.config.schema import AudioConfig
from phoned.doctor import devices
from phoned.doctor.chain import Chain
from phoned.model import CheckView
from tests.support.sound import HEADSET, MICROPHONE, SPEAKER, FakeSound


async def found(sound: FakeSound, **audio: Any) -> CheckView:
    chain = Chain("audio")
    await devices.check(chain, AudioConfig(**audio), lambda: sound)
    [check] = chain.checks
    return check


async def test_a_headless_phone_is_well_and_nothing_is_started() -> None:
    sound = FakeSound()
    check = await found(sound)
    assert (check.ok, check.detail, sound.watched) == (True, "none configured", False)


async def test_devices_that_are_there_are_named() -> None:
    sound = FakeSound(MICROPHONE, SPEAKER)
    check = await found(sound, input="default", output="speaker", ring="headset", fallback=("speaker",))
    assert check.ok
    assert check.detail == "input: default, output: speaker, ring: speaker (headset is not there now)"
    assert sound.closed


async def test_a_name_that_is_not_there_is_named_with_those_that_were_meant() -> None:
    check = await found(FakeSound(MICROPHONE, SPEAKER, HEADSET), input="mic", output="headste")
    assert check.ok is False
    assert check.detail == "[audio] output: there is no output device 'headste'"
    assert (check.fix or "").startswith("set [audio] output to one of: headset")


async def test_no_device_at_all_has_other_causes() -> None:
    check = await found(FakeSound(SPEAKER), input="default")
    assert "group audio" in (check.fix or "")


@pytest.mark.parametrize(
    ("reason", "fix"),
    [
        ("PortAudio is missing: apt install libportaudio2", "apt install libportaudio2"),
        ("its process ended with -6", "try it by hand: python -m phoned.audio.card watch"),
    ],
)
async def test_no_sound_at_all_is_told_with_its_cure(reason: str, fix: str) -> None:
    sound = FakeSound(SPEAKER)
    sound.failure = reason
    check = await found(sound, output="default")
    assert (check.ok, check.fix) == (False, fix)


async def test_a_sound_server_that_hangs_does_not_hang_the_doctor(monkeypatch: pytest.MonkeyPatch) -> None:
    class Hanging(FakeSound):
        def tell(self) -> None:
            """Never."""

    monkeypatch.setattr(devices, "LOOK_S", 0.01)
    check = await found(Hanging(SPEAKER), output="default")
    assert (check.ok, check.detail) == (False, "the sound libraries do not answer")


async def test_a_ringtone_that_cannot_be_played_is_broken(tmp_path: Path) -> None:
    check = await found(FakeSound(SPEAKER), ring="speaker", ringtone=tmp_path / "none.wav")
    assert check.ok is False
    assert "No such file" in check.detail
