"""The fake machine keeps the contract that the real one is held to in `tests/peers/test_sound_devices.py`."""

from __future__ import annotations

from tests.support import sound_contract
from tests.support.calls import virtual
from tests.support.sound import MICROPHONE, SPEAKER, FakeSound


@virtual
async def test_the_fake_keeps_the_contract() -> None:
    await sound_contract.all_of_it(FakeSound(MICROPHONE, SPEAKER), "mic", "speaker", 440.0)
