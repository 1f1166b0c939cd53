"""Transfers between phoned, Chromium with JsSIP, a second phoned and baresip, through Kamailio (RFC 3515, RFC 3891)."""

from __future__ import annotations

import pytest

from tests.peers.conftest import OpenPage, StartPhone, online
from tests.peers.harness.baresip import Baresip
from tests.peers.harness.browser import Page
from tests.peers.harness.kamailio import Kamailio, password
from tests.peers.harness.phone import (
    ACCOUNT,
    PHONE_HZ,
    account,
    assert_tone,
    ended,
    phoned,
    play_tone,
    record,
    wait_flowing,
)
from tests.peers.harness.sound import sine, write_wav
from tests.support.daemon import PhonedProcess

BOB_HZ = 440.0
OTHER = "dave"


@pytest.fixture
def bob(open_page: OpenPage) -> Page:
    return open_page("bob", tone_hz=BOB_HZ)


def other_phone(kamailio: Kamailio, *, allow_refer: bool = False) -> PhonedProcess:
    """A second phoned, which answers by rule."""
    table = {**account(kamailio), "aor": kamailio.aor(OTHER), "auth_username": OTHER}
    process = PhonedProcess(
        {
            "accounts": [table],
            "incoming": [{"match": "*", "action": "answer"}],
            "transfer": {"allow_refer": allow_refer},
        },
        secrets={"password": password(OTHER)},
    )
    write_wav(process.media / "tone.wav", sine(PHONE_HZ, 2.0))
    return process


@pytest.fixture
def dave(kamailio: Kamailio, start_phone: StartPhone) -> PhonedProcess:
    return online(start_phone(other_phone(kamailio)))


def newest(phone: PhonedProcess) -> str:
    """The newest call's id."""
    return str(phone.get("/v1/calls")["data"][0]["id"])


def talk(page: Page, phone: PhonedProcess, call: str) -> None:
    """They hear each other."""
    wait_flowing(phone, call)
    play_tone(phone, call)
    page.wait_until(lambda: page.heard(0.2).level_dbfs > -30, "hears the phone")
    assert_tone(page.listen(1.0), PHONE_HZ)
    assert_tone(record(phone, call, 1.2)["remote"].last(1.0), BOB_HZ)


def test_phoned_hands_chromium_to_another_phone(phone: PhonedProcess, bob: Page, dave: PhonedProcess) -> None:
    call = phone.place(ACCOUNT, "bob")
    wait_flowing(phone, call)
    phone.verb(call, "transfer", to=OTHER)
    end = ended(phone, call)
    assert (end["cause"], end["by"]) == ("transferred", "local")
    completed = phone.events.wait_for("call.transfer_completed", lambda data: data["call"]["id"] == call)
    assert completed.data["sip_code"] == 200
    talk(bob, dave, newest(dave))


def test_a_transfer_to_nobody_leaves_the_call_up(phone: PhonedProcess, bob: Page) -> None:
    call = phone.place(ACCOUNT, "bob")
    wait_flowing(phone, call)
    phone.verb(call, "transfer", to="nobody")
    failed = phone.events.wait_for("call.transfer_failed", lambda data: data["call"]["id"] == call)
    assert failed.data["sip_code"] in (404, 480)
    talk(bob, phone, call)


def test_phoned_brings_two_far_ends_together(phone: PhonedProcess, bob: Page, dave: PhonedProcess) -> None:
    first = phone.place(ACCOUNT, "bob")
    wait_flowing(phone, first)
    phone.verb(first, "hold")
    second = phone.place(ACCOUNT, OTHER)
    wait_flowing(phone, second)
    old = newest(dave)
    phone.verb(first, "transfer", replaces=second)
    for call in (first, second):
        assert ended(phone, call)["cause"] == "transferred"
    end = ended(dave, old)
    assert (end["cause"], end["by"]) == ("replaced", "remote")
    assert dave.call(newest(dave))["tags"] == {"replaces": old}
    talk(bob, dave, newest(dave))


def referable(kamailio: Kamailio, start_phone: StartPhone) -> PhonedProcess:
    """A phone that its far ends may move."""
    return online(start_phone(phoned(account(kamailio), transfer={"allow_refer": True})))


def test_chromium_sends_phoned_to_another_phone(
    kamailio: Kamailio, start_phone: StartPhone, bob: Page, dave: PhonedProcess
) -> None:
    phone = referable(kamailio, start_phone)
    call = phone.place(ACCOUNT, "bob")
    wait_flowing(phone, call)
    assert bob.transfer(OTHER) == 200
    requested = phone.events.wait_for("call.transfer_requested", lambda data: data["call"]["id"] == call)
    bob.hangup()
    end = ended(phone, call)
    assert (end["cause"], end["by"]) == ("transferred", "remote")
    placed = str(requested.data["call_placed"])
    assert phone.call(placed)["tags"] == {"transfer_of": call}
    wait_flowing(phone, placed)
    play_tone(phone, placed)
    assert_tone(record(dave, newest(dave), 1.2)["remote"].last(1.0), PHONE_HZ)


def test_chromium_brings_two_phones_together(
    kamailio: Kamailio, start_phone: StartPhone, bob: Page, dave: PhonedProcess
) -> None:
    phone = referable(kamailio, start_phone)
    call = phone.place(ACCOUNT, "bob")
    wait_flowing(phone, call)
    bob.call(OTHER)
    bob.wait_for("outgoing")
    bob.wait_flowing()
    old = newest(dave)
    assert bob.join() == 200
    assert ended(dave, old)["cause"] == "replaced"
    bob.wait_for("ended")
    requested = phone.events.wait_for("call.transfer_requested", lambda data: data["call"]["id"] == call)
    placed = str(requested.data["call_placed"])
    wait_flowing(phone, placed)
    play_tone(phone, placed)
    assert_tone(record(dave, newest(dave), 1.2)["remote"].last(1.0), PHONE_HZ)
    assert ended(phone, call, 20.0)["cause"] == "transferred"


def test_a_phone_that_may_not_be_moved_stays(phone: PhonedProcess, bob: Page) -> None:
    call = phone.place(ACCOUNT, "bob")
    wait_flowing(phone, call)
    with pytest.raises(RuntimeError, match="refused"):
        bob.transfer(OTHER)
    assert phone.call(call)["state"] == "active"


def test_phoned_hands_baresip_to_another_phone(
    bridge: Kamailio, bridged_phone: PhonedProcess, start_phone: StartPhone, baresip: Baresip
) -> None:
    phone = bridged_phone
    dave = online(start_phone(other_phone(bridge)))
    call = phone.place(ACCOUNT, "carol")
    wait_flowing(phone, call)
    phone.verb(call, "transfer", to=OTHER)
    assert ended(phone, call, 20.0)["cause"] == "transferred"
    moved = newest(dave)
    wait_flowing(dave, moved)
    assert_tone(record(dave, moved, 1.2)["remote"].last(1.0), 1000.0)


def test_baresip_sends_phoned_to_another_phone(bridge: Kamailio, start_phone: StartPhone, baresip: Baresip) -> None:
    phone = referable(bridge, start_phone)
    dave = online(start_phone(other_phone(bridge)))
    call = phone.place(ACCOUNT, "carol")
    wait_flowing(phone, call)
    baresip.command("transfer", bridge.aor(OTHER))
    end = ended(phone, call, 20.0)
    assert (end["cause"], end["by"]) == ("transferred", "remote")
    requested = phone.events.wait_for("call.transfer_requested", lambda data: data["call"]["id"] == call)
    placed = str(requested.data["call_placed"])
    wait_flowing(phone, placed)
    play_tone(phone, placed)
    assert_tone(record(dave, newest(dave), 1.2)["remote"].last(1.0), PHONE_HZ)


def test_phoned_brings_baresip_and_another_phone_together(
    bridge: Kamailio, bridged_phone: PhonedProcess, start_phone: StartPhone, baresip: Baresip
) -> None:
    phone = bridged_phone
    dave = online(start_phone(other_phone(bridge)))
    first, second = phone.place(ACCOUNT, "carol"), phone.place(ACCOUNT, OTHER)
    for call in (first, second):
        wait_flowing(phone, call)
    phone.verb(first, "transfer", replaces=second)
    for call in (first, second):
        assert ended(phone, call, 20.0)["cause"] == "transferred"
    moved = newest(dave)
    wait_flowing(dave, moved)
    assert_tone(record(dave, moved, 1.2)["remote"].last(1.0), 1000.0)


def test_a_target_that_knows_no_replaces_is_left_once_it_was_called(
    bridge: Kamailio, bridged_phone: PhonedProcess, start_phone: StartPhone, baresip: Baresip
) -> None:
    phone = bridged_phone
    dave = online(start_phone(other_phone(bridge, allow_refer=True)))
    first, second = phone.place(ACCOUNT, OTHER), phone.place(ACCOUNT, "carol")
    for call in (first, second):
        wait_flowing(phone, call)
    phone.verb(first, "transfer", replaces=second)
    for call in (first, second):
        assert ended(phone, call, 20.0)["cause"] == "transferred"
    moved = newest(dave)
    wait_flowing(dave, moved)
    assert_tone(record(dave, moved, 1.2)["remote"].last(1.0), 1000.0)
