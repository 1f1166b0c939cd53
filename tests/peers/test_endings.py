"""How calls with Chromium do not come about: busy, declined, cancelled, unanswered, unknown."""

from __future__ import annotations

import pytest

from tests.peers.conftest import OpenPage
from tests.peers.harness.browser import Library
from tests.peers.harness.kamailio import Kamailio
from tests.peers.harness.phone import ACCOUNT, USER, ended
from tests.support.daemon import PhonedProcess

LIBRARIES: tuple[Library, ...] = ("jssip", "sipjs")


@pytest.mark.parametrize(("status", "cause"), [(486, "busy"), (603, "rejected"), (480, "no_answer")])
@pytest.mark.parametrize("library", LIBRARIES)
def test_page_refuses(phone: PhonedProcess, open_page: OpenPage, library: Library, status: int, cause: str) -> None:
    page = open_page("bob", library, auto_answer=False)
    call = phone.place(ACCOUNT, "bob")
    phone.events.wait_for("call.ringing")
    page.reject(status)
    end = ended(phone, call)
    assert (end["cause"], end["by"], end["sip_code"]) == (cause, "remote", status)
    assert phone.call(call)["answered_at"] is None


@pytest.mark.parametrize("library", LIBRARIES)
def test_phone_cancels(phone: PhonedProcess, open_page: OpenPage, library: Library) -> None:
    page = open_page("bob", library, auto_answer=False)
    call = phone.place(ACCOUNT, "bob")
    phone.events.wait_for("call.ringing")
    page.wait("ringing")
    phone.verb(call, "hangup")
    page.wait_for("ended")
    assert "CANCEL" in {message.split()[1] for message in page.wire() if message.startswith("<")}
    end = ended(phone, call)
    assert (end["cause"], end["by"]) == ("canceled", "local")


@pytest.mark.parametrize("library", LIBRARIES)
def test_nobody_answers(phone: PhonedProcess, open_page: OpenPage, library: Library) -> None:
    page = open_page("bob", library, auto_answer=False)
    call = phone.place(ACCOUNT, "bob", timeout_s=1.5)
    page.wait_for("ended")
    end = ended(phone, call)
    assert end["cause"] == "no_answer"
    assert phone.call(call)["duration_s"] == 0


@pytest.mark.parametrize(("to", "status", "cause"), [("nobody", 404, "not_found"), ("carol", 480, "no_answer")])
def test_kamailio_refuses(phone: PhonedProcess, to: str, status: int, cause: str) -> None:
    call = phone.place(ACCOUNT, to)
    end = ended(phone, call)
    assert (end["cause"], end["by"], end["sip_code"]) == (cause, "remote", status)


def test_waiting_tells_that_it_rings_and_that_it_was_refused(phone: PhonedProcess, open_page: OpenPage) -> None:
    page = open_page("bob", auto_answer=False)
    ringing = phone.post("/v1/calls", {"account": ACCOUNT, "to": "bob", "wait": "ringing"}, status=201)
    assert ringing["state"] == "ringing"
    page.reject(486)
    assert ended(phone, ringing["id"])["cause"] == "busy"
    problem = phone.post("/v1/calls", {"account": ACCOUNT, "to": "nobody", "wait": "answered"}, status=502)
    assert problem["sip"]["code"] == 404


@pytest.mark.parametrize(("body", "status", "cause"), [({}, 486, "busy"), ({"code": 603}, 603, "rejected")])
@pytest.mark.parametrize("library", LIBRARIES)
def test_phone_refuses(
    phone: PhonedProcess, open_page: OpenPage, library: Library, body: dict[str, int], status: int, cause: str
) -> None:
    page = open_page("bob", library)
    page.call(USER)
    call = phone.incoming()
    page.wait_for("ringing")
    phone.verb(call, "reject", **body)
    page.wait_for("ended")
    assert any(message.startswith(f"< SIP/2.0 {status} ") for message in page.wire())
    end = ended(phone, call)
    assert (end["by"], end["sip_code"]) == ("local", status)
    assert end["cause"] == cause


@pytest.mark.parametrize("library", LIBRARIES)
def test_page_gives_up(phone: PhonedProcess, open_page: OpenPage, library: Library) -> None:
    page = open_page("bob", library)
    page.call(USER)
    call = phone.incoming()
    page.wait_for("ringing")
    page.hangup()
    end = ended(phone, call)
    assert (end["cause"], end["by"]) == ("canceled", "remote")
    page.wait_for("ended")


def test_stopping_ends_the_call(kamailio: Kamailio, phone: PhonedProcess, open_page: OpenPage) -> None:
    page = open_page("bob")
    phone.place(ACCOUNT, "bob")
    page.wait_flowing()
    assert phone.stop() == 0
    page.wait_for("ended")
    assert [seen.to for seen in kamailio.requests("BYE", USER)] == ["bob"]
