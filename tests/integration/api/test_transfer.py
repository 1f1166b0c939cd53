"""POST /v1/calls/{id}/transfer, and `phonectl transfer`."""

from __future__ import annotations

import json

import pytest

from api.ctl import client as ctl
from phoned.errors import Refused
from tests.integration.api.conftest import Running
from tests.integration.api.test_phonectl import phonectl


async def up(running: Running) -> str:
    """A call that was answered."""
    placed = await running.unix().post("/v1/calls", json={"account": "front", "to": "200"})
    call = str(placed.json()["id"])
    await running.phone.remote_answers(call)
    return call


async def test_a_call_is_handed_over_and_that_is_told(running: Running) -> None:
    call = await up(running)
    response = await running.unix().post(f"/v1/calls/{call}/transfer", json={"to": "300"})
    assert (response.status_code, response.json()["id"]) == (200, call)
    await running.bus.flush()
    types = [event.type for event in await running.bus.log.after(0, 100) or []]
    assert types[-2:] == ["call.transfer_started", "call.transfer_accepted"]


async def test_two_calls_are_joined(running: Running) -> None:
    first, second = await up(running), await up(running)
    response = await running.unix().post(f"/v1/calls/{first}/transfer", json={"replaces": second})
    assert response.status_code == 200


@pytest.mark.parametrize(
    "wrong",
    [{}, {"to": "300", "replaces": "call_" + "0" * 32}, {"to": ""}, {"to": "a\r\nb"}, {"replaces": "x"}, {"with": "x"}],
)
async def test_what_names_nobody_to_hand_over_to_is_refused(running: Running, wrong: dict[str, str]) -> None:
    call = await up(running)
    assert (await running.unix().post(f"/v1/calls/{call}/transfer", json=wrong)).status_code == 422


async def test_a_refusal_is_a_502_with_the_far_ends_words(running: Running) -> None:
    call = await up(running)
    running.phone.refusal = Refused(603, "Decline")
    response = await running.unix().post(f"/v1/calls/{call}/transfer", json={"to": "300"})
    assert (response.status_code, response.json()["sip"]) == (502, {"code": 603, "reason": "Decline"})


async def test_phonectl_hands_over(running: Running) -> None:
    call = await up(running)
    done = await phonectl(running, "transfer", "300", "--json")
    assert (done.code, json.loads(done.out)["id"]) == (ctl.OK, call)
    assert (await phonectl(running, "transfer")).code == ctl.USAGE
    assert (await phonectl(running, "transfer", "300", "--replaces", call)).code == ctl.USAGE
    other = await up(running)
    assert (await phonectl(running, "transfer", "--call", call, "--replaces", other)).code == ctl.OK
