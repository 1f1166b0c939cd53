"""OpenAPI tells the truth, and what is not built says so."""

from __future__ import annotations

import json
from typing import Any

import pytest

from api import answers, schemas
from api.description import OPEN, operations
from api.examples import ANSWERS
from tests.integration.api.conftest import Running


async def described(running: Running) -> dict[str, Any]:
    response = await running.unix().get("/openapi.json")
    assert response.status_code == 200
    document = response.json()
    assert isinstance(document, dict)
    return document


async def test_the_events_are_described_beside_it(running: Running) -> None:
    response = await running.unix().get("/asyncapi.json")
    assert (response.status_code, response.json()["info"]["version"]) == (200, "0.1.0")


async def test_frameworks_own_errors_are_gone_from_the_description(running: Running) -> None:
    text = (await running.unix().get("/openapi.json")).text
    assert "HTTPValidationError" not in text
    assert "ValidationError" not in text


def resolved(document: dict[str, Any], node: Any) -> Any:
    """What a reference leads to; anything else as it is."""
    while isinstance(node, dict) and "$ref" in node:
        reference, node = node["$ref"], document
        for step in reference.removeprefix("#/").split("/"):
            node = node[step]
    return node


def references(node: object) -> set[str]:
    if isinstance(node, dict):
        own = {node["$ref"]} if isinstance(node.get("$ref"), str) else set()
        return own.union(*map(references, node.values()))
    return set().union(*map(references, node)) if isinstance(node, list) else set()


async def test_references_resolve(running: Running) -> None:
    document = await described(running)
    assert document["openapi"].startswith("3.1")
    for reference in references(document):
        assert resolved(document, {"$ref": reference}), reference


async def test_every_operation_lists_all_that_it_may_answer_and_500_is_not_among_it(running: Running) -> None:
    document = await described(running)
    for path, method, operation in operations(document):
        where = operation["operationId"]
        statuses = set(operation["responses"])
        assert all(status.isdigit() for status in statuses), where
        assert "500" not in statuses, where
        assert {"400", "403", "408", "414", "431", "503"} <= statuses, where
        assert ({"401", "429"} <= statuses) is ((method, path) not in OPEN or path == "/v1/login"), where
        if "requestBody" in operation:
            assert {"413", "415", "422"} <= statuses, where
        if "{" in path and method != "put":
            assert "404" in statuses, where
        for status in sorted(statuses):
            response = resolved(document, operation["responses"][status])
            assert response["description"], where
            if int(status) >= 400:
                media = response["content"]["application/problem+json"]
                assert media["schema"] == {"$ref": "#/components/schemas/Problem"}, where
                for name, example in media["examples"].items():
                    value = resolved(document, example)["value"]
                    answers.ProblemDocument.model_validate(value)
                    assert (value["code"], value["status"]) == (name, int(status)), where


async def test_examples_are_what_the_models_say(running: Running) -> None:
    document = await described(running)
    for name, example in ANSWERS.items():
        getattr(answers, name).model_validate(example)
        assert document["components"]["schemas"][name]["examples"] == [example]
    for name, schema in document["components"]["schemas"].items():
        model = getattr(schemas, name, None)
        if model is not None and issubclass(model, schemas.Body):
            assert schema.get("examples"), f"{name} has no example"
            for example in schema["examples"]:
                model.model_validate_json(json.dumps(example))


async def test_what_was_made_leads_to_what_can_be_done_with_it(running: Running) -> None:
    document = await described(running)
    ids = {operation["operationId"]: path for path, _, operation in operations(document)}
    links = resolved(document, document["paths"]["/v1/calls"]["post"]["responses"]["201"])["links"]
    assert len(links) > 15
    assert {ids[link["operationId"]].split("/")[3] for link in links.values()} == {"{call}"}
    for path, _, operation in operations(document):
        if path.endswith(("/play", "/record")):
            assert resolved(document, operation["responses"]["201"])["links"]


async def test_the_description_is_made_once_and_off_the_loop(running: Running) -> None:
    client = running.unix()
    first, second = [(await client.get("/openapi.json")).content for _ in range(2)]
    assert first == second


async def test_operation_ids_are_unique(running: Running) -> None:
    document = await described(running)
    ids = [operation["operationId"] for operations in document["paths"].values() for operation in operations.values()]
    assert len(ids) == len(set(ids))


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
