"""Calls between phoned and Chromium, both directions and both libraries: what is heard, how fast packets go."""

from __future__ import annotations

from typing import Literal

import pytest

from tests.peers.conftest import OpenPage
from tests.peers.harness.browser import Library, Page
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
from tests.support.daemon import PhonedProcess

LIBRARIES: tuple[Library, ...] = ("jssip", "sipjs")
PAGE_HZ = 440.0


def connect(phone: PhonedProcess, page: Page, direction: Literal["out", "in"]) -> str:
    """A call that is up, with audio in both directions; returns its id."""
    if direction == "out":
        call = phone.place(ACCOUNT, "bob")
    else:
        page.call(USER)
        call = phone.incoming()
        phone.verb(call, "answer")
    phone.events.wait_for("call.answered", lambda data: data["call"]["id"] == call)
    page.wait_flowing()
    wait_flowing(phone, call)
    return call


@pytest.mark.parametrize("hangs_up", ["phone", "page"])
@pytest.mark.parametrize("direction", ["out", "in"])
@pytest.mark.parametrize("library", LIBRARIES)
def test_both_hear_each_others_tone(
    phone: PhonedProcess,
    open_page: OpenPage,
    library: Library,
    direction: Literal["out", "in"],
    hangs_up: Literal["phone", "page"],
) -> None:
    page = open_page("bob", library, tone_hz=PAGE_HZ)
    call = connect(phone, page, direction)
    view = phone.call(call)
    assert (view["direction"], view["state"], view["account"]) == (direction, "active", ACCOUNT)
    assert view["peer"]["number"] == "bob" or "bob@" in view["peer"]["uri"]
    assert view["media"]["codec"] == "opus"
    assert page.statistics().codec == "audio/opus"

    play_tone(phone, call)
    page.wait_until(lambda: page.heard(0.2).level_dbfs > -30, "hears the phone")
    assert_flows(lambda: packets(phone, call), lambda: assert_tone(page.listen(2.0), PHONE_HZ))
    heard = record(phone, call, 1.2)
    assert_tone(heard["remote"].last(1.0), PAGE_HZ)
    assert_tone(heard["local"].last(1.0), PHONE_HZ)
    stats = phone.stats(call)
    assert stats["codec"] == "opus"
    assert stats["packets_lost"] == 0
    assert stats["mos"] > 4.0

    if hangs_up == "phone":
        phone.verb(call, "hangup")
    else:
        page.hangup()
    page.wait_for("ended")
    end = ended(phone, call)
    assert (end["cause"], end["by"]) == ("completed", "local" if hangs_up == "phone" else "remote")
    view = phone.call(call)
    assert view["state"] == "ended"
    assert view["duration_s"] > 3
    assert phone.verb(call, "hold", status=410)["code"] == "gone"


@pytest.mark.parametrize("library", LIBRARIES)
def test_phone_holds_and_resumes(phone: PhonedProcess, open_page: OpenPage, library: Library) -> None:
    page = open_page("bob", library)
    call = connect(phone, page, "out")
    play_tone(phone, call)
    page.wait_until(lambda: page.heard(0.2).level_dbfs > -30, "hears the phone")

    assert phone.verb(call, "hold")["hold"] == {"local": True, "remote": False}
    held = phone.events.wait_for("call.held")
    page.wait_silence()
    assert page.state()["direction"] in {"recvonly", "inactive"}
    measured = rates(lambda: packets(phone, call), lambda: page.listen(1.0))
    assert measured.received < 2, "the far end sends nothing while it is held"
    assert page.listen(0.5).level_dbfs < -60

    assert phone.verb(call, "unhold")["hold"] == {"local": False, "remote": False}
    phone.events.wait_for("call.unheld", after=held)
    page.wait_until(lambda: page.heard(0.2).level_dbfs > -30, "hears the phone again")
    assert page.state()["direction"] == "sendrecv"
    assert_flows(lambda: packets(phone, call), lambda: assert_tone(page.listen(1.5), PHONE_HZ), ("received",))
    assert_tone(record(phone, call, 1.2)["remote"].last(0.8), PAGE_HZ)


@pytest.mark.parametrize("library", LIBRARIES)
def test_page_holds_and_resumes(phone: PhonedProcess, open_page: OpenPage, library: Library) -> None:
    page = open_page("bob", library)
    call = connect(phone, page, "in")
    play_tone(phone, call)
    page.wait_until(lambda: page.heard(0.2).level_dbfs > -30, "hears the phone")

    page.hold()
    phone.events.wait_for("call.held")
    phone.wait_call(call, "is held by the far end", lambda view: view["hold"] == {"local": False, "remote": True})
    page.wait_silence()
    measured = rates(lambda: packets(phone, call), lambda: page.listen(1.0))
    assert measured.sent < 2, "nothing is sent to a far end that does not listen"

    page.unhold()
    phone.wait_call(call, "is resumed", lambda view: view["hold"] == {"local": False, "remote": False})
    page.wait_until(lambda: page.heard(0.2).level_dbfs > -30, "hears the phone again")
    assert_flows(lambda: packets(phone, call), lambda: assert_tone(page.listen(1.5), PHONE_HZ))


@pytest.mark.parametrize("library", LIBRARIES)
def test_page_restarts_ice(phone: PhonedProcess, open_page: OpenPage, library: Library) -> None:
    page = open_page("bob", library)
    call = connect(phone, page, "in")
    play_tone(phone, call)
    before = phone.stats(call)
    page.restart_ice()
    page.wait_until(lambda: phone.stats(call)["ice_generation"] > before["ice_generation"], "a new ICE generation")
    assert_flows(lambda: packets(phone, call), lambda: assert_tone(page.listen(2.0), PHONE_HZ))
    assert phone.stats(call)["dtls_generation"] == before["dtls_generation"], "the DTLS association is kept"


@pytest.mark.parametrize("library", LIBRARIES)
def test_phone_restarts_ice(phone: PhonedProcess, open_page: OpenPage, library: Library) -> None:
    page = open_page("bob", library)
    call = connect(phone, page, "out")
    play_tone(phone, call)
    page.wait_until(lambda: page.heard(0.2).level_dbfs > -30, "hears the phone")
    before = phone.stats(call)
    heard = page.listen(3.0, lambda: phone.verb(call, "reinvite", ice_restart=True))
    assert phone.stats(call)["ice_generation"] > before["ice_generation"]
    assert phone.stats(call)["dtls_generation"] == before["dtls_generation"], "the DTLS association is kept"
    assert_tone(heard, PHONE_HZ)
    gaps = heard.audible().count(False)
    assert gaps <= 10, f"{gaps * 20} ms of silence"
    assert_tone(record(phone, call, 1.2)["remote"].last(0.8), PAGE_HZ)


@pytest.mark.parametrize("library", LIBRARIES)
def test_digits_go_both_ways(phone: PhonedProcess, open_page: OpenPage, library: Library) -> None:
    page = open_page("bob", library, tone_hz=0)
    call = connect(phone, page, "out")
    page.wait_digits("159#", lambda: phone.verb(call, "dtmf", digits="159#", method="rfc4733"))
    page.dtmf("7*2")
    phone.events.wait_for("call.dtmf", lambda data: data["digit"] == "2")
    received = phone.events.of("call.dtmf", call)
    assert [event.data["digit"] for event in received] == ["7", "*", "2"]
    assert {event.data["method"] for event in received} == {"rfc4733"}
    assert all(60 <= event.data["duration_ms"] <= 160 for event in received)


@pytest.mark.parametrize("library", LIBRARIES)
def test_mute_silences_the_phone_only(phone: PhonedProcess, open_page: OpenPage, library: Library) -> None:
    page = open_page("bob", library)
    call = connect(phone, page, "out")
    play_tone(phone, call)
    page.wait_until(lambda: page.heard(0.2).level_dbfs > -30, "hears the phone")
    assert phone.verb(call, "mute")["muted"] is True
    page.wait_silence()
    assert_flows(lambda: packets(phone, call), lambda: page.listen(1.0), ("received",))
    assert phone.verb(call, "unmute")["muted"] is False
    page.wait_until(lambda: page.heard(0.2).level_dbfs > -30, "hears the phone again")


def test_text_goes_both_ways(phone: PhonedProcess, open_page: OpenPage) -> None:
    page = open_page("bob")
    sent = phone.post("/v1/messages", {"account": ACCOUNT, "to": "bob", "body": "gr\u00fc\u00dfe\nzwei"}, status=201)
    assert (sent["state"], sent["sip_code"]) == ("sent", 200)
    heard = page.wait_for("message")
    assert heard["body"] == "gr\u00fc\u00dfe\nzwei"
    page.message(USER, "zur\u00fcck")
    received = phone.events.wait_for("message.received").data["message"]
    assert (received["body"], received["direction"], received["peer"]["uri"]) == (
        "zur\u00fcck",
        "in",
        "sip:bob@pbx.test",
    )
    refused = phone.post("/v1/messages", {"account": ACCOUNT, "to": "nobody", "body": "x"}, status=502)
    assert refused["sip"]["code"] == 404


def bye_is_answered(phone: PhonedProcess, call: str) -> bool:
    messages = phone.get(f"/v1/calls/{call}/trace")["messages"]
    return any(each["direction"] == "received" and " BYE\r\n" in each["text"] for each in messages)


def test_the_sip_of_a_call_is_told_without_secrets(phone: PhonedProcess, open_page: OpenPage) -> None:
    page = open_page("bob")
    call = connect(phone, page, "out")
    phone.verb(call, "hold")
    phone.verb(call, "hangup")
    ended(phone, call)  # told with the BYE; its answer comes a moment later
    phone.until(lambda: bye_is_answered(phone, call), "answer to the BYE")
    trace = phone.get(f"/v1/calls/{call}/trace")
    assert trace["complete"]
    # JsSIP repeats its answer, and we the ACK, where that one was more than half a second under way (RFC 3261 13.3.1.4)
    messages = dict.fromkeys((m["direction"], m["text"]) for m in trace["messages"])
    firsts = [(direction, text.split("\r\n")[0].split(" sip:")[0]) for direction, text in messages]
    sent = [what for way, what in firsts if way == "sent"]
    assert sent == ["INVITE", "ACK", "INVITE", "ACK", "INVITE", "ACK", "BYE"], "challenged, answered, held, ended"
    assert [what for way, what in firsts if way == "received"].count("SIP/2.0 200 OK") == 3
    told = "".join(m["text"] for m in trace["messages"])
    assert "Proxy-Authorization: ***" in told
    assert "a=ice-pwd:***" in told
    assert len({(m["local"], m["remote"], m["flow"]) for m in trace["messages"]}) == 1
