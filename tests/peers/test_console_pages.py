"""The console's other pages, with a real phone behind them: accounts, recordings, events, the network; what stands in
the header."""

from __future__ import annotations

import time

from tests.peers.harness.console import ConsolePage, login_link
from tests.support.child import free_ports, until
from tests.support.daemon import PhonedProcess

NOWHERE = {"aor": "sip:lobby@sandbox.test", "outbound_proxy": "ws://127.0.0.1:1/ws"}
FAILED_LOADS = ("Failed to load resource",)


def state_of(desk: PhonedProcess, account: str) -> str:
    return str(desk.account(account)["state"])


def test_an_account_that_cannot_connect_is_seen_waiting_and_goes_when_it_is_removed(
    desk: PhonedProcess, tab: ConsolePage
) -> None:
    tab.visit(login_link(desk))
    tab.see("No calls")
    tab.press("u")
    tab.see_role("article", "Account alice")
    assert desk.http.put("/v1/accounts/lobby", json=NOWHERE).status_code == 201
    tab.see_role("article", "Account lobby")
    until(lambda: "Waiting" in tab.read("article[aria-label='Account lobby'] .account-state"), "it is seen waiting", 15)
    assert "Attempt" in tab.read("article[aria-label='Account lobby'] .backoff")
    assert "refused" in tab.read("article[aria-label='Account lobby'] .timeline")
    before = len(desk.events.of("account.connect_failed"))
    tab.click("Try now")
    until(lambda: len(desk.events.of("account.connect_failed")) > before, "it was tried at once")
    assert desk.http.delete("/v1/accounts/lobby").status_code == 204
    tab.see_css("article[aria-label='Account lobby']", state="detached")


def test_an_account_is_unregistered_only_when_asked_twice(desk: PhonedProcess, tab: ConsolePage) -> None:
    tab.visit(login_link(desk))
    tab.see("No calls")
    tab.go("accounts")
    tab.click("Unregister")  # that of alice, the first
    time.sleep(0.3)
    assert state_of(desk, "alice") == "online"
    tab.click("Really unregister?")
    until(lambda: state_of(desk, "alice") == "off", "it is off")
    tab.click("Register", exact=True)
    until(lambda: state_of(desk, "alice") == "online", "it is online again")
    until(lambda: tab.count(".account .badge.ok") == 2, "both are seen online")


def test_do_not_disturb_refuses_calls_until_it_is_off(desk: PhonedProcess, tab: ConsolePage) -> None:
    tab.visit(login_link(desk))
    tab.see_role("button", "Do not disturb")
    tab.press("d")
    until(lambda: bool(desk.get("/v1/do-not-disturb")["do_not_disturb"]), "it is on")
    call = desk.place("bob", "alice")
    desk.wait_call(call, "refused", lambda view: view["state"] == "ended")
    assert tab.count(".incoming") == 0
    desk.http.delete("/v1/do-not-disturb")  # by somebody else: the page hears of it
    tab.see_css("[aria-label='Do not disturb'][aria-pressed=false]")


def test_a_call_is_recorded_heard_and_forgotten(desk: PhonedProcess, tab: ConsolePage) -> None:
    tab.visit(login_link(desk))
    tab.see("No calls")
    call = desk.place("alice", "tone", wait="answered")
    tab.go(f"calls/{call}")
    tab.click("Record")
    desk.events.wait_for("recording.started")
    tab.press("r")
    tab.see("stereo")
    until(lambda: desk.get("/v1/recordings")["data"][0]["duration_s"] > 4, "there is something to hear")
    tab.click("Stop")
    tab.see("finished")
    tab.click("Listen")
    tab.see_role("button", "Stop")
    tab.shot("listening")
    tab.click("Stop")
    tab.see_role("button", "Listen")
    tab.click("Delete")
    tab.click("Really delete?")
    desk.events.wait_for("recording.deleted")
    desk.http.post("/v1/do-not-disturb", json={})  # whose event comes after it: the page has seen both
    tab.see_css("[aria-label='Do not disturb'][aria-pressed=true]")
    tab.see("No recordings")
    desk.http.delete("/v1/do-not-disturb")
    assert desk.get("/v1/recordings")["data"] == []


def test_events_are_filtered_held_and_opened(desk: PhonedProcess, tab: ConsolePage) -> None:
    tab.visit(login_link(desk))
    tab.see("No calls")
    tab.press("e")
    tab.see("account.registered")
    desk.place("alice", "busy")
    tab.see("call.ended")
    tab.fill("Filter", "call.ended")
    tab.gone("account.registered")
    tab.fill("Filter", "")
    tab.click("account", exact=True)
    tab.gone("account.registered")
    tab.click("Pause")
    desk.place("alice", "decline")
    tab.see("new)")
    assert "decline" not in tab.read(".events")
    tab.click("Go on")
    tab.see("decline")
    tab.evaluate("document.querySelector('.event details').open = true")
    tab.see_role("link", "To the call")
    assert '"type": "call.' in tab.read(".event-open pre")


def test_the_network_is_looked_at(desk: PhonedProcess, tab: ConsolePage) -> None:
    tab.visit(login_link(desk))
    tab.see("No calls")
    tab.press("n")
    tab.see("Interfaces")
    assert "lo" in tab.read("main table")
    tab.click("Check now")
    desk.events.wait_for("network.changed")


def test_a_call_that_cannot_be_handed_over_stays(desk: PhonedProcess, tab: ConsolePage) -> None:
    tab.expected += FAILED_LOADS
    tab.visit(login_link(desk))
    tab.see("No calls")
    call = desk.place("alice", "echo", wait="answered")
    tab.see_role("article", "Call with echo")
    tab.press("i")
    tab.click("Hand over")
    tab.fill("Hand echo over to", "bob")
    tab.press("Enter")
    tab.see("Hand over: ")
    tab.shot("hand-over-refused")
    assert desk.call(call)["state"] == "active"
    tab.press("Escape")
    tab.gone("Hand echo over to")


def test_webhooks_are_shown_tested_and_turned_off(desk: PhonedProcess, tab: ConsolePage) -> None:
    closed = f"http://127.0.0.1:{free_ports(1)[0]}/hook"
    desk.post("/v1/webhooks", {"url": closed, "events": ["call.*"]}, status=201)
    tab.visit(login_link(desk))
    tab.see("No calls")
    tab.press("w")
    tab.see(closed)
    tab.click("Test")
    tab.see("The test was not taken")
    desk.place("alice", "busy")
    tab.see("to be sent", 15)
    tab.click("Deliveries")
    tab.see("call.created")
    tab.see_role("button", "Send again")
    tab.shot("webhooks-one")
    tab.click("Turn off")
    tab.see("Off: asked")


def test_a_phone_without_webhooks_says_so(desk: PhonedProcess, tab: ConsolePage) -> None:
    tab.expected += FAILED_LOADS
    tab.visit(login_link(desk))
    tab.see("No calls")
    tab.answer("**/v1/webhooks", {"code": "not_implemented", "detail": "not yet"}, status=501)
    tab.press("w")
    tab.see("This phone has no webhooks")
