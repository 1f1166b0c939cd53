"""/v1/network: what the machine's network looks like, and a hint that it changed."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import Response

from api import answers
from api.deps import Api, Route, answer

router = APIRouter(prefix="/v1/network", route_class=Route, tags=["network"])


@router.get("", response_model=answers.Network)
async def network(api: Api) -> Response:
    """Interfaces, routes, and the changes that mattered."""
    return answer(api.phone.network())


@router.post("/changed", response_model=answers.Network, status_code=202)
async def changed(api: Api) -> Response:
    """Behave as if the network had changed: every path is checked and repaired. 202: the check has begun."""
    return answer(await api.phone.network_changed(), 202)
