"""/v1/drain."""

from __future__ import annotations

from phoned.model import CallRequest
from tests.integration.api.conftest import Running


async def test_a_draining_phone_takes_no_calls_and_keeps_those_that_are_up(running: Running) -> None:
    client = running.unix()
    call = await running.phone.place_call(CallRequest(account="front", to="200"))
    for _ in range(2):
        drained = await client.post("/v1/drain")
        assert (drained.status_code, drained.json()["draining"]) == (200, True)
    assert (await client.get("/readyz")).status_code == 503
    refused = await client.post("/v1/calls", json={"account": "front", "to": "200"})
    assert (refused.status_code, refused.json()["code"]) == (503, "draining")
    assert (await client.get(f"/v1/calls/{call.id}")).json()["state"] != "ended"
    assert (await client.delete("/v1/drain")).status_code == 204
    assert (await client.get("/readyz")).status_code == 200
    await running.bus.flush()
    told = [event for event in await running.bus.log.after(0, 100) or [] if event.type == "system.draining"]
    assert [event.data["draining"] for event in told] == [True, False]


async def test_draining_needs_the_scope_admin(running: Running) -> None:
    assert (await running.tcp().post("/v1/drain")).status_code == 401
