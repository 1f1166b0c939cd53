"""Accounts at run time, /v1/reload and /v1/do-not-disturb over HTTP."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from api import answers
from api.config import ApiConfig
from phoned.config.report import ConfigError, Origin, Problem
from phoned.errors import InvalidValues
from phoned.model import AccountChanges, ReloadView
from phoned.store.tokens import Scope
from tests.integration.api.conftest import Running

SETTINGS = {"aor": "sip:back@example.org", "outbound_proxy": "wss://edge/ws", "password": "canary-password"}


async def test_an_account_is_made_changed_and_deleted(running: Running) -> None:
    client = running.unix()
    made = await client.put("/v1/accounts/back", json=SETTINGS)
    assert (made.status_code, made.headers["location"]) == (201, "/v1/accounts/back")
    answers.Account.model_validate(made.json())
    assert "canary" not in made.text
    assert running.phone.documents["back"] == SETTINGS
    again = await client.put("/v1/accounts/back", json=SETTINGS)
    assert (again.status_code, "location" in again.headers) == (200, False)
    gone = await client.delete("/v1/accounts/back")
    assert (gone.status_code, gone.content) == (204, b"")
    assert (await client.delete("/v1/accounts/back")).status_code == 404


async def test_an_account_with_a_call_is_deleted_when_asked_twice(running: Running) -> None:
    client = running.unix()
    await client.put("/v1/accounts/back", json=SETTINGS)
    await running.phone.remote_calls(account="back")
    refused = await client.delete("/v1/accounts/back")
    assert (refused.status_code, refused.json()["code"], refused.json()["allowed_in"]) == (
        409,
        "wrong_state",
        ["no_calls"],
    )
    draining = await client.delete("/v1/accounts/back", params={"drain": "true"})
    assert (draining.status_code, draining.json()["id"]) == (202, "back")
    assert (await client.delete("/v1/accounts/back", params={"drain": "perhaps"})).status_code == 422


async def test_an_account_of_the_configuration_is_409_with_the_fix(running: Running) -> None:
    client = running.unix()
    for response in (await client.put("/v1/accounts/front", json=SETTINGS), await client.delete("/v1/accounts/front")):
        assert (response.status_code, response.json()["code"]) == (409, "wrong_state")
        assert "in the configuration" in response.json()["detail"]


async def test_everything_that_is_wrong_with_an_account_comes_together(running: Running) -> None:
    running.phone.refusal = InvalidValues([("/aor", "missing"), ("/recovery/keepalive", "unknown key")])
    response = await running.unix().put("/v1/accounts/back", json={})
    problem = response.json()
    assert (response.status_code, problem["code"]) == (422, "invalid_value")
    assert problem["errors"] == [
        {"pointer": "/aor", "detail": "missing"},
        {"pointer": "/recovery/keepalive", "detail": "unknown key"},
    ]
    assert problem["detail"] == "/aor: missing (and 1 more)"
    bodies: list[Any] = [[], "x", 5, None]
    for body in bodies:
        assert (await running.unix().put("/v1/accounts/back", json=body)).status_code == 422


@pytest.mark.parametrize(
    ("method", "path"), [("PUT", "/v1/accounts/back"), ("DELETE", "/v1/accounts/back"), ("POST", "/v1/reload")]
)
async def test_configuring_needs_the_scope_admin(running: Running, method: str, path: str) -> None:
    scopes: tuple[Scope, ...] = ("read", "call", "media")
    for scope in scopes:
        refused = await running.tcp(running.token(scope)).request(method, path, json={})
        assert (refused.status_code, refused.json()["code"]) == (403, "insufficient_scope")
    assert (await running.tcp().request(method, path, json={})).status_code == 401


async def test_a_reload_says_what_came_of_it(running: Running) -> None:
    running.phone.reloaded = ReloadView(
        accounts=AccountChanges(added=("b",)), applied=("dial.deny",), restart_needed=("api.port",), warnings=("w",)
    )
    response = await running.unix().post("/v1/reload")
    assert response.status_code == 200
    assert response.json() == {
        "accounts": {"added": ["b"], "changed": [], "removed": []},
        "applied": ["dial.deny"],
        "restart_needed": ["api.port"],
        "warnings": ["w"],
    }
    answers.Reload.model_validate(response.json())


async def test_a_wrong_configuration_is_told_with_file_and_line(running: Running) -> None:
    origin = Origin(source="/etc/phoned/phoned.toml", line=7, base=Path("/etc/phoned"))
    running.phone.refusal = ConfigError(
        [
            Problem(origin=origin, key="accounts[0].recovery.keepalive", message="unknown key"),
            Problem(origin=origin, key="", message="no TOML"),
        ]
    )
    response = await running.unix().post("/v1/reload")
    problem: dict[str, Any] = response.json()
    assert (response.status_code, problem["code"]) == (422, "bad_configuration")
    assert problem["errors"] == [
        {
            "pointer": "/accounts/0/recovery/keepalive",
            "detail": "/etc/phoned/phoned.toml:7: accounts[0].recovery.keepalive: unknown key",
        },
        {"pointer": "", "detail": "/etc/phoned/phoned.toml:7: no TOML"},
    ]


async def test_peace_can_be_asked_for_had_and_given_up(running: Running) -> None:
    client = running.tcp(running.token("call"))
    assert (await client.get("/v1/do-not-disturb")).json() == {"do_not_disturb": False}
    for _ in range(2):
        response = await client.post("/v1/do-not-disturb")
        assert (response.status_code, response.json()) == (200, {"do_not_disturb": True})
    assert (await client.get("/v1/do-not-disturb")).json() == {"do_not_disturb": True}
    assert (await client.delete("/v1/do-not-disturb")).status_code == 204
    assert (await running.tcp(running.token("read")).post("/v1/do-not-disturb")).status_code == 403
    await running.bus.flush()
    told = [event.data for event in await running.bus.log.after(0, 100) or []]
    assert told == [{"do_not_disturb": True}, {"do_not_disturb": False}]


async def test_the_description_shows_what_an_account_is_made_of(running: Running) -> None:
    document = (await running.unix().get("/openapi.json")).json()
    schema = document["components"]["schemas"]["PutAccount"]
    assert schema["required"] == ["aor", "outbound_proxy"]
    assert schema["properties"]["password"]["writeOnly"]
    assert "keepalive_s" in schema["properties"]["recovery"]["properties"]
    assert "id" not in schema["properties"]
    assert "$ref" not in str(schema)


async def test_the_api_takes_hosts_origins_and_its_rate_while_it_runs(running: Running) -> None:
    host = {"Host": "phone.example.org"}
    client = running.tcp(running.token("read"))
    assert (await client.get("/v1", headers=host)).status_code == 403
    changed = ApiConfig(allowed_hosts=("phone.example.org",), rate_per_s=1, port=1)
    assert running.service.reconfigure(changed) == ["port"]
    assert (await client.get("/v1", headers=host)).status_code == 200
    assert [(await client.get("/v1")).status_code for _ in range(3)].count(429) >= 1
