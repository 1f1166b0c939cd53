"""Bots on calls: POST /v1/calls/{call}/streams, and /v1/streams."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import Response

from api import answers
from api.bots import permit
from api.deps import Api, Caller, Route, answer, answer_page
from api.description import problems
from phoned.config.stream import StreamOrder

router = APIRouter(prefix="/v1", route_class=Route, tags=["streams"])

DIALLING = problems(
    "not_found",
    "gone",
    "wrong_state",
    "stream_url_not_allowed",
    "address_not_allowed",
    "unavailable",
    "at_capacity",
    "deadline_exceeded",
)


@router.post("/calls/{call}/streams", response_model=answers.Stream, status_code=201, responses=DIALLING)
async def stream(api: Api, caller: Caller, call: str, body: StreamOrder) -> Response:
    """Give the call to a bot: it is dialled, hears the far end and speaks to it. Returns before it has answered;
    `stream.started` or `stream.failed` tells. Needs the scope `media` and a URL of `[api] stream_urls`, or `admin`."""
    permit(caller, body, api.stream_urls)
    view = await api.phone.stream(call, body.value())
    return answer(view, 201, Location=f"/v1/streams/{view.id}")


@router.get("/streams", response_model=answers.Page[answers.Stream])
async def streams(api: Api, call: str | None = None) -> Response:
    """The streams of all calls, or of one, the newest first: those that run, and the last ones that are over."""
    return await answer_page([view for view in api.phone.streams() if call in (None, view.call)], None)


@router.get("/streams/{stream}", response_model=answers.Stream, responses=problems("not_found"))
async def stream_of(api: Api, stream: str) -> Response:
    """One stream, also one that is over."""
    return answer(api.phone.stream_view(stream))


@router.delete("/streams/{stream}", status_code=204, responses=problems("not_found"))
async def stop(api: Api, stream: str) -> Response:
    """Take the bot off the call, which goes on."""
    await api.phone.stop_stream(stream)
    return Response(status_code=204)
