"""Calls over HTTP, against the fake phone's real state rules."""

from __future__ import annotations

from tests.integration.api.conftest import Running


async def test_a_call_is_placed_and_found(running: Running) -> None:
    client = running.unix()
    placed = await client.post("/v1/calls", json={"account": "front", "to": "200"})
    assert placed.status_code == 201, placed.text
    call = placed.json()
    assert placed.headers["location"] == f"/v1/calls/{call['id']}"
    assert call["state"] == "dialing"
    assert (await client.get(f"/v1/calls/{call['id']}")).json() == call
