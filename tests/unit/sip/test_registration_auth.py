"""Digest on REGISTER: who is answered, how often, and what is never answered."""

from __future__ import annotations

import pytest

from phoned.sip.auth import DigestServer, Verdict
from phoned.sip.challenge import Credentials
from phoned.sip.events import Event, Registered, RegistrationFailed
from phoned.sip.message import Request
from phoned.sip.registration import MOST_CHALLENGES
from tests.support.sip_registration import RegistrationBench as Bench
from tests.support.sip_transactions import CountingRandom

FIELDS = {401: ("WWW-Authenticate", "Authorization"), 407: ("Proxy-Authenticate", "Proxy-Authorization")}


def server(realm: str = "example.org") -> DigestServer:
    return DigestServer(realm=realm, random=CountingRandom(), algorithms=("SHA-256", "MD5"))


def challenge(
    bench: Bench, sent: Request, digest: DigestServer, status: int = 401, *, stale: bool = False
) -> list[Event]:
    lines = [(FIELDS[status][0], value) for value in digest.challenge(1, stale=stale)]
    return bench.answer(sent, status, *lines)


def verdict(digest: DigestServer, sent: Request, status: int = 401, password: str = "geheim") -> Verdict:
    credentials = Credentials.parse(sent.headers.get(FIELDS[status][1]) or "")
    return digest.verify(credentials, "REGISTER", sent.uri, b"", username="alice", password=password, now=1)


def failure(events: list[Event]) -> tuple[str, int | None]:
    (event,) = events
    assert isinstance(event, RegistrationFailed)
    return str(event.cause), event.status


@pytest.mark.parametrize("status", [401, 407])
def test_challenge_is_answered_with_our_credentials(status: int) -> None:
    bench, digest = Bench(), server()
    assert bench.registration.realms == frozenset()
    assert challenge(bench, bench.register(), digest, status) == []
    sent = bench.sent()
    assert verdict(digest, sent, status) is Verdict.OK
    (event,) = bench.answer(sent, 200)
    assert isinstance(event, Registered)
    assert bench.registration.realms == {"example.org"}


@pytest.mark.behaviour("W12")
def test_later_registers_carry_credentials_before_they_are_asked() -> None:
    bench, digest = Bench(), server()
    challenge(bench, bench.register(), digest)
    first = bench.sent()
    assert verdict(digest, first) is Verdict.OK
    bench.answer(first, 200)
    for _ in range(3):
        sent = bench.register(now=60)
        assert verdict(digest, sent) is Verdict.OK
        bench.answer(sent, 200)


def test_proxy_and_registrar_may_both_ask_each_in_its_own_realm() -> None:
    bench, proxy, registrar = Bench(), server("proxy"), server("registrar")
    challenge(bench, bench.register(), proxy, 407)
    challenge(bench, bench.sent(), registrar, 401)
    sent = bench.sent()
    assert verdict(proxy, sent, 407) is Verdict.OK
    assert verdict(registrar, sent, 401) is Verdict.OK
    assert bench.registration.realms == {"proxy", "registrar"}


def test_other_user_name_for_authentication() -> None:
    bench, digest = Bench(auth_username="0815"), server()
    challenge(bench, bench.register(), digest)
    assert Credentials.parse(bench.sent().headers.get("Authorization") or "").get("username") == "0815"


@pytest.mark.parametrize("stale", [True, False])
def test_aged_nonce_of_early_credentials_is_replaced_without_complaint(stale: bool) -> None:
    bench, digest = Bench(), server()
    challenge(bench, bench.register(), digest)
    bench.answer(bench.sent(), 200)
    early = bench.register(now=400)
    assert challenge(bench, early, digest, stale=stale) == []
    sent = bench.sent()
    assert verdict(digest, sent) is Verdict.OK
    (event,) = bench.answer(sent, 200)
    assert isinstance(event, Registered)


def test_early_credentials_that_the_same_nonce_refuses_are_tried_once_more() -> None:
    bench = Bench()
    line = (FIELDS[401][0], server().challenge(0)[0])
    bench.answer(bench.register(), 401, line)
    bench.answer(bench.sent(), 200)
    assert bench.answer(bench.register(now=60), 401, line) == []
    assert failure(bench.answer(bench.sent(), 401, line)) == ("auth", 401)


def test_new_nonce_gets_a_second_answer_and_no_third() -> None:
    bench, digest = Bench(), server()
    assert challenge(bench, bench.register(), digest) == []
    assert challenge(bench, bench.sent(), digest) == []
    assert failure(challenge(bench, bench.sent(), digest)) == ("auth", 401)
    assert len(bench.outbox) == 0


@pytest.mark.behaviour("W12")
def test_same_nonce_again_is_a_wrong_password_at_once() -> None:
    bench = Bench()
    line = (FIELDS[401][0], server().challenge(0)[0])
    assert bench.answer(bench.register(), 401, line) == []
    assert failure(bench.answer(bench.sent(), 401, line)) == ("auth", 401)


def test_next_attempt_after_a_wrong_password_begins_without_credentials() -> None:
    bench = Bench()
    line = (FIELDS[401][0], server().challenge(0)[0])
    bench.answer(bench.register(), 401, line)
    bench.answer(bench.sent(), 401, line)
    sent = bench.register(now=60)
    assert "Authorization" not in sent.headers
    assert bench.answer(sent, 401, line) == []
    assert "Authorization" in bench.sent().headers


def test_stale_is_no_refusal_but_not_for_ever() -> None:
    bench, digest = Bench(), server()
    sent = bench.register()
    events = challenge(bench, sent, digest)
    challenges = 1
    while not events:
        events = challenge(bench, bench.sent(), digest, stale=True)
        challenges += 1
    assert failure(events) == ("auth", 401)
    assert challenges == MOST_CHALLENGES + 1


def test_foreign_realm_gets_nothing() -> None:
    bench = Bench()
    challenge(bench, bench.register(), server())
    bench.answer(bench.sent(), 200)
    sent = bench.register(now=60)
    assert failure(challenge(bench, sent, server("evil.example"))) == ("foreign_realm", 401)
    assert len(bench.outbox) == 0
    assert bench.registration.realms == {"example.org"}
    assert bench.answer(bench.register(now=61), 200)


def test_foreign_challenge_beside_ours_is_passed_over() -> None:
    bench, digest = Bench(), server()
    challenge(bench, bench.register(), digest)
    bench.answer(bench.sent(), 200)
    foreign = [(FIELDS[401][0], value) for value in server("evil.example").challenge(1)]
    ours = [(FIELDS[401][0], value) for value in digest.challenge(1, stale=True)]
    assert bench.answer(bench.register(now=60), 401, *foreign, *ours) == []
    assert verdict(digest, bench.sent()) is Verdict.OK


def test_account_without_a_password_answers_nothing() -> None:
    bench = Bench(secret=None)
    assert failure(challenge(bench, bench.register(), server())) == ("auth", 401)


@pytest.mark.parametrize(
    "line",
    [
        'Basic realm="example.org"',
        'Digest realm="example.org", nonce="n", algorithm=UNKNOWN',
        'Digest realm="example.org", nonce="n", qop="secret"',
        'Digest nonce="n"',
        "Digest ,,,=",
        "",
    ],
)
def test_challenge_that_cannot_be_answered_is_told_and_pins_nothing(line: str) -> None:
    bench = Bench()
    headers = ((FIELDS[401][0], line),) if line else ()
    assert failure(bench.answer(bench.register(), 401, *headers)) == ("unanswerable", 401)
    assert bench.registration.realms == frozenset()


def test_challenge_to_a_request_that_is_not_in_flight_gets_nothing() -> None:
    bench, digest = Bench(), server()
    old = bench.register(flow=1)
    bench.register(flow=2)
    assert challenge(bench, old, digest) == []
    assert len(bench.outbox) == 0


def test_challenge_over_another_flow_gets_nothing() -> None:
    bench = Bench()
    sent = bench.register(flow=1)
    line = (FIELDS[401][0], server().challenge(0)[0])
    assert bench.answer(sent, 401, line, flow=2) == []
    assert len(bench.outbox) == 0


def test_old_server_that_offers_one_nonce_without_count_for_ever() -> None:
    bench = Bench()
    line = (FIELDS[401][0], 'Digest realm="example.org", nonce="always"')
    for now in (0, 60, 120):
        sent = bench.register(now=now)
        assert "Authorization" not in sent.headers
        assert bench.answer(sent, 401, line) == []
        again = bench.sent()
        assert Credentials.parse(again.headers.get("Authorization") or "").get("nc") is None
        (event,) = bench.answer(again, 200)
        assert isinstance(event, Registered)


def test_unregister_is_authenticated_too() -> None:
    bench, digest = Bench(), server()
    challenge(bench, bench.register(), digest)
    bench.answer(bench.sent(), 200)
    bench.registration.unregister(1, 5)
    assert challenge(bench, bench.sent(), digest, stale=True) == []
    sent = bench.sent()
    assert verdict(digest, sent) is Verdict.OK
    assert sent.headers.get("Expires") == "0"
