"""/v1/events: the same envelopes as SSE, as JSON pages and over a WebSocket."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Header, Query, WebSocket
from fastapi.responses import Response
from starlette.requests import Request
from starlette.types import Receive, Scope, Send

from api import answers
from api.access import Principal
from api.deps import Api, Caller, Route, Services, answer_page
from api.description import problems
from api.errors import ProblemError, problem
from api.feed import Feed, page
from api.gate import admit
from api.security import TICKET_PROTOCOL
from api.streaming import Reader, sse
from phoned.errors import Draining, InvalidValue
from phoned.plain import dumps

router = APIRouter(prefix="/v1/events", tags=["events"])
plain_routes = APIRouter(prefix="/v1/events", route_class=Route, tags=["events"])

SUBPROTOCOL = "phoned.v1"
MESSAGES_PER_S = 10
SENT = {
    "type": "object",
    "description": "Of each server-sent event. `id` is the sequence number; a snapshot has none.",
    "required": ["data"],
    "properties": {
        "id": {"type": "string", "pattern": "^[0-9]+$"},
        "data": {
            "type": "string",
            "contentMediaType": "application/json",
            "contentSchema": {"$ref": "#/components/schemas/Event"},
        },
    },
}
Seq = Annotated[int | None, Query(ge=0, le=2**62)]


def wants_json(accept: str) -> bool:
    """Whether the client asks for a page rather than for a stream."""
    types = [part.partition(";")[0].strip().lower() for part in accept.split(",")]
    return "application/json" in types and "text/event-stream" not in types


def parse_seq(text: str, pointer: str) -> int:
    """A sequence number from a place that FastAPI does not check. Raises `InvalidValue`."""
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise InvalidValue("a sequence number is expected", pointer=pointer)
    return int(text)


class EventStream(Response):
    """Server-sent events until the client leaves, falls behind, or the service stops."""

    media_type = "text/event-stream"

    def __init__(self, api: Services, feed: Feed, caller: Principal) -> None:
        super().__init__(headers={"X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._api = api
        self._feed = feed
        self._caller = caller

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def write(text: str) -> None:
            await send({"type": "http.response.body", "body": text.encode(), "more_body": True})

        async def left() -> None:
            while (await receive())["type"] != "http.disconnect":
                pass

        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        await write("retry: 1000\n\n")
        welcome = partial(self._api.access.still, self._caller)
        reader = Reader(self._api, self._feed, write, sse, ": keep-alive\n\n", welcome)
        if await reader.run(left) == "slow":
            scope["state"]["abort"]()
        else:
            await send({"type": "http.response.body", "body": b""})


@plain_routes.get(
    "",
    response_model=answers.Page[answers.Event],
    responses={200: {"content": {"text/event-stream": {"schema": SENT}}}, **problems("draining")},
)
async def events(
    api: Api,
    caller: Caller,
    request: Request,
    after: Seq = None,
    limit: Annotated[int | None, Query(ge=1, le=1000)] = None,
    last_event_id: Annotated[str | None, Header()] = None,
    accept: Annotated[str, Header()] = "",
) -> Response:
    """Events that follow ``after``, as a stream; with ``Accept: application/json`` as a page."""
    if wants_json(accept):
        data, place = await page(api.phone, api.bus, after, limit or 100)
        more = bool(data) and place < api.bus.delivered_seq
        return await answer_page(data, str(place) if more else None)
    if api.stopping:
        raise Draining("the daemon is stopping")
    if last_event_id:
        after = parse_seq(last_event_id, "/header/Last-Event-ID")
    return EventStream(api, Feed(api.phone, api.bus, after, backlog=api.feed_backlog), caller)


@plain_routes.get("/ws", include_in_schema=False)
async def no_upgrade() -> Response:
    """A plain GET of the WebSocket's address."""
    raise ProblemError(problem("upgrade_required"))


@router.websocket("/ws")
async def websocket(socket: WebSocket, api: Api, caller: Caller) -> None:
    """The same over a WebSocket. What the client sends is read and ignored, up to a rate."""
    admit()
    if api.stopping:
        raise Draining("the daemon is stopping")
    text = socket.query_params.get("after")
    place = None if text is None else parse_seq(text, "/query/after")
    feed = Feed(api.phone, api.bus, place, backlog=api.feed_backlog)
    await socket.accept(subprotocol=choose(socket.scope["subprotocols"]))
    loop = asyncio.get_running_loop()

    async def left() -> None:
        since, count = loop.time(), 0
        while (await socket.receive())["type"] != "websocket.disconnect":
            if loop.time() - since >= 1.0:
                since, count = loop.time(), 0
            count += 1
            if count > MESSAGES_PER_S:
                cut(1008, "too many messages")
                return

    cut = socket.scope["state"]["cut"]
    match await Reader(api, feed, socket.send_text, dumps, None, partial(api.access.still, caller)).run(left):
        case "gone":
            cut(1008, "the token is over")
        case "slow":
            cut(1013, "too slow, come back with after=")
        case "closed":
            cut(1012, "the daemon is stopping")


def choose(offered: list[str]) -> str | None:
    """A browser that offers subprotocols wants one back; better ours than its ticket."""
    if SUBPROTOCOL in offered:
        return SUBPROTOCOL
    return next((name for name in offered if name.startswith(TICKET_PROTOCOL)), None)
