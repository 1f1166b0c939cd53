"""phoned's account at Kamailio: digest, refresh, unregister, refusals, lost connections, over ws and wss."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from tests.peers.conftest import StartPhone, online
from tests.peers.harness.kamailio import Kamailio
from tests.peers.harness.phone import ACCOUNT, USER, account, phoned
from tests.support.child import until
from tests.support.daemon import PhonedProcess


@pytest.mark.parametrize("secure", [False, True], ids=["ws", "wss"])
def test_registers_with_digest_and_an_instance(kamailio: Kamailio, start_phone: StartPhone, secure: bool) -> None:
    phone = online(start_phone(phoned(account(kamailio, secure=secure))))
    (contact,) = kamailio.contacts(USER)
    assert contact.instance.startswith("<urn:uuid:")
    assert contact.reg_id == 1
    assert 100 < contact.expires_s <= 120
    challenged, proven = kamailio.requests("REGISTER", USER)
    assert (challenged.authorised, proven.authorised) == (False, True)
    assert challenged.call_id == proven.call_id
    assert challenged.cseq < proven.cseq
    assert proven.source.startswith("wss:" if secure else "ws:")
    view = phone.account(ACCOUNT)
    assert view["state"] == "online"
    assert view["desired"] == "registered"
    assert view["registration"]["last_error"] is None
    left = datetime.fromisoformat(view["registration"]["expires_at"]) - datetime.now(UTC)
    assert 60 < left.total_seconds() <= 120
    assert view["outbound_proxy"]["active"] == (kamailio.wss_url if secure else kamailio.ws_url)


def test_refreshes_in_the_same_binding_without_another_challenge(kamailio: Kamailio, start_phone: StartPhone) -> None:
    phone = online(start_phone(phoned(account(kamailio, recovery={"keepalive_s": 5}))))
    until(lambda: len(kamailio.requests("REGISTER", USER)) >= 4, "two refreshes", 15)
    seen = kamailio.requests("REGISTER", USER)
    assert len({request.call_id for request in seen}) == 1
    assert len({request.source for request in seen}) == 1, "over one connection"
    assert [request.cseq for request in seen] == sorted({request.cseq for request in seen})
    assert [request.authorised for request in seen[1:]] == [True] * (len(seen) - 1), "the nonce is used again"
    assert len(kamailio.contacts(USER)) == 1
    assert phone.account(ACCOUNT)["state"] == "online"


def test_asks_for_more_when_the_interval_is_too_brief(start_phone: StartPhone) -> None:
    with Kamailio(min_expires_s=60) as strict:
        phone = online(start_phone(phoned(account(strict, recovery={"register_expires_s": 20, "keepalive_s": 5}))))
        (contact,) = strict.contacts(USER)
        assert 20 < contact.expires_s <= 60
        assert phone.account(ACCOUNT)["state"] == "online"
        phone.stop()


def test_unregisters_and_registers_again_when_told(kamailio: Kamailio, phone: PhonedProcess) -> None:
    phone.post(f"/v1/accounts/{ACCOUNT}/unregister")
    gone = phone.events.wait_for("account.unregistered")
    assert kamailio.contacts(USER) == []
    assert kamailio.requests("REGISTER", USER)[-1].expires == 0
    view = phone.account(ACCOUNT)
    assert (view["state"], view["desired"]) == ("off", "unregistered")
    assert phone.http.get("/readyz").status_code == 503
    phone.post(f"/v1/accounts/{ACCOUNT}/register")
    phone.events.wait_for("account.registered", after=gone)
    assert len(kamailio.contacts(USER)) == 1


def test_unregisters_when_it_stops(kamailio: Kamailio, phone: PhonedProcess) -> None:
    assert phone.stop() == 0
    last = kamailio.requests("REGISTER", USER)[-1]
    assert (last.expires, last.authorised) == (0, True)
    assert kamailio.contacts(USER) == []


def test_keeps_its_identity_over_a_restart(kamailio: Kamailio, phone: PhonedProcess) -> None:
    (before,) = kamailio.contacts(USER)
    assert phone.stop() == 0
    online(phone.start())
    (after,) = kamailio.contacts(USER)
    assert after.instance == before.instance
    assert after.call_id == before.call_id
    assert after.cseq > before.cseq


def test_says_that_the_password_is_wrong_and_stops_trying(kamailio: Kamailio, start_phone: StartPhone) -> None:
    process = phoned(account(kamailio))
    (process.directory / "password").write_text("not the password")
    phone = start_phone(process)
    failed = phone.events.wait_for("account.auth_failed")
    assert failed.data["account"]["id"] == ACCOUNT
    until(lambda: phone.account(ACCOUNT)["state"] == "auth_failed", "state auth_failed")
    assert phone.account(ACCOUNT)["registration"]["last_error"]["sip_code"] == 401
    assert phone.http.get("/readyz").status_code == 503
    assert kamailio.contacts(USER) == []
    assert len(kamailio.requests("REGISTER", USER)) <= 3, "no password is tried over and over"
    assert "not the password" not in phone.log


def test_comes_back_after_the_server_was_overloaded(kamailio: Kamailio, start_phone: StartPhone) -> None:
    kamailio.fail("REGISTER", 503, times=1, retry_after_s=1)
    phone = start_phone(phoned(account(kamailio)))
    throttled = phone.events.wait_for("account.throttled")
    assert throttled.data["retry_after_s"] >= 1
    phone.events.wait_for("account.registered", after=throttled)
    assert len(kamailio.contacts(USER)) == 1


def test_registers_again_after_the_server_closed_the_connection(kamailio: Kamailio, phone: PhonedProcess) -> None:
    (before,) = kamailio.contacts(USER)
    assert kamailio.close_connections() >= 1
    back = phone.events.wait_for("account.reconnected", timeout_s=15)
    assert back.data["attempts"] >= 1
    assert 0 <= back.data["outage_ms"] < 10_000
    (after,) = kamailio.contacts(USER)
    assert after.instance == before.instance
    assert len({request.source for request in kamailio.requests("REGISTER", USER)}) == 2
    assert phone.account(ACCOUNT)["registration"]["flow_generation"] >= 2


def test_refuses_a_server_whose_certificate_nobody_vouches_for(kamailio: Kamailio, start_phone: StartPhone) -> None:
    table = account(kamailio, secure=True)
    del table["tls"]
    phone = start_phone(phoned(table))
    phone.events.wait_for("account.tls_error")
    assert kamailio.requests("REGISTER", USER) == []
    assert phone.account(ACCOUNT)["registration"]["last_error"]["cause"] == "tls"
    assert phone.http.get("/readyz").status_code == 503


def test_an_expired_certificate_is_not_asked_for_again_and_again(start_phone: StartPhone) -> None:
    with Kamailio(expired=True) as server:
        phone = start_phone(phoned(account(server, secure=True)))
        phone.events.wait_for("account.tls_error")
        told = phone.events.wait_for("account.reconnecting")
        assert told.data["cause"] == "tls"
        assert told.data["next_in_s"] >= 20
        view = phone.account(ACCOUNT)
        assert view["registration"]["last_error"]["cause"] == "tls"
        assert "expired" in view["registration"]["last_error"]["detail"]
        assert server.requests("REGISTER", USER) == []
