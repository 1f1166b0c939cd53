"""The doctor at Kamailio and coturn: beside a phone that is registered, without one, and with a wrong TURN password."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from tests.peers.conftest import StartPhone, online
from tests.peers.harness.kamailio import Kamailio
from tests.peers.harness.phone import ACCOUNT, USER, account, phoned
from tests.peers.harness.turn import Coturn
from tests.support.daemon import PhonedProcess


def examined(phone: PhonedProcess) -> dict[str, Any]:
    """What `phoned doctor` finds, by the name of the check."""
    command = [sys.executable, "-m", "phoned.cli", "doctor", "--json", "--config", str(phone.configuration_file)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.stderr == ""
    return {check["name"]: check for check in json.loads(done.stdout)["checks"]}


def broken(checks: dict[str, Any]) -> list[str]:
    return [name for name, check in checks.items() if check["ok"] is False]


def test_a_registered_phone_keeps_its_binding(kamailio: Kamailio, start_phone: StartPhone) -> None:
    phone = online(start_phone(phoned(account(kamailio, secure=True))))
    (before,) = kamailio.contacts(USER)
    found = examined(phone)
    assert broken(found) == []
    assert "1 registered at" in found["register"]["detail"]
    inside = phone.post("/v1/doctor")
    assert inside["ok"], inside
    (after,) = kamailio.contacts(USER)
    assert (after.instance, after.reg_id) == (before.instance, before.reg_id)
    seen = kamailio.requests("REGISTER", USER)
    assert len({request.call_id for request in seen}) == 3, "the phone's, and one question of each doctor"
    assert phone.account(ACCOUNT)["state"] == "online"
    assert phone.events.of("account.reconnecting") == []


def test_without_a_phone_it_registers_and_leaves_nothing(kamailio: Kamailio) -> None:
    with phoned(account(kamailio)) as phone:
        found = examined(phone)
    assert broken(found) == []
    assert "registered for 60 s and removed" in found["register"]["detail"]
    assert kamailio.contacts(USER) == []


def test_a_turn_server_relays_and_refuses_a_wrong_password(kamailio: Kamailio) -> None:
    with Coturn() as coturn:
        for secret, expected in ((coturn.password, []), ("not-its-password", ["turn"])):
            turn = {"url": coturn.url, "username": coturn.username, "credential_file": "turn"}
            stun = coturn.url.replace("turn:", "stun:")
            with phoned(account(kamailio), media={"turn": [turn], "stun": [stun]}) as phone:
                file = phone.directory / "turn"
                file.touch(mode=0o600)
                file.write_text(secret)
                found = examined(phone)
            assert broken(found) == expected
            assert found["stun"]["ok"], found
            if not expected:
                assert "relays at 127.0.0.1:" in found["turn"]["detail"]
            else:
                assert "credential_file" in found["turn"]["fix"]
                assert secret not in json.dumps(found)
