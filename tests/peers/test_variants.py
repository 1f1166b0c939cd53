"""What else a phone meets: codecs, digests, strangers' datagrams, a WebSocket lost in a call, recordings, rules."""

from __future__ import annotations

import re
import socket
from functools import partial
from pathlib import Path

import pytest

from tests.peers.conftest import OpenPage, StartPhone, online
from tests.peers.harness.browser import Page
from tests.peers.harness.kamailio import Kamailio
from tests.peers.harness.phone import (
    ACCOUNT,
    PHONE_HZ,
    USER,
    account,
    assert_flows,
    assert_tone,
    ended,
    packets,
    phoned,
    play_tone,
    record,
    wait_flowing,
)
from tests.peers.harness.sound import Sound
from tests.support.child import until
from tests.support.daemon import Json, PhonedProcess

PAGE_HZ = 440.0
HOSTILE = {
    "empty": b"",
    "jumbo": bytes(9000),
    "client hello": b"\x16\xfe\xff"
    + bytes(8)
    + b"\x00\x2d\x01\x00\x00\x21"
    + bytes(6)
    + b"\x00\x00\x21\xfe\xfd"
    + bytes(31),
    # a binding request whose PRIORITY claims 4 bytes and has 1
    "short STUN attribute": b"\x00\x01\x00\x08\x21\x12\xa4\x42" + bytes(12) + b"\x00\x24\x00\x04\x01",
    "RTP": b"\x80\x6f" + bytes(170),
}


def strike(address: str, port: int) -> None:
    """Datagrams of a stranger."""
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        for datagram in HOSTILE.values():
            stranger.sendto(datagram, (address, port))


def is_recording(recording: str, data: Json) -> bool:
    return bool(data["recording"]["id"] == recording)


@pytest.fixture
def call(phone: PhonedProcess, open_page: OpenPage) -> tuple[str, Page]:
    """A call to a page that is up, the phone's tone in it."""
    page = open_page("bob", tone_hz=PAGE_HZ)
    call = phone.place(ACCOUNT, "bob")
    page.wait_flowing()
    wait_flowing(phone, call)
    play_tone(phone, call)
    page.wait_until(lambda: page.heard(0.2).level_dbfs > -30, "hears the phone")
    return call, page


@pytest.mark.parametrize("codec", ["g722", "pcmu", "pcma"])
def test_other_codecs_carry_the_tones(
    kamailio: Kamailio, start_phone: StartPhone, open_page: OpenPage, codec: str
) -> None:
    phone = online(start_phone(phoned(account(kamailio), media={"codecs": [codec]})))
    page = open_page("bob", tone_hz=PAGE_HZ)
    page.call(USER)
    call = phone.incoming()
    phone.verb(call, "answer")
    wait_flowing(phone, call)
    play_tone(phone, call)
    page.wait_until(lambda: page.heard(0.2).level_dbfs > -30, "hears the phone")
    assert_tone(page.listen(1.0), PHONE_HZ)
    assert_tone(record(phone, call, 1.2)["remote"].last(1.0), PAGE_HZ)
    assert (phone.stats(call)["codec"], page.statistics().codec) == (codec, f"audio/{codec.upper()}")


def test_registers_with_sha256(start_phone: StartPhone) -> None:
    with Kamailio(defines={"SHA256": "1"}) as server:
        phone = online(start_phone(phoned(account(server))))
        assert len(server.contacts(USER)) == 1
        assert phone.stop() == 0
        assert server.contacts(USER) == []


def test_strangers_datagrams_do_nothing_to_a_call(phone: PhonedProcess, call: tuple[str, Page]) -> None:
    id_, page = call
    address, _, port = phone.call(id_)["media"]["local"].rpartition(":")

    def flood() -> None:
        for _ in range(20):
            strike(address.strip("[]"), int(port))

    assert_flows(lambda: packets(phone, id_), lambda: assert_tone(page.listen(2.0, flood), PHONE_HZ))
    assert_tone(record(phone, id_, 1.2)["remote"].last(1.0), PAGE_HZ)
    assert phone.call(id_)["media"]["state"] == "flowing"


def test_strangers_datagrams_do_nothing_to_a_call_that_rings(phone: PhonedProcess, open_page: OpenPage) -> None:
    page = open_page("bob", tone_hz=PAGE_HZ, auto_answer=False)
    call = phone.place(ACCOUNT, "bob")
    page.wait("ringing")
    ports = {int(port) for port in re.findall(r"(\d+) typ host", page.descriptions()[-1][1])}
    assert ports
    for port in ports:
        strike("127.0.0.1", port)
    page.answer()
    page.wait_flowing()
    wait_flowing(phone, call)
    play_tone(phone, call)
    page.wait_until(lambda: page.heard(0.2).level_dbfs > -30, "hears the phone")
    assert_tone(page.listen(1.0), PHONE_HZ)


@pytest.mark.parametrize("hangs_up", ["phone", "page"])
def test_a_call_survives_the_loss_of_its_websocket(
    kamailio: Kamailio, phone: PhonedProcess, call: tuple[str, Page], hangs_up: str
) -> None:
    id_, page = call

    def cut() -> None:
        assert kamailio.close_connections(USER) == 1
        phone.events.wait_for("account.reconnected", timeout_s=15)

    heard = page.listen(3.0, cut)
    assert_tone(heard, PHONE_HZ)
    assert heard.audible().count(False) == 0, "the audio does not notice"
    phone.wait_call(id_, "is repaired", lambda view: view["state"] == "active" and view["recovering"] is None)
    (contact,) = kamailio.contacts(USER)
    assert contact.reg_id == 1
    if hangs_up == "phone":
        phone.verb(id_, "hangup")
    else:
        page.hangup()
    page.wait_for("ended")
    assert ended(phone, id_)["cause"] == "completed"


def test_a_recording_ends_with_its_call_and_has_both_sides(phone: PhonedProcess, call: tuple[str, Page]) -> None:
    id_, page = call
    stereo = phone.verb(id_, "record", status=201, format="wav", channels="stereo")
    mixed = phone.verb(id_, "record", status=201, format="wav", channels="mixed")
    until(lambda: phone.get(f"/v1/recordings/{mixed['id']}")["duration_s"] > 2.0, "two seconds")
    page.hangup()
    ended(phone, id_)
    for recording in (stereo, mixed):
        phone.events.wait_for("recording.finished", partial(is_recording, recording["id"]))
    finished = phone.get(f"/v1/recordings/{stereo['id']}")
    assert (finished["state"], finished["call"], finished["gaps"]) == ("finished", id_, [])
    file: Path = phone.recordings / finished["file"]
    assert phone.http.get(f"/v1/recordings/{stereo['id']}/file").content == file.read_bytes()
    assert file.stat().st_mode & 0o077 == 0, "a conversation is nobody else's to read"
    local, remote = Sound.from_wav(file)
    assert remote.duration_s == pytest.approx(finished["duration_s"], abs=0.1)
    assert_tone(remote.between(0.3, 1.8), PAGE_HZ)
    assert_tone(local.between(0.3, 1.8), PHONE_HZ)
    (both,) = Sound.from_wav(phone.recordings / phone.get(f"/v1/recordings/{mixed['id']}")["file"])
    middle = both.between(0.3, 1.8)
    assert middle.strength(PAGE_HZ) > 0.2
    assert middle.strength(PHONE_HZ) > 0.2


def test_steps_run_when_the_call_is_answered_and_heard(phone: PhonedProcess, open_page: OpenPage) -> None:
    page = open_page("bob", tone_hz=0, auto_answer=False)
    steps = [{"play": {"file": "tone.wav"}}, {"dtmf": "42#"}]
    call = phone.place(ACCOUNT, "bob", on_answer=steps)
    page.wait("ringing")
    page.answer()
    page.wait_until(lambda: page.heard(0.2).level_dbfs > -30, "hears the phone")
    finished = phone.events.wait_for("playback.finished")
    assert finished.data["playback"]["call"] == call
    page.wait_until(lambda: page.heard(3.0).dtmf() == "42#", "hears the digits")


def test_a_rule_answers(kamailio: Kamailio, start_phone: StartPhone, open_page: OpenPage) -> None:
    rules = [{"match": "sip:bob@*", "action": "answer"}, {"action": "reject", "code": 603}]
    phone = online(start_phone(phoned(account(kamailio), incoming=rules)))
    bob, carol = open_page("bob", tone_hz=PAGE_HZ), open_page("carol", "sipjs")
    bob.call(USER)
    bob.wait_flowing()
    call = phone.incoming()
    assert_tone(record(phone, call, 1.2)["remote"].last(1.0), PAGE_HZ)
    carol.call(USER)
    carol.wait_for("ended")
    assert any(message.startswith("< SIP/2.0 603 ") for message in carol.wire())
    assert phone.call(call)["state"] == "active"
