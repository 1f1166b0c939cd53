"""/v1/login: a one-time code becomes a session; who am I; the end of a session."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter
from fastapi.responses import Response
from starlette.requests import Request

from api import answers, schemas
from api.access import LOGIN_REFUSED, Principal
from api.deps import Api, Caller, Route, answer
from api.description import problems
from api.errors import ProblemError, problem
from api.gate import peer

router = APIRouter(prefix="/v1/login", route_class=Route, tags=["system"])


@router.post(
    "",
    response_model=answers.Login,
    status_code=201,
    responses=problems("unauthorized", "too_many_failures", "rate_limited", "unavailable"),
)
async def login(api: Api, request: Request, body: schemas.Login | None = None) -> Response:
    """A session for the code of a link that `phoned token --console` printed. Open to everybody: the code is what
    proves who asks. It is good once; wrong ones count as wrong tokens do."""
    who, now = peer(request.scope), asyncio.get_running_loop().time()
    wait_s = api.access.rate.take(f"login {who.key}", now)
    if wait_s is not None:
        raise ProblemError(problem("rate_limited", retry_after_s=wait_s))
    if body is None:
        raise ProblemError(problem("unauthorized", LOGIN_REFUSED))
    session = await asyncio.to_thread(api.access.exchange, body.code)
    if session is None:
        raise ProblemError(api.access.refused_login(who, now))
    # the code has told who asks: the audit log says which session began here
    request.scope["state"]["principal"] = Principal(id=session.id, scope=session.scope, expires_at=session.expires_at)
    return answer(session, 201)


@router.get("", response_model=answers.Identity)
async def identity(caller: Caller) -> Response:
    """Who the caller is and what it may do."""
    return answer(caller)


@router.delete("", status_code=204)
async def logout(api: Api, caller: Caller) -> Response:
    """End the session that asks. A token that lasts is left alone: `phoned token` made it, for others too perhaps."""
    await asyncio.to_thread(api.access.end, caller)
    return Response(status_code=204)
