"""/v1/calls: placing, listing and reading calls. Verbs on a call are in `api.routes.verbs`."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Awaitable, Callable
from datetime import datetime
from itertools import islice
from typing import Annotated

from fastapi import APIRouter, Header, Path, Query
from fastapi.responses import Response
from starlette.requests import Request

from api import answers
from api.access import Principal
from api.bots import permit, permit_sound
from api.deps import Api, Caller, Route, Services, answer, answer_page
from api.description import problems
from api.schemas import CallId, PlaceCall
from api.trace import PCAP, TEXT, best, ladder, pcap
from phoned import errors
from phoned.clock import rfc3339
from phoned.ids import new_id
from phoned.model import CallState, CallView, Direction
from phoned.plain import plain

BINARY = {"type": "string", "format": "binary"}
PLACING = problems(
    "not_found",
    "destination_denied",
    "emergency_disabled",
    "stream_url_not_allowed",
    "idempotency_mismatch",
    "not_registered",
    "at_capacity",
    "draining",
    "refused",
    "gone",
    "deadline_exceeded",
)
router = APIRouter(prefix="/v1/calls", route_class=Route, tags=["calls"])


def placing(api: Services, caller: Principal, body: PlaceCall) -> Callable[[str | None], Awaitable[str]]:
    """The act of placing this call under an id, for `Idempotency.once`."""
    body.value(None)  # what is wrong with it is told before anything is kept
    for step in body.on_answer:
        permit_sound(caller, step.play)
        if step.stream is not None:
            permit(caller, step.stream, api.stream_urls)

    async def place(id_: str | None) -> str:
        return (await api.phone.place_call(body.value(id_), body.wait)).id

    return place


@router.post("", response_model=answers.Call, status_code=201, responses=PLACING)
async def place(
    api: Api,
    caller: Caller,
    request: Request,
    body: PlaceCall,
    key: Annotated[str | None, Header(alias="Idempotency-Key", min_length=1, max_length=255)] = None,
) -> Response:
    """Call somebody. Returns at once, or with ``wait`` when it rings or is answered (a refusal is a 502 then). A
    `stream` in `on_answer` needs the scope `admin`."""
    placed = placing(api, caller, body)
    if key is None:
        return _created(api.phone.call(await placed(None)))
    call, replayed = await api.idempotency.once(caller.id, key, await request.body(), new_id("call"), placed)
    return _created(api.phone.call(call), replayed=replayed)


@router.put(
    "/{call}", response_model=answers.Call, status_code=201, responses={200: {"model": answers.Call}, **PLACING}
)
async def place_as(
    api: Api, caller: Caller, request: Request, call: Annotated[CallId, Path()], body: PlaceCall
) -> Response:
    """Call somebody under an id of the client's choice. Repeated with the same body, the call as it is now."""
    id_, replayed = await api.idempotency.once("", call, await request.body(), call, placing(api, caller, body))
    view = api.phone.call(id_)
    return answer(view) if replayed else _created(view)


def _created(view: CallView, *, replayed: bool = False) -> Response:
    response = answer(view, 201, Location=f"/v1/calls/{view.id}")
    if replayed:
        response.headers["Idempotency-Replayed"] = "true"
    return response


@router.get("", response_model=answers.Page[answers.Call])
async def calls(
    api: Api,
    state: Annotated[list[CallState] | None, Query()] = None,
    account: Annotated[str | None, Query(max_length=64)] = None,
    direction: Direction | None = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    cursor: Annotated[str | None, Query(max_length=256)] = None,
) -> Response:
    """Live calls and those that ended within the last 24 hours, newest first."""
    before = None if cursor is None else read_cursor(cursor)
    fitting = (
        view
        for view in api.phone.calls()
        if (not state or view.state in state)
        and (account is None or view.account == account)
        and (direction is None or view.direction == direction)
        and (before is None or place_of(view) < before)
    )
    found = list(islice(fitting, limit + 1))
    return await answer_page(found[:limit], write_cursor(found[limit - 1]) if len(found) > limit else None)


@router.get("/{call}", response_model=answers.Call, responses=problems("not_found"))
async def call(api: Api, call: str) -> Response:
    """One call."""
    return answer(api.phone.call(call))


@router.get("/{call}/stats", response_model=answers.Stats, responses=problems("not_found"))
async def stats(api: Api, call: str, series: Annotated[int, Query(ge=0, le=1)] = 0) -> Response:
    """Counters of the call's media since it began; with `series=1` also how it sounded each 5 s of the last hour."""
    found = api.phone.stats(call)
    return answer({**plain(found), "series": api.phone.series(call)} if series else found)


@router.get(
    "/{call}/trace",
    response_model=answers.Trace,
    responses={
        200: {"content": {TEXT: {"schema": {"type": "string"}}, PCAP: {"schema": BINARY}}},
        **problems("not_found"),
    },
)
async def trace(api: Api, call: str, accept: Annotated[str | None, Header(max_length=1024)] = None) -> Response:
    """The SIP of the call, without secrets: as JSON, as a ladder of text (`Accept: text/plain`) or as a capture that
    Wireshark opens (`Accept: application/vnd.tcpdump.pcap`)."""
    found = api.phone.trace(call)
    match best(accept):
        case "text/plain":
            return Response(ladder(found), media_type="text/plain")
        case "application/vnd.tcpdump.pcap":
            return Response(pcap(found), media_type=PCAP)
        case _:
            return answer(found)


def place_of(view: CallView) -> tuple[datetime, str]:
    """Where a call stands in the list, newest first: by time, then by id, so that no two stand at the same place."""
    return view.created_at, view.id


def write_cursor(view: CallView) -> str:
    """An opaque name for the place behind ``view``. It stays good when that call is forgotten."""
    place = (rfc3339(view.created_at), view.id)
    return base64.urlsafe_b64encode(json.dumps(place).encode()).decode().rstrip("=")


def read_cursor(cursor: str) -> tuple[datetime, str]:
    """The place that `write_cursor` named. Raises `InvalidValue`."""
    try:
        text, id_ = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None or not isinstance(id_, str):
            raise ValueError(cursor)
    except (ValueError, TypeError, binascii.Error) as error:
        raise errors.InvalidValue("not a cursor of this list", pointer="/query/cursor") from error
    return moment, id_
