"""/v1/devices and `phonectl devices`: what is shown, what may be changed, what is refused and how."""

from __future__ import annotations

import json

import pytest

from api.ctl import client as ctl
from phoned.errors import SoundUnavailable, WrongState
from tests.integration.api.conftest import Running
from tests.integration.api.test_phonectl import phonectl

CALL = "call_" + "1" * 32


async def test_devices_and_their_use_are_shown(running: Running) -> None:
    seen = (await running.unix().get("/v1/devices")).json()
    assert [one["name"] for one in seen["devices"]] == ["mic", "speaker"]
    assert (seen["input"]["state"], seen["input"]["level_dbov"], seen["output"]["volume_pct"]) == ("open", -21.5, 100)
    assert seen["call"] is seen["chosen"] is None


async def test_volume_mute_gain_device_and_the_call_in_front_are_changed(running: Running) -> None:
    client = running.unix()
    order = {
        "input": {"gain_db": -6, "muted": True},
        "output": {"device": "default", "volume_pct": 80},
        "ring": {"device": None},
        "call": CALL,
    }
    changed = (await client.patch("/v1/devices", json=order)).json()
    assert (changed["input"]["gain_db"], changed["input"]["muted"]) == (-6.0, True)
    assert (changed["output"]["device"], changed["output"]["volume_pct"]) == ("default", 80)
    assert (changed["ring"]["device"], changed["chosen"]) == ("default", CALL)
    left = (await client.patch("/v1/devices", json={"call": None})).json()
    assert left["chosen"] is None
    same = (await client.patch("/v1/devices", json={})).json()
    assert same == left


async def test_who_may_call_may_make_it_louder_but_not_choose_the_device(running: Running) -> None:
    client = running.tcp(running.token("call"))
    louder = await client.patch("/v1/devices", json={"output": {"volume_pct": 90}, "input": {"muted": True}})
    assert (louder.status_code, louder.json()["output"]["volume_pct"]) == (200, 90)
    for device in ("default", None):
        refused = await client.patch("/v1/devices", json={"output": {"volume_pct": 50, "device": device}})
        assert (refused.status_code, refused.json()["code"]) == (403, "insufficient_scope")
    assert (await client.get("/v1/devices")).json()["output"]["volume_pct"] == 90, "nothing of a refused order is done"
    reader = running.tcp(running.token("read"))
    assert (await reader.patch("/v1/devices", json={"input": {"muted": False}})).status_code == 403


@pytest.mark.parametrize(
    ("order", "code"),
    [
        ({"output": {"device": "spekaer"}}, "unknown_device"),
        ({"output": {"volume_pct": 101}}, "invalid_value"),
        ({"output": {"gain_db": 1}}, "invalid_value"),
        ({"input": {"volume_pct": 1}}, "invalid_value"),
        ({"input": {"gain_db": 31}}, "invalid_value"),
        ({"input": {"muted": "yes"}}, "invalid_value"),
        ({"camera": {}}, "invalid_value"),
        ({"call": "mine"}, "invalid_value"),
    ],
)
async def test_what_cannot_be_is_refused_with_its_place(running: Running, order: dict[str, object], code: str) -> None:
    refused = await running.unix().patch("/v1/devices", json=order)
    assert (refused.status_code, refused.json()["code"]) == (422, code)
    assert refused.json()["errors"][0]["pointer"].startswith(f"/{next(iter(order))}")


async def test_a_test_tells_what_was_heard_or_why_it_was_not_made(running: Running) -> None:
    client = running.unix()
    found = (await client.post("/v1/devices/test")).json()
    assert (found["heard"], found["heard_hz"], found["level_dbov"]) == (True, 1000.1, -20.0)
    running.phone.test_fails = WrongState("in use", state="in_call", allowed_in=("idle",))
    assert (await client.post("/v1/devices/test")).json()["state"] == "in_call"
    running.phone.test_fails = SoundUnavailable("PortAudio is missing: apt install libportaudio2")
    failed = await client.post("/v1/devices/test")
    assert (failed.status_code, failed.json()["code"]) == (503, "sound_unavailable")
    assert "libportaudio2" in failed.json()["detail"]


async def test_changes_are_events(running: Running) -> None:
    client = running.unix()
    await client.patch("/v1/devices", json={"output": {"volume_pct": 30}})
    await running.bus.flush()
    page = (await client.get("/v1/events", params={"after": 0}, headers={"Accept": "application/json"})).json()
    told = [event["data"] for event in page["data"] if event["type"] == "device.changed"]
    assert [(one["role"], one["use"]["volume_pct"], one["device"]) for one in told] == [("output", 30, None)]


async def test_phonectl_shows_and_changes_devices(running: Running) -> None:
    shown = await phonectl(running, "devices")
    assert shown.code == 0
    assert "mic" in shown.out
    assert "-22 dBov" in shown.out
    used = await phonectl(running, "devices", "use", "output", "default", "--json")
    assert json.loads(used.out)["output"]["device"] == "default"
    assert (await phonectl(running, "devices", "use", "output", "config")).code == 0
    muted = await phonectl(running, "devices", "mute", "input")
    assert "muted" in muted.out
    loud = json.loads((await phonectl(running, "devices", "mute", "input", "--off", "--json")).out)
    assert loud["input"]["muted"] is False
    assert "-6 dB" in (await phonectl(running, "devices", "gain", "--", "-6")).out
    assert f"in front: {CALL} (chosen)" in (await phonectl(running, "devices", "front", CALL)).out
    assert "in front" not in (await phonectl(running, "devices", "front", "auto")).out
    wrong = await phonectl(running, "devices", "use", "output", "spekaer")
    assert (wrong.code, "spekaer" in wrong.err) == (ctl.USAGE, True)


async def test_phonectl_volume_and_test(running: Running) -> None:
    assert (await phonectl(running, "volume")).out == "100 %\n"
    assert (await phonectl(running, "volume", "40")).out == "40 %\n"
    assert json.loads((await phonectl(running, "volume", "70", "--ring", "--json")).out)["volume_pct"] == 70
    assert "heard by mic: 1000.1 Hz" in (await phonectl(running, "devices", "test")).out


def test_a_test_that_heard_nothing_is_told_in_words() -> None:
    from api.ctl.devices import shown, tried

    view = {"played_hz": 1000.0, "output": None, "input": "mic", "heard": False, "level_dbov": -90, "quiet_dbov": -91}
    assert "not heard by mic" in tried(view)
    assert "nobody listened" in tried({**view, "input": None})
    use = {"device": "none", "state": "off", "using": None, "muted": False, "gain_db": 0.0, "volume_pct": 1}
    empty = {role: {**use, "level_dbov": -127.0, "detail": None} for role in ("input", "output", "ring")}
    assert "no devices" in shown({**empty, "devices": [], "call": None, "chosen": None})
