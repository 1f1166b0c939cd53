"""Configuration that changes under a call, and accounts made at run time: processes, signals, files, real sound."""

from __future__ import annotations

import json
import os
import signal
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.recovery.test_restart import told
from tests.support.exchange import Exchange, Phone

PASSWORD = "canary-of-a-run-time-account"


@pytest.fixture(scope="module")
def exchange() -> Iterator[Exchange]:
    with Exchange() as running:
        yield running


@pytest.fixture
def phone(exchange: Exchange) -> Iterator[Phone]:
    with Phone(exchange) as made:
        made.start()
        yield made


def by_http(phone: Phone) -> None:
    phone.post("/v1/reload")


def by_signal(phone: Phone) -> None:
    phone.process.send_signal(signal.SIGHUP)


def edit(phone: Phone, change: Callable[[str], str]) -> None:
    phone.configuration_file.write_text(change(phone.configuration_file.read_text()))


def account_of(exchange: Exchange, user: str, secret: Path) -> str:
    return (
        f'\n[[accounts]]\nid = "{user}"\naor = "sip:{user}@{exchange.facts["domain"]}"\n'
        f'password_file = "{secret}"\noutbound_proxy = "{exchange.facts["url"]}"\n'
    )


def secret_of(phone: Phone, exchange: Exchange, user: str) -> Path:
    path = phone.directory / f"{user}.secret"
    path.touch(mode=0o600)
    path.write_text(exchange.facts["users"][user])
    return path


def hears(phone: Phone, call: str, packets: int = 50) -> dict[str, Any]:
    """Wait for so many more packets; the counters then."""
    before = phone.stats(call)["packets_received"]
    phone.until(lambda: phone.stats(call)["packets_received"] >= before + packets, "sound")
    return phone.stats(call)


@pytest.mark.parametrize("reload", [by_http, by_signal])
def test_a_reload_takes_accounts_and_rules_and_the_call_does_not_notice(
    exchange: Exchange, phone: Phone, reload: Callable[[Phone], None]
) -> None:
    call = phone.calling("tone")
    before, flow = hears(phone, call), phone.account("alice")["registration"]["flow_generation"]
    bob = account_of(exchange, "bob", secret_of(phone, exchange, "bob"))
    edit(phone, lambda text: text + bob + '[dial]\ndeny = ["echo"]\n[network]\nsource = "polling"\n')
    reload(phone)
    reloaded = phone.events.wait_for("system.reloaded").data["reload"]
    assert reloaded["accounts"] == {"added": ["bob"], "changed": [], "removed": []}
    assert (reloaded["applied"], reloaded["restart_needed"]) == (["dial.deny"], ["network.source"])
    phone.events.wait_for("account.registered", lambda data: data["account"]["id"] == "bob")
    refused = phone.http.post("/v1/calls", json={"account": "alice", "to": "echo"})
    assert (refused.status_code, refused.json()["code"]) == (403, "destination_denied")
    after = hears(phone, call)
    assert after["packets_lost"] == before["packets_lost"]
    assert (after["dtls_generation"], after["ice_generation"]) == (before["dtls_generation"], before["ice_generation"])
    assert phone.account("alice")["registration"]["flow_generation"] == flow
    assert not {"call.reconnecting", "call.lost", "call.ended"} & set(told(phone, call))
    assert not phone.events.of("account.reconnecting")
    entries = [json.loads(line) for line in (phone.state / "audit.log").read_text().splitlines()]
    who = {"POST /v1/reload": f"uid:{os.getuid()}", "reload": "SIGHUP"}
    assert [(entry["who"], entry["outcome"]) for entry in entries if entry["what"] in who] == [
        (who["POST /v1/reload" if reload is by_http else "reload"], "ok")
    ]


def test_a_wrong_file_is_told_whole_and_changes_nothing(phone: Phone) -> None:
    call = phone.calling("tone")
    edit(phone, lambda text: text.replace("[api]", "[dial]\nalow = []\n[transfr]\nx = 1\n[api]\nprt = 5"))
    refused = phone.http.post("/v1/reload")
    problem = refused.json()
    assert (refused.status_code, problem["code"]) == (422, "bad_configuration")
    assert {error["pointer"] for error in problem["errors"]} == {"/dial/alow", "/transfr", "/api/prt"}
    assert all(f"{phone.configuration_file}:" in error["detail"] for error in problem["errors"])
    by_signal(phone)
    phone.until(lambda: phone.log.count("not reloaded, everything stays as it was") >= 6, "the log says so twice")
    hears(phone, call)
    assert phone.get("/v1/accounts")["data"][0]["state"] == "online"
    assert not phone.events.of("system.reloaded")


def test_an_account_that_is_gone_from_the_file_keeps_its_call_and_goes_with_it(
    exchange: Exchange, phone: Phone
) -> None:
    call = phone.calling("tone")
    whole = phone.configuration_file.read_text()
    edit(phone, lambda text: text.partition("[[accounts]]")[0] + "[phone]" + text.partition("[phone]")[2])
    by_signal(phone)
    assert phone.events.wait_for("system.reloaded").data["reload"]["accounts"]["removed"] == ["alice"]
    phone.events.wait_for("account.unregistered")
    hears(phone, call)
    exchange.order(fault="close")  # the call is repaired over a flow of an account that is on its way out
    phone.events.wait_for("call.dialog_verified", timeout_s=20)
    hears(phone, call)
    refused = phone.http.post("/v1/calls", json={"account": "alice", "to": "echo"})
    assert refused.status_code == 503
    assert phone.http.post("/v1/accounts/alice/register").status_code == 409
    phone.verb(call, "hangup")
    phone.events.wait_for("account.removed")
    assert phone.get("/v1/accounts")["data"] == []
    assert told(phone, call)[-1] == "call.ended"
    phone.configuration_file.write_text(whole)
    by_http(phone)
    phone.wait_ready()


def test_an_account_of_the_api_lives_through_kill_9_and_ends_with_its_deletion(exchange: Exchange) -> None:
    with Phone(exchange) as alice, Phone(exchange) as phone:
        alice.start().wait_ready()
        edit(phone, lambda text: text.partition("[[accounts]]")[0] + "[phone]" + text.partition("[phone]")[2])
        phone.start()
        settings = {
            "aor": f"sip:bob@{exchange.facts['domain']}",
            "outbound_proxy": exchange.facts["url"],
            "password": exchange.facts["users"]["bob"],
        }
        made = phone.http.put("/v1/accounts/bob", json=settings)
        assert made.status_code == 201
        phone.wait_ready()
        call = answered(alice, phone)
        assert phone.http.delete("/v1/accounts/bob").status_code == 409
        phone.die()
        phone.back(call, phone.again())
        hears(phone, call)
        phone.verb(call, "hangup")
        second = answered(alice, phone)
        for _ in range(2):  # let it go with its call; then it is wanted after all
            assert phone.http.delete("/v1/accounts/bob", params={"drain": "true"}).status_code == 202
        phone.events.wait_for("account.unregistered")
        changed = phone.http.put("/v1/accounts/bob", json={**settings, "recovery": {"keepalive_s": 30}})
        assert changed.status_code == 201
        phone.wait_ready()
        hears(phone, second)
        phone.verb(second, "hangup")
        phone.events.wait_for("call.ended", lambda data: data["call"]["id"] == second)
        kept = [path for path in phone.state.rglob("*") if path.is_file()]
        where = [path for path in kept if settings["password"].encode() in path.read_bytes()]
        assert [path.parent.name for path in where] == ["account-secrets"]
        assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in kept)
        assert settings["password"] not in phone.log + json.dumps([event.data for event in phone.events.seen])
        assert phone.http.delete("/v1/accounts/bob").status_code == 204
        assert phone.get("/v1/accounts")["data"] == []
        refused = alice.http.post("/v1/calls", json={"account": "alice", "to": "bob", "wait": "answered"})
        assert (refused.status_code, refused.json()["sip"]["code"]) == (502, 480)
        phone.leave(signal.SIGTERM)
        phone.again()
        assert phone.get("/v1/accounts")["data"] == []
        assert not list((phone.state / "account-secrets").iterdir())


def answered(alice: Phone, phone: Phone) -> str:
    """A call from alice, taken; its id at the phone."""
    ringing = len(phone.events.of("call.incoming"))
    alice.place("alice", "bob")
    phone.until(lambda: len(phone.events.of("call.incoming")) > ringing, "a call comes in")
    call = str(phone.events.of("call.incoming")[-1].call["id"])
    phone.verb(call, "answer")
    phone.wait_call(call, "sound", lambda view: view["media"]["state"] == "flowing")
    return call
