"""Calls over HTTP, against the fake phone's real state rules."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from api import answers
from phoned import errors
from phoned.ids import new_id
from phoned.model import AccountState
from tests.integration.api.conftest import Running

CALL = {"account": "front", "to": "200"}


async def placed(client: httpx.AsyncClient, **more: Any) -> str:
    response = await client.post("/v1/calls", json={**CALL, **more})
    assert response.status_code == 201, response.text
    return str(response.json()["id"])


async def active(running: Running, client: httpx.AsyncClient) -> str:
    call = await placed(client)
    await running.phone.remote_answers(call)
    return call


def code(response: httpx.Response) -> tuple[int, str]:
    assert response.headers["content-type"] == "application/problem+json", response.text
    body = response.json()
    answers.ProblemDocument.model_validate(body)
    assert body["status"] == response.status_code
    assert body["instance"] == response.request.url.path
    assert body["request_id"] == response.headers["x-request-id"]
    return response.status_code, body["code"]


async def test_a_call_is_placed_and_found(running: Running) -> None:
    client = running.unix()
    response = await client.post("/v1/calls", json={**CALL, "tags": {"k": "v"}, "headers": {"X-A": "b"}})
    assert response.status_code == 201
    call = response.json()
    answers.Call.model_validate(call)
    assert response.headers["location"] == f"/v1/calls/{call['id']}"
    assert (call["state"], call["tags"], call["headers"]) == ("dialing", {"k": "v"}, {"X-A": "b"})
    assert (await client.get(f"/v1/calls/{call['id']}")).json() == call


@pytest.mark.parametrize("wait", ["ringing", "answered"])
async def test_wait_returns_once_it_has_happened(running: Running, wait: str) -> None:
    client = running.unix()
    request = asyncio.gather(client.post("/v1/calls", json={**CALL, "wait": wait}))
    call = await running.phone.first_call()
    await running.phone.remote_rings(call)
    if wait == "answered":
        assert not request.done()
        await running.phone.remote_answers(call)
    [response] = await request
    assert response.status_code == 201
    assert response.json()["state"] == ("active" if wait == "answered" else "ringing")


async def test_wait_turns_a_refusal_into_502_with_the_far_ends_words(running: Running) -> None:
    client = running.unix()
    request = asyncio.gather(client.post("/v1/calls", json={**CALL, "wait": "answered"}))
    await running.phone.remote_refuses(await running.phone.first_call(), 486, "Busy Here")
    [response] = await request
    assert code(response) == (502, "refused")
    assert response.json()["sip"] == {"code": 486, "reason": "Busy Here"}


async def test_wait_ends_with_504_when_nobody_answers(running: Running) -> None:
    response = await running.unix().post("/v1/calls", json={**CALL, "wait": "answered", "timeout_s": 0.05})
    assert code(response) == (504, "deadline_exceeded")


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({**CALL, "account": "nobody"}, (404, "not_found")),
        ({**CALL, "to": "112"}, (403, "emergency_disabled")),
        ({**CALL, "to": "0900"}, (403, "destination_denied")),
        ({**CALL, "to": "2 0 0"}, (422, "invalid_value")),
        ({**CALL, "on_answer": [{"stream": {}}]}, (422, "invalid_value")),
        ({"to": "200"}, (422, "invalid_value")),
        ([], (422, "invalid_value")),
        (None, (422, "invalid_value")),
        ("text", (422, "invalid_value")),
    ],
)
async def test_calls_that_are_not_placed(running: Running, body: object, expected: tuple[int, str]) -> None:
    assert code(await running.unix().post("/v1/calls", json=body)) == expected
    assert not running.phone.placed


async def test_an_invalid_member_is_pointed_at(running: Running) -> None:
    response = await running.unix().post("/v1/calls", json={**CALL, "timeout_s": -1, "bogus": 1})
    assert {item["pointer"] for item in response.json()["errors"]} == {"/timeout_s", "/bogus"}


async def test_what_cannot_be_now_is_503_with_retry_after(running: Running) -> None:
    client = running.unix()
    running.phone.capacity = 0
    assert code(await client.post("/v1/calls", json=CALL)) == (503, "at_capacity")
    running.phone.set_account("front", state=AccountState.BACKOFF)
    response = await client.post("/v1/calls", json=CALL)
    assert code(response) == (503, "not_registered")
    assert response.headers["retry-after"] == "3"
    running.phone.draining = True
    assert code(await client.post("/v1/calls", json=CALL)) == (503, "draining")


async def test_put_names_the_call_and_repeats_harmlessly(running: Running) -> None:
    client, id_ = running.unix(), new_id("call")
    first = await client.put(f"/v1/calls/{id_}", json=CALL)
    assert (first.status_code, first.json()["id"]) == (201, id_)
    await running.phone.remote_answers(id_)
    second = await client.put(f"/v1/calls/{id_}", json=CALL)
    assert (second.status_code, second.json()["state"]) == (200, "active")
    other = await client.put(f"/v1/calls/{id_}", json={**CALL, "to": "201"})
    assert code(other) == (422, "idempotency_mismatch")
    assert len(running.phone.placed) == 1


@pytest.mark.parametrize("id_", ["mine", "call_XYZ", "call_" + "0" * 31, "call_" + "0" * 33])
async def test_put_wants_an_id_of_our_form(running: Running, id_: str) -> None:
    assert code(await running.unix().put(f"/v1/calls/{id_}", json=CALL)) == (422, "invalid_value")


async def test_lists_are_filtered_and_paged(running: Running) -> None:
    client = running.unix()
    running.phone.add_account("back")
    ids = [await placed(client, account=account) for account in ("front", "back", "front", "front")]
    incoming = (await running.phone.remote_calls()).id
    await running.phone.hangup(ids[0])

    async def listed(**query: Any) -> list[str]:
        response = await client.get("/v1/calls", params=query)
        assert response.status_code == 200, response.text
        answers.Page[answers.Call].model_validate(response.json())
        return [item["id"] for item in response.json()["data"]]

    assert await listed() == [incoming, *reversed(ids)]
    assert await listed(state="ended") == [ids[0]]
    assert await listed(state=["ended", "ringing"]) == [incoming, ids[0]]
    assert await listed(account="back") == [ids[1]]
    assert await listed(direction="in") == [incoming]
    seen: list[str] = []
    cursor = None
    while True:
        page = (await client.get("/v1/calls", params={"limit": 2, **({"cursor": cursor} if cursor else {})})).json()
        seen += [item["id"] for item in page["data"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert seen == [incoming, *reversed(ids)]


@pytest.mark.parametrize(
    "query",
    [
        {"state": "nope"},
        {"direction": "up"},
        {"limit": "0"},
        {"limit": "x"},
        {"limit": "1001"},
        {"cursor": "%%%"},
        {"cursor": "W10"},
        {"cursor": "WzEsMl0"},
        {"cursor": "é"},
    ],
)
async def test_lists_refuse_nonsense(running: Running, query: dict[str, str]) -> None:
    assert code(await running.unix().get("/v1/calls", params=query)) == (422, "invalid_value")


async def test_an_incoming_call_is_answered_or_rejected(running: Running) -> None:
    client = running.unix()
    first, second, third = [(await running.phone.remote_calls()).id for _ in range(3)]
    assert (await client.post(f"/v1/calls/{first}/answer")).json()["state"] == "active"
    assert (await client.post(f"/v1/calls/{second}/reject")).json()["end"]["sip_code"] == 486
    body = {"code": 603, "reason": "Decline"}
    end = (await client.post(f"/v1/calls/{third}/reject", json=body)).json()["end"]
    assert (end["sip_code"], end["sip_reason"], end["by"]) == (603, "Decline", "local")
    again = await client.post(f"/v1/calls/{first}/answer")
    assert code(again) == (409, "wrong_state")
    assert (again.json()["state"], again.json()["allowed_in"]) == ("active", ["ringing"])


@pytest.mark.parametrize(
    ("method", "path", "member", "value"),
    [
        ("POST", "hold", "hold", {"local": True, "remote": False}),
        ("POST", "unhold", "hold", {"local": False, "remote": False}),
        ("DELETE", "hold", "hold", {"local": False, "remote": False}),
        ("POST", "mute", "muted", True),
        ("POST", "unmute", "muted", False),
        ("DELETE", "mute", "muted", False),
    ],
)
async def test_flags(running: Running, method: str, path: str, member: str, value: object) -> None:
    client = running.unix()
    call = await active(running, client)
    response = await client.request(method, f"/v1/calls/{call}/{path}")
    assert response.status_code == 200
    assert response.json()[member] == value


async def test_a_hold_that_the_far_end_refuses_changes_nothing(running: Running) -> None:
    client = running.unix()
    call = await active(running, client)
    running.phone.refusal = errors.Refused(488, "Not Acceptable Here")
    assert code(await client.post(f"/v1/calls/{call}/hold")) == (502, "refused")
    assert (await client.get(f"/v1/calls/{call}")).json()["hold"]["local"] is False


async def test_the_other_verbs(running: Running) -> None:
    client = running.unix()
    call = await active(running, client)
    assert (await client.post(f"/v1/calls/{call}/dtmf", json={"digits": "1w#"})).status_code == 200
    assert running.phone.dtmf_sent[0][1].digits == "1w#"
    tagged = await client.post(f"/v1/calls/{call}/tag", json={"tags": {"a": "b"}})
    assert tagged.json()["tags"] == {"a": "b"}
    assert (await client.post(f"/v1/calls/{call}/reinvite")).json()["media"]["generation"] == 2
    again = await client.post(f"/v1/calls/{call}/reinvite", json={"ice_restart": False})
    assert again.json()["media"]["generation"] == 2
    stats = await client.get(f"/v1/calls/{call}/stats")
    answers.Stats.model_validate(stats.json())
    (sample,) = (await client.get(f"/v1/calls/{call}/stats?series=1")).json()["series"]
    assert (sample["mos"], sample["packets_received"], sample["rtt_ms"]) == (4.4, 249, None)
    assert "series" not in (await client.get(f"/v1/calls/{call}/stats")).json()
    assert code(await client.get(f"/v1/calls/{call}/stats?series=2"))[0] == 422


@pytest.mark.parametrize(("method", "path"), [("POST", "/hangup"), ("DELETE", "")])
async def test_hanging_up_is_repeatable_and_ends_every_other_verb(running: Running, method: str, path: str) -> None:
    client = running.unix()
    call = await active(running, client)
    first = await client.request(method, f"/v1/calls/{call}{path}")
    assert (first.status_code, first.json()["state"], first.json()["end"]["cause"]) == (200, "ended", "completed")
    assert (await client.request(method, f"/v1/calls/{call}{path}")).json() == first.json()
    for verb, body in [("hold", None), ("mute", None), ("answer", None), ("dtmf", {"digits": "1"}), ("record", None)]:
        assert code(await client.post(f"/v1/calls/{call}/{verb}", json=body)) == (410, "gone"), verb


async def test_playbacks(running: Running) -> None:
    client = running.unix()
    call = await active(running, client)
    response = await client.post(f"/v1/calls/{call}/play", json={"file": "welcome.wav", "loop": True})
    assert response.status_code == 201
    playback = response.json()
    answers.Playback.model_validate(playback)
    where = response.headers["location"]
    assert where == f"/v1/playbacks/{playback['id']}"
    assert (await client.post(f"{where}/pause")).json()["state"] == "paused"
    assert (await client.post(f"{where}/resume")).json()["state"] == "playing"
    listed = (await client.post(f"/v1/calls/{call}/play", json={"files": ["a.wav", "b.ogg"], "loop": 2})).json()
    answers.Playback.model_validate(listed)
    assert (listed["file"], listed["files"]) == ("a.wav", ["a.wav", "b.ogg"])
    assert (await client.delete(where)).status_code == 204
    assert (await client.get(where)).json()["state"] == "finished"
    missing = await client.post(f"/v1/calls/{call}/play", json={"file": "missing.wav"})
    assert code(missing) == (422, "invalid_value")
    assert code(await client.get("/v1/playbacks/pb_0")) == (404, "not_found")


async def test_what_a_url_gives_is_played_for_an_administrator_alone(running: Running) -> None:
    admin, client = running.unix(), running.tcp(running.token("call"))
    call = await active(running, admin)
    play = {"url": "https://sounds.example.org/news.mp3"}
    for path, body in (
        (f"/v1/calls/{call}/play", play),
        (f"/v1/calls/{call}/collect", {"play": play}),
        ("/v1/calls", {"account": "front", "to": "200", "on_answer": [{"play": play}]}),
    ):
        assert code(await client.post(path, json=body)) == (403, "insufficient_scope"), path
    response = await admin.post(f"/v1/calls/{call}/play", json=play)
    assert response.status_code == 201
    assert answers.Playback.model_validate(response.json()).url == play["url"]


async def test_recordings_and_their_file(running: Running) -> None:
    client = running.unix()
    call = await active(running, client)
    response = await client.post(f"/v1/calls/{call}/record", json={"format": "wav", "channels": "mixed"})
    assert response.status_code == 201
    recording = response.json()
    answers.Recording.model_validate(recording)
    where = response.headers["location"]
    assert (await client.get(f"/v1/calls/{call}")).json()["recordings"] == [recording["id"]]
    assert code(await client.get(f"{where}/file")) == (409, "wrong_state")
    assert code(await client.delete(where)) == (409, "wrong_state")
    assert (await client.post(f"{where}/pause")).json()["state"] == "paused"
    assert (await client.post(f"{where}/resume")).json()["state"] == "recording"
    assert (await client.post(f"{where}/stop")).json()["state"] == "finished"
    assert code(await client.get(f"{where}/file")) == (404, "not_found")
    path = running.phone.recordings_dir / recording["file"]
    await asyncio.to_thread(path.symlink_to, "/etc/passwd")
    assert code(await client.get(f"{where}/file")) == (404, "not_found")
    await asyncio.to_thread(path.unlink)
    await asyncio.to_thread(path.write_bytes, b"RIFF" * 1000)
    sound = await client.get(f"{where}/file")
    assert (sound.status_code, sound.headers["content-type"], sound.content) == (200, "audio/wav", b"RIFF" * 1000)
    assert sound.headers["x-content-type-options"] == "nosniff"
    assert recording["id"] in sound.headers["content-disposition"]
    assert [item["id"] for item in (await client.get("/v1/recordings")).json()["data"]] == [recording["id"]]
    assert (await client.delete(where)).status_code == 204
    assert code(await client.get(where)) == (404, "not_found")


async def test_recordings_are_listed_in_pages_that_survive_deletions(running: Running) -> None:
    client = running.unix()
    call = await active(running, client)
    made = [(await client.post(f"/v1/calls/{call}/record")).json()["id"] for _ in range(3)]
    first = (await client.get("/v1/recordings", params={"limit": 2})).json()
    assert [item["id"] for item in first["data"]] == made[:0:-1]
    await client.post(f"/v1/recordings/{made[1]}/stop")
    await client.delete(f"/v1/recordings/{made[1]}")
    rest = (await client.get("/v1/recordings", params={"cursor": first["next_cursor"]})).json()
    assert ([item["id"] for item in rest["data"]], rest["next_cursor"]) == (made[:1], None)
    assert code(await client.get("/v1/recordings", params={"cursor": "../x"})) == (422, "invalid_value")


async def test_accounts(running: Running) -> None:
    client = running.unix()
    listed = (await client.get("/v1/accounts")).json()
    answers.Page[answers.Account].model_validate(listed)
    assert (await client.get("/v1/accounts/front")).json() == listed["data"][0]
    assert (await client.post("/v1/accounts/front/unregister")).json()["desired"] == "unregistered"
    assert (await client.get("/readyz")).status_code == 503
    assert (await client.post("/v1/accounts/front/register")).json()["state"] == "online"
    assert (await client.post("/v1/accounts/front/retry")).status_code == 200
    assert (await client.get("/readyz")).json() == {"status": "ready"}
    assert code(await client.get("/v1/accounts/nobody")) == (404, "not_found")


async def test_status(running: Running) -> None:
    answers.Status.model_validate((await running.unix().get("/v1/status")).json())
    running.phone.draining = True
    assert code(await running.unix().get("/readyz")) == (503, "not_ready")


async def test_the_same_key_is_the_same_call(running: Running) -> None:
    client = running.unix()
    key = {"Idempotency-Key": "order-7"}
    first, second = [await client.post("/v1/calls", json=CALL, headers=key) for _ in range(2)]
    assert first.json()["id"] == second.json()["id"]
    assert "idempotency-replayed" not in first.headers
    assert second.headers["idempotency-replayed"] == "true"
    other = await client.post("/v1/calls", json={**CALL, "to": "201"}, headers=key)
    assert code(other) == (422, "idempotency_mismatch")
    assert len(running.phone.placed) == 1


async def test_a_retry_beside_a_running_request_joins_it(running: Running) -> None:
    client = running.unix()
    key = {"Idempotency-Key": "order-8"}
    body = {**CALL, "wait": "answered"}
    both = asyncio.gather(*(client.post("/v1/calls", json=body, headers=key) for _ in range(2)))
    await running.phone.remote_answers(await running.phone.first_call())
    first, second = await both
    assert first.json()["id"] == second.json()["id"]
    assert len(running.phone.placed) == 1


async def test_a_refusal_is_kept_under_its_key_and_a_missing_registration_is_not(running: Running) -> None:
    client = running.unix()
    key = {"Idempotency-Key": "order-9"}
    running.phone.set_account("front", state=AccountState.BACKOFF)
    assert (await client.post("/v1/calls", json=CALL, headers=key)).status_code == 503
    running.phone.set_account("front", state=AccountState.ONLINE)
    body = {**CALL, "wait": "answered", "timeout_s": 0.05}
    other = {"Idempotency-Key": "order-10"}
    assert (await client.post("/v1/calls", json=CALL, headers=key)).status_code == 201
    assert (await client.post("/v1/calls", json=body, headers=other)).status_code == 504
    assert (await client.post("/v1/calls", json=body, headers=other)).status_code == 504
    assert len(running.phone.placed) == 2


@pytest.mark.parametrize("key", ["", "a b", "k" * 256])
async def test_a_key_is_a_short_visible_text(running: Running, key: str) -> None:
    response = await running.unix().post("/v1/calls", json=CALL, headers={"Idempotency-Key": key})
    assert code(response) == (422, "invalid_value")


async def test_keys_belong_to_a_client(running: Running) -> None:
    key = {"Idempotency-Key": "same"}
    first = await running.unix().post("/v1/calls", json=CALL, headers=key)
    second = await running.tcp(running.token("call")).post("/v1/calls", json=CALL, headers=key)
    assert first.json()["id"] != second.json()["id"]


async def test_digits_are_asked_for_and_answered(running: Running) -> None:
    client = running.unix()
    call = await active(running, client)
    asked = await client.post(f"/v1/calls/{call}/collect", json={"play": {"file": "pin.wav"}, "max_digits": 4})
    assert asked.status_code == 200, asked.text
    assert answers.Collected.model_validate(asked.json()).digits == "42"
    assert (await client.post(f"/v1/calls/{call}/collect", json={})).status_code == 200
    wrongs: list[dict[str, Any]] = [
        {"max_digits": 0},
        {"terminators": "x"},
        {"first_digit_s": 0.0},
        {"play": {}},
        {"more": 1},
    ]
    for wrong in wrongs:
        assert (await client.post(f"/v1/calls/{call}/collect", json=wrong)).status_code == 422
