"""/console/: the web page. Its files are open to everybody; whatever they show comes from the API, with a token."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header
from fastapi.responses import RedirectResponse, Response

from api.console_files import ConsoleFiles, unchanged
from api.deps import Route
from phoned.errors import NotFound

CACHING = "no-cache"
"""Kept by the browser, asked for again each time: after an upgrade nobody sees half of the old page."""


def router(files: ConsoleFiles) -> APIRouter:
    """Routes for the page and its files."""
    routes = APIRouter(prefix="/console", route_class=Route)

    @routes.get("", include_in_schema=False)
    async def without_slash() -> Response:
        return RedirectResponse("/console/", 308)

    @routes.get("/{name:path}", include_in_schema=False)
    async def file(name: str, if_none_match: Annotated[str | None, Header()] = None) -> Response:
        found = await files.find(name)
        if found is None:
            raise NotFound("the console has no such file")
        headers = {"ETag": found.etag, "Cache-Control": CACHING}
        if unchanged(found.etag, if_none_match):
            return Response(status_code=304, headers=headers)
        return Response(found.content, headers=headers, media_type=found.media_type)

    return routes
