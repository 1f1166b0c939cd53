"""Which device is meant, and which of those wanted is taken."""

from __future__ import annotations

from phoned.audio.choice import candidates, find, nearest, pick
from tests.support.sound import BELL, HEADSET, MICROPHONE, SPEAKER, device

ALL = (MICROPHONE, SPEAKER, BELL, HEADSET)


def test_a_device_is_found_by_name_and_by_a_description_of_its_own() -> None:
    assert find("speaker", ALL, "output") == "speaker"
    assert find("usb headset", ALL, "input") == "headset"
    assert find("speaker", ALL, "input") is None
    twins = (device("a", "output", description="Same"), device("b", "output", description="Same"))
    assert find("Same", twins, "output") is None


def test_default_is_there_as_soon_as_anything_is() -> None:
    assert find("default", ALL, "input") == "default"
    assert find("default", (SPEAKER,), "input") is None


def test_the_first_that_is_there_and_well_is_taken() -> None:
    wanted = candidates("headset", ["speaker", "none", "headset", "default"])
    assert wanted == ("headset", "speaker", "default")
    assert pick(wanted, ALL, "output") == "headset"
    assert pick(wanted, (SPEAKER,), "output") == "speaker"
    assert pick(wanted, ALL, "output", but=frozenset({"headset"})) == "speaker"
    assert pick(wanted, (), "output") is None
    assert candidates("none", ["speaker"]) == ()


def test_names_that_may_have_been_meant_come_first() -> None:
    assert nearest("headst", ALL, "output")[0] == "headset"
    assert nearest("USB", ALL, "output") == ("headset",)
    assert nearest("zzz", ALL, "output") == ("speaker", "bell", "headset")
