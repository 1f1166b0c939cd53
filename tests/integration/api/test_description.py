"""OpenAPI tells the truth, and what is not built says so."""

from __future__ import annotations

from typing import Any

import pytest

from api.routes.later import LATER
from tests.integration.api.conftest import Running


async def described(running: Running) -> dict[str, Any]:
    response = await running.unix().get("/openapi.json")
    assert response.status_code == 200
    document = response.json()
    assert isinstance(document, dict)
    return document


async def test_frameworks_own_errors_are_gone_from_the_description(running: Running) -> None:
    text = (await running.unix().get("/openapi.json")).text
    assert "HTTPValidationError" not in text
    assert "ValidationError" not in text


async def test_every_operation_tells_of_problems_and_references_resolve(running: Running) -> None:
    document = await described(running)
    assert document["openapi"].startswith("3.1")
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            for status in ("422", "4XX", "5XX"):
                reference = operation["responses"][status]["$ref"]
                assert reference == "#/components/responses/Problem", (method, path)

    def references(node: object) -> set[str]:
        if isinstance(node, dict):
            own = {node["$ref"]} if isinstance(node.get("$ref"), str) else set()
            return own.union(*map(references, node.values()))
        return set().union(*map(references, node)) if isinstance(node, list) else set()

    for reference in references(document):
        found: Any = document
        for step in reference.removeprefix("#/").split("/"):
            found = found[step]
        assert found


async def test_operation_ids_are_unique(running: Running) -> None:
    document = await described(running)
    ids = [operation["operationId"] for operations in document["paths"].values() for operation in operations.values()]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize(("path", "methods"), LATER)
async def test_what_is_not_built_is_501_and_not_described(
    running: Running, path: str, methods: tuple[str, ...]
) -> None:
    document = await described(running)
    client = running.unix()
    for method in methods:
        assert method.lower() not in document["paths"].get(path.replace("{a}", "{account}"), {})
        response = await client.request(method, path)
        assert (response.status_code, response.json()["code"]) == (501, "not_implemented"), (method, path)
        assert "retry-after" not in response.headers


async def test_the_root_links_to_what_there_is(running: Running) -> None:
    client = running.unix()
    root = (await client.get("/v1")).json()
    for name, path in root["links"].items():
        response = await client.get(path, headers={"Accept": "application/json"})
        assert response.status_code in (200, 405, 426), name


async def test_problem_pages_are_plain_text(running: Running) -> None:
    response = await running.unix().get("/problems/wrong_state")
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/plain")
    assert "409" in response.text
    assert (await running.unix().get("/problems/none")).status_code == 404


@pytest.mark.parametrize("path", ["/docs", "/redoc"])
async def test_there_is_no_documentation_page_from_elsewhere(running: Running, path: str) -> None:
    assert (await running.unix().get(path)).status_code == 404
