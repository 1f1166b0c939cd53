"""/v1/accounts: what is registered, and the wish that it be."""

from __future__ import annotations

from urllib.parse import quote

from fastapi import APIRouter
from fastapi.responses import Response

from api import answers, schemas
from api.deps import Api, Route, answer, answer_page
from api.description import problems

router = APIRouter(prefix="/v1/accounts", route_class=Route, tags=["accounts"])


@router.get("", response_model=answers.Page[answers.Account])
async def accounts(api: Api) -> Response:
    """All accounts."""
    return await answer_page(api.phone.accounts(), None)


@router.get("/{account}", response_model=answers.Account, responses=problems("not_found"))
async def account(api: Api, account: str) -> Response:
    """One account."""
    return answer(api.phone.account(account))


@router.put(
    "/{account}",
    response_model=answers.Account,
    responses={
        201: {"model": answers.Account, "description": "It was made."},
        **problems("wrong_state", "invalid_value"),
    },
)
async def put_account(api: Api, account: str, body: schemas.PutAccount) -> Response:
    """Make an account at run time, or make one that was made so what ``body`` says. It is kept in the state directory.

    The keys are those of ``[[accounts]]``; paths are absolute, on the phone's machine. ``password`` is never shown
    again; without any password the account keeps the one that it has. A call that is up goes on: other proxies are
    moved to make before break, another ``aor`` waits for the end of its calls. 409 for an account of the configuration.
    """
    view, created = await api.phone.put_account(account, body.root)
    return answer(view, 201 if created else 200, **({"Location": f"/v1/accounts/{quote(view.id)}"} if created else {}))


@router.delete(
    "/{account}",
    status_code=204,
    responses={
        202: {"model": answers.Account, "description": "It goes when its calls have ended."},
        **problems("not_found", "wrong_state"),
    },
)
async def delete_account(api: Api, account: str, drain: bool = False) -> Response:
    """Unregister an account that was made at run time, and forget it. With calls up 409, or with ``drain=true`` 202: it
    takes no more calls and goes when those have ended. 409 for an account of the configuration."""
    left = await api.phone.delete_account(account, drain=drain)
    return Response(status_code=204) if left is None else answer(left, 202)


@router.post("/{account}/register", response_model=answers.Account, responses=problems("not_found"))
async def register(api: Api, account: str) -> Response:
    """Wish it registered; returns at once."""
    return answer(await api.phone.register(account))


@router.post("/{account}/unregister", response_model=answers.Account, responses=problems("not_found"))
async def unregister(api: Api, account: str) -> Response:
    """Wish it unregistered; returns at once."""
    return answer(await api.phone.unregister(account))


@router.post("/{account}/retry", response_model=answers.Account, responses=problems("not_found"))
async def retry(api: Api, account: str) -> Response:
    """Do not wait for the back-off to pass."""
    return answer(await api.phone.retry(account))


@router.post(
    "/{account}/outbound-proxy",
    response_model=answers.Account,
    status_code=202,
    responses=problems("not_found", "wrong_state"),
)
async def outbound_proxy(api: Api, account: str, body: schemas.UseProxy) -> Response:
    """Go to the primary or the backup outbound proxy, or let recovery choose. 202: the move has begun."""
    return answer(await api.phone.use_proxy(account, body.use), 202)
