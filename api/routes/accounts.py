"""/v1/accounts: what is registered, and the wish that it be."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import Response

from api import answers, schemas
from api.deps import Api, Route, answer

router = APIRouter(prefix="/v1/accounts", route_class=Route, tags=["accounts"])


@router.get("", response_model=answers.Page[answers.Account])
async def accounts(api: Api) -> Response:
    """All accounts."""
    return answer({"data": api.phone.accounts(), "next_cursor": None})


@router.get("/{account}", response_model=answers.Account)
async def account(api: Api, account: str) -> Response:
    """One account."""
    return answer(api.phone.account(account))


@router.post("/{account}/register", response_model=answers.Account)
async def register(api: Api, account: str) -> Response:
    """Wish it registered; returns at once."""
    return answer(await api.phone.register(account))


@router.post("/{account}/unregister", response_model=answers.Account)
async def unregister(api: Api, account: str) -> Response:
    """Wish it unregistered; returns at once."""
    return answer(await api.phone.unregister(account))


@router.post("/{account}/retry", response_model=answers.Account)
async def retry(api: Api, account: str) -> Response:
    """Do not wait for the back-off to pass."""
    return answer(await api.phone.retry(account))


@router.post("/{account}/outbound-proxy", response_model=answers.Account, status_code=202)
async def outbound_proxy(api: Api, account: str, body: schemas.UseProxy) -> Response:
    """Go to the primary or the backup outbound proxy, or let recovery choose. 202: the move has begun."""
    return answer(await api.phone.use_proxy(account, body.use), 202)
