"""OpenAPI that tells the truth: each operation lists the statuses it may answer with, and which problems they are.

A route names the problems of its own with `problems`; those that any request may meet are added here. What is not
listed for an operation is never its answer: a 500 least of all, it is a fault of phoned. Links lead from what was made
to what can be done with it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from api.answers import ProblemDocument
from api.deps import Route
from api.errors import CATALOGUE, MEDIA_TYPE, problem
from api.examples import ANSWERS

OPEN = (("get", "/healthz"), ("get", "/readyz"), ("post", "/v1/login"))
ALWAYS = (
    "bad_request",
    "token_in_url",
    "host_not_allowed",
    "origin_not_allowed",
    "request_timeout",
    "target_too_long",
    "headers_too_large",
    "too_many_connections",
    "body_too_large",
)
"""Of any request."""
AUTHENTICATED = ("unauthorized", "insufficient_scope", "too_many_failures", "rate_limited")
WITH_BODY = ("unsupported_media_type", "invalid_json", "invalid_value")
_DROPPED = ("HTTPValidationError", "ValidationError")
_EXTRA: Mapping[str, Mapping[str, Any]] = {
    "wrong_state": {"state": "ringing", "allowed_in": ["active"]},
    "invalid_value": {"errors": [{"pointer": "/to", "detail": "Field required"}]},
    "unknown_device": {"errors": [{"pointer": "/output/device", "detail": "there is no output device 'X'"}]},
    "refused": {"sip": {"code": 486, "reason": "Busy Here"}},
}
_RETRY = {
    "too_many_failures": 42.0,
    "rate_limited": 1.0,
    "draining": 30.0,
    "at_capacity": 5.0,
    "not_registered": 5.0,
    "sound_unavailable": 2.0,
}
_HEADERS: Mapping[int, Mapping[str, Any]] = {
    201: {"Location": {"description": "Where it is.", "schema": {"type": "string", "format": "uri-reference"}}},
    401: {"WWW-Authenticate": {"required": True, "schema": {"type": "string"}}},
    429: {"Retry-After": {"required": True, "schema": {"type": "integer", "minimum": 1}}},
    503: {"Retry-After": {"required": True, "schema": {"type": "integer", "minimum": 1}}},
}

Responses = dict[int | str, dict[str, Any]]


def problems(*codes: str) -> Responses:
    """The ``responses=`` of a route that may give these problems, beside those that every request may meet."""
    found: Responses = {}
    for code in codes:
        status, title, _ = CATALOGUE[code]
        response = found.setdefault(status, {"description": title, "content": {MEDIA_TYPE: {"examples": {}}}})
        if title not in response["description"]:
            response["description"] += f"; {title[0].lower()}{title[1:]}"
        response["content"][MEDIA_TYPE]["examples"][code] = {"$ref": f"#/components/examples/{code}"}
        response["content"][MEDIA_TYPE]["schema"] = {"$ref": "#/components/schemas/Problem"}
        if status in _HEADERS:
            response["headers"] = dict(_HEADERS[status])
    return found


def describe(app: FastAPI) -> dict[str, Any]:
    """OpenAPI with bearer tokens and with problems in the place of FastAPI's own error documents."""
    routes = [route.described() if isinstance(route, Route) else route for route in app.routes]
    document = get_openapi(title=app.title, version=app.version, description=app.description, routes=routes)
    parts = document.setdefault("components", {})
    schemas = parts.setdefault("schemas", {})
    for name in _DROPPED:
        schemas.pop(name, None)
    problem_schema = ProblemDocument.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas.update(problem_schema.pop("$defs", {}))
    schemas["Problem"] = problem_schema
    for name, example in ANSWERS.items():
        schemas[name]["examples"] = [example]
    parts["examples"] = {code: {"summary": CATALOGUE[code][1], "value": _example(code)} for code in CATALOGUE}
    parts["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
    document["security"] = [{"token": []}]
    for path, method, operation in operations(document):
        _complete(path, method, operation)
    _link(document)
    parts["responses"] = _shared(document)
    return document


def operations(document: Mapping[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Path, method and operation of all."""
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield path, method, operation


def _complete(path: str, method: str, operation: dict[str, Any]) -> None:
    """The answers that this operation has in common with others."""
    given: dict[str, Any] = operation["responses"]
    if given.get("422", {}).get("description") == "Validation Error":
        del given["422"]  # FastAPI's own, which never leaves this server
    codes = list(ALWAYS)
    if (method, path) in OPEN:
        operation["security"] = []
    else:
        codes += AUTHENTICATED
    if "requestBody" in operation:
        codes += WITH_BODY
    elif operation.get("parameters"):
        codes.append("invalid_value")
    for status, response in problems(*codes).items():
        known = given.setdefault(str(status), response)
        if known is not response:
            examples = known["content"][MEDIA_TYPE]["examples"]
            known["content"][MEDIA_TYPE]["examples"] = response["content"][MEDIA_TYPE]["examples"] | examples
    for status, response in given.items():
        if int(status) == 201 and path not in ("/v1/tickets", "/v1/messages", "/v1/login"):
            response["headers"] = dict(_HEADERS[201])
    operation["responses"] = dict(sorted(given.items()))


def _example(code: str) -> Any:
    found = problem(code, retry_after_s=_RETRY.get(code), **_EXTRA.get(code, {}))
    return json.loads(found.body(instance="/v1/calls", request_id="req_01939f2ab7c17c4f9d1be2a3c4d5e6f7"))


def _shared(document: dict[str, Any]) -> dict[str, Any]:
    """Answers that are problems, once each; the operations get references to them."""
    names: dict[str, str] = {}
    found: dict[str, Any] = {}
    for _, _, operation in operations(document):
        for status, response in operation["responses"].items():
            if MEDIA_TYPE not in response.get("content", {}):
                continue
            text = json.dumps(response, sort_keys=True)
            if text not in names:
                count = sum(name.startswith(f"Problem{status}") for name in found)
                names[text] = f"Problem{status}" + (f"-{count + 1}" if count else "")
                found[names[text]] = response
            operation["responses"][status] = {"$ref": f"#/components/responses/{names[text]}"}
    return found


def _link(document: dict[str, Any]) -> None:
    """From an answer that holds a call, a playback or a recording to every operation on it."""
    targets: dict[str, list[tuple[str, str]]] = {}
    for path, _, operation in operations(document):
        for parameter in operation.get("parameters", ()):
            if parameter["in"] == "path":
                targets.setdefault(parameter["name"], []).append((operation["operationId"], path))
    for _, _, operation in operations(document):
        for status, response in operation["responses"].items():
            schema = response.get("content", {}).get("application/json", {}).get("schema", {})
            made = schema.get("$ref", "").rpartition("/")[2].lower()
            if status == "201" and made in targets:
                response["links"] = {
                    name: {"operationId": name, "parameters": {made: "$response.body#/id"}} for name, _ in targets[made]
                }
