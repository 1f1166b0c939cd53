"""Calls through rtpengine to plain RTP/AVP phones: baresip, which records what it hears, and sipp, which echoes."""

from __future__ import annotations

from typing import Literal

import pytest

from tests.peers.harness.baresip import Baresip
from tests.peers.harness.kamailio import Kamailio
from tests.peers.harness.phone import (
    ACCOUNT,
    PHONE_HZ,
    USER,
    assert_flows,
    assert_tone,
    ended,
    packets,
    play_tone,
    rates,
    record,
    wait_flowing,
)
from tests.peers.harness.sipp import SippEcho
from tests.support.child import until
from tests.support.daemon import PhonedProcess

BARESIP_HZ = 1000.0


def connect(phone: PhonedProcess, bridge: Kamailio, baresip: Baresip, direction: Literal["out", "in"]) -> str:
    if direction == "out":
        call = phone.place(ACCOUNT, "carol")
    else:
        baresip.dial(bridge.aor(USER))
        call = phone.incoming()
        phone.verb(call, "answer")
    baresip.wait_for("CALL_ESTABLISHED")
    wait_flowing(phone, call)
    return call


def hears_the_phone(baresip: Baresip) -> bool:
    heard = baresip.heard().last(0.2)
    return heard.duration_s >= 0.2 and heard.level_dbfs > -30


@pytest.mark.parametrize("hangs_up", ["phone", "baresip"])
@pytest.mark.parametrize("direction", ["out", "in"])
def test_both_hear_each_others_tone(
    bridge: Kamailio,
    bridged_phone: PhonedProcess,
    baresip: Baresip,
    direction: Literal["out", "in"],
    hangs_up: Literal["phone", "baresip"],
) -> None:
    phone = bridged_phone
    call = connect(phone, bridge, baresip, direction)
    assert phone.call(call)["media"]["codec"] == "pcmu"
    play_tone(phone, call)
    until(lambda: hears_the_phone(baresip), "baresip hears the phone")
    before = baresip.heard().duration_s
    assert_flows(
        lambda: packets(phone, call), lambda: until(lambda: baresip.heard().duration_s > before + 2.0, "two seconds")
    )
    assert_tone(baresip.heard().last(1.5), PHONE_HZ)
    assert_tone(record(phone, call, 1.2)["remote"].last(1.0), BARESIP_HZ)
    if hangs_up == "phone":
        phone.verb(call, "hangup")
    else:
        baresip.hangup()
    baresip.wait_for("CALL_CLOSED")
    end = ended(phone, call)
    assert (end["cause"], end["by"]) == ("completed", "local" if hangs_up == "phone" else "remote")


def test_phone_holds_and_resumes(bridge: Kamailio, bridged_phone: PhonedProcess, baresip: Baresip) -> None:
    # baresip's recorder ends with a re-INVITE: what it hears after one cannot be measured, what it sends can
    phone = bridged_phone
    call = connect(phone, bridge, baresip, "out")
    assert phone.verb(call, "hold")["hold"]["local"] is True
    measured = rates(lambda: packets(phone, call), lambda: record(phone, call, 1.0))
    assert measured.received < 2, "the far end sends nothing while it is held"
    assert phone.verb(call, "unhold")["hold"]["local"] is False
    assert_flows(lambda: packets(phone, call), lambda: record(phone, call, 2.0))
    assert_tone(record(phone, call, 1.2)["remote"].last(1.0), BARESIP_HZ)


def test_phone_restarts_ice(bridge: Kamailio, bridged_phone: PhonedProcess, baresip: Baresip) -> None:
    phone = bridged_phone
    call = connect(phone, bridge, baresip, "in")
    before = phone.stats(call)
    phone.verb(call, "reinvite", ice_restart=True)
    until(lambda: phone.stats(call)["ice_generation"] > before["ice_generation"], "a new ICE generation")
    heard = record(phone, call, 1.5)["remote"].last(1.2)
    assert_tone(heard, BARESIP_HZ)
    assert all(heard.audible()), "no gap"
    assert phone.stats(call)["dtls_generation"] == before["dtls_generation"]


def test_digits_go_both_ways(bridge: Kamailio, bridged_phone: PhonedProcess, baresip: Baresip) -> None:
    phone = bridged_phone
    call = connect(phone, bridge, baresip, "out")
    phone.verb(call, "dtmf", digits="42#")
    until(lambda: len(baresip.events("CALL_DTMF_START")) >= 3, "three digits at baresip")
    assert [event["param"] for event in baresip.events("CALL_DTMF_START")] == ["4", "2", "#"]
    baresip.digit("7")
    received = phone.events.wait_for("call.dtmf")
    assert (received.data["digit"], received.data["method"]) == ("7", "rfc4733")


def test_the_echo_of_a_gateway_comes_back(bridge: Kamailio, bridged_phone: PhonedProcess) -> None:
    phone = bridged_phone
    with SippEcho(bridge, "dave") as sipp:
        call = phone.place(ACCOUNT, "dave")
        wait_flowing(phone, call)
        play_tone(phone, call)
        assert_tone(record(phone, call, 2.0)["remote"].last(1.0), PHONE_HZ)
        assert_flows(lambda: packets(phone, call), lambda: record(phone, call, 2.0))
        phone.verb(call, "hangup")
        assert sipp.finish() == 0, sipp.messages
