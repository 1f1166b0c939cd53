"""``/2010-04-01/Accounts/{sid}/Calls``: what bots that were written for Twilio ask of its REST API.

Absent (404) without ``[twilio]``. It is Twilio's to describe: no word of it in OpenAPI.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from itertools import islice
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Query
from fastapi.responses import Response
from starlette.requests import Request

from api.bots import permit
from api.deps import Api, Caller, Route, Services, answer, listed
from api.errors import ProblemError, problem
from api.facade import PREFIX, read_form, refused
from api.routes.calls import place_of, read_cursor, write_cursor
from api.twilio_calls import KNOWN, STATUSES, call_document, order_of, own_numbers, parties, request_of, status_of
from phoned.errors import InvalidValue, NotFound
from phoned.model import CallState, CallView
from phoned.plain import dumps
from phoned.twilio import call_of_sid

log = logging.getLogger(__name__)

router = APIRouter(prefix=f"{PREFIX}Accounts/{{account}}", route_class=Route, include_in_schema=False)

Filter = Annotated[str | None, Query(max_length=512)]


def _found(api: Services, account: str, sid: str) -> CallView:
    """The call of an SID. Raises `ProblemError` for another account, and for an SID without a call."""
    _check(api, account)
    try:
        return api.phone.call(call_of_sid(sid) or "")
    except NotFound:
        raise ProblemError(problem("not_found", f"There is no call {sid[:64]}.")) from None


def _check(api: Services, account: str) -> None:
    own = api.twilio()
    if own is None or own.sid != account:
        raise ProblemError(problem("not_found", f"There is no account {account[:64]}."))


def _document(api: Services, account: str, call: CallView) -> dict[str, Any]:
    return call_document(call, account, own_numbers(api.phone.accounts()))


@router.post("/Calls.json")
async def place(api: Api, caller: Caller, account: str, request: Request) -> Response:
    """A new call, with the bot that ``Twiml`` connects it to, if `[api] stream_urls` lists that. No TwiML is fetched:
    ``Url`` and what else is not known is passed over."""
    _check(api, account)
    form = read_form(await request.body())
    asked = request_of(form, api.phone.accounts())
    order = order_of(form)
    if order is not None:
        permit(caller, order, api.stream_urls)
        asked = replace(asked, on_answer=(*asked.on_answer, order.value()))
    unknown = sorted(form.keys() - KNOWN)
    if unknown:
        log.info("a call was placed over Twilio's API; not used of it: %s", ", ".join(unknown)[:256])
    return answer(_document(api, account, await api.phone.place_call(asked)), 201)


@router.get("/Calls.json")
async def calls(
    api: Api,
    account: str,
    status: Annotated[str | None, Query(alias="Status")] = None,
    to: Annotated[Filter, Query(alias="To")] = None,
    from_: Annotated[Filter, Query(alias="From")] = None,
    page_size: Annotated[int, Query(alias="PageSize", ge=1, le=1000)] = 50,
    page: Annotated[int, Query(alias="Page", ge=0, le=1_000_000)] = 0,
    token: Annotated[Filter, Query(alias="PageToken")] = None,
) -> Response:
    """Live calls and those that ended within the last 24 hours, newest first."""
    _check(api, account)
    if status is not None and status not in STATUSES:
        raise refused(f"'Status' is one of {', '.join(STATUSES)}.", 20001)
    try:
        before = None if token is None else read_cursor(token)
    except InvalidValue:
        raise refused("'PageToken' is none of this list.", 20001) from None
    own = own_numbers(api.phone.accounts())
    fitting = (
        view
        for view in api.phone.calls()
        if (before is None or place_of(view) < before)
        and (status is None or status_of(view) == status)
        and (from_ is None or parties(view, own)[0] == from_)
        and (to is None or parties(view, own)[1] == to)
    )
    found = list(islice(fitting, page_size + 1))
    here = found[:page_size]

    def uri(**more: str | int) -> str:
        asked = {"Status": status, "To": to, "From": from_, "PageSize": page_size, **more}
        query = urlencode({name: value for name, value in asked.items() if value is not None})
        return f"{PREFIX}Accounts/{account}/Calls.json?{query}"

    about = {
        "page": page,
        "page_size": page_size,
        "start": page * page_size,
        "end": page * page_size + max(0, len(here) - 1),
        "uri": uri(Page=page) if token is None else uri(Page=page, PageToken=token),
        "first_page_uri": uri(Page=0),
        "next_page_uri": uri(Page=page + 1, PageToken=write_cursor(here[-1])) if len(found) > page_size else None,
        "previous_page_uri": None,
    }
    text = f'{{"calls":[{await listed([call_document(view, account, own) for view in here])}],{dumps(about)[1:]}'
    return Response(text, media_type="application/json")


@router.get("/Calls/{call}.json")
async def call(api: Api, account: str, call: str) -> Response:
    """One call."""
    return answer(_document(api, account, _found(api, account, call)))


@router.post("/Calls/{call}.json")
async def change(api: Api, account: str, call: str, request: Request) -> Response:
    """``Status=completed`` hangs up, ``canceled`` one that was not answered yet; both as often as one likes."""
    view = _found(api, account, call)
    form = read_form(await request.body())
    status = form.get("Status")
    if status not in ("completed", "canceled"):
        raise refused("A call is changed by 'Status', completed or canceled, and by nothing else.", 20001)
    if status == "completed" or view.state is not CallState.ACTIVE:
        view = await api.phone.hangup(view.id)
    return answer(_document(api, account, view))
