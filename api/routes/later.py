"""What `api.md` names and this version does not have: 501, and no word of it in OpenAPI."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import Response

from api.deps import Route
from phoned.errors import NotImplementedYet

LATER: tuple[tuple[str, tuple[str, ...]], ...] = ()


async def not_built() -> Response:
    """The honest answer."""
    raise NotImplementedYet("this version does not have it yet")


def router() -> APIRouter:
    """Routes for all of `LATER`."""
    later = APIRouter(route_class=Route)
    for path, methods in LATER:
        later.add_api_route(path, not_built, methods=list(methods), include_in_schema=False)
    return later
