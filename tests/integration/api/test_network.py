"""/v1/network and the outbound proxy: what is seen, and what may be asked for."""

from __future__ import annotations

from tests.integration.api.conftest import Running


async def test_the_network_is_shown_and_a_check_can_be_asked_for(running: Running) -> None:
    client = running.unix()
    seen = (await client.get("/v1/network")).json()
    assert (seen["generation"], seen["source"], seen["interfaces"], seen["changes"]) == (1, "fake", [], [])
    asked = await client.post("/v1/network/changed")
    assert (asked.status_code, asked.json()["generation"]) == (202, 2)


async def test_an_account_is_moved_to_its_backup_proxy_and_back(running: Running) -> None:
    client = running.unix()
    account = (await client.get("/v1/accounts")).json()["data"][0]
    path = f"/v1/accounts/{account['id']}/outbound-proxy"
    moved = await client.post(path, json={"use": "backup"})
    assert moved.status_code == 202
    proxy = moved.json()["outbound_proxy"]
    assert (proxy["mode"], proxy["active"]) == ("backup", account["outbound_proxy"]["backup"])
    back = (await client.post(path, json={"use": "auto"})).json()["outbound_proxy"]
    assert back["mode"] == "auto"
    for bad in ({"use": "elsewhere"}, {}, {"use": "backup", "now": True}):
        assert (await client.post(path, json=bad)).status_code == 422
    assert (await client.post("/v1/accounts/nobody/outbound-proxy", json={"use": "auto"})).status_code == 404
