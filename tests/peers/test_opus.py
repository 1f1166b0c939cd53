"""Opus of Chromium as it can be asked for: stereo, and pauses without packets."""

from __future__ import annotations

import time

from tests.peers.conftest import OpenPage
from tests.peers.harness.phone import ACCOUNT, assert_tone, packets, rates, record, wait_flowing
from tests.support.daemon import PhonedProcess

LEFT_HZ, RIGHT_HZ = 440.0, 1000.0
PAUSE_S = 3.0


def test_both_sides_of_stereo_are_heard(phone: PhonedProcess, open_page: OpenPage) -> None:
    page = open_page("bob", tone_hz=LEFT_HZ)
    page.ask("useinbandfec=1;stereo=1;maxaveragebitrate=64000")
    page.stereo(RIGHT_HZ)
    call = phone.place(ACCOUNT, "bob")
    page.wait_flowing()
    wait_flowing(phone, call)
    assert "stereo=1" in (page.statistics().sends or "")
    heard = record(phone, call, 1.5)["remote"].last(1.0)
    assert heard.strength(LEFT_HZ) > 0.1
    assert heard.strength(RIGHT_HZ) > 0.1
    assert heard.strength(LEFT_HZ) + heard.strength(RIGHT_HZ) > 0.95
    assert all(heard.audible())


def test_a_pause_without_packets_is_no_gap_and_what_follows_is_whole(phone: PhonedProcess, open_page: OpenPage) -> None:
    page = open_page("bob", tone_hz=LEFT_HZ)
    page.ask("useinbandfec=1;usedtx=1")
    call = phone.place(ACCOUNT, "bob")
    page.wait_flowing()
    wait_flowing(phone, call)
    recording = phone.verb(call, "record", status=201)["id"]
    states: set[str] = set()

    def look() -> None:
        deadline = time.monotonic() + PAUSE_S
        while time.monotonic() < deadline:
            states.add(phone.call(call)["media"]["state"])
            time.sleep(0.1)

    page.speak(False)
    page.wait_until(lambda: rates(lambda: packets(phone, call), lambda: time.sleep(0.5)).received < 25, "pauses")
    pause = rates(lambda: packets(phone, call), look)
    assert pause.received < 15
    assert pause.sent > 45
    page.speak(True)
    page.wait_until(lambda: rates(lambda: packets(phone, call), lambda: time.sleep(0.2)).received > 40, "speaks")
    assert_tone(record(phone, call, 1.2)["remote"].last(1.0), LEFT_HZ)
    assert states == {"flowing"}
    assert phone.get(f"/v1/recordings/{recording}")["gaps"] == []
    stats = phone.stats(call)
    assert stats["packets_lost"] == 0
    assert stats["concealed_ms"] <= 200
