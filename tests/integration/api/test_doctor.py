"""`POST /v1/doctor`: who may ask, what comes back, one at a time."""

from __future__ import annotations

import json

import pytest

from api.answers import Doctor
from api.ctl import client as ctl
from phoned.errors import WrongState
from phoned.model import CheckView, DoctorView
from tests.integration.api.conftest import Running
from tests.integration.api.test_phonectl import phonectl


def found(*checks: CheckView) -> DoctorView:
    return DoctorView(ok=all(check.ok is not False for check in checks), checks=checks)


TCP = CheckView(name="tcp", ok=False, detail="refused", fix="start it", account="front", proxy="backup")
SKIPPED = CheckView(name="tls", ok=None, detail="not run: tcp failed", account="front", proxy="backup")
SECRETS = CheckView(name="secrets", ok=False, detail="mode 0644", fix="chmod 600 x")


async def test_the_answer_is_as_it_is_described(running: Running) -> None:
    running.phone.diagnosis = found(TCP, SKIPPED)
    response = await running.unix().post("/v1/doctor")
    assert response.status_code == 200
    body = Doctor.model_validate(response.json())
    assert not body.ok
    assert response.json()["checks"][1] == {
        "name": "tls", "ok": None, "detail": "not run: tcp failed", "fix": None, "account": "front", "proxy": "backup",
    }  # fmt: skip
    description = (await running.unix().get("/openapi.json")).json()
    assert Doctor.model_validate(description["components"]["schemas"]["Doctor"]["example"])


async def test_only_an_administrator_may_ask(running: Running) -> None:
    for scope, status in (("call", 403), ("admin", 200)):
        answer = await running.tcp(running.token(scope)).post("/v1/doctor")  # type: ignore[arg-type]  # of a literal
        assert answer.status_code == status


async def test_a_second_examination_is_a_conflict(running: Running) -> None:
    running.phone.refusal = WrongState("an examination runs already", state="examining", allowed_in=("idle",))
    answer = await running.unix().post("/v1/doctor")
    assert (answer.status_code, answer.json()["detail"]) == (409, "an examination runs already")
    running.phone.refusal = WrongState("an examination runs already", state="examining", allowed_in=("idle",))
    assert (await phonectl(running, "doctor")).code == ctl.WRONG_STATE
    description = (await running.unix().get("/openapi.json")).json()
    assert "409" in description["paths"]["/v1/doctor"]["post"]["responses"]


@pytest.mark.parametrize(
    ("view", "code"), [(found(), ctl.OK), (found(TCP, SKIPPED), ctl.ERROR), (found(SECRETS), ctl.BAD_CONFIGURATION)]
)
async def test_phonectl_ends_as_the_command_of_the_daemon_does(running: Running, view: DoctorView, code: int) -> None:
    running.phone.diagnosis = view
    people = await phonectl(running, "doctor")
    assert people.code == code
    for check in view.checks:
        assert check.detail in people.out
        assert (f"fix: {check.fix}" in people.out) is (check.ok is False)
    assert ("nothing is broken" in people.out) is view.ok
    programs = await phonectl(running, "doctor", "--json")
    assert (programs.code, json.loads(programs.out)["ok"]) == (code, view.ok)
