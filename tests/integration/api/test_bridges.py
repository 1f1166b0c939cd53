"""Bridges over HTTP and from the shell."""

from __future__ import annotations

import json

from api import answers
from api.ctl import client as ctl
from tests.integration.api.conftest import Running
from tests.integration.api.test_calls import active, code, placed
from tests.integration.api.test_phonectl import phonectl


async def test_calls_are_joined_changed_and_parted(running: Running) -> None:
    client = running.unix()
    one, two, three = [await active(running, client) for _ in range(3)]
    made = await client.post("/v1/bridges", json={"calls": [one, two]})
    bridge = made.json()
    answers.Bridge.model_validate(bridge)
    assert (made.status_code, made.headers["location"]) == (201, f"/v1/bridges/{bridge['id']}")
    path = f"/v1/bridges/{bridge['id']}"
    assert (await client.get(path)).json() == bridge
    changed = (await client.patch(path, json={"calls": [two, three]})).json()
    assert (changed["calls"], changed["state"]) == ([two, three], "active")
    assert (await client.get("/v1/bridges")).json() == {"data": [changed], "next_cursor": None}
    for _ in range(2):
        assert (await client.delete(path)).status_code == 204
    assert (await client.get(path)).json() == {**changed, "state": "ended"}
    assert code(await client.patch(path, json={"calls": [one, two]})) == (410, "gone")


async def test_what_cannot_be_joined_is_refused_with_its_reason(running: Running) -> None:
    client = running.unix()
    one, two = [await active(running, client) for _ in range(2)]
    dialing, over = await placed(client), await active(running, client)
    await running.phone.remote_hangs_up(over)
    unknown = "call_" + "0" * 32
    for calls, expected in (
        ([one], (422, "invalid_value")),
        ([one, one], (422, "invalid_value")),
        ([one, "x"], (422, "invalid_value")),
        ([one, dialing], (409, "wrong_state")),
        ([one, over], (410, "gone")),
        ([one, unknown], (404, "not_found")),
    ):
        assert code(await client.post("/v1/bridges", json={"calls": calls})) == expected
    await client.post("/v1/bridges", json={"calls": [one, two]})
    refused = await client.post("/v1/bridges", json={"calls": [one, two]})
    assert code(refused) == (409, "wrong_state")
    for method in ("GET", "DELETE"):
        assert code(await client.request(method, "/v1/bridges/br_1")) == (404, "not_found")


async def test_the_shell_joins_the_two_calls_that_are_up(running: Running) -> None:
    client = running.unix()
    assert "no bridges" in (await phonectl(running, "bridges")).out
    one, two = [await active(running, client) for _ in range(2)]
    made = json.loads((await phonectl(running, "bridge", "--json")).out)
    assert set(made["calls"]) == {one, two}
    three = await active(running, client)
    assert (await phonectl(running, "bridge")).code == ctl.USAGE
    changed = await phonectl(running, "bridge", one, three, "--change", made["id"])
    assert f"{one} {three}" in changed.out
    assert made["id"] in (await phonectl(running, "bridges")).out
    ended = await phonectl(running, "bridge", "--end", made["id"], "--json")
    assert json.loads(ended.out)["state"] == "ended"
    assert (await phonectl(running, "bridge", one, two, "--json")).code == ctl.OK
