"""The ASGI application: routes, problem documents for whatever goes wrong, and a truthful OpenAPI."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.middleware.asyncexitstack import AsyncExitStackMiddleware
from fastapi.openapi.utils import get_openapi
from starlette.exceptions import HTTPException
from starlette.routing import Match
from starlette.types import ASGIApp, Scope

from api.answers import ProblemDocument
from api.console_files import ConsoleFiles
from api.deps import Services
from api.errors import MEDIA_TYPE, Problem, from_validation, problem
from api.gate import Gate
from api.record import Record
from api.routes import (
    accounts,
    calls,
    console,
    events,
    later,
    login,
    messages,
    network,
    recordings,
    system,
    verbs,
    webhooks,
)
from api.security import METHODS, Policy

DESCRIPTION = "Control of a headless SIP/WebRTC phone. Errors are problem documents (RFC 9457); events have a sequence."
OPEN = (("get", "/healthz"), ("get", "/readyz"), ("post", "/v1/login"))
_DROPPED = ("HTTPValidationError", "ValidationError")


def build_app(services: Services, policy: Policy, *, version: str) -> Gate:
    """Everything behind the gate."""
    app = Application(
        title="phoned", version=version, description=DESCRIPTION, docs_url=None, redoc_url=None, openapi_url=None
    )
    app.router.redirect_slashes = False
    app.state.services = services
    for router in (
        system.router,
        accounts.router,
        calls.router,
        verbs.router,
        recordings.router,
        events.plain_routes,
        events.router,
        network.router,
        messages.router,
        webhooks.router,
        login.router,
        console.router(ConsoleFiles()),
        later.router(),
    ):
        app.include_router(router)
    return Gate(app, services.access, policy, explain=app.explain, record=Record(services.audit))


class Application(FastAPI):
    """FastAPI without its own error documents: errors reach the gate, and the description tells of problems only."""

    def build_middleware_stack(self) -> ASGIApp:
        """The router alone: what FastAPI would put around it turns errors into documents of another kind."""
        return AsyncExitStackMiddleware(self.router)

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
            if any(route.matches({**scope, "method": method})[0] is Match.FULL for route in self.routes)
        )

    def openapi(self) -> dict[str, Any]:
        """The description, made once."""
        if self.openapi_schema is None:
            self.openapi_schema = describe(self)
        return self.openapi_schema


def describe(app: FastAPI) -> dict[str, Any]:
    """OpenAPI with bearer tokens and with problems in the place of FastAPI's own error documents."""
    document = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
    parts = document.setdefault("components", {})
    schemas = parts.setdefault("schemas", {})
    for name in _DROPPED:
        schemas.pop(name, None)
    problem_schema = ProblemDocument.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas.update(problem_schema.pop("$defs", {}))
    schemas["Problem"] = problem_schema
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    parts["responses"] = {"Problem": {"description": "What went wrong (RFC 9457)", "content": content}}
    parts["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
    document["security"] = [{"token": []}]
    reference = {"$ref": "#/components/responses/Problem"}
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            operation["responses"] |= {"422": reference, "4XX": reference, "5XX": reference}
            if (method, path) in OPEN:
                operation["security"] = []
    return document
