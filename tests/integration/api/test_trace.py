"""GET /v1/calls/{id}/trace."""

from __future__ import annotations

from api.trace import PCAP
from phoned.model import CallRequest, TraceView
from tests.integration.api.conftest import Running
from tests.unit.api.test_trace import TRACE


async def test_a_trace_comes_as_json_text_or_capture(running: Running) -> None:
    call = await running.phone.place_call(CallRequest(account="front", to="200"))
    running.phone.traces[call.id] = TraceView(
        call=call.id, sip_call_ids=("abc",), complete=True, messages=TRACE.messages
    )
    client, path = running.unix(), f"/v1/calls/{call.id}/trace"
    found = (await client.get(path)).json()
    assert [message["direction"] for message in found["messages"]] == ["sent", "received", "sent"]
    text = await client.get(path, headers={"Accept": "text/plain"})
    assert text.headers["content-type"].startswith("text/plain")
    assert "INVITE sip:200@example.org" in text.text
    capture = await client.get(path, headers={"Accept": PCAP})
    assert capture.headers["content-type"] == PCAP
    assert capture.content[:4] == b"\xd4\xc3\xb2\xa1"
    assert (await client.get("/v1/calls/call_0/trace")).status_code == 404
