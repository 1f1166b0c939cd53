"""Loaded by schemathesis: takes back what would make everything after it boring (drained, not registered)."""

from __future__ import annotations

import os
from typing import Any

import httpx
import schemathesis

UNDO = {"/v1/drain": ("DELETE", "/v1/drain"), "/unregister": ("POST", "/v1/accounts/alice/register")}


@schemathesis.hook
def after_call(context: Any, case: Any, response: Any) -> None:
    """A drained phone takes calls again, an account that left comes back."""
    if response.status_code >= 300 or case.operation.method.upper() != "POST":
        return
    for end, (method, path) in UNDO.items():
        if case.operation.path.endswith(end):
            headers = {"Authorization": f"Bearer {os.environ['PHONED_TOKEN']}"}
            httpx.request(method, os.environ["PHONED_BASE"] + path, headers=headers).raise_for_status()


_asked: set[str] = set()


@schemathesis.check
def auth_is_asked_for(context: Any, response: Any, case: Any) -> None:
    """In the place of `ignored_auth`, which takes our 429 after five wrong tokens a minute for a fault: the same
    request without a token is 401, once for each operation; with a wrong one it is 401 or 429."""
    operation = case.operation
    if operation.label in _asked or operation.definition.raw.get("security") == [] or response.status_code == 400:
        return
    _asked.add(operation.label)
    request = response.request
    for token, allowed in ((None, {401}), ("Bearer phoned_wrong", {401, 429})):
        headers = {name: value for name, value in request.headers.items() if name.lower() != "authorization"}
        if token is not None:
            headers["Authorization"] = token
        again = httpx.request(request.method, request.url, headers=headers, content=request.body, timeout=30)
        if again.status_code not in allowed:
            raise AssertionError(f"{operation.label} answered {again.status_code} to {token or 'no token'}")
