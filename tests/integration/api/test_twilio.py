"""Twilio's REST API over the wire, as its clients speak it."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from phoned.config.types import Secret
from phoned.errors import NotRegistered
from phoned.model import CallState, DtmfRequest, StreamRequest
from phoned.store.tokens import Scope
from phoned.twilio import TwilioAccount, call_sid
from tests.integration.api.conftest import Running

SID, TOKEN = "AC" + "5" * 32, "0123456789abcdef0123456789abcdef"
SCOPES: tuple[Scope, ...] = ("call", "admin")
CALLS = f"/2010-04-01/Accounts/{SID}/Calls"


@pytest.fixture
def client(running: Running) -> httpx.AsyncClient:
    running.context.offer_twilio(TwilioAccount(SID, Secret(TOKEN.encode())))
    return running.tcp(auth=(SID, TOKEN))


def told(response: httpx.Response) -> tuple[int, int]:
    """Status and Twilio's number of an error, which is what an error there looks like."""
    document = response.json()
    assert set(document) == {"code", "message", "more_info", "status"}
    assert document["status"] == response.status_code
    assert response.headers["content-type"] == "application/json"
    return response.status_code, document["code"]


async def test_a_call_is_placed_read_and_hung_up(running: Running, client: httpx.AsyncClient) -> None:
    placed = await client.post(
        f"{CALLS}.json", data={"To": "200", "From": "front", "Url": "https://x/", "Timeout": "9"}
    )
    assert placed.status_code == 201
    document = placed.json()
    call = running.phone.calls()[0]
    assert (document["sid"], document["status"], document["to"]) == (call_sid(call.id), "queued", call.peer.uri)
    assert running.phone.placed[0].timeout_s == 9.0
    await running.phone.remote_answers(call.id)
    path = f"{CALLS}/{document['sid']}.json"
    assert (await client.get(path)).json()["status"] == "in-progress"
    for _ in range(2):  # again does no harm: a bot that hangs up after the caller did gets no error
        ended = await client.post(path, data={"Status": "completed"})
        assert (ended.status_code, ended.json()["status"]) == (200, "completed")
    assert running.phone.call(call.id).state is CallState.ENDED
    assert (await client.get(path)).json()["end_time"]
    assert {entry["who"] for entry in running.audited} == {"twilio"}


async def test_canceled_ends_what_rings_and_leaves_what_was_answered(
    running: Running, client: httpx.AsyncClient
) -> None:
    ringing, up = await running.phone.remote_calls(), await running.phone.remote_calls()
    await running.phone.answer(up.id)
    answers = [
        await client.post(f"{CALLS}/{call_sid(call.id)}.json", data={"Status": "canceled"}) for call in (ringing, up)
    ]
    assert [answer.status_code for answer in answers] == [200, 200]
    assert running.phone.call(ringing.id).state is CallState.ENDED
    assert running.phone.call(up.id).state is CallState.ACTIVE


async def test_calls_are_listed_in_pages(running: Running, client: httpx.AsyncClient) -> None:
    ids = [(await running.phone.remote_calls(f"sip:{number}@example.org")).id for number in (201, 202, 203)]
    first = (await client.get(f"{CALLS}.json", params={"PageSize": 2})).json()
    assert [call["sid"] for call in first["calls"]] == [call_sid(id_) for id_ in ids[:0:-1]]
    assert (first["page"], first["page_size"], first["start"], first["end"]) == (0, 2, 0, 1)
    second = (await client.get(first["next_page_uri"])).json()
    assert [call["sid"] for call in second["calls"]] == [call_sid(ids[0])]
    assert (second["page"], second["next_page_uri"]) == (1, None)
    for params, found in (
        ({"From": "202"}, [ids[1]]),
        ({"To": "202"}, []),
        ({"To": "front"}, ids[::-1]),
        ({"Status": "ringing", "From": "201"}, [ids[0]]),
        ({"Status": "busy"}, []),
    ):
        page = (await client.get(f"{CALLS}.json", params=params)).json()
        assert [call["sid"] for call in page["calls"]] == [call_sid(id_) for id_ in found], params


@pytest.mark.parametrize("params", [{"Status": "up"}, {"PageSize": 0}, {"PageSize": "x"}, {"PageToken": "!"}])
async def test_a_list_that_cannot_be_is_refused(client: httpx.AsyncClient, params: dict[str, Any]) -> None:
    assert told(await client.get(f"{CALLS}.json", params=params)) == (400, 20001)


@pytest.mark.parametrize(
    "data", [{}, {"Status": "busy"}, {"Url": "https://example.org/next"}, {"Twiml": "<Response/>"}]
)
async def test_a_call_is_changed_by_its_status_alone(
    running: Running, client: httpx.AsyncClient, data: dict[str, str]
) -> None:
    call = await running.phone.remote_calls()
    assert told(await client.post(f"{CALLS}/{call_sid(call.id)}.json", data=data)) == (400, 20001)
    assert running.phone.call(call.id).state is CallState.RINGING


@pytest.mark.parametrize(
    "path",
    [
        f"{CALLS}/CA{'1' * 32}.json",
        f"{CALLS}/CA1.json",
        f"{CALLS}/call_{'1' * 32}.json",
        f"/2010-04-01/Accounts/AC{'6' * 32}/Calls/CA{'1' * 32}.json",
        f"/2010-04-01/Accounts/AC{'6' * 32}/Calls.json",
        f"{CALLS}",
        "/2010-04-01/Accounts.json",
    ],
)
async def test_what_is_not_there_is_20404(client: httpx.AsyncClient, path: str) -> None:
    for method in ("GET", "POST"):
        assert told(await client.request(method, path, data={"Status": "completed"})) == (404, 20404), method


async def test_errors_of_the_phone_have_twilios_shape(running: Running, client: httpx.AsyncClient) -> None:
    assert told(await client.post(f"{CALLS}.json", data={"From": "front"})) == (400, 21201)
    denied = await client.post(f"{CALLS}.json", data={"To": "0900", "From": "front"})
    assert told(denied) == (403, 21215)
    running.phone.refusal = NotRegistered("front is not registered")
    refused = await client.post(f"{CALLS}.json", data={"To": "200", "From": "front"})
    if refused.status_code != 201:
        assert told(refused) == (503, 20503)
    assert told(await client.put(f"{CALLS}.json")) == (405, 20004)
    json = await client.post(f"{CALLS}.json", json={"To": "200"})
    assert told(json) == (415, 20001)
    large = await client.post(f"{CALLS}.json", data={"To": "2" * 70_000})
    assert told(large) == (413, 20001)


async def test_only_its_own_password_opens_it(running: Running, client: httpx.AsyncClient) -> None:
    attempts = [
        running.tcp(auth=(SID, "wrong")),
        running.tcp(auth=("AC", TOKEN)),
        running.tcp(headers={"Authorization": "Basic !"}),
        running.tcp("phoned_wrong"),
        running.tcp(),
    ]
    for attempt in attempts:
        response = await attempt.get(f"{CALLS}.json")
        assert told(response) == (401, 20003)
        assert response.headers["www-authenticate"] == 'Basic realm="phoned"'
    assert told(await attempts[0].get(f"{CALLS}.json")) == (401, 20003)
    assert told(await attempts[0].get(f"{CALLS}.json")) == (429, 20429)
    assert (await client.get(f"{CALLS}.json")).status_code == 200


async def test_its_password_opens_nothing_else(running: Running, client: httpx.AsyncClient) -> None:
    for path in ("/v1/status", "/v1/calls", "/metrics"):
        assert (await client.get(path)).status_code == 401


async def test_a_token_and_the_unix_socket_open_it_too(running: Running, client: httpx.AsyncClient) -> None:
    assert (await running.unix().get(f"{CALLS}.json")).status_code == 200
    assert (await running.tcp(running.token("read")).get(f"{CALLS}.json")).status_code == 200
    data = {"To": "200", "From": "front"}
    assert told(await running.tcp(running.token("read")).post(f"{CALLS}.json", data=data)) == (403, 20003)
    assert not running.phone.placed


@pytest.mark.parametrize("headers", [{"Host": "evil.example.org"}, {"Origin": "https://evil.example.org"}])
async def test_web_pages_are_kept_out(client: httpx.AsyncClient, headers: dict[str, str]) -> None:
    assert told(await client.get(f"{CALLS}.json", headers=headers)) == (403, 20003)


async def test_without_an_account_there_is_nothing(running: Running) -> None:
    for client in (running.unix(), running.tcp(), running.tcp(auth=(SID, TOKEN))):
        response = await client.get(f"{CALLS}.json")
        assert told(response) == (404, 20404)
        assert "[twilio]" in response.json()["message"]


class TestBots:
    @pytest.fixture
    def api_config(self) -> dict[str, Any]:
        return {"stream_urls": ["wss://bots.example.org/*"]}

    async def test_twiml_connects_a_call_to_a_bot_that_is_listed(
        self, running: Running, client: httpx.AsyncClient
    ) -> None:
        def twiml(host: str) -> dict[str, str]:
            document = f"<Response><Connect><Stream url='wss://{host}/ws'/></Connect></Response>"
            return {"To": "200", "From": "front", "SendDigits": "1", "Twiml": document}

        assert (await client.post(f"{CALLS}.json", data=twiml("bots.example.org"))).status_code == 201
        (placed,) = running.phone.placed
        assert placed.on_answer == (DtmfRequest(digits="1"), StreamRequest(url="wss://bots.example.org/ws"))
        assert told(await client.post(f"{CALLS}.json", data=twiml("other.example.org"))) == (403, 20003)
        assert len(running.phone.placed) == 1
        # a token has its scope here too
        by_token = [
            await running.tcp(running.token(scope)).post(f"{CALLS}.json", data=twiml("bots.example.org"))
            for scope in SCOPES
        ]
        assert [response.status_code for response in by_token] == [403, 201]


class TestRate:
    @pytest.fixture
    def api_config(self) -> dict[str, Any]:
        return {"rate_per_s": 1}

    async def test_it_has_a_rate_as_everybody(self, client: httpx.AsyncClient) -> None:
        answers = [await client.get(f"{CALLS}.json") for _ in range(4)]
        assert told(answers[-1]) == (429, 20429)
        assert answers[-1].headers["retry-after"] == "1"
