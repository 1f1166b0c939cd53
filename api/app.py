"""The ASGI application: routes, problem documents for whatever goes wrong, and a truthful OpenAPI."""

from __future__ import annotations

import functools
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.middleware.asyncexitstack import AsyncExitStackMiddleware
from starlette.exceptions import HTTPException
from starlette.routing import BaseRoute, Match
from starlette.types import ASGIApp, Receive, Scope, Send

from api.console_files import ConsoleFiles
from api.deps import Services
from api.description import describe
from api.errors import Problem, from_validation, problem
from api.gate import Gate
from api.paths import Paths
from api.record import Record
from api.routes import (
    accounts,
    bridges,
    calls,
    console,
    devices,
    events,
    login,
    messages,
    network,
    recordings,
    streams,
    system,
    twilio,
    verbs,
    webhooks,
)
from api.security import METHODS, Policy
from phoned.plain import dumps

DESCRIPTION = "Control of a headless SIP/WebRTC phone. Errors are problem documents (RFC 9457); events have a sequence."


def build_app(services: Services, policy: Policy, *, version: str) -> Gate:
    """Everything behind the gate."""
    app = Application(
        title="phoned", version=version, description=DESCRIPTION, docs_url=None, redoc_url=None, openapi_url=None
    )
    app.state.services = services
    for router in (
        system.router,
        accounts.router,
        calls.router,
        verbs.router,
        bridges.router,
        recordings.router,
        streams.router,
        events.plain_routes,
        events.router,
        network.router,
        devices.router,
        messages.router,
        webhooks.router,
        login.router,
        twilio.router,
        console.router(ConsoleFiles()),
    ):
        app.router.routes.extend(router.routes)
    return Gate(app, services.access, policy, explain=app.explain, record=Record(services.audit))


class Application(FastAPI):
    """FastAPI without its own error documents: errors reach the gate, and the description tells of problems only."""

    def build_middleware_stack(self) -> ASGIApp:
        """What finds the route alone: what FastAPI would put around it turns errors into documents of another kind."""
        return AsyncExitStackMiddleware(self._dispatch)

    @functools.cached_property
    def _paths(self) -> Paths:
        return Paths(self.routes)

    async def _dispatch(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The first route that takes the request; else one that has the path, which says that the method is wrong."""
        partial: tuple[BaseRoute, Scope] | None = None
        for route in self._paths.of(scope["path"]):
            match, found = route.matches(scope)
            if match is Match.FULL:
                break
            if match is Match.PARTIAL and partial is None:
                partial = route, found
        else:
            if partial is None:
                raise HTTPException(404)
            route, found = partial
        scope.update(found)
        await route.handle(scope, receive, send)

    def explain(self, error: Exception, scope: Scope) -> Problem | None:
        """The framework's own errors as problems; None for an error that nobody expected."""
        match error:
            case RequestValidationError():
                return from_validation(list(error.errors()))
            case HTTPException(status_code=404):
                return problem("not_found", "There is nothing at this path.")
            case HTTPException(status_code=405):
                return problem("method_not_allowed", allow=self._methods_at(scope))
            case HTTPException(status_code=status) if 400 <= status < 500:
                return problem("bad_request", error.detail)
            case _:
                return None

    def _methods_at(self, scope: Scope) -> tuple[str, ...]:
        return tuple(
            method
            for method in METHODS
            if any(
                route.matches({**scope, "method": method})[0] is Match.FULL for route in self._paths.of(scope["path"])
            )
        )

    def openapi(self) -> dict[str, Any]:
        """The description, made once. That takes a while: not on the loop."""
        if self.openapi_schema is None:
            self.openapi_schema = describe(self)
        return self.openapi_schema

    @functools.cached_property
    def openapi_text(self) -> str:
        """The same as JSON."""
        return dumps(self.openapi())
